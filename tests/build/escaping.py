"""Runs tests.build.attempts in the real sandbox and says what the attempts got: `python -m tests.build.escaping`."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from custody.build.limits import Limits
from custody.build.sandbox import Places, run_step
from custody.build.seccomp import system_calls
from custody.build.workfolder import work_folder


def escape(kind: str, folder: Path, host: dict[str, Any]) -> dict[str, Any]:
    """The report, the log, and whether any of the step was still there when the control plane went on."""
    marker = host["marker"]
    with work_folder(folder) as work:
        places = Places.create(work)
        shutil.copyfile(Path(__file__).with_name("attempts.py"), places.source / marker)
        (places.source / "host.json").write_text(json.dumps({**host, "numbers": system_calls(platform.machine())}))
        for file in places.source.iterdir():
            file.chmod(0o644)
        step = run_step(["python3", marker], kind=kind, places=places, epoch=0, limits=Limits(timeout=120))
        left = processes(marker)
        report = places.output / "1" / "report"
        attempts = json.loads(report.read_text()) if report.exists() else {}
    return {"attempts": attempts, "log": step.log.decode(), "exit_code": step.exit_code, "left": left,
            "folders": [name for name in os.listdir(folder) if name.startswith("custody-build-")]}


def processes(marker: str) -> list[str]:
    """Ids of processes whose command line has `marker`, but for those that were given it by the tests."""
    ids = []
    for name in os.listdir("/proc"):
        try:
            words = Path("/proc", name, "cmdline").read_bytes().split(b"\0") if name.isdigit() else []
        except OSError:  # it ended meanwhile
            continue
        if marker.encode() in words:
            ids.append(name)
    return ids


if __name__ == "__main__":
    print(json.dumps(escape(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))))
