"""A build's locked inputs: whatever the package index answers, only files whose hash the lock names come in.

Wheels for one fixed platform are taken, so that every machine builds the same image; source distributions are not,
since building them would run their code outside the sandbox.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from custody.errors import DeniedError
from custody.formats.lockfile import LockEntry

Fetch = Callable[[list[LockEntry], Path], None]
"""Puts a wheel of each entry into a folder, by whatever means, unverified. Raises NetworkError, OfflineError."""


@dataclass(frozen=True, slots=True)
class Input:
    entry: LockEntry
    path: Path
    sha256: str


def fetch_inputs(lock: tuple[LockEntry, ...], cache: Path, fetch: Fetch) -> list[Input]:
    """The verified files of all entries, in the lock's order. Raises DeniedError for bytes that the lock does not name.

    The cache is trusted for nothing: its files are hashed again each time.
    """
    cache.mkdir(parents=True, exist_ok=True)
    missing = [pinned for pinned in lock if _find(pinned, cache) is None]
    if missing:
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as draft:  # another build may look meanwhile
            fetch(missing, Path(draft))
            for file in Path(draft).iterdir():
                file.replace(cache / file.name)
    result = []
    for pinned in lock:
        path = _find(pinned, cache)
        if path is None:
            raise DeniedError(f"{pinned.name} {pinned.version}: no wheel for the build's platform was found",
                              hint="custody builds take wheels (manylinux x86_64, CPython 3.11, or pure Python)")
        data = path.read_bytes()
        if not any(hashlib.new(algorithm, data).hexdigest() == digest
                   for algorithm, _, digest in (value.partition(":") for value in pinned.hashes)):
            path.unlink()
            raise DeniedError(f"{path.name}: its bytes are sha256:{hashlib.sha256(data).hexdigest()}, "
                              f"the lock file allows {', '.join(pinned.hashes)} (line {pinned.line})")
        result.append(Input(pinned, path, hashlib.sha256(data).hexdigest()))
    return result


def copy_input(wheel: Input, folder: Path) -> None:
    """Put a verified file into `folder`, and look once more: in the cache others may have changed it since."""
    copy = folder / wheel.path.name
    shutil.copyfile(wheel.path, copy)
    with copy.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != wheel.sha256:
        raise DeniedError(f"{wheel.path.name}: its bytes were sha256:{wheel.sha256}, and sha256:{digest} when they "
                          "were copied", hint=f"who else writes in {wheel.path.parent}?")
    copy.chmod(0o644)


def _find(pinned: LockEntry, cache: Path) -> Path | None:
    start = pinned.name.replace("-", "_") + "-"
    for path in sorted(cache.glob("*.whl")):
        name, _, rest = path.name.partition("-")
        version = rest.partition("-")[0]
        if name.lower().replace(".", "_") + "-" == start and version == pinned.version:
            return path
    return None
