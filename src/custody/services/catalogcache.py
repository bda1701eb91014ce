"""Catalogs of images all of whose layers were read before: taken whole, without what reads layers being imported.

They are made by the same code, or not taken: the key has a digest of its source. So no number need be raised with a
change, as catalogers' versions are for what single layers hold (`sbom.catalog`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import custody
from custody.formats.bom import Catalog
from custody.kit.guarded import guard, unguard

if TYPE_CHECKING:
    from custody.ports.layers import LayerCache
    from custody.registry.image import Image

_HOUSE = Path(custody.__file__).parent
_ROOMS = (_HOUSE / "sbom", _HOUSE / "formats", _HOUSE / "kit", _HOUSE / "ecosystems.py",
          _HOUSE.parent / "policylang" / "go")
"""What a catalog depends on."""


class CatalogCache:
    """Of one image: the catalog that its layers make, in their order, under whatever name."""

    def __init__(self, kept: LayerCache, image: Image, archives: str = "") -> None:
        """`archives`: the edition of the index that told of Java archives; empty where there is none."""
        self._kept, self._image = kept, image
        layers = (image.config.diff_ids, [layer.digest for layer in image.manifest.layers])
        self._key = f"image:{sha256(repr((_sources(), layers, archives)).encode()).hexdigest()}"

    def get(self) -> Catalog | None:
        """None where there is none, or it is broken."""
        if (guarded := self._kept.get(self._key)) is None or (data := unguard(guarded)) is None:
            return None
        try:
            catalog = msgspec.msgpack.decode(data, type=Catalog)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return msgspec.structs.replace(catalog, name=self._image.name, digest=self._image.descriptor.digest)

    def put(self, catalog: Catalog) -> None:
        """Without its name, which is another the next time, and may be of half characters that nobody can encode."""
        self._kept.put(self._key, guard(msgspec.msgpack.encode(msgspec.structs.replace(catalog, name=""))))


@cache
def _sources() -> str:
    state = sha256(custody.__version__.encode())
    for path in sorted(path for room in _ROOMS for path in _modules(str(room))):
        state.update(path.encode() + b"\0")
        with open(path, "rb", buffering=0) as file:
            state.update(sha256(file.read()).digest())
    return state.hexdigest()


def _modules(path: str) -> Iterator[str]:
    if path.endswith(".py"):
        yield path
        return
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.endswith(".py") or (entry.is_dir() and entry.name != "__pycache__"):
                yield from _modules(entry.path)
