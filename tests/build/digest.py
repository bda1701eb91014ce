"""The digest of a build: `python -m tests.build.digest REPOSITORY COMMIT ISOLATION FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from custody.adapters.git import GitRepository
from custody.build.builder import build
from custody.formats.lockfile import LockEntry
from custody.kit.clock import system_clock


def no_fetch(entries: list[LockEntry], folder: Path) -> None:
    raise AssertionError("nothing is to be fetched")


if __name__ == "__main__":
    path, commit, kind, place = sys.argv[1:]
    repository = GitRepository(Path(path))
    built = build(repository, commit, repository_uri="https://x/y", layout=Path(place, "image"),
                  cache=Path(place, "cache"), fetch=no_fetch, clock=system_clock, isolation=kind)
    repository.close()
    print(built.descriptor.digest)
