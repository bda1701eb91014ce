"""What every cache of layers' facts must do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from custody.adapters.sqlite.layercache import SqliteLayerCache
from custody.ports.layers import LayerCache


@pytest.fixture(params=[SqliteLayerCache], ids=["sqlite"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> LayerCache:
    make: Callable[[Path], LayerCache] = request.param
    return make(tmp_path / "cache" / "layers.db")


def test_it_may_forget_and_never_mixes_up(cache: LayerCache) -> None:
    assert cache.get("a") is None
    for key, value in (("a", b"one"), ("b", b""), ("c", bytes(100_000)), ("a", b"two")):
        cache.put(key, value)
    for key, value in (("a", b"two"), ("b", b""), ("c", bytes(100_000)), ("d", None)):
        assert cache.get(key) in (value, None)
    assert cache.get("a") == b"two"
