"""`custody check --background`: what lies in a cluster is judged by what it is, not by who asks for it or how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from custody.policy.phases import Course
from custody.policy.record import read, replay
from tests.cli.test_check import Cli, pod, policy
from tests.policy.test_images import NOW


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path, capsys)


def denying(key: str, value: Any = "x", **spec: Any) -> dict[str, Any]:
    document = policy("p", validate={"message": "no.", "deny": {"conditions": {"any": [
        {"key": key, "operator": "Equals", "value": value}]}}})
    document["spec"] |= spec
    return document


def silence(document: dict[str, Any]) -> str:
    request = Request.create(pod())
    existing = Request(operation="CREATE", kind=request.kind, namespace="shop", name="web", object=pod(), existing=True)
    decision = decide(existing, {}, PolicySet([document]), Context(now=NOW), at=Course.BACKGROUND)
    assert len(decision.silent) + len(decision.results) == 1
    return decision.silent[0].reason if decision.silent else decision.results[0].message


WHO = "and what lies in a cluster was asked for by nobody"


@pytest.mark.parametrize(("document", "reason"), [
    (denying("{{ request.object.metadata.name }}", "web"), "no."),
    (denying("{{ request.object.metadata.name }}", "web", background=False),
     "its policy is about requests alone (background: false)"),
    (denying("{{ request.object.metadata.name }}", "web", background=True), "no."),
    (denying("{{ request.userInfo.username }}"), f"it reads request.userInfo, {WHO}"),
    (denying("{{ request.userInfo.username || 'nobody' }}"), f"it reads request.userInfo, {WHO}"),
    (denying("{{ serviceAccountName }}"), f"it reads serviceAccountName, {WHO}"),
    (denying("{{ request.operation }}", "DELETE"), f"it reads request.operation, {WHO}"),
    (denying("{{ request.oldObject.metadata.name }}"), f"it reads request.oldObject, {WHO}"),
    (denying("{{ request.operation || 'BACKGROUND' }}", "BACKGROUND"), "no."),
    (denying("{{ request.operation || 'BACKGROUND' }}", "CREATE"), "validation rule 'r' passed."),
    (denying("{{ request.namespace }}", "shop"), "no."),
])
def test_which_rules_speak_of_what_lies_there(document: dict[str, Any], reason: str) -> None:
    assert silence(document) == reason


def test_rules_match_what_lies_there_as_if_it_were_created() -> None:
    document = denying("{{ request.namespace }}", "shop")
    match = document["spec"]["rules"][0]["match"]["any"][0]["resources"]
    match["operations"] = ["CREATE", "UPDATE"]
    assert silence(document) == "no."
    match["operations"] = ["DELETE"]
    assert silence(document) == "its match does not select this request"


def test_the_command(cli: Cli) -> None:
    name = cli.write("pod.yaml", pod(privileged=True))
    who = denying("{{ request.userInfo.username || '' }}", "")
    assert cli(name, "--background", policies=(policy("unprivileged"), who)) == 3
    assert "✗ unprivileged/r" in cli.out
    assert cli(name, "--background", policies=(who,)) == 4
    assert f"- p/r  it reads request.userInfo, {WHO}" in cli.out
    assert cli(name, policies=(who,)) == 3  # who asks has no name, and the rule denies that
    assert cli("nginx", "--background") == 2
    assert "--background: got the image nginx, expected resources" in cli.err


def test_its_records_replay(cli: Cli) -> None:
    name = cli.write("pod.yaml", pod(privileged=True))
    assert cli(name, "--background", "--record", "rec", "-o", "json") == 3
    (file,) = (cli.folder / "rec").iterdir()
    kept = read(file.read_bytes())
    assert (kept.at, kept.request.existing) == (Course.BACKGROUND, True)
    assert replay(file.read_bytes()) == kept.decision
    assert "asks" not in json.loads(cli.out)[0]
