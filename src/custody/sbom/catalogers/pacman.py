"""pacman's packages: `var/lib/pacman/local/NAME-VERSION/desc`, and `files` beside it (alpm-db-desc(5), -files(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.fact import Fact, unknown
from custody.sbom.catalogers.listed import Telling

_DEPENDENCY = re.compile(r"[^<>=:\s]+")
_HASHES = {"sha256sum": "sha256", "md5sum": "md5"}


def read(_path: str, content: bytes) -> Iterator[Fact]:
    sections = _sections(content)

    def first(key: str) -> str:
        return next(iter(sections.get(key, ())), "")

    name, version = first("name"), first("version")
    if not name or not version:
        yield unknown("pacman package without a name or a version")
        return
    yield Fact(
        type="alpm", name=name, version=version, arch=first("arch"), source=first("base") or name,
        source_version=version, supplier=first("packager"), licenses=tuple(sections.get("license", ())),
        requires=tuple(_names(sections.get("depends", []))), provides=tuple(_names(sections.get("provides", []))),
        hashes=tuple((algorithm, first(key)) for key, algorithm in _HASHES.items() if first(key)))


def _sections(content: bytes) -> dict[str, list[str]]:
    """Lines by the `%NAME%` above them, in small letters; of a name that comes twice the first counts."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in content.decode("utf-8", "replace").splitlines():
        if len(line) > 2 and line[0] == line[-1] == "%":
            lines = []
            sections.setdefault(line[1:-1].lower(), lines)
        elif line:
            lines.append(line)
    return sections


def _names(stated: list[str]) -> Iterator[str]:
    """`glibc>=2.38` is glibc, `libz.so=1-64` libz.so."""
    yield from dict.fromkeys(match[0] for text in stated if (match := _DEPENDENCY.match(text)))


class Lists:
    """The cataloger of the lists of what packages installed."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self.catalogers = (Cataloger(
            name="pacman files", version=f"1 {telling.version}", read=self.read, largest=16 << 20,
            paths=(named("files", pattern=r"(?:.*/)?var/lib/pacman/local/[^/]+/files"),)),)

    def read(self, path: str, content: bytes) -> tuple[Fact, ...]:
        """A path in a line, without a slash in front; `%BACKUP%` behind them has digests of a few."""
        files = content.partition(b"%BACKUP%")[0]
        name = path.split("/")[-2].rsplit("-", 2)[0]
        lines = self._telling.lines(b"\n".join(b"/" + line for line in files.split(b"\n")))
        return self._telling.owned(name, lines)


CATALOGER = Cataloger(name="pacman", version=1, types=("alpm",), read=read, places=("var/lib/pacman/local",), paths=(
    named("desc", pattern=r"(?:.*/)?var/lib/pacman/local/[^/]+/desc"),))
