"""A TUF repository in a folder, laid out as it is served: any file server can (TUF specification 1.0.31 section 7).

    timestamp.json                which snapshot counts; a week, signed anew after a day
    N.snapshot.json               which targets metadata counts; three weeks, signed anew after one
    N.targets.json                which files there are; half a year
    N.root.json                   who signs; a year. Each is signed by the keys of the one before
    targets/SHA256.NAME           the files themselves

Files are written before those that name them, the timestamp last: a reader sees one state or the next, and of a writer
that was killed the old one. Writers wait for each other. Versions are minutes since 2026, or one more than the one
before: so they go up too where the folder is that of an older backup. Those of root metadata have no gaps.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from custody.errors import ConflictError, MalformedError, UsageError
from custody.kit.clock import Clock, format_rfc3339
from custody.kit.folder import private, sync
from custody.kit.lock import locked
from custody.trust.tuf import metadata
from custody.trust.tuf.metadata import Metadata, Signer

_LIFETIMES = {"root": timedelta(days=365), "targets": timedelta(days=182), "snapshot": timedelta(days=21),
              "timestamp": timedelta(days=7)}
_RENEWAL = {"root": timedelta(days=90), "targets": timedelta(days=91), "snapshot": timedelta(days=14),
            "timestamp": timedelta(days=6)}
"""What must be left of each, or it is signed anew."""
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Repository:
    """The files of one folder, and the keys that sign them.

    `roots` is asked for when root metadata is to be signed, and no earlier: the key may be elsewhere. Methods raise
    MalformedError for metadata or keys that are broken or another's, OSError.
    """

    def __init__(self, folder: Path, online: Callable[[], Signer], roots: Callable[[], Sequence[Signer]],
                 clock: Clock) -> None:
        self.folder = folder
        self._online = online
        self._roots = roots
        self._clock = clock

    def update(self, files: Mapping[str, bytes], *, refresh: bool = False) -> bool:
        """Bring the repository to where `files`, by name, are its targets and nothing runs out soon.

        `refresh`: the timestamp is signed anew, whatever is left of it. Returns whether anything was written.
        """
        private(self.folder)
        (self.folder / "targets").mkdir(mode=0o700, exist_ok=True)
        with locked(self.folder):
            renewed = self._update_root()
            current = self._current("timestamp")
            state = self._signed(current, files)
            if state is None and current is not None and not refresh and not self._due(current, "timestamp"):
                return renewed
            listing, named = state or (None, self._numbered("snapshot", _version(current, "snapshot.json")))
            if named is None:
                raise MalformedError(str(self.folder / "timestamp.json"), got="the version of a snapshot that is not "
                                     "there", expected="the newest snapshot's", hint="restore the folder")
            if listing is not None:
                for name, data in files.items():
                    self._write(f"targets/{hashlib.sha256(data).hexdigest()}.{name}", data)
                self._write(f"{listing.version}.targets.json", listing.data)
            self._write(f"{named.version}.snapshot.json", named.data)
            signed = metadata.timestamp(self._next(current), self._until("timestamp"), named)
            self._write("timestamp.json", metadata.sign(signed, [self._online()]).data)
        return True

    def rotate_root(self, old: Signer, new: Signer) -> int:
        """Publish root metadata in which `new` takes the place of `old`, signed by both. Returns its version.

        Raises UsageError where there is no repository yet, or `old` is not its root key.
        """
        with locked(private(self.folder)):
            version = self.check_root(old).version + 1
            self._write_root(version, new, [old, new])
            return version

    def check_root(self, signer: Signer) -> Metadata:
        """The newest root metadata. Raises UsageError where there is none, or its root key is another."""
        current = self._newest_root()
        if current is None:
            raise UsageError(f"{self.folder}: there is no repository yet", hint="custody trust tuf publish DIR, or "
                             "custody up, makes one")
        if not current.names("root", signer):
            raise UsageError(f"the root key {signer.key_id[:16]}… is not that of {current.version}.root.json")
        return current

    def is_root(self, signer: Signer) -> bool:
        """Whether the newest root metadata names this root key."""
        current = self._newest_root()
        return current is not None and current.names("root", signer)

    def expiry(self) -> tuple[str, datetime] | None:
        """What of the repository runs out first, and when; None where there is none yet."""
        current, root = self._current("timestamp"), self._newest_root()
        if current is None or root is None:
            return None
        return min(("timestamp", current.expires), ("root", root.expires), key=lambda part: part[1])

    def publish(self, copy: Path) -> int:
        """Copy what clients may ask for into another folder, for a file server. Returns the timestamp's version.

        Raises ConflictError where that folder has another repository, or a newer state of this one: clients take
        neither.
        """
        with locked(self.folder):
            current = self._current("timestamp")
            if current is None:
                raise UsageError(f"{self.folder}: there is no repository yet")
            _refuse_other(self.folder, copy, current)
            for name in self._names(current):
                _put(copy / name, (self.folder / name).read_bytes())
            _put(copy / "timestamp.json", current.data)
        return current.version

    def _update_root(self) -> bool:
        """Make root metadata where there is none, it runs out soon, or names another online key. Returns whether."""
        current = self._newest_root()
        if current is None:
            signers = self._roots()
            if not signers:
                raise MalformedError(str(self.folder), got="no root key", expected="the key that signs 1.root.json",
                                     hint="restore the data directory")
            self._write_root(1, signers[0], signers[:1])
            return True
        changed = not self._names_online(current)
        if not changed and self._left(current) >= _RENEWAL["root"]:
            return False
        signer = next((signer for signer in self._roots() if current.names("root", signer)), None)
        if signer is None and not changed:
            return False  # `expiry` tells how long that goes well
        if signer is None:
            raise MalformedError(f"{current.version}.root.json", got="an online key that it does not name",
                                 expected="the one that signs timestamps, or the root key to say so",
                                 hint="restore the data directory, or the root key in it")
        self._write_root(current.version + 1, signer, [signer])
        return True

    def _names_online(self, root: Metadata) -> bool:
        online = self._online()
        return all(root.names(role, online) for role in metadata.ROLES if role != "root")

    def _write_root(self, version: int, signer: Signer, signers: Sequence[Signer]) -> None:
        online = self._online()
        keys = {role: signer if role == "root" else online for role in metadata.ROLES}
        signed = metadata.root(version, self._until("root"), keys)
        self._write(f"{version}.root.json", metadata.sign(signed, signers).data)

    def _signed(self, current: Metadata | None,
                files: Mapping[str, bytes]) -> tuple[Metadata | None, Metadata] | None:
        """New targets and snapshot; None where those that are there still hold, None for targets that do."""
        before = self._numbered("snapshot", _version(current, "snapshot.json"))
        listing = self._numbered("targets", _version(before, "targets.json"))
        online = self._online()
        fresh: Metadata | None = None
        signed = metadata.targets(self._next(listing), self._until("targets"), files)
        if listing is None or signed["targets"] != listing.signed["targets"] or self._due(listing, "targets"):
            fresh = metadata.sign(signed, [online])
        elif before is not None and not self._due(before, "snapshot"):
            return None
        named = fresh or listing
        assert named is not None
        signed = metadata.snapshot(self._next(before), self._until("snapshot"), named)
        return fresh, metadata.sign(signed, [online])

    def _next(self, before: Metadata | None) -> int:
        return max(int((self._clock() - _EPOCH) / timedelta(minutes=1)), 1 if before is None else before.version + 1)

    def _due(self, part: Metadata, role: str) -> bool:
        """Whether an online role's metadata runs out soon, or was signed by a key that is no longer its own."""
        return self._left(part) < _RENEWAL[role] or self._online().key_id not in part.signers

    def _left(self, part: Metadata) -> timedelta:
        return part.expires - self._clock()

    def _until(self, role: str) -> datetime:
        return self._clock() + _LIFETIMES[role]

    def _current(self, name: str) -> Metadata | None:
        path = self.folder / f"{name}.json"
        return Metadata(path.read_bytes(), str(path)) if path.is_file() else None

    def _numbered(self, role: str, version: int | None) -> Metadata | None:
        return None if version is None else self._current(f"{version}.{role}")

    def _newest_root(self) -> Metadata | None:
        newest = None
        for version in range(1, 1 << 16):
            path = self.folder / f"{version}.root.json"
            if not path.is_file():
                break
            newest = path
        return None if newest is None else Metadata(newest.read_bytes(), str(newest))

    def _names(self, current: Metadata) -> Iterator[str]:
        """Those of all files that a client of this state may ask for, but for the timestamp's."""
        version = 1
        while (self.folder / f"{version}.root.json").is_file():
            yield f"{version}.root.json"
            version += 1
        snapshot = self._numbered("snapshot", _version(current, "snapshot.json"))
        listing = self._numbered("targets", _version(snapshot, "targets.json"))
        if snapshot is None or listing is None:
            raise MalformedError(str(self.folder), got="a timestamp without its snapshot and targets",
                                 expected="all that it names", hint="restore the folder")
        for name, target in listing.signed["targets"].items():
            yield f"targets/{target['hashes']['sha256']}.{name}"
        yield f"{listing.version}.targets.json"
        yield f"{snapshot.version}.snapshot.json"

    def _write(self, name: str, data: bytes) -> None:
        _put(self.folder / name, data)


def _version(named_by: Metadata | None, name: str) -> int | None:
    if named_by is None:
        return None
    meta: dict[str, Any] = named_by.signed["meta"]
    return int(meta[name]["version"])


def _refuse_other(folder: Path, copy: Path, current: Metadata) -> None:
    first, stamp = copy / "1.root.json", copy / "timestamp.json"
    if first.is_file() and first.read_bytes() != (folder / "1.root.json").read_bytes():
        raise ConflictError(f"{copy}: is another repository's, its 1.root.json differs", hint="name another folder")
    if stamp.is_file() and (there := Metadata(stamp.read_bytes(), str(stamp))).version > current.version:
        raise ConflictError(f"{stamp}: has version {there.version} of {format_rfc3339(there.expires)}, and this would "
                            f"be {current.version}: clients never go back",
                            hint="publish from the data directory that wrote it, or a newer backup")


def _put(path: Path, data: bytes) -> None:
    """Whole and durable, or not at all."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)
