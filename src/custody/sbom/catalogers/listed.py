"""Lists of what packages installed: of millions of names only those are kept that tell of packages."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import cast

from custody.sbom.catalogers.fact import OWNS, Fact

_OWNED = 100_000
_MERGED = ("bin/", "sbin/", "lib/", "lib32/", "lib64/")


class Telling:
    """What other catalogers' files are called in such lists."""

    def __init__(self, expression: str) -> None:
        self.expression = re.compile(expression)
        self.version = f"{zlib.crc32(expression.encode()):08x}"
        """Of the lists' catalogers: a new cataloger has the lists read again."""

    @functools.cached_property
    def _line(self) -> re.Pattern[bytes]:
        """For a whole list at once, which may have millions of lines: RE2 takes the same time for each byte."""
        import re2  # it takes 10 ms, which images without lists need not

        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        pattern = self.expression.pattern.replace(r"\Z", "$").replace("[^/]", r"[^/\n]")
        return cast("re.Pattern[bytes]", re2.compile(f"(?m){pattern}".encode(), options))

    def lines(self, content: bytes) -> Iterator[str]:
        """The lines that tell something."""
        end = -1
        for match in self._line.finditer(content):
            if match.start() > end:
                end = content.find(b"\n", match.start())
                end = len(content) if end < 0 else end
                yield content[content.rfind(b"\n", 0, match.start()) + 1:end].decode("utf-8", "replace")

    def owned(self, package: str, lines: Iterable[str]) -> tuple[Fact, ...]:
        """That a package installed those of these paths that tell something, where that is any."""
        owned: list[str] = []
        for line in lines:
            if self.expression.search(line):
                if len(owned) == _OWNED:
                    raise ValueError(f"more than {_OWNED} programs and files of packages in one package")
                file = line.lstrip("/")
                owned.append("usr/" + file if file.startswith(_MERGED) else file)
        return (Fact(type=OWNS, name=package, requires=tuple(owned)),) if owned else ()
