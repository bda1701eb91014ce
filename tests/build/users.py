"""Runs a piece of this test suite as an ordinary user, where root runs the suite."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

UID = 47_321
"""Nobody's: such a user needs no entry in /etc/passwd."""
_ROOT = Path(__file__).parents[2]
USERS = (*(("root",) if os.geteuid() == 0 else ()), "ordinary", "alone")
"""`alone` is root in a user namespace that has nobody else, as in a container without a range of users."""
ISOLATIONS = ("bubblewrap", "namespaces")


@functools.cache
def _interpreter() -> str | None:
    """A Python of this version that an ordinary user may run, with this suite's packages."""
    for program in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        try:
            done = _run([program, "-c", "import custody.build.builder, tests.build.users"], {}, UID)
        except OSError:
            continue
        if done.returncode == 0:
            return program
    return None


def _run(command: list[str], environment: Mapping[str, str], user: int) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(_ROOT), *(place for place in sys.path if place.startswith(str(_ROOT)))])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    as_user = {"user": user, "group": user, "extra_groups": [user]} if os.geteuid() == 0 else {}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=environment, timeout=120,
                          **as_user)  # type: ignore[call-overload,no-any-return]


def run_as_user(module: str, *arguments: str, folder: Path, user: str = "ordinary") -> str:
    """Standard output of `python -m module` as one of `USERS` but root, who owns `folder`; skips if there is no way."""
    program = _interpreter()
    if program is None:
        pytest.skip("an ordinary user can run no Python of this version with the suite's packages")
    if os.geteuid() == 0:
        os.chown(folder, UID, UID)
    alone = ["unshare", "--user", "--map-root-user", "--"] if user == "alone" else []
    if alone and (shutil.which("unshare") is None or _run([*alone, "true"], {}, UID).returncode != 0):
        pytest.skip("unshare --map-root-user does not work here")
    done = _run([*alone, program, "-m", module, *arguments], {"TMPDIR": str(folder)}, UID)
    assert done.returncode == 0, done.stderr
    return done.stdout
