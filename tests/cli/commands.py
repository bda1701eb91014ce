"""Runs `custody` in a process, as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def custody(*arguments: str, cwd: Path, given: str | None = None,
            **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("CUSTODY_", "COSIGN_"))}
    return subprocess.run([sys.executable, "-m", "custody.cli.main", *arguments], cwd=cwd, input=given, text=True,
                          capture_output=True, timeout=120, check=False, env={**env, **environment})
