"""What a person who types a command wrong is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from custody.cli.main import main
from tests.cli.commands import custody
from tests.contents.images import layout, tar


@pytest.mark.parametrize("command", ["cel", "rego", "policy jp"])
def test_a_group_without_a_command_shows_its_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 2
    assert capsys.readouterr().err.startswith(f"Usage: custody {command} [OPTIONS] COMMAND")


def test_a_wrong_flag_names_the_commands_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rego", "check", "--nope"]) == 2
    said = capsys.readouterr().err
    assert "No such option '--nope'" in said
    assert said.endswith("\nhint: custody rego check --help\n")


def test_a_full_standard_error_stops_nothing(tmp_path: Path) -> None:
    script = ("import sys; from custody.cli.main import main; main(['--version']); print('words', file=sys.stderr); "
              "print('data')")
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False, stdout=subprocess.PIPE,
                              stderr=full, text=True)
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, ["data"])


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_nobody_elses(tmp_path: Path, closed: str) -> None:
    """The next file that is opened would have its number: what is printed would be written into that."""
    script = ("import os; from custody.cli.main import main; main(['--version']); "
              "held = os.open('file', os.O_RDWR | os.O_CREAT); print('said', flush=True); raise SystemExit(held < 3)")
    done = subprocess.run(["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, script], cwd=tmp_path,
                          check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr, (tmp_path / "file").read_text()) == (0, "", "")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_there_by_both_names(flag: str, tmp_path: Path) -> None:
    done = custody("cel", "eval", flag, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: custody cel eval")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", [["cel", "eval", "1"], ["db", "status"], ["sbom", "oci:image"],
                                     ["trust", "token", "--email", "a@b.example"]])
def test_a_full_disk_is_one_sentence(tmp_path: Path, command: list[str]) -> None:
    layout(tmp_path / "image", [tar([("a", b"")])])
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "custody.cli.main", *command], stdout=full,
                              stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("error: No space left on device\n")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("command", ["check", "policy migrate", "admission run"])
def test_an_option_without_its_value_names_the_commands_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    option = {"check": "--summary", "policy migrate": "--samples", "admission run": "--url"}[command]
    assert main([*command.split(), option]) == 2
    said = capsys.readouterr().err
    assert said == f"error: Option '{option}' requires an argument.\n\nhint: custody {command} --help\n"


def test_a_key_that_is_not_there_is_said_of_the_option_that_named_it(tmp_path: Path,
                                                                     capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.yaml").write_text(
        "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: p}\nspec: {rules: [{name: r, match: {any: "
        "[{resources: {kinds: [Pod]}}]}, validate: {message: m, pattern: {metadata: {name: a}}}}]}\n")
    assert main(["check", "x:1", "--policy", f"{tmp_path}/p.yaml", "--summary", f"{tmp_path}/no.key"]) == 2
    assert capsys.readouterr().err == f"error: --summary {tmp_path}/no.key: No such file or directory\n"


def test_the_webhooks_place_is_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    for url in ("http://127.0.0.1:9443", "127.0.0.1:9443", "https://127.0.0.1:9443?x=1"):
        assert main(["admission", "run", "--kubeconfig", "nowhere", "--url", url]) == 2
        assert capsys.readouterr().err.startswith(f"error: --url: got '{url}', expected https://")


def test_a_list_of_commands_says_each_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    for group in ("policy", "admission", "registry", "trust", "rego"):
        assert main([group, "--help"]) == 0
        assert "..." not in capsys.readouterr().out.partition("Commands:")[2]
