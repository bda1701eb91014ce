"""Makes the index of an image's files of the listings of its layers, and of what lists in it say of packages."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence

from custody.errors import MalformedError
from custody.runtime.executables import VERSION, Columns, Executables
from custody.runtime.layerfiles import LayerFiles
from custody.runtime.overlay import Leaf, Link, Overlay, merged


def index(layers: Sequence[LayerFiles], *, digest: str, name: str, platform: str,
          blobs: Sequence[str], packages: Mapping[str, str] | None = None,
          places: Mapping[str, str] | None = None) -> Executables:
    """Of an image whose layers, from the lowest up, have these listings and blobs. `packages`: package URLs by how
    lists of installed files name the packages; `places`: package URLs by the path of the file, or by the folder with a
    slash behind it, that is the package. Raises MalformedError.
    """
    if len(layers) > 0xFFFF:
        raise MalformedError(digest, got=f"{len(layers)} layers", expected="fewer")
    overlay = merged(layers)
    owners = _Owners(overlay, packages or {}, places or {})
    for path, node in overlay.members():
        if isinstance(node, Leaf) and node.row >= 0 and path in layers[node.layer].owned:
            for owner, files in layers[node.layer].owned[path]:
                owners.add(owner, files)
    rows: dict[tuple[str, int, int], int] = {}
    links = dict(overlay.links)
    for path, node in overlay.members():
        if isinstance(node, Link):
            links[path] = node.target
        elif node.row >= 0:
            rows[path, node.layer, node.row] = node.mode
    for path, leaf in overlay.beside:
        rows[path, leaf.layer, leaf.row] = leaf.mode
    ordered = sorted(rows.items())
    modes, numbers, owned = array("H"), array("H"), array("I")
    digests, paths = bytearray(), bytearray()
    for (path, place, row), mode in ordered:
        paths += path.encode("utf-8", "surrogateescape") + b"\0"
        digests += layers[place].digests[32 * row:32 * row + 32]
        modes.append(mode)
        numbers.append(place)
        owned.append(owners.of(path))
    return Executables(Columns(
        version=VERSION, digest=digest, name=name, platform=platform, layers=tuple(blobs), paths=bytes(paths),
        digests=bytes(digests), modes=_little(modes), places=_little(numbers), owners=tuple(owners.names),
        owned=_little(owned), links=links,
        unread=tuple(reason for layer in layers for reason in layer.unread)[:1000]))


class _Owners:
    """Numbers of packages by the paths of their files, from 1 on."""

    def __init__(self, overlay: Overlay, packages: Mapping[str, str], places: Mapping[str, str]) -> None:
        self._overlay, self._packages, self._places = overlay, packages, places
        self.names: dict[str, int] = {}
        self._by_path: dict[str, int] = {}
        self._folders: dict[str, str] = {}

    def add(self, owner: str, files: Iterable[str]) -> None:
        number = self._number(self._packages.get(owner, owner))
        for file in files:
            folder, _, base = file.rpartition("/")
            if (real := self._folders.get(folder)) is None:
                real = self._folders[folder] = self._overlay.resolve(folder)[0]
            self._by_path.setdefault(f"{real}/{base}" if real else base, number)

    def of(self, path: str) -> int:
        """By the list that names it; else by the folder or archive that is a package. 0 for nobody's."""
        if number := self._by_path.get(path):
            return number
        place = path
        while self._places and place:
            if (purl := self._places.get(place)) is not None:
                return self._number(purl)
            folder = place.rstrip("/").rpartition("/")[0]
            place = f"{folder}/" if folder else ""
        return 0

    def _number(self, name: str) -> int:
        return self.names.setdefault(name, len(self.names) + 1)


def _little(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
