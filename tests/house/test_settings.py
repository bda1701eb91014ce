"""Settings from the environment: every one that a variable can hold, and no variable that is not one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args, get_origin

import msgspec
import pytest

from custody.errors import UsageError
from custody.settings import Settings, load_settings
from tests.cli.commands import custody


def refused(**environment: str) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        load_settings(None, environment)
    return caught.value.message, caught.value.hint or ""


def test_settings_env(tmp_path: Path) -> None:
    done = custody("check", "r.example/a:1", cwd=tmp_path, CUSTODY_KEEP_EVIDENCE="0", CUSTODY_POLICIES="x",
                   CUSTODY_OFLINE="1")
    assert done.returncode == 2
    assert done.stderr == "error: CUSTODY_OFLINE: is no setting\n\nhint: did you mean CUSTODY_OFFLINE?\n"
    done = custody("check", "r.example/a:1", cwd=tmp_path, CUSTODY_POLICIES="x")
    assert done.returncode == 2
    assert "error: x" in done.stderr  # it is obeyed: there is no such policy


def test_every_setting_that_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "custody.toml").write_text('keep_evidence = 7\npolicies = ["z"]\n')
    loaded = load_settings(None, {
        "CUSTODY_DATA_DIR": "d", "CUSTODY_OFFLINE": "yes", "CUSTODY_TRUSTED_ROOT": "r", "CUSTODY_SIGNING_CONFIG": "s",
        "CUSTODY_POLICIES": "a.yaml:b", "CUSTODY_PLAIN_HTTP": "one:5000,two", "CUSTODY_KEEP_EVIDENCE": "0.5"})
    assert (loaded.data_dir, loaded.offline, loaded.trusted_root, loaded.signing_config, loaded.policies,
            loaded.plain_http, loaded.keep_evidence) == ("d", True, "r", "s", ["a.yaml", "b"], ["one:5000", "two"], 0.5)
    assert load_settings(None, {"CUSTODY_KEEP_EVIDENCE": ""}).keep_evidence == 7
    assert load_settings(None, {"CUSTODY_OFFLINE": "False"}).offline is False


def test_every_key_has_a_variable_or_says_why_not() -> None:
    for field in msgspec.structs.fields(Settings):
        name = "CUSTODY_" + field.name.upper()
        value = get_args(field.type)[0] if get_origin(field.type) is Literal else "1"
        try:
            load_settings(None, {name: value})
        except UsageError as error:
            assert error.message == f"{name}: {field.name} is a table, which a variable cannot hold"  # noqa: PT017


@pytest.mark.parametrize(("name", "value", "reason"), [
    ("CUSTODY_OFFLINE", "maybe", "CUSTODY_OFFLINE: got 'maybe', expected true or false"),
    ("CUSTODY_KEEP_EVIDENCE", "soon", "CUSTODY_KEEP_EVIDENCE: got 'soon', expected a number"),
    ("CUSTODY_KEEP_EVIDENCE", "nan", "keep_evidence: got nan, expected seconds"),
    ("CUSTODY_KEEP_EVIDENCE", "-1", "keep_evidence: got -1.0, expected seconds"),
    ("CUSTODY_POLICIES", "a::b", "CUSTODY_POLICIES: got 'a::b', expected names"),
    ("CUSTODY_MIRRORS", "a=b", "CUSTODY_MIRRORS: mirrors is a table"),
    ("CUSTODY_offline", "1", "CUSTODY_offline: is no setting"),
    ("CUSTODY_TOKEN", "1", "CUSTODY_TOKEN: is no setting"),
])
def test_values_that_are_none(name: str, value: str, reason: str) -> None:
    assert refused(**{name: value})[0].startswith(reason)


def test_what_others_set_is_left_alone() -> None:
    """A Service named custody puts its address into the environment of every pod beside it."""
    load_settings(None, {"CUSTODY_SERVICE_HOST": "10.0.0.1", "CUSTODY_SERVICE_PORT_HTTPS": "443", "CUSTODY_PEERS": "x",
                         "CUSTODY_PORT_443_TCP_ADDR": "10.0.0.1", "CUSTODY_PORT": "tcp://10.0.0.1:443",
                         "CUSTODY_WEBHOOK_SERVICE_HOST": "10.0.0.2", "CUSTODY_ORACLES": "x"})
    assert refused(CUSTODY_PORTS="1")[0] == "CUSTODY_PORTS: is no setting"


@pytest.mark.parametrize(("text", "environment", "message", "hint"), [
    ('[mirror]\n"a" = "b"', {}, "custody.toml: mirror: is no setting", "did you mean mirrors?"),
    ("policies = 'a'", {}, "custody.toml: policies: expected `array`, got `str`", "the settings are in"),
    ("max_document = 500", {}, "custody.toml: max_document: expected `int` <= 128", "the settings are in"),
    ("[[issuers]]\nurl = 'x'\nkind = 'y'", {}, "custody.toml: issuers[0]: contains unknown field `kind`", "the set"),
    ("max_document = 4", {"CUSTODY_MAX_DOCUMENT": "500"}, "CUSTODY_MAX_DOCUMENT: expected `int` <= 128", "the se"),
])
def test_a_wrong_setting_is_named_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str,
                                                  environment: dict[str, str], message: str, hint: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "custody.toml").write_text(text)
    got = refused(**environment)
    assert got[0] == message
    assert got[1].startswith(hint)


@pytest.mark.parametrize(("text", "words"), [
    ('expired_trusted_root = "refus"', "expired_trusted_root: got 'refus', expected 'warn', 'refuse'"),
    ('[[issuers]]\nurl = "https://a.example"\ntype = "mail"', "issuers[0].type: got 'mail', expected 'email'"),
    ('[counting]\nseverities = ["urgent"]', "counting.severities[0]: got 'urgent', expected 'unknown', 'none'")])
def test_a_word_that_is_none_of_those_is_told_which_there_are(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "custody.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_settings(tmp_path / "custody.toml", {})
    assert words in caught.value.message


def test_a_variable_of_an_optional_number_with_limits() -> None:
    """Python makes another union of `Annotated[…] | None` than of `int | None`."""
    assert load_settings(None, {"CUSTODY_MAX_STAPLE_AGE": "3"}).max_staple_age == 3
    with pytest.raises(UsageError, match="CUSTODY_MAX_STAPLE_AGE: "):
        load_settings(None, {"CUSTODY_MAX_STAPLE_AGE": "-1"})
