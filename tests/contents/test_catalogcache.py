"""What is read again of an image: nothing where its layers are known, of a rebuilt one only the layer that changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from custody.adapters.sqlite.layercache import SqliteLayerCache
from custody.errors import CustodyError
from custody.formats.oci import Descriptor
from custody.registry.image import StoredImage
from custody.sbom.catalog import catalog
from custody.services import catalogcache
from custody.services.contents import catalog_opened
from tests.contents.images import METADATA, OS_RELEASE, STATUS, Member, image

_BASE: list[Member] = [("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", STATUS)]
_MIDDLE: list[Member] = [("usr/lib/python3/dist-packages/x.dist-info/METADATA", METADATA)]
_PROBE = """
import sys
from custody.cli.main import main
code = main(["-q", "sbom", "oci:i", "-o", "cyclonedx-json=o.json"])
heavy = [name for name in sys.modules if name.startswith(("custody.sbom.", "custody.registry.client", "yaml", "asyncio",
                                                          "aiohttp", "rich", "custody.formats.spdx", "isal"))]
print(code, sorted(heavy))
"""


@contextmanager
def _silent(_title: str, _total: int | None) -> Iterator[Callable[[int], None] | None]:
    yield None


class _Watched(StoredImage):
    """Notes which layers are opened."""

    opened: list[str]

    @classmethod
    def of(cls, stored: StoredImage) -> _Watched:
        watched = cls.__new__(cls)
        watched.__dict__.update(stored.__dict__, opened=[])
        return watched

    def open_blob(self, descriptor: Descriptor) -> BinaryIO:
        self.opened.append(descriptor.digest)
        return super().open_blob(descriptor)


@pytest.fixture(name="cache")
def _cache(tmp_path: Path) -> SqliteLayerCache:
    return SqliteLayerCache(tmp_path / "layers.db")


def test_an_image_whose_layers_are_known_is_taken_whole_under_its_own_name(
        tmp_path: Path, cache: SqliteLayerCache) -> None:
    first = catalog_opened("i", image(tmp_path / "i", _BASE, _MIDDLE), cache, _silent)
    again = _Watched.of(image(tmp_path / "j", _BASE, _MIDDLE))
    second = catalog_opened("j", again, cache, _silent)
    assert again.opened == []
    assert (second.name, second.packages, second.layers) == (str(tmp_path / "j"), first.packages, first.layers)
    swapped = _Watched.of(image(tmp_path / "k", _MIDDLE, _BASE))  # the same layers in another order: another image
    third = catalog_opened("k", swapped, cache, _silent)
    assert [layer.digest for layer in third.layers] == [layer.digest for layer in reversed(first.layers)]


def test_of_a_rebuilt_image_only_the_changed_layer_is_read(tmp_path: Path, cache: SqliteLayerCache) -> None:
    catalog_opened("i", image(tmp_path / "i", _BASE, _MIDDLE, [("app/package.json", b'{"name":"a","version":"1"}')]),
                   cache, _silent)
    rebuilt = _Watched.of(image(tmp_path / "j", _BASE, _MIDDLE,
                                [("app/package.json", b'{"name":"a","version":"2"}')]))
    made = catalog_opened("j", rebuilt, cache, _silent)
    assert rebuilt.opened == [rebuilt.manifest.layers[2].digest]
    assert made == catalog(rebuilt)


def test_what_other_code_made_is_not_taken(tmp_path: Path, cache: SqliteLayerCache,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    stored = image(tmp_path / "i", _BASE)
    catalog_opened("i", stored, cache, _silent)
    monkeypatch.setattr(catalogcache, "_sources", lambda: "other")
    assert catalogcache.CatalogCache(cache, stored).get() is None


@pytest.mark.parametrize("damage", [lambda value: value[:-1] + bytes([value[-1] ^ 1]), lambda value: value[:20],
                                    lambda _value: b""], ids=["a bit", "cut", "empty"])
def test_a_catalog_that_is_damaged_is_made_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    class Damaged(dict[str, bytes]):
        def put(self, key: str, value: bytes) -> None:
            self[key] = damage(value) if key.startswith("image:") else value

    stored, kept = image(tmp_path / "i", _BASE), Damaged()
    first = catalog_opened("i", stored, kept, _silent)
    assert catalogcache.CatalogCache(kept, stored).get() is None
    assert catalog_opened("i", stored, kept, _silent) == first


def test_to_prove_reads_all_of_it_again(tmp_path: Path, cache: SqliteLayerCache) -> None:
    stored = _Watched.of(image(tmp_path / "i", _BASE, _MIDDLE))
    assert catalog_opened("i", stored, cache, _silent).proof is None
    stored.opened.clear()
    assert catalog_opened("i", stored, cache, _silent, prove=True).proof is not None
    assert set(stored.opened) == {layer.digest for layer in stored.manifest.layers}
    assert catalog_opened("i", stored, cache, _silent).proof is None


def test_a_layer_that_lies_is_never_remembered(tmp_path: Path, cache: SqliteLayerCache) -> None:
    stored = image(tmp_path / "i", _BASE)
    blob = tmp_path / "i/blobs/sha256" / stored.manifest.layers[0].digest[7:]
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    for _ in range(2):
        with pytest.raises(CustodyError):
            catalog_opened("i", stored, cache, _silent)


def test_known_layers_import_nothing_that_reads_layers(tmp_path: Path) -> None:
    image(tmp_path / "i", _BASE)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CUSTODY_DATA_DIR": str(tmp_path / "data")}
    said = [subprocess.run([sys.executable, "-c", _PROBE], cwd=tmp_path, env=environ, capture_output=True, text=True,
                           check=True, timeout=120).stdout for _ in range(2)]
    assert "custody.sbom.catalogers" in said[0]
    assert said[1] == "0 []\n"
