"""version-order: lines `a < b`, `a = b`, `a > b` per ecosystem, mostly pairs of versions that were really published."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from custody.errors import CustodyError
from custody.versions import compare

_ECOSYSTEMS = {"alpine": "Alpine", "cran": "CRAN", "debian": "Debian", "hackage": "Hackage", "maven": "Maven",
               "nuget": "NuGet", "packagist": "Packagist", "pub": "Pub", "pypi": "PyPI", "redhat": "Red Hat",
               "rubygems": "RubyGems", "semver": "npm"}
_LINE = re.compile(r"(.*) ([<=>]) (.*)\Z")


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    for file in sorted(folder.rglob("*.txt")):
        ecosystem = _ECOSYSTEMS[file.stem.partition("-")[0]]
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = _LINE.match(line)
            if match is None or line.startswith(("#", "//")):
                continue
            yield f"{file.name}:{number}", _reason(ecosystem, match[1].strip(), match[2], match[3].strip())


def _reason(ecosystem: str, left: str, expected: str, right: str) -> str | None:
    try:
        got = "<=>"[compare(ecosystem, left, right) + 1]
    except CustodyError as error:
        return f"{left} {expected} {right}: {error}"
    return None if got == expected else f"{left} {expected} {right}: got {got}"
