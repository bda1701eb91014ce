"""The tables of `docs/compatibility-cosign.md`: what custody takes, and cosign's own `--help` where it is installed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from custody.cli import peers
from custody.cli.main import main
from custody.cli.run import loaded
from tests.conftest import peer

PAGE = Path(__file__).parents[2] / "docs" / "compatibility-cosign.md"
PEERS = ("cosign-v3", "cosign-v2")
ONLY_3 = {"bundle create", "bundle inspect", "bundle upgrade", "signing-config create", "trusted-root create"}
"""Of which cosign 2 has some, with other flags."""


class Row(NamedTuple):
    command: str
    works: frozenset[str]
    refused: frozenset[str]


def rows() -> list[Row]:
    made = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[0].startswith("`cosign "):
            made.append(Row(cells[0].strip("`").removeprefix("cosign "),
                            *(frozenset(re.findall(r"`(--[A-Za-z0-9-]+)`", cell)) for cell in cells[1:])))
    return made


ROWS = rows()


def options(path: str) -> set[str]:
    first, *rest = path.split()
    command: click.Command | None = loaded(first)
    for name in rest:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    assert command is not None
    return {name for param in command.params for name in (*param.opts, *param.secondary_opts)}


def test_the_commands_of_the_table() -> None:
    assert {row.command for row in ROWS} == ONLY_3 | {
        "sign-blob", "verify-blob", "attest-blob", "verify-blob-attestation", "public-key", "verify-attestation",
        "initialize", "generate-key-pair", "import-key-pair"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.command)
def test_what_works_is_an_option_and_what_is_refused_is_none(row: Row) -> None:
    ours = options(row.command)
    assert row.works <= ours
    assert not row.refused & ours
    assert row.refused <= peers._FLAGS.get(row.command, {}).keys()


@pytest.mark.parametrize(("command", "flag"), [(row.command, flag) for row in ROWS for flag in sorted(row.refused)])
def test_what_is_refused_is_refused_by_name(command: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), flag, "x"]) == 2
    said = capsys.readouterr().err
    assert f"No such option '{flag}'" in said
    assert "\nhint: " in said


@pytest.mark.peer
@pytest.mark.parametrize("program", PEERS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.command)
def test_the_table_has_the_flags_of_cosign(row: Row, program: str) -> None:
    if program == "cosign-v2" and row.command in ONLY_3:
        pytest.skip("custody has the command of cosign 3")
    text = subprocess.run([peer(program), *row.command.split(), "--help"], capture_output=True, text=True,
                          check=True).stdout
    own = text[text.index("\nFlags:"):].split("\nGlobal Flags:")[0]
    flags = set(re.findall(r"^\s+(?:-\w, )?(--[A-Za-z0-9-]+)", own, re.MULTILINE)) - {"--help"}
    assert flags <= row.works | row.refused


@pytest.mark.peer
@pytest.mark.parametrize("program", PEERS)
def test_the_page_names_every_command_of_cosign(program: str) -> None:
    text = subprocess.run([peer(program), "--help"], capture_output=True, text=True, check=True).stdout
    listed = set(re.findall(r"^ *([a-z][a-z0-9-]+)  +[A-Z]", text, re.MULTILINE)) - {"help"}
    assert len(listed) > 20
    assert listed <= {name.split()[0] for name in re.findall(r"`cosign ([a-z0-9-]+(?: [a-z-]+)?)`", PAGE.read_text())}
