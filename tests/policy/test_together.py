"""What `policy lint` says of policies of several engines that are given together."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from custody.policy.equivalent import together
from tests.policy.test_equivalent import kyverno, vap

MUTATOR: dict[str, Any] = {
    "apiVersion": "mutations.gatekeeper.sh/v1", "kind": "Assign", "metadata": {"name": "host-pid"}, "spec": {
        "applyTo": [{"groups": [""], "versions": ["v1"], "kinds": ["Pod"]}], "location": "spec.hostPID",
        "parameters": {"assign": {"value": True}}}}
NO_PID = kyverno("pattern: {spec: {=(hostPID): false}}")


def linted(folder: Path, capsys: pytest.CaptureFixture[str], *documents: dict[str, Any],
           options: Sequence[str] = ()) -> str:
    (folder / "policies.yaml").write_text(yaml.safe_dump_all(documents))
    assert run(["policy", "lint", str(folder / "policies.yaml"), *options]) == 0
    return capsys.readouterr().out


def test_two_engines_that_judge_the_same_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = vap("!object.spec.?hostPID.orValue(false)", resources="[pods, pods/ephemeralcontainers]")
    assert "ValidatingAdmissionPolicy planted of another engine says the same" in linted(
        tmp_path, capsys, *NO_PID, *same)


def test_two_engines_that_judge_other_things_are_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = vap("!object.spec.?hostIPC.orValue(false)", resources="[pods, pods/ephemeralcontainers]")
    assert "judged-twice" not in linted(tmp_path, capsys, *NO_PID, *other)


def test_what_one_writes_and_another_denies_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = linted(tmp_path, capsys, MUTATOR, *NO_PID)
    assert "ClusterPolicy planted denies whatever it changes" in said
    assert "[changed-then-denied]" in said


def test_a_pair_of_which_nothing_is_known_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of them never judges: that the other is against nothing says nothing of it."""
    never = vap("!object.spec.?hostPID.orValue(false)", conditions="[{name: never, expression: 'object.spec.?hostPID.orValue(1) == 7'}]")
    said = linted(tmp_path, capsys, *kyverno("pattern: {spec: {=(hostPID): '*'}}"), *never)
    assert "nothing is known of 1 of 1 pairs" in said
    assert "requests one of them judged none [not-compared]" in said


def test_a_mutator_that_changes_none_of_what_is_made_up_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    idle = {**MUTATOR, "spec": {**MUTATOR["spec"], "match": {"labelSelector": {"matchLabels": {"a": "b", "c": "d", "e": "f", "g": "h"}}, "name": "nobody-at-all"}}}
    assert "the first changed none of" in linted(tmp_path, capsys, idle, *NO_PID)


def test_a_mutator_of_other_kinds_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = {**MUTATOR, "spec": {**MUTATOR["spec"], "applyTo": [{"groups": [""], "versions": ["v1"], "kinds": ["Service"]}]}}
    assert "not-compared" not in linted(tmp_path, capsys, other, *NO_PID)


@pytest.mark.parametrize("other", ["same", "changing"])
def test_pairs_that_are_left_out_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], other: str,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    def named(number: int, *documents: dict[str, Any]) -> list[dict[str, Any]]:
        text = json.dumps(documents).replace('"planted"', f'"p{number}"').replace('"host-pid"', f'"m{number}"')
        made: list[dict[str, Any]] = json.loads(text)
        return made

    documents = named(0, *NO_PID)
    for number in range(1, 4):
        documents += named(number, *(vap("!object.spec.?hostPID.orValue(false)") if other == "same" else [MUTATOR]))
    if other == "changing":
        documents += named(1, *NO_PID)
    assert "not-compared" not in linted(tmp_path, capsys, *documents)
    monkeypatch.setattr(together, "_WORK", 100)
    said = linted(tmp_path, capsys, *documents)
    count = "2 of 3" if other == "same" else "1 of 2"  # all mutators are one policy
    assert f": {count} pairs of policies of several engines were not compared" in said
    assert said.count("[not-compared]") == 1
    shown = json.loads(linted(tmp_path, capsys, *documents, options=["-o", "json"]))
    assert "policies of several engines" in shown[-1]["message"]


def test_what_one_writes_and_another_wants_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = {**MUTATOR, "spec": {**MUTATOR["spec"], "parameters": {"assign": {"value": False}}}}
    assert "changed-then-denied" not in linted(tmp_path, capsys, wanted, *NO_PID)
