"""How long a build takes whose step only makes one folder: what isolation, launcher and checks cost.

    python bench/build/step.py [RUNS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from custody.adapters.git import GitRepository
from custody.build.builder import build
from custody.build.sandbox import KINDS, choose_isolation
from custody.errors import UnsupportedError
from custody.kit.clock import system_clock


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        git = ["git", "-C", str(folder / "repo"), "-c", "user.name=a", "-c", "user.email=a@example.com",
               "-c", "commit.gpgsign=false"]
        (folder / "repo").mkdir()
        subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
        (folder / "repo" / "custody-build.toml").write_text('[build]\ncommand = ["mkdir", "-p", "/out/1"]\n')
        for kind in KINDS:
            try:
                choose_isolation(kind)
            except UnsupportedError as error:
                print(f"{kind}: {error}")
                continue
            if kind == "none":
                (folder / "repo" / "custody-build.toml").write_text(
                    '[build]\ncommand = ["sh", "-c", "mkdir $CUSTODY_OUTPUT/1"]\n')
            subprocess.run([*git, "add", "-A"], check=True)
            subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", kind], check=True)
            repository = GitRepository(folder / "repo")
            times = []
            for run in range(runs):
                began = time.perf_counter()
                build(repository, repository.resolve("HEAD"), repository_uri="x", layout=folder / f"{kind}{run}",
                      cache=folder / "cache", fetch=lambda *_: None, clock=system_clock, isolation=kind)
                times.append(time.perf_counter() - began)
            repository.close()
            print(f"{kind}: median {statistics.median(times) * 1000:.0f} ms, least {min(times) * 1000:.0f} ms, "
                  f"{runs} builds, {'root' if os.geteuid() == 0 else 'an ordinary user'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
