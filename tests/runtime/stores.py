"""A DriftStore in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from custody.ports.drift import KeptIndex


class MemoryDrift:
    def __init__(self) -> None:
        self.layers: dict[str, bytes] = {}
        self._indexes: dict[str, tuple[KeptIndex, bytes]] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._baselines: dict[str, bytes] = {}
        self._witnesses: dict[str, tuple[datetime, bytes]] = {}

    def layer(self, diff_id: str) -> bytes | None:
        return self.layers.get(diff_id)

    def keep_layer(self, diff_id: str, data: bytes) -> None:
        self.layers[diff_id] = data

    def index(self, digest: str, platform: str) -> bytes | None:
        kept = self._indexes.get(digest) or self._indexes.get(self._names.get((digest, platform), ""))
        return kept[1] if kept is not None else None

    def keep_index(self, kept: KeptIndex, names: Collection[str], data: bytes) -> None:
        self._indexes[kept.digest] = kept, data
        self._names |= {(name, kept.platform): kept.digest for name in names}

    def indexes(self) -> Sequence[KeptIndex]:
        return sorted((kept for kept, _ in self._indexes.values()), key=lambda kept: (kept.name, kept.digest))

    def forget(self, digest: str) -> bool:
        self._names = {name: meant for name, meant in self._names.items() if meant != digest}
        return self._indexes.pop(digest, None) is not None

    def baselines(self) -> Mapping[str, bytes]:
        return dict(sorted(self._baselines.items()))

    def keep_baselines(self, baselines: Mapping[str, bytes]) -> None:
        self._baselines.update(baselines)

    def forget_baseline(self, digest: str) -> bool:
        return self._baselines.pop(digest, None) is not None

    def witnesses(self) -> Mapping[str, bytes]:
        return {name: data for name, (_, data) in sorted(self._witnesses.items())}

    def keep_witness(self, name: str, data: bytes) -> None:
        self._witnesses[name] = datetime.now(UTC), data

    def forget_witnesses(self, before: datetime) -> int:
        old = [name for name, (at, _) in self._witnesses.items() if at < before]
        for name in old:
            del self._witnesses[name]
        return len(old)

    def close(self) -> None:
        pass
