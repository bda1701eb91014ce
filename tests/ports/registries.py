"""A registry's stores in memory, which misbehave on demand. Blobs are in no file, so that none can be sent as one."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from custody.errors import CustodyError, StorageError, VerificationError
from custody.formats.oci import Descriptor
from custody.kit.digest import is_digest
from custody.ports.blobs import Draft, Stray
from custody.ports.repositories import TagEvent
from tests.ports.faults import Fault, Faults


def matches(data: bytes, digest: str) -> bool:
    algorithm, _, value = digest.partition(":")
    return hashlib.new(algorithm, data).hexdigest() == value


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """The disk's errors as adapters give them."""
    try:
        yield
    except OSError as error:
        raise StorageError(str(error.strerror)) from None


class MemoryBlob:
    """Implements ports.blobs.Blob."""

    modified = 0.0

    def __init__(self, data: bytes, version: str, place: str) -> None:
        self._data, self.version, self.place = data, version, place
        self.size = len(data)

    def read(self, start: int, count: int) -> bytes:
        return self._data[start:start + count]

    def fileno(self) -> None:
        return None

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


class MemoryDraft:
    """Implements ports.blobs.Draft."""

    def __init__(self, blobs: MemoryBlobs, name: str) -> None:
        self._blobs, self._name = blobs, name
        self._blobs.unfinished.setdefault(name, b"")

    @property
    def data(self) -> bytes:
        return self._blobs.unfinished.get(self._name, b"")

    @property
    def size(self) -> int:
        return len(self.data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        with storage_errors(), self._blobs.faults.at("append") as fault:
            kept = bytes(data)[:len(data) // 2 if fault is Fault.HALF else None]
            self._blobs.unfinished[self._name] = self.data + kept

    def complete(self, digest: str) -> None:
        try:
            with storage_errors(), self._blobs.faults.at("complete"):
                if not matches(self.data, digest):
                    raise VerificationError(f"blob bytes are not {digest}")
        except CustodyError:
            self.discard()
            raise

    def suspend(self) -> None:
        """Nothing is held."""

    def discard(self) -> None:
        self._blobs.unfinished.pop(self._name, None)


class MemoryBlobs:
    """Implements ports.blobs.Blobs."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.stored: dict[str, tuple[bytes, str]] = {}
        self.unfinished: dict[str, bytes] = {}
        self.set_aside: list[bytes] = []
        self._lock = threading.Lock()
        self._changes = self._versions = 0

    def size(self, digest: str) -> int | None:
        return len(self.stored[digest][0]) if digest in self.stored else None

    def open(self, digest: str) -> MemoryBlob | None:
        data, version = self.stored.get(digest, (b"", ""))
        return MemoryBlob(data, version, f"memory:{digest}") if version else None

    def entries(self) -> Iterator[str | Stray]:
        yield from sorted(self.stored)

    def quarantine(self, digest: str, version: str) -> bool:
        with self._lock:
            if self.stored.get(digest, (b"", ""))[1] != version:
                return False
            self.set_aside.append(self.stored.pop(digest)[0])
            self._changes += 1
            return True

    def quarantined(self) -> tuple[int, int]:
        return len(self.set_aside), sum(map(len, self.set_aside))

    def drafts(self) -> list[str]:
        return list(self.unfinished)

    def draft(self, name: str, algorithm: str = "sha256") -> MemoryDraft:
        return MemoryDraft(self, name)

    def resume(self, name: str) -> MemoryDraft | None:
        return MemoryDraft(self, name) if name in self.unfinished else None

    def discard_draft(self, name: str) -> None:
        self.unfinished.pop(name, None)

    def changes(self) -> int:
        return self._changes

    def absent(self, sizes: Mapping[str, int]) -> list[str]:
        return [digest for digest, size in sizes.items() if self.size(digest) != size]

    def publish(self, contents: Sequence[tuple[str, Draft | bytes]]) -> list[CustodyError | None]:
        outcomes: list[CustodyError | None] = []
        for digest, content in contents:
            try:
                with storage_errors(), self.faults.at("publish") as fault:
                    data = content if isinstance(content, bytes) else content.data  # type: ignore[attr-defined]
                    if not matches(data, digest):
                        raise VerificationError(f"blob bytes are not {digest}")
                    if fault is not Fault.HALF:
                        with self._lock:
                            self._versions += 1
                            self.stored[digest] = data, str(self._versions)
                        if not isinstance(content, bytes):
                            content.discard()
                outcomes.append(None)
            except CustodyError as error:
                outcomes.append(error)
        return outcomes

    def delete(self, digests: Collection[str]) -> None:
        with storage_errors(), self.faults.at("delete") as fault, self._lock:
            for digest in list(digests)[:len(digests) // 2 if fault is Fault.HALF else None]:
                self.stored.pop(digest, None)
            self._changes += 1

    def close(self) -> None:
        """Nothing is held."""


class _State:
    def __init__(self) -> None:
        self.blobs: dict[tuple[str, str], int] = {}
        self.manifests: dict[tuple[str, str], tuple[Descriptor, str | None]] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.history: list[tuple[str, TagEvent]] = []


class _Holdings:
    def __init__(self, state: _State) -> None:
        self._state = state

    def has_blob(self, name: str, digest: str) -> bool:
        return (name, digest) in self._state.blobs

    def sizes(self, name: str, digests: Collection[str]) -> dict[str, int]:
        return {digest: self._state.blobs[name, digest] for digest in digests if (name, digest) in self._state.blobs}

    def absent_manifests(self, name: str, digests: Collection[str]) -> set[str]:
        return {digest for digest in digests if (name, digest) not in self._state.manifests}

    def manifest(self, name: str, reference: str) -> Descriptor | None:
        digest = reference if is_digest(reference) else self._state.tags.get((name, reference), "")
        return self._state.manifests.get((name, digest), (None, None))[0]

    def blob_is_used(self, digest: str) -> bool:
        return bool(self.holders(digest))

    def holders(self, digest: str) -> list[str]:
        return sorted({name for name, held in [*self._state.blobs, *self._state.manifests] if held == digest})


class MemoryTransaction(_Holdings):
    """Implements ports.repositories.Transaction."""

    def __init__(self, state: _State, removing: Callable[[], None]) -> None:
        super().__init__(state)
        self._removing = removing

    @contextlib.contextmanager
    def part(self) -> Iterator[None]:
        before = copy.deepcopy(vars(self._state))
        try:
            yield
        except BaseException:
            vars(self._state).update(before)
            raise

    def link_blob(self, name: str, digest: str, size: int) -> None:
        self._state.blobs.setdefault((name, digest), size)

    def unlink_blob(self, name: str, digest: str) -> bool:
        self._removing()
        return self._state.blobs.pop((name, digest), None) is not None

    def put_manifest(self, name: str, descriptor: Descriptor, subject: str | None, tags: list[str],
                     at: datetime) -> None:
        self._state.manifests[name, descriptor.digest] = descriptor, subject
        for tag in tags:
            if self._state.tags.get((name, tag)) != descriptor.digest:
                self._state.tags[name, tag] = descriptor.digest
                self._state.history.append((name, TagEvent(tag, descriptor.digest, at)))

    def delete_manifest(self, name: str, digest: str, at: datetime) -> bool:
        self._removing()
        for tag in [tag for (holder, tag), tagged in self._state.tags.items() if (holder, tagged) == (name, digest)]:
            self.delete_tag(name, tag, at)
        return self._state.manifests.pop((name, digest), None) is not None

    def delete_tag(self, name: str, tag: str, at: datetime) -> bool:
        gone = self._state.tags.pop((name, tag), None) is not None
        if gone:
            self._state.history.append((name, TagEvent(tag, None, at)))
        return gone


class MemoryRepositories(_Holdings):
    """Implements ports.repositories.Repositories."""

    def __init__(self, faults: Faults | None = None) -> None:
        super().__init__(_State())
        self.faults = faults or Faults()
        self._lock = threading.RLock()
        self._removals = 0

    @contextlib.contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        with self._lock:
            draft = copy.deepcopy(self._state)
            yield MemoryTransaction(draft, self._removing)
            with storage_errors(), self.faults.at("commit") as fault:
                if fault not in (Fault.HALF, Fault.AFTER):  # a transaction that fails has not happened: the contract
                    self._state = draft
            self._removing()

    def removals(self) -> int:
        return self._removals

    def _removing(self) -> None:
        self._removals += 1

    def names(self, after: str, limit: int) -> list[str]:
        names = {name for name, _ in [*self._state.blobs, *self._state.manifests]}
        return sorted(name for name in names if name > after)[:limit]

    def has_repository(self, name: str) -> bool:
        return name in self.names("", 1 << 30)

    def tags(self, name: str, after: str, limit: int) -> list[str]:
        return sorted(tag for holder, tag in self._state.tags if holder == name and tag > after)[:limit]

    def history(self, name: str, tag: str) -> list[TagEvent]:
        return [event for holder, event in self._state.history if (holder, event.tag) == (name, tag)]

    def referrers(self, name: str, subject: str, artifact_type: str | None, after: str) -> Iterator[Descriptor]:
        for (holder, digest), (descriptor, about) in sorted(self._state.manifests.items(), key=lambda item: item[0]):
            if (holder, about) == (name, subject) and digest > after and artifact_type in (
                    None, descriptor.artifact_type):
                yield descriptor

    def digests(self) -> Iterator[str]:
        yield from sorted({digest for _, digest in [*self._state.blobs, *self._state.manifests]})

    def close(self) -> None:
        """Nothing is held."""
