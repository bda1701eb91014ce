"""Those who come from other programs are told what does the same here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from custody.cli import peers
from custody.cli.defaultgroup import DefaultGroup
from custody.cli.main import main
from custody.cli.run import loaded
from custody.cli.table import COMMANDS
from tests.cli.commands import custody
from tests.contents.images import layout, tar


def options(path: str) -> set[str]:
    command: click.Command | None = loaded(path.split()[0])
    for name in path.split()[1:]:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    assert command is not None, path
    return {name for param in command.params for name in (*param.opts, *param.secondary_opts)}


@pytest.mark.parametrize("path", [path for path in peers._FLAGS if path])
def test_a_flag_of_others_is_none_of_ours_and_what_is_named_instead_is(path: str) -> None:
    ours = options(path)
    for name, hint in peers._FLAGS[path].items():
        assert name not in ours, f"{path} has {name}"
        if "custody" not in hint and "before the command" not in hint:
            for flag in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", hint.replace("oras copy -r", "")):
                assert flag in ours | {"--help"} or f"has no {flag}" in hint, (path, name, flag)


@pytest.mark.parametrize("hint", sorted(set(peers._COMMANDS.values())))
def test_a_command_that_is_named_is_there(hint: str) -> None:
    for line in re.findall(r"custody ([a-z][a-z -]*[a-z])", hint):
        words = line.split()
        assert words[0] in COMMANDS, hint
        command = loaded(words[0])
        if isinstance(command, click.Group) and not (isinstance(command, DefaultGroup) and len(words) == 1):
            assert words[1] in command.list_commands(click.Context(command)), hint


@pytest.mark.parametrize(("line", "said"), [
    ("sign --rekor-url u i", "No such option '--rekor-url'.\n\nhint: --signing-config FILE says where"),
    ("verify --private-infrastructure i", "hint: --insecure-ignore-tlog; or"),
    ("scan -f json oci:image", "No such option '-f'.\n\nhint: -o FORMAT"),
    ("scan image oci:image", "hint: custody scan oci:image"), ("fs .", "hint: custody scan dir:."),
    ("runtime watch -r rules.yaml", "No such option '-r'.\n\nhint: --rules FILE|FOLDER"),
    ("runtime watch -e x.scap", "hint: captures (.scap) are not read"),
    ("falco", "hint: custody runtime watch --rules"),
    ("runtime rules validate x", "hint: custody runtime rules lint"), ("netpol lint x", "hint: custody netpol check"),
    ("netpol explain --protocol UDP", "hint: --port PORT/PROTOCOL"),
    ("policy pss x", "hint: custody policy podsecurity"),
    ("runtime wacth", "No such command 'wacth'. Did you mean 'watch'?"), ("netpol exlpain", "Did you mean 'explain'?"),
    ("runtime rules supress x", "Did you mean 'suppress'?"), ("runtime response", "Did you mean 'responses'?"),
    ("rego eval -b x data", "hint: name the folder"), ("rego build x", "hint: bundles are not read"),
    ("check --resource x", "hint: resources are arguments"), ("apply x", "hint: custody policy apply POLICY"),
    ("-v sign i", "hint: it stands behind the command"), ("sign-blob --rekor-url u x", "hint: --signing-config FILE"),
    ("registry ls", "hint: crane, oras or skopeo"), ("sbom registry:a/b:1", "hint: it is spelled a/b:1 here"),
    ("sign --yess i", "Did you mean '--yes'?\n\nhint: custody sign --help"),
])
def test_what_is_said(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    assert said in capsys.readouterr().err


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "rego", "eval"]) == 0
    assert capsys.readouterr().out.startswith("Usage: custody rego eval [OPTIONS]")
    assert main(["help", "nope"]) == 2
    assert "No such command 'nope'" in capsys.readouterr().err


def test_levels_as_trivy_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    """In capitals, and an option that is given twice adds to the first."""
    monkeypatch.chdir(tmp_path)
    layout(Path("image"), [tar([("a", b"")])])
    line = ["scan", "oci:image", "--allow-empty-db", "--allow-gaps", "--fail-on", "HIGH", "-o", "json"]
    assert main([*line, "--severity", "HIGH", "--severity", "low,Critical"]) == 0, capsys.readouterr().err
    assert main([*line, "--severity", "HIGH", "--severity", "bad"]) == 2
    assert "--severity: got 'bad'" in capsys.readouterr().err


def test_a_name_that_is_no_text_is_written_as_on_standard_output(tmp_path: Path) -> None:
    """A locale without UTF-8 gives half characters for bytes of file names."""
    layout(tmp_path / "im\udcff", [tar([("a", b"")])])
    done = custody("scan", "oci:im\udcff", "--allow-empty-db", "-o", "json=report", "-o", "json", cwd=tmp_path)
    assert (done.returncode, (tmp_path / "report").read_text()) == (0, done.stdout), done.stderr
    assert "im\\udcff" in done.stdout


def test_an_address_that_no_certificate_takes(capsys: pytest.CaptureFixture[str]) -> None:
    for email in ("a\udcff@myorg.example", "ä@myorg.example", "a\x7f@myorg.example"):
        assert main(["trust", "token", "--email", email]) == 2
        assert "--email: got" in capsys.readouterr().err


def test_a_repository_that_is_no_uri(capsys: pytest.CaptureFixture[str]) -> None:
    for uri in ("shop", "git@github.com:myorg/shop.git", "://x"):
        assert main(["build", ".", "--repository", uri, "-o", "oci:image"]) == 2
        assert f"--repository: got {uri!r}, expected a URI" in capsys.readouterr().err


def test_nobody_reads_on(tmp_path: Path) -> None:
    """Written out inside of the command, where click would end with 1, and by rich, which would too."""
    layout(tmp_path / "image", [tar([("a", b"")])])
    told = "import sys; from custody.demo.tell import Teller; Teller(quiet=False).note('x' * 100_000)"
    caught = "from custody.cli.run import _give_up_output; _give_up_output(); sys.exit(141)"
    for program, expected in ((["-m", "custody.cli.main", "sbom", "oci:image", "-o", "cyclonedx-json"], (141, b"")),
                              (["-c", f"try:\n  {told}\nexcept BrokenPipeError:\n  {caught}"], (141, b""))):
        reader, writer = os.pipe()
        os.close(reader)
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        done = subprocess.run([sys.executable, *program], cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE,
                              check=False, env=buffered)
        os.close(writer)
        assert (done.returncode, done.stderr) == expected
