"""The runtime role as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}


class Role:
    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process, self.url, self.log = process, url, log

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def role(folder: Path, *flags: str, port: int = 0) -> Iterator[Role]:
    """`custody serve --roles runtime` in a folder with a custody.toml; its URL once it answers."""
    log = folder / "role.log"
    with log.open("ab") as stderr:
        begun = stderr.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "custody.cli.main", "serve", "--roles", "runtime", "--port", str(port), *flags],
            cwd=folder, env=ENVIRONMENT, stderr=stderr, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while True:
            said = log.read_bytes()[begun:].decode()
            match = re.search(r"runtime +(https?://\S+)/runtime/audit", said)
            if match and "ctrl-c stops" in said:
                yield Role(process, match[1], log)
                break
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"the role does not run: {said}")
            time.sleep(0.05)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def alerts(path: Path) -> list[dict[str, Any]]:
    """Of an output file; each line is whole."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def watch(folder: Path, *arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """`custody runtime watch` to its end."""
    return subprocess.run([sys.executable, "-m", "custody.cli.main", "runtime", "watch", *arguments], cwd=folder,
                          env=ENVIRONMENT, input=stdin, capture_output=True, timeout=120, check=False)


def told(lines: Sequence[dict[str, Any]]) -> list[str]:
    return [line["rule"] for line in lines]
