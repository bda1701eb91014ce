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


def fetch_inputs(entries: tuple[LockEntry, ...], cache: Path, fetch: Fetch) -> list[Input]:
    """The verified files of all entries, in the lock's order. Raises DeniedError for bytes that the lock does not name.

    The cache is trusted for nothing: its files are hashed again each time.
    """
    cache.mkdir(parents=True, exist_ok=True)
    missing = [entry for entry in entries if _find(entry, cache) is None]
    if missing:
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as draft:  # another build may look meanwhile
            fetch(missing, Path(draft))
            for file in Path(draft).iterdir():
                file.replace(cache / file.name)
    result = []
    for entry in entries:
        path = _find(entry, cache)
        if path is None:
            raise DeniedError(f"{entry.name} {entry.version}: no wheel for the build's platform was found",
                              hint="custody builds take wheels (manylinux x86_64, CPython 3.11, or pure Python)")
        data = path.read_bytes()
        if not any(hashlib.new(algorithm, data).hexdigest() == digest
                   for algorithm, _, digest in (value.partition(":") for value in entry.hashes)):
            path.unlink()
            raise DeniedError(f"{path.name}: its bytes are sha256:{hashlib.sha256(data).hexdigest()}, "
                              f"the lock file allows {', '.join(entry.hashes)} (line {entry.line})")
        result.append(Input(entry, path, hashlib.sha256(data).hexdigest()))
    return result


def copy_input(item: Input, folder: Path) -> None:
    """Put a verified file into `folder`, and look once more: in the cache others may have changed it since."""
    copy = folder / item.path.name
    shutil.copyfile(item.path, copy)
    with copy.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != item.sha256:
        raise DeniedError(f"{item.path.name}: its bytes were sha256:{item.sha256}, and sha256:{digest} when they were "
                          "copied", hint=f"who else writes in {item.path.parent}?")
    copy.chmod(0o644)


def _find(entry: LockEntry, cache: Path) -> Path | None:
    start = entry.name.replace("-", "_") + "-"
    for path in sorted(cache.glob("*.whl")):
        name, _, rest = path.name.partition("-")
        version = rest.partition("-")[0]
        if name.lower().replace(".", "_") + "-" == start and version == entry.version:
            return path
    return None
