"""The table of gitsign's commands: what custody takes, and gitsign's own `--help` where it is installed."""

from __future__ import annotations

import re
import subprocess

import pytest

from custody.cli.main import main
from tests.cli.test_cosign_flags import options
from tests.conftest import ROOT, peer

ROW = re.compile(r"^\| `(gitsign[a-z -]*)` \| (?:`([a-z ]+)`)? *\|([^|]*)\|([^|]*)\|$", re.MULTILINE)
ROWS = {theirs: (ours, *(frozenset(re.findall("`(--[a-z-]+)`", cell)) for cell in cells))
        for theirs, ours, *cells in ROW.findall(
            (ROOT / "docs" / "compatibility-commands.md").read_text().partition("## gitsign\n")[2])}


def test_what_works_is_an_option_and_what_is_refused_is_none() -> None:
    assert len(ROWS) == 7
    for ours, works, refused in ROWS.values():
        if ours:
            assert works <= options(ours)
            assert not (refused - {"--verify"}) & options(ours)
        else:
            assert not works


@pytest.mark.parametrize(("command", "flag"), [(ours, flag) for ours, _, refused in ROWS.values() if ours
                                               for flag in sorted(refused)])
def test_what_is_refused_is_refused_by_name(command: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), flag, "x"]) == 2
    assert flag in capsys.readouterr().err


@pytest.mark.parametrize("command", [theirs for theirs in ROWS if " " in theirs])
def test_commands_below_it_are_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 2
    said = capsys.readouterr().err
    assert f"unexpected extra argument ({command.split()[1]})" in said
    assert "\nhint: " in said


@pytest.mark.peer
def test_the_table_has_the_commands_and_flags_of_gitsign() -> None:
    def said(*words: str) -> str:
        return subprocess.run([peer("gitsign"), *words, "--help"], capture_output=True, text=True, check=True).stdout

    below = said().partition("Available Commands:")[2].partition("\n\n")[0]
    commands = set(re.findall(r"^ +([a-z-]+)  +\S", below, re.MULTILINE)) - {"help", "completion"}
    assert {theirs.removeprefix("gitsign").strip() for theirs in ROWS} == commands | {""}
    for theirs, (_, works, refused) in ROWS.items():
        flags = set(re.findall(r"^ +(?:-\w, )?(--[a-z0-9-]+)", said(*theirs.split()[1:]).partition("Flags:")[2],
                               re.MULTILINE)) - {"--help"}
        assert flags == works | refused, theirs
