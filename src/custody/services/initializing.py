"""Trust files of a TUF mirror: fetched and verified beside those in use, which they then replace together.

What fails leaves the files as they were. What of the mirror's metadata was verified before stays known all the same, so
that nobody goes back behind it; but not where the update began with another root, which may be the wrong one.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from custody.errors import MissingEvidenceError, UsageError
from custody.kit import destination
from custody.kit.clock import Clock
from custody.kit.folder import private, sync
from custody.kit.lock import locked
from custody.ports.trustmirror import State, TrustMirror
from custody.trust.keyfiles import KEYS
from custody.trust.roots import parse_signing_config, parse_trusted_root
from custody.trust.tuf.mirrored import PREFIX, RECORD, Mirrored, read_mirrored

TRUSTED_ROOT = "trusted_root.json"
SIGNING_CONFIGS = ("signing_config.v0.2.json",)
"""Targets that say where to sign, of the versions that custody reads, the newest first."""
Opener = Callable[[Path, bytes | None], TrustMirror]
"""Makes the client of a mirror, with the folder of its metadata and the root to begin with."""


class Initialized(NamedTuple):
    """What was written."""

    state: State
    trusted_root: Path
    signing_config: Path | None
    """None where the mirror does not say where to sign."""


def initialize(folder: Path, mirror: str, root: bytes | None, opener: Opener, clock: Clock) -> Initialized:
    """Bring trusted_root.json and signing_config.json in `folder` to what the mirror says now.

    `root`: root metadata to begin with, from another way than the mirror's; None: what the last update knew. Raises
    UsageError where it is needed, and where the folder is that of services; MissingEvidenceError for a mirror
    without a trusted root; MalformedError and UnsupportedError for trust files that custody does not read; and what the
    port says.
    """
    private(folder)
    with locked(folder):
        _refuse_services(folder)
        known = read_mirrored(folder)
        kept = folder / known.metadata if known is not None and known.mirror == mirror else None
        if root is None and (kept is None or not (kept / "root.json").is_file()):
            raise UsageError(f"--root: {mirror}: nothing is known of it yet, and a mirror cannot vouch for itself",
                             hint="--root FILE: the root.json that its operator publishes by another way; that of a "
                             "custody is tuf/1.root.json in its data directory")
        draft = folder / f"{PREFIX}{secrets.token_hex(8)}"
        replaced = False
        try:
            _copy(kept, draft)
            state, files = _fetched(opener(draft, root))
            record = Mirrored(mirror, draft.name, clock().replace(microsecond=0), state.expires, state.role)
            _swap(folder, files, record)
            replaced = True
        except BaseException:
            if root is None and known is not None and (draft / "timestamp.json").is_file():
                destination.write(folder / RECORD, structs.replace(known, metadata=draft.name).to_json(), "initialize")
                replaced = True
            raise
        finally:
            _clear(folder, draft.name if replaced else known.metadata if known is not None else None)
    config = folder / "signing_config.json"
    return Initialized(state, folder / TRUSTED_ROOT, config if config.is_file() else None)


def check_sum(data: bytes, stated: str) -> None:
    """Raises UsageError where bytes have another digest than `stated`: sha256 in hex, or `sha512:` and hex."""
    algorithm, separator, value = stated.rpartition(":")
    algorithm = algorithm if separator else "sha256"
    sizes = {"sha256": 64, "sha512": 128}
    if len(value) != sizes.get(algorithm) or set(value.lower()) - set("0123456789abcdef"):
        raise UsageError(f"--root-checksum: got {stated!r}, expected 64 hex digits, or sha512: and 128")
    computed = hashlib.new(algorithm, data).hexdigest()
    if computed != value.lower():
        raise UsageError(f"--root-checksum: got {algorithm}:{computed}, expected {algorithm}:{value.lower()}",
                         hint="it is not the root that was meant: nothing was written")


def _refuse_services(folder: Path) -> None:
    for role, names in KEYS.items():
        for name in names if role != "tuf" else ():
            if (folder / f"{name}.key").exists():
                raise UsageError(f"{folder}: the trust files there are written by the services of this data "
                                 f"directory ({name}.key)", hint="CUSTODY_DATA_DIR=DIR, or data_dir in "
                                 "custody.toml, names another; verifying here needs no mirror")


def _copy(kept: Path | None, draft: Path) -> None:
    if kept is not None and kept.is_dir():
        shutil.copytree(kept, draft, symlinks=True)
    else:
        draft.mkdir(mode=0o700)


def _fetched(client: TrustMirror) -> tuple[State, list[tuple[str, bytes]]]:
    """What the mirror says, and the trust files by the name that they are kept under; all read by their formats."""
    with client as mirror:
        state = mirror.refresh()
        root = mirror.target(TRUSTED_ROOT)
        if root is None:
            raise MissingEvidenceError(f"{TRUSTED_ROOT}: the mirror has none",
                                       hint="custody reads no targets of single keys, as cosign 1 had them")
        parse_trusted_root(root, TRUSTED_ROOT)
        files = [(TRUSTED_ROOT, root)]
        for name in SIGNING_CONFIGS:
            config = mirror.target(name)
            if config is not None:
                parse_signing_config(config, name, signs=False)
                files.append(("signing_config.json", config))
                break
    return state, files


def _swap(folder: Path, files: list[tuple[str, bytes]], record: Mirrored) -> None:
    destination.write_together([*((folder / name, data) for name, data in files),
                                (folder / RECORD, record.to_json())], "initialize")
    if len(files) == 1:  # that of another mirror must not say where to sign
        (folder / "signing_config.json").unlink(missing_ok=True)
    sync(folder)


def _clear(folder: Path, used: str | None) -> None:
    """Remove what no record names: former metadata, and that of updates that were killed."""
    for path in folder.glob(f"{PREFIX}*"):
        if path.name != used:
            with suppress(OSError):  # it is looked for again the next time
                shutil.rmtree(path)
