"""Wheels through pip, with the index, proxies and credentials that pip is set up with on this machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from custody.errors import NetworkError, OfflineError, UnsupportedError
from custody.formats.lockfile import LockEntry

_PLATFORMS = ("manylinux_2_34_x86_64", "manylinux_2_31_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64",
              "manylinux2014_x86_64", "manylinux_2_12_x86_64", "manylinux2010_x86_64", "manylinux_2_5_x86_64",
              "manylinux1_x86_64")


class PipFetch:
    """Implements build.inputs.Fetch."""

    def __init__(self, *, offline: bool = False, timeout: float = 600.0) -> None:
        self._offline = offline
        self._timeout = timeout

    def __call__(self, entries: list[LockEntry], folder: Path) -> None:
        names = [f"{entry.name}=={entry.version}" for entry in entries]
        if self._offline:
            raise OfflineError(f"{', '.join(names)}: not in the cache of inputs, and no sockets with --offline")
        command = [_python(), "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check",
                   "--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311",
                   "--abi", "abi3", "--abi", "none", "--dest", str(folder)]
        for platform in (*_PLATFORMS, "any"):
            command += ["--platform", platform]
        try:
            done = subprocess.run([*command, *names], capture_output=True, text=True, timeout=self._timeout,
                                  check=False)
        except subprocess.TimeoutExpired:
            raise NetworkError(f"pip download: no answer in {self._timeout:.0f} s") from None
        if done.returncode != 0:
            words = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["failed"]
            raise NetworkError(f"pip download: {words[-1].removeprefix('ERROR: ')}",
                               hint="is the package index reachable? pip config list")


def _python() -> str:
    """An interpreter that has pip: ours, else the one on PATH (environments made by uv have none)."""
    for python in (sys.executable, shutil.which("python3"), "/usr/bin/python3"):
        if python and Path(python).exists() and subprocess.run([python, "-m", "pip", "--version"], capture_output=True,
                                     check=False).returncode == 0:
            return python
    raise UnsupportedError("pip", "there is no pip to fetch wheels with", hint=f"{sys.executable} -m ensurepip")
