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
    for name, ecosystem, left, expected, right in pairs(folder):
        yield name, _reason(ecosystem, left, expected, right)


def pairs(folder: Path) -> Iterator[tuple[str, str, str, str, str]]:
    """File and line, ecosystem, version, `<`, `=` or `>`, version."""
    for file in sorted(folder.rglob("*.txt")):
        ecosystem = _ECOSYSTEMS[file.stem.partition("-")[0]]
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = _LINE.match(line)
            if match is not None and not line.startswith(("#", "//")):
                yield f"{file.name}:{number}", ecosystem, match[1].strip(), match[2], match[3].strip()


def _reason(ecosystem: str, left: str, expected: str, right: str) -> str | None:
    try:
        got = "<=>"[compare(ecosystem, left, right) + 1]
    except CustodyError as error:
        return f"{left} {expected} {right}: {error}"
    return None if got == expected else f"{left} {expected} {right}: got {got}"
