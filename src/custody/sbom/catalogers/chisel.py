"""Chisel's manifest, `manifest.wall`: slices of Ubuntu's packages in images without dpkg's database (Chisel, "Chisel
manifest" and "jsonwall").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import zstandard

from custody.formats import zstd
from custody.kit import strictjson
from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.fact import Fact, unknown
from custody.sbom.catalogers.listed import Telling

_MOST, _LINE, _WINDOW = 64 << 20, 64 << 10, 8 << 20
NO_SOURCE = "Chisel package of which it is not said what it was built from"
"""Ubuntu's advisories go by the names of source packages, which the manifest has not; dpkg's status has them."""


class Manifest:
    """Its cataloger: packages, and whose slices the files are."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self.catalogers = (Cataloger(
            name="Chisel", version=f"1 {telling.version}", types=("deb",), read=self.read, largest=16 << 20,
            places=("var/lib/chisel",), paths=(named("manifest.wall"),)),)

    def read(self, _path: str, content: bytes) -> Iterator[Fact]:
        if not content:
            raise ValueError("an empty manifest")
        files: dict[str, list[str]] = {}
        for number, line in enumerate(_lines(content)):
            entry = strictjson.loads(line, "manifest.wall")
            if not isinstance(entry, dict) or (number == 0 and "jsonwall" not in entry):
                raise ValueError("not a jsonwall")
            kind = entry.get("kind")
            if kind == "package":
                yield from _package(entry)
            elif kind == "content":
                package, _, _ = str(entry.get("slice", "")).partition("_")
                files.setdefault(package, []).append(str(entry.get("path", "")))
        for package, paths in files.items():
            yield from self._telling.owned(package, paths)


def _package(entry: dict[str, Any]) -> Iterator[Fact]:
    name, version, arch, digest = (entry.get(key) for key in ("name", "version", "arch", "sha256"))
    if not (isinstance(name, str) and isinstance(version, str) and name and version):
        yield unknown("Chisel package without a name or a version")
        return
    yield Fact(type="deb", name=name, version=version, arch=str(arch or ""), source=name, source_version=version,
               hashes=(("sha256", str(digest)),) if digest else ())
    yield unknown(NO_SOURCE)


def _lines(content: bytes) -> Iterator[bytes]:
    """Raises ValueError for what is no Zstandard stream, or too large."""
    size, rest = 0, b""
    try:
        for piece in zstd.decompress((content,), "manifest.wall", _WINDOW):
            size += len(piece)
            *lines, rest = (rest + piece).split(b"\n")
            if size > _MOST or len(rest) > _LINE:
                raise ValueError(f"a manifest of more than {_MOST} bytes, or a line of more than {_LINE}")
            yield from (line for line in lines if line.strip())
    except zstandard.ZstdError as error:
        raise ValueError(f"not a Zstandard stream: {error}") from error
    if rest.strip():
        yield rest
