"""Where the facts of layers that were read before are kept."""

from __future__ import annotations

from typing import Protocol


class LayerCache(Protocol):
    """Opaque bytes by key. Losing one costs time only, so an implementation may forget, but never mix up."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, value: bytes) -> None: ...
