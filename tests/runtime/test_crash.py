"""SIGKILL at moments that nobody chose: no alert of a file is lost, and none is there twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.role import ENVIRONMENT, alerts, watch

RULES = """\
- rule: shell
  desc: a shell
  condition: evt.type = execve and proc.name = sh
  output: shell %proc.cmdline
  priority: WARNING
"""
_NOISE = 40
"""Events between two of which there is an alert."""


def event(number: int, name: str = "sh") -> bytes:
    return json.dumps({"evt.type": "execve", "proc.name": name, "proc.cmdline": f"{name} {number}",
                       "evt.rawtime": 1_700_000_000_000_000_000 + number}).encode() + b"\n"


def commands(path: Path) -> list[str]:
    return [alert["output_fields"]["proc.cmdline"] for alert in alerts(path) if alert["rule"] == "shell"]


def begun(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "custody.cli.main", "runtime", "watch", "--rules", "rules.yaml",
                             *arguments], cwd=folder, env=ENVIRONMENT, stderr=subprocess.DEVNULL)


def noted(folder: Path) -> bool:
    """Whether an input was begun."""
    path = folder / ".custody" / "runtime.db"
    if not path.exists():
        return False
    with contextlib.closing(sqlite3.connect(path)) as database:
        try:
            return bool(database.execute("SELECT COUNT(*) FROM mark").fetchone()[0])
        except sqlite3.OperationalError:
            return False


@pytest.mark.parametrize("rotating", ["", "input", "output"])
def test_killed_at_random(tmp_path: Path, rotating: str) -> None:
    chance = random.Random(f"killed {rotating}")
    (tmp_path / "rules.yaml").write_text(RULES)
    log, output = tmp_path / "events.log", tmp_path / "alerts.jsonl"
    log.touch()
    watched = ("--input", f"fields:{log}", "--output", str(output), "--fold-after", "0")
    number = kills = 0
    process = begun(tmp_path, *watched)
    moved: list[Path] = []
    until = time.monotonic() + 60
    while not noted(tmp_path) and time.monotonic() < until:  # what was rotated before it began, it does not know
        time.sleep(0.05)
    kill_at = time.monotonic() + chance.uniform(0.5, 2.0)
    while kills < 6:
        with log.open("ab") as file:
            for _ in range(chance.randrange(1, 400)):
                number += 1
                file.write(event(number, "sh" if number % _NOISE == 0 else "ls"))
        if rotating == "input" and chance.random() < 0.05:
            os.rename(log, log.with_name(f"events.log.{number}"))
            log.touch()
        if rotating == "output" and chance.random() < 0.05 and output.exists():
            moved.append(output.with_name(f"alerts.jsonl.{number}"))
            os.rename(output, moved[-1])
        time.sleep(chance.uniform(0, 0.02))
        if time.monotonic() > kill_at:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            process = begun(tmp_path, *watched)
            kill_at = time.monotonic() + chance.uniform(0.3, 2.0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert watch(tmp_path, "--rules", "rules.yaml", *watched, "--once").returncode == 0
    told = [command for path in [*moved, output] for command in commands(path)]
    expected = [f"sh {place}" for place in range(_NOISE, number + 1, _NOISE)]
    assert Counter(told) == Counter(expected)
    assert told == expected, "in their order"


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "events.log").write_bytes(event(1))
    arguments = ("--rules", "rules.yaml", "--input", "fields:events.log", "--output", "alerts.jsonl", "--once")
    assert b"1 event, 1 alert" in watch(tmp_path, *arguments).stderr
    assert b"0 events, 0 alerts" in watch(tmp_path, *arguments).stderr
    assert b"1 event, 1 alert" in watch(tmp_path, *arguments, "--again").stderr
    assert commands(tmp_path / "alerts.jsonl") == ["sh 1", "sh 1"], "as it was asked for"


def test_alerts_that_were_written_and_not_noted_are_cut_off(tmp_path: Path) -> None:
    """What a process writes between its alerts and its note is there once all the same."""
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "events.log").write_bytes(event(1))
    arguments = ("--rules", "rules.yaml", "--input", "fields:events.log", "--output", "alerts.jsonl", "--once")
    watch(tmp_path, *arguments)
    with (tmp_path / "events.log").open("ab") as log, (tmp_path / "alerts.jsonl").open("ab") as output:
        log.write(event(2))
        output.write(b'{"rule": "shell", "output_fields": {"proc.cmdline": "sh 2"}}\n{"rule": "sh')
    watch(tmp_path, *arguments)
    assert commands(tmp_path / "alerts.jsonl") == ["sh 1", "sh 2"]


def test_what_is_folded_is_counted_once_over_restarts(tmp_path: Path) -> None:
    """Ended and begun again in the middle of a flood: the numbers add up."""
    (tmp_path / "rules.yaml").write_text(RULES)
    log, output, number = tmp_path / "events.log", tmp_path / "alerts.jsonl", 0
    log.touch()
    for _ in range(3):
        before, until = len(alerts(output)), time.monotonic() + 60
        process = begun(tmp_path, "--input", f"fields:{log}", "--output", str(output), "--fold-window", "0.5")
        for _ in range(40):
            with log.open("ab") as file:
                file.write(event(1) * 250)
            number += 250
            time.sleep(0.02)
        while len(alerts(output)) == before and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    watch(tmp_path, "--rules", "rules.yaml", "--input", f"fields:{log}", "--output", str(output), "--once")
    told = [alert["output_fields"].get("custody.folded", 1) for alert in alerts(output)]
    assert sum(told) == number
    assert len(told) < number / 10


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """The output's disk is full for a time: the input waits, /readyz and the log say so, and then all is told."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], capture_output=True,
                      check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        (tmp_path / "rules.yaml").write_text(RULES)
        filler = small / "filler"
        filler.write_bytes(b"x" * 60_000)
        (tmp_path / "events.log").write_bytes(b"".join(event(number) for number in range(60)))
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "custody.cli.main", "runtime", "watch", "--rules", "rules.yaml", "--input",
                 "fields:events.log", "--output", str(small / "alerts.jsonl"), "--fold-after", "0"],
                cwd=tmp_path, env=ENVIRONMENT, stderr=log)
        until = time.monotonic() + 30
        while b"No space left" not in (tmp_path / "log").read_bytes() and time.monotonic() < until:
            time.sleep(0.05)
        assert b"waits" in (tmp_path / "log").read_bytes()
        filler.unlink()
        told: list[Any] = []
        while len(told) < 60 and time.monotonic() < until:
            time.sleep(0.1)
            told = commands(small / "alerts.jsonl")
        process.terminate()
        assert process.wait(30) == 0
        assert told == [f"sh {number}" for number in range(60)]
    finally:
        subprocess.run(["umount", small], check=True)
