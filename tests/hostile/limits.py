"""Runs what may never end in children with limits: `python -m tests.hostile.limits` forks one for each line it reads.

A line of standard input is {"arguments": […], "folder": path}; `custody ARGUMENTS`, or the door of
`tests.hostile.doors` that is called so, runs in the folder, which gets its `stdout` and `stderr`. {"code": exit code,
"signal": what ended it, "seconds": CPU} is answered. What commands import is imported once, before the forks.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

SECONDS = 20
"""CPU of one child. The machine is shared: time on the wall says nothing."""
BYTES = 3 << 29
"""Address space of one child: 1.5 GiB."""


_WARM = ("custody.cli.run", "custody.cli.check", "custody.cli.policy_apply", "custody.cli.policy_test",
         "custody.cli.policy", "custody.cli.policy_migrate", "custody.cli.policy_import", "custody.policy.load",
         "custody.policy.lint", "custody.policy.migrate.rules",
         "custody.policy.imports.translation", "tests.hostile.doors")


class Ran(NamedTuple):
    """One command that ended, or was ended."""

    code: int
    signal: int
    seconds: float
    stdout: str
    stderr: str


class Children:
    """The process that forks the children."""

    def __init__(self) -> None:
        self._parent = self._started()

    def _started(self) -> subprocess.Popen[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("CUSTODY_", "COSIGN_"))}
        return subprocess.Popen([sys.executable, "-m", "tests.hostile.limits"], text=True, env=env,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, folder: Path, *arguments: str) -> Ran:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(json.dumps({"arguments": arguments, "folder": str(folder)}) + "\n")
        self._parent.stdin.flush()
        line = self._parent.stdout.readline()
        if not line:  # somebody outside ended it: this row fails, and the next has another
            code = self._parent.wait(30)
            self._parent = self._started()
            raise AssertionError(f"the process that forks children ended with {code}")
        answer = json.loads(line)
        texts = [(folder / name).read_bytes().decode(errors="replace") for name in ("stdout", "stderr")]
        return Ran(answer["code"], answer["signal"], answer["seconds"], *texts)

    def close(self) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        self._parent.wait(30)
        assert self._parent.stdout is not None
        self._parent.stdout.close()


def limited() -> None:
    """From now on this process has so much time and memory."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _child(arguments: list[str], folder: str) -> int:
    os.chdir(folder)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    limited()
    from custody.cli.main import main
    from tests.hostile.doors import DOORS

    with contextlib.suppress(SystemExit):
        code = DOORS[arguments[0]]() if arguments[0] in DOORS else main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        return code
    return 1


def _serve() -> None:
    import gc
    import importlib

    for module in _WARM:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        process = os.fork()
        if process == 0:
            os._exit(_child(asked["arguments"], asked["folder"]))
        _, status, used = os.wait4(process, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status), "seconds": used.ru_utime + used.ru_stime,
                          "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}), flush=True)


if __name__ == "__main__":
    _serve()
