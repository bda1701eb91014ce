"""conftest's settings that are no options: what is given wins over the environment, and that over the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from custody.cli.main import main

RULES = {"main": 'warn contains "careful" if input.a', "other": 'deny contains "no" if input.a'}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for package, rule in RULES.items():
        (tmp_path / f"{package}.rego").write_text(f"package {package}\nimport rego.v1\n{rule}\n")
    (tmp_path / "a.yaml").write_text("a: 1\n")


def ran(*more: str) -> int:
    return main(["policy", "test", "-p", ".", "a.yaml", *more])


@pytest.mark.parametrize(("settings", "more", "code"), [
    ("", (), 0), ('namespace = "other"', (), 1), ('namespace = ["main", "other"]', (), 1),
    ('namespace = "main,other"', (), 1), ('namespace = "other"', ("-n", "main"), 0), ("fail-on-warn = true", (), 1),
    ('FAIL-ON-WARN = "T"', (), 1), ("fail-on-warn = 1", (), 1), ("fail-on-warn = false", (), 0),
    ("all-namespaces = true", (), 1), ('all-namespaces = true\nno-fail = true', (), 0)])
def test_a_file_says_what_is_not_given(settings: str, more: tuple[str, ...], code: int) -> None:
    Path("conftest.toml").write_text(settings)
    assert ran(*more) == code


def test_the_environment_wins_over_the_file_and_options_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("conftest.toml").write_text('namespace = "main"')
    monkeypatch.setenv("CONFTEST_NAMESPACE", "other")
    assert ran() == 1
    assert ran("-n", "main") == 0
    monkeypatch.setenv("CONFTEST_FAIL_ON_WARN", "true")
    assert ran("-n", "main") == 1


def test_another_file_is_read_where_it_is_named() -> None:
    Path("ours.toml").write_text('namespace = "other"')
    assert (ran(), ran("-c", "ours.toml")) == (0, 1)


@pytest.mark.parametrize(("settings", "reason"), [
    ('fail-on-warn = "perhaps"', "conftest.toml: fail-on-warn: got 'perhaps', expected true or false"),
    ("namespace = 3", "conftest.toml: namespace: got a number"), ('output = "xml"', "conftest.toml: output: got 'xml'"),
    ("parser = true", "conftest.toml: parser: got a boolean"), ("unheard = 1", "conftest.toml: unheard: no setting"),
    ("trace = true", "--trace: not obeyed"), ("a = [", "conftest.toml: got"),
    ('rego-version = "v2"', "conftest.toml: rego-version: got 'v2'")])
def test_settings_that_are_refused(settings: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("conftest.toml").write_text(settings)
    assert ran() == 1
    assert reason in capsys.readouterr().err


def test_a_file_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("-c", "nothere.toml") == 1
    assert "nothere.toml: No such file" in capsys.readouterr().err


def test_they_are_of_conftests_way_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "test", "-c", "x.toml", "a.yaml"]) == 2
    assert "--config-file: it is of tests with --policy" in capsys.readouterr().err
