"""Where what is known of running images is kept: their files, where they connect to, what was seen of them.

All of it is synchronous: whoever calls is in a thread that may wait. Values are opaque bytes, which say themselves
whether they are whole. Raises StorageError.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol


class KeptIndex(NamedTuple):
    """The index of one image's files."""

    digest: str
    """Of its manifest."""
    name: str
    platform: str
    files: int
    size: int
    """Bytes that it is kept in."""
    at: datetime


class ExecutableStore(Protocol):
    """Indexes of images (`custody.runtime.executables`), and listings of their layers, which images share."""

    def layer(self, diff_id: str) -> bytes | None: ...

    def keep_layer(self, diff_id: str, data: bytes) -> None: ...

    def index(self, digest: str, platform: str) -> bytes | None:
        """By the digest of the manifest, whatever the platform; or by one of its `names`, for this platform."""
        ...

    def keep_index(self, kept: KeptIndex, names: Collection[str], data: bytes) -> None:
        """In place of what was kept of it. `names`: digests that mean it on its platform, beside those that are known:
        of the index that names it, of its configuration."""
        ...

    def indexes(self) -> Sequence[KeptIndex]:
        """All, by name."""
        ...

    def forget(self, digest: str) -> bool:
        """Let go of an index; listings of layers go when there are too many bytes of them."""
        ...


class BaselineStore(Protocol):
    def baselines(self) -> Mapping[str, bytes]:
        """By digest."""
        ...

    def keep_baselines(self, baselines: Mapping[str, bytes]) -> None:
        """Each in place of what was kept by its digest; all or none."""
        ...

    def forget_baseline(self, digest: str) -> bool: ...


class WitnessStore(Protocol):
    """What was seen of running images, by who saw it: one sensor of one node from one start on."""

    def witnesses(self) -> Mapping[str, bytes]: ...

    def keep_witness(self, name: str, data: bytes) -> None: ...

    def forget_witnesses(self, before: datetime) -> int:
        """Those that were kept last before this time; their number."""
        ...


class DriftStore(ExecutableStore, BaselineStore, WitnessStore, Protocol):
    """All of it."""
