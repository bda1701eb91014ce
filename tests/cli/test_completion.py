"""TAB in real shells, and what they are answered."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from custody.cli.candidates import answer
from custody.cli.completion import SCRIPTS
from custody.cli.table import COMMANDS


def values(line: str, current: str | None = None) -> list[str]:
    words = answer("bash", [f"custody {line}", line.rpartition(" ")[2] if current is None else current])
    return [row.partition("\t")[0] for row in words.splitlines()]


@pytest.mark.parametrize(("line", "expected"), [
    ("sig", ["sign", "sign-blob", "signing-config"]),
    ("", list(COMMANDS)), ("--off", ["--offline"]), ("--config ", ["file"]), ("--timeout ", []),
    ("--timeout 3s sig", ["sign", "sign-blob", "signing-config"]),
    ("trust ", ["export", "token", "tuf"]), ("trust ex", ["export"]), ("rego f", ["fmt"]),
    ("sign --form", ["--format", "--formats"]), ("sign --format ", ["bundle", "legacy", "both"]),
    ("sign --format=l", ["--format=legacy"]),
    ("sign --key ", ["file"]), ("sign --tlog-upload ", ["true", "false"]),
    ("sign --tlog-upload=t", ["--tlog-upload=true"]),
    ("sign -r --key k --oidc-provider g", ["github-actions", "gitlab", "google"]), ("scan --fail-on c", ["critical"]),
    ("sbom -o cyclonedx-j", ["cyclonedx-json"]), ("sbom -o cyclonedx-json=", ["file"]),
    ("sbom --output=pu", ["--output=purls"]),
    ("sbom o", ["oci:", "file"]), ("sbom oci:im", ["file"]), ("build ", ["dir"]), ("build . -o ", ["oci:"]),
    ("check p", ["file"]), ("nonsense ", []), ("trust nonsense ", []), ("trust --x ", []), ("completion f", ["fish"]),
    ("sign --annotations ", []), ("sign 'an open quotation", []), ('attest --predicate "', ["file"]),
    ("sign -- --ke", []), ("policy jp query ", []),
])
def test_candidates(line: str, expected: list[str]) -> None:
    assert values(line) == expected


def test_what_bash_has_split(tmp_path: Path) -> None:
    assert values("sign --format=l", "l") == ["legacy"]
    assert values("sign --format=", "") == ["bundle", "legacy", "both"]


def test_every_command_answers() -> None:
    for name in COMMANDS:
        assert answer("zsh", [name, "--"]), name


def test_no_library_is_imported_for_names(tmp_path: Path) -> None:
    script = ("import sys; from custody.cli.main import main; main(['si']); "
              "print('click' in sys.modules, file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "_CUSTODY_COMPLETE": "fish"},
                          capture_output=True, text=True, check=True)
    assert (done.stdout.partition("\t")[0], done.stderr) == ("sign", "False\n")


class Terminal:
    """A shell that believes that somebody types."""

    def __init__(self, argv: list[str], folder: Path) -> None:
        commands = folder / "bin"
        commands.mkdir(exist_ok=True)
        (commands / "custody").write_text(f'#!/bin/sh\nexec {sys.executable} -m custody.cli.main "$@"\n')
        (commands / "custody").chmod(0o755)
        environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "PS1": "READY> ", "TERM": "dumb",
                       "HOME": str(folder), "INPUTRC": "/dev/null"}
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe(argv[0], argv, environment)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def wait(self, text: str) -> None:
        end = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self.screen], [], [], 1)[0]:
                chunk = os.read(self.screen, 65536).decode(errors="replace")
                self.seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x07|\r", "", chunk)

    def complete(self, typed: str, expected: str) -> None:
        self.seen = ""
        self.type("\x15" + typed + "\t")
        self.wait(expected)

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.screen)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_real_shell(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "cosign.key").write_text("")
    (tmp_path / "image").mkdir()
    (tmp_path / "script").write_text(SCRIPTS[shell])
    start = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[shell]
    terminal = Terminal(start, tmp_path)
    try:
        terminal.wait("READY> ")
        if shell == "zsh":
            terminal.type("autoload -Uz compinit; compinit -u -D\n")
        terminal.type("PS1='SET> '; source ./script; echo DO''NE\n")
        terminal.wait("DONE")
        terminal.complete("custody verify-att", "custody verify-attestation ")
        terminal.complete("custody sign --format=le", "--format=legacy")
        terminal.complete("custody sbom oci:im", "oci:image")
    finally:
        terminal.close()


def test_a_real_fish(tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    (tmp_path / "script").write_text(SCRIPTS["fish"])
    (tmp_path / "custody").write_text(f'#!/bin/sh\nexec {sys.executable} -m custody.cli.main "$@"\n')
    (tmp_path / "custody").chmod(0o755)
    done = subprocess.run(["fish", "--no-config", "-c", "source script; complete -C 'custody sig'; complete -C "
                           "'custody sign --format '; complete -C 'custody sign --key scr'"], cwd=tmp_path,
                          env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)},
                          capture_output=True, text=True, timeout=60, check=True)
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == [
        "sign", "both", "bundle", "legacy", "script"]
