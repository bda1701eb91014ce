"""The tables of `docs/compatibility-commands.md`: what custody takes, and the peers' own `--help` where they are."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from custody.cli import policy_apply, policy_bench, policy_expand, policy_sync, policy_test, policy_verify
from custody.cli.run import run
from tests.conftest import peer

PAGE = Path(__file__).parents[2] / "docs" / "compatibility-commands.md"
COMMANDS = {"policy verify": policy_verify.command, "policy apply --filename": policy_apply.command,
            "policy expand": policy_expand.command, "policy bench": policy_bench.command,
            "policy sync test": policy_sync.test, "policy test --policy": policy_test.command,
            "policy verify --policy": policy_verify.command}
SHORT = {"gator test": {"-f", "-i", "-d", "-t", "-v"}, "gator verify": {"-t"}}
"""Short names that are something else in custody, or nothing."""
REFUSED = {"gator verify": "verify .", "gator expand": "expand -n x", "gator bench": "bench -f x",
           "gator sync test": "sync test -n x", "conftest test": "test -p x y", "conftest verify": "verify -p x",
           "gator test": "apply --filename x"}
VALUES = {"--default-k8s-native-validation-failure-policy": "Ignore", "--concurrency": "2", "--image": "x",
          "--tempdir": "x", "--proto-file-dirs": "x", "--update": "x", "--report": "full"}


class Row(NamedTuple):
    peer: str
    ours: str
    works: frozenset[str]
    refused: frozenset[str]
    unknown: frozenset[str]


def rows() -> list[Row]:
    made = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0].startswith("`"):
            works, refused, unknown = (frozenset(re.findall(r"`(--[a-z0-9-]+)`", re.sub(r"\([^)]*\)", "", cell)))
                                       for cell in cells[2:])
            made.append(Row(cells[0].strip("`"), cells[1].strip("`"), works, refused, unknown))
    return made


ROWS = rows()


def help_of(program: str, *command: str) -> str:
    return subprocess.run([peer(program), *command, "--help"], capture_output=True, text=True, check=True).stdout


def test_every_command_of_the_table_is_one() -> None:
    assert {row.ours for row in ROWS} == {*COMMANDS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.peer)
def test_what_works_is_an_option_and_what_is_unknown_is_none(row: Row) -> None:
    command = COMMANDS[row.ours]
    assert isinstance(command, click.Command)
    options = {name: parameter for parameter in command.params for name in parameter.opts}
    assert row.works <= options.keys()
    assert not [name for name in row.works if getattr(options[name], "hidden", False)]
    assert row.refused <= options.keys()
    assert not row.unknown & options.keys()


@pytest.mark.parametrize(("row", "flag"), [(row, flag) for row in ROWS for flag in sorted(row.refused | row.unknown)],
                         ids=lambda part: part.peer if isinstance(part, Row) else part)
def test_what_is_not_obeyed_is_refused_by_name(row: Row, flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    value = [VALUES[flag]] if flag in VALUES else []
    code = run(["policy", *REFUSED[row.peer].split(), flag, *value])
    said = capsys.readouterr()
    assert code in ((1, 2) if row.peer.startswith("conftest") else (2,))
    assert flag in said.err
    assert not said.out
    assert ("No such option" in said.err) == (flag in row.unknown)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.peer)
def test_the_table_has_the_flags_of_the_peer(row: Row) -> None:
    program, *command = row.peer.split()
    text = help_of(program, *command)
    flags = {long: short for short, long in re.findall(
        r"^\s+(?:(-\w), )?(--[a-z0-9-]+)", text[text.index("Flags:"):], re.MULTILINE)}
    flags.pop("--help")
    assert flags.keys() == row.works | row.refused | row.unknown
    ours = {name: parameter for parameter in COMMANDS[row.ours].params for name in parameter.opts}
    wrong = {short for long, short in flags.items() if short and ours.get(short) is not ours.get(long, "none")}
    assert wrong == SHORT.get(row.peer, set())


@pytest.mark.parametrize("program", ["gator", "conftest"])
def test_the_page_names_every_command_of_the_peer(program: str) -> None:
    text = help_of(program)
    listed = text[text.index("Available Commands:"):text.index("Flags:")]
    named = set(re.findall(rf"`{program} ([a-z-]+)", PAGE.read_text()))
    assert set(re.findall(r"^  ([a-z-]+) ", listed, re.MULTILINE)) == named
