"""Mirrors that come and go while a controller runs: which kinds it watches depends on policies."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from custody.services.mirror import Mirror

_K = TypeVar("_K", bound=Hashable)


class Following(Generic[_K]):
    def __init__(self) -> None:
        self._mirrors: dict[_K, tuple[Mirror, asyncio.Task[None]]] = {}

    def __contains__(self, key: _K) -> bool:
        return key in self._mirrors

    def __len__(self) -> int:
        return len(self._mirrors)

    def __iter__(self) -> Iterator[_K]:
        return iter([*self._mirrors])

    def values(self) -> list[Mirror]:
        return [mirror for mirror, _ in self._mirrors.values()]

    def items(self) -> list[tuple[_K, Mirror]]:
        return [(key, mirror) for key, (mirror, _) in self._mirrors.items()]

    def get(self, key: _K) -> Mirror | None:
        entry = self._mirrors.get(key)
        return entry[0] if entry else None

    def follow(self, key: _K, mirror: Mirror) -> None:
        self._mirrors[key] = mirror, asyncio.create_task(mirror.run())

    async def drop(self, key: _K) -> Mirror:
        """What it knew last."""
        mirror, task = self._mirrors.pop(key)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return mirror

    async def close(self) -> None:
        tasks = [task for _, task in self._mirrors.values()]
        self._mirrors.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
