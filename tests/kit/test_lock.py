"""One process holds a lock; another learns which."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from custody.kit.lock import HeldError, hold


def test_another_process_learns_who_holds_it(tmp_path: Path) -> None:
    handle = hold(tmp_path / "lock")
    program = "import sys; from custody.kit.lock import hold; from pathlib import Path; hold(Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "lock"], capture_output=True, text=True,
                          check=False)
    assert f"HeldError: process {os.getpid()}" in done.stderr
    os.close(handle)
    os.close(hold(tmp_path / "lock"))


def test_a_full_disk_keeps_the_number_away_and_not_the_lock(tmp_path: Path) -> None:
    with mock.patch("os.pwrite", side_effect=OSError(28, "No space left on device")):
        handle = hold(tmp_path / "lock")
    with pytest.raises(HeldError, match="process unknown"):
        hold(tmp_path / "lock")
    os.close(handle)
