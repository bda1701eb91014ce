"""What a wheel's installer says it put where: `*.dist-info/RECORD` (PyPA specification "Recording installed projects").

Only programs and libraries are kept: whoever asks whose they are need not know of the rest.
"""

from __future__ import annotations

import csv
import posixpath
import re

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.fact import HOLDS, Fact, unknown

_PROGRAM = re.compile(r"\.so[.0-9]*(?=[\",])|\.pyd(?=[\",])|\.dylib(?=[\",])|\.node(?=[\",])|/s?bin/[^\n,]+,|^[^\n.,]+,",
                      re.MULTILINE)
_MOST = 100_000


def read(path: str, content: bytes) -> tuple[Fact, ...]:
    """One fact with the paths, and the package without metadata that it is where no METADATA is beside it."""
    text = content.decode("utf-8", "replace")
    site = path.rpartition("/")[0].rpartition("/")[0]
    lines: dict[str, None] = {}
    for match in _PROGRAM.finditer(text):
        end = text.find("\n", match.start())
        lines[text[text.rfind("\n", 0, match.start()) + 1:end if end >= 0 else len(text)]] = None
        if len(lines) > _MOST:
            raise ValueError(f"more than {_MOST} programs and libraries")
    paths = [posixpath.normpath(posixpath.join(site, row[0])).lstrip("/") for row in csv.reader(lines) if row]
    facts = [Fact(type=HOLDS, name=path, requires=tuple(paths))] if paths else []
    return (*facts, unknown("Python package without metadata"))


CATALOGER = Cataloger(name="python record", version=1, read=read, largest=16 << 20, paths=(
    named("RECORD", pattern=r".*\.dist-info/RECORD"),))
