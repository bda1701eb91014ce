"""`custody runtime watch` from outside: streams, sockets, forms, and what it refuses."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runtime.role import ENVIRONMENT, alerts, told, watch
from tests.runtime.test_crash import RULES, begun, commands, event


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    return tmp_path


def test_standard_input_to_standard_output(folder: Path) -> None:
    done = watch(folder, "--rules", "rules.yaml", "--input", "fields:-", stdin=event(1) + b"\n" + event(2)[:-1])
    assert [json.loads(line)["output_fields"]["proc.cmdline"] for line in done.stdout.splitlines()] == ["sh 1", "sh 2"]
    assert done.stderr.endswith(b"2 events, 2 alerts\n")
    assert done.returncode == 0


def test_text_and_priorities(folder: Path) -> None:
    done = watch(folder, "--rules", "rules.yaml", "--input", "fields:-", "-o", "text", stdin=event(1) + b"nonsense\n")
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "22:13:20.000000001: Warning shell sh 1"
    assert "Warning Events unreadable: 1 (input=fields:stdin kind=malformed)" in lines[1]
    none = watch(folder, "--rules", "rules.yaml", "--input", "fields:-", "--priority", "critical", stdin=event(1))
    assert none.stdout == b""


def test_a_socket_takes_several(folder: Path) -> None:
    process = begun(folder, "--input", "fields:unix:events.sock", "--output", "alerts.jsonl", "--fold-after", "0")
    path, until = folder / "events.sock", time.monotonic() + 60
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert path.stat().st_mode & 0o777 == 0o600
    for number in range(3):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(event(number))
    while len(commands(folder / "alerts.jsonl")) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert sorted(commands(folder / "alerts.jsonl")) == ["sh 0", "sh 1", "sh 2"]


def test_nobody_reads_on(folder: Path) -> None:
    """`| head -1` ends it, and is no error."""
    (folder / "events.log").write_bytes(b"".join(event(number) for number in range(20_000)))
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$0" -m custody.cli.main runtime watch --rules rules.yaml --input fields:events.log '
         "--fold-after 0 2> errors | head -1", sys.executable], cwd=folder, stdout=subprocess.PIPE,
        env=ENVIRONMENT)
    output, _ = process.communicate(timeout=60)
    assert len(output.splitlines()) == 1
    assert b"Traceback" not in (folder / "errors").read_bytes()


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (["--input", "fields:-"], 2, "--rules: got none"), (["--rules", "rules.yaml"], 2, "--input: got none"),
    (["--rules", "none.yaml", "--input", "fields:-"], 2, "none.yaml"),
    (["--rules", "rules.yaml", "--input", "nonsense:-"], 2, "expected one of audit, falco"),
    (["--rules", "rules.yaml", "--input", "fields:x", "--input", "fields:x"], 2, "named twice"),
    (["--rules", "rules.yaml", "--input", "fields:gone", "--once"], 2, "no such file"),
    (["--rules", "rules.yaml", "--input", "fields:.", "--once"], 2, "it is a folder"),
    (["--rules", "rules.yaml", "--input", "fields:-", "--sensor", "nonsense"], 2, "--sensor"),
    (["--rules", "rules.yaml", "--input", "fields:-", "--output", "ftp://x"], 2, "--output"),
    (["--rules", "rules.yaml", "--input", "fields:-", "--output", "https://x.example", "-o", "text"], 2,
     "posted as JSON"),
    (["--rules", "broken.yaml", "--input", "fields:-"], 2, "broken.yaml")])
def test_what_is_refused(folder: Path, arguments: list[str], code: int, said: str) -> None:
    (folder / "broken.yaml").write_text("- rule: x\n  condition: no.such.field = 1\n  output: x\n  priority: INFO\n"
                                        "  desc: d\n")
    done = watch(folder, *arguments, stdin=b"")
    assert (done.returncode, said in done.stderr.decode()) == (code, True), done.stderr


def test_an_event_without_a_time_is_told_with_one(folder: Path) -> None:
    done = watch(folder, "--rules", "rules.yaml", "--input", "fields:-",
                 stdin=b'{"evt.type": "execve", "proc.name": "sh"}\n')
    (alert,) = map(json.loads, done.stdout.splitlines())
    assert alert["time"].startswith("20")
    assert alert["output_fields"]["evt.time"] > 1_700_000_000_000_000_000


def test_a_flood_is_told_as_a_number(folder: Path) -> None:
    done = watch(folder, "--rules", "rules.yaml", "--input", "fields:-", "--output", "alerts.jsonl",
                 stdin=event(1) * 1000)
    assert done.returncode == 0
    lines = alerts(folder / "alerts.jsonl")
    assert told(lines) == ["shell"] * 11
    assert lines[-1]["output_fields"]["custody.folded"] == 990


@pytest.mark.parametrize(("flags", "said"), [
    (["-o", "json_output=true"], "-o: got 'json_output=true', expected json or text\n\nhint: -o json"),
    (["-o", "stdout_output.enabled=true"], "hint: settings are those of [runtime] in custody.toml"),
    (["-o", "alerts.jsonl"], "hint: --output alerts.jsonl writes to a file"),
    (["--output", "json"], "--output: got 'json', expected stdout, FILE"),
    (["--output", "none/alerts.jsonl"], "--output none/alerts.jsonl: none is no folder"),
    (["--output", "folder"], "--output folder: it is no file"),
    (["--output", "/dev/null"], "--output /dev/null: it is no file"),
    (["--rules", "empty.yaml"], "empty.yaml: got no rule, expected items with `rule:`"),
    (["--suppressions", "none.yaml"], "none.yaml: No such file or directory"),
    (["--suppressions", "folder"], "folder: got a folder, expected a file"),
    (["--responses", "folder"], "folder: got a folder, expected a file")])
def test_what_cannot_be_meant_is_refused_before_anything_is_read(folder: Path, flags: list[str], said: str) -> None:
    (folder / "empty.yaml").write_text("")
    (folder / "folder").mkdir()
    rules = [] if "--rules" in flags else ["--rules", "rules.yaml"]
    done = watch(folder, *rules, "--input", "fields:-", "--once", *flags, stdin=event(1))
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()
    assert not (folder / "json").exists()


def test_a_priority_as_rules_spell_it(folder: Path) -> None:
    done = watch(folder, "--rules", "rules.yaml", "--input", "fields:-", "--priority", "INFORMATIONAL", stdin=event(1))
    assert (done.returncode, done.stdout.count(b"\n")) == (0, 1)


def test_a_file_in_which_nothing_can_be_read_is_no_yes(folder: Path) -> None:
    (folder / "pod.yaml").write_text("apiVersion: v1\nkind: Pod\n")
    done = watch(folder, "--rules", "rules.yaml", "--input", "tetragon:pod.yaml", "--once")
    assert done.returncode == 4
    assert b"error: tetragon:pod.yaml: nothing in it could be read" in done.stderr
    (folder / "mixed.log").write_bytes(b"nonsense\n" + event(1) + b"\n")
    assert watch(folder, "--rules", "rules.yaml", "--input", "fields:mixed.log", "--once").returncode == 0
