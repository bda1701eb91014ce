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


ABSENT = ("env", "login", "upload blob", "upload wasm", "dockerfile verify", "manifest verify", "attach signature",
          "attach attestation", "debug providers", "piv-tool")
GROUPS = ("attach", "download", "upload", "dockerfile", "manifest", "debug")
HIDDEN = [*((command, flag) for command in ("sign", "verify", "attest", "verify-attestation")
            for flag in ("--cert", "--cert-chain", "--new-bundle-format", "--rekor-url", "--attachment-tag-prefix")),
          ("verify", "--cert-identity"), ("verify-attestation", "--cert-oidc-issuer"), ("attest", "--replace"),
          ("tree", "--attachment-tag-prefix"), ("sign", "--tlog-upload")]
"""Of cosign 3 or of both: deprecated ones, and aliases."""


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
COMMANDS = frozenset(re.findall(r"`cosign ([a-z0-9-]+(?: [a-z0-9-]+)?)`", PAGE.read_text()))


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
        "initialize", "generate-key-pair", "import-key-pair", "sign", "verify", "attest", "tree", "attach sbom",
        "clean", "copy", "save", "load", "download signature", "download attestation", "download sbom", "triangulate",
        "completion", "generate"}


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


@pytest.mark.parametrize("line", ABSENT)
def test_what_is_no_command_here_is_refused_with_a_hint(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With all its flags, since none of them is read."""
    assert main([*line.split(), "--key", "x"]) == 2
    said = capsys.readouterr().err
    assert "No such command" in said
    assert "\nhint: " in said
    assert line in COMMANDS


@pytest.mark.peer
@pytest.mark.parametrize("program", PEERS)
@pytest.mark.parametrize(("command", "flag"), HIDDEN)
def test_flags_that_cosign_hides(command: str, flag: str, program: str) -> None:
    """They are in the table, and cosign has them although its help does not say so."""
    row = next(row for row in ROWS if row.command == command)
    assert flag in row.works | row.refused
    answer = subprocess.run([peer(program), command, flag], capture_output=True, text=True, check=False)
    assert answer.returncode != 0
    assert "unknown flag" not in answer.stdout + answer.stderr


@pytest.mark.peer
@pytest.mark.parametrize("program", PEERS)
def test_the_page_names_every_command_below_another(program: str) -> None:
    counted = 0
    for group in GROUPS:
        text = subprocess.run([peer(program), group, "--help"], capture_output=True, text=True, check=True).stdout
        below = text.partition("Available Commands:")[2].partition("\n\n")[0]
        for name in re.findall(r"^ *([a-z][a-z0-9-]+) +[A-Z]", below, re.MULTILINE):
            assert f"{group} {name}" in COMMANDS
            counted += 1
    assert counted == 11


@pytest.mark.peer
@pytest.mark.parametrize("program", PEERS)
def test_the_page_names_every_command_of_cosign(program: str) -> None:
    text = subprocess.run([peer(program), "--help"], capture_output=True, text=True, check=True).stdout
    listed = set(re.findall(r"^ *([a-z][a-z0-9-]+)  +[A-Z]", text, re.MULTILINE)) - {"help"}
    assert len(listed) > 20
    assert listed <= {name.split()[0] for name in re.findall(r"`cosign ([a-z0-9-]+(?: [a-z-]+)?)`", PAGE.read_text())}
