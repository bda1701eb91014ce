"""Beside Kyverno's real controller on the same requests: every difference in verdict is explained, and stays so."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import pytest

from custody.admission.review import read
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision
from custody.policy.phases import Course
from tests.admission.beside_kyverno import ANSWERS, DIFFERENCES, POLICIES, Json, cases, kyverno, review
from tests.apiserver import PEERS, TOOLS
from tests.conftest import peer

NOW = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.fixture(scope="module")
def policies() -> PolicySet:
    return PolicySet(POLICIES)


def answer(policies: PolicySet, body: Json) -> Decision:
    request = policies.kinds.located(read(review(body)).request)
    return decide(request, {}, policies, Context(now=NOW), at=Course.VALIDATING)


def recorded() -> dict[str, list[object]]:
    answers: dict[str, list[object]] = json.loads(ANSWERS.read_text())
    return answers


def differences() -> list[dict[str, str]]:
    """`case` (a pattern), `kyverno`, `custody` and `why`."""
    entries: list[dict[str, str]] = tomllib.loads(DIFFERENCES.read_text())["difference"]
    return entries


WORDS = {True: "allowed", False: "denied"}


def test_every_difference_in_verdict_is_explained(policies: PolicySet) -> None:
    answers = recorded()
    explained = differences()
    used: set[int] = set()
    unexplained = []
    for name, body in cases():
        theirs, ours = WORDS[bool(answers[name][0])], WORDS[answer(policies, body).allowed]
        if theirs == ours:
            continue
        reasons = [at for at, entry in enumerate(explained) if fnmatchcase(name, entry["case"])
                   and (entry["kyverno"], entry["custody"]) == (theirs, ours)]
        used.update(reasons[:1])
        if not reasons:
            unexplained.append(f"{name}: Kyverno {theirs}, custody {ours}")
    assert unexplained == []
    assert [entry["case"] for at, entry in enumerate(explained) if at not in used] == [], "explains nothing any more"
    assert len(answers) >= 200


def test_the_same_rules_deny_in_the_same_words(policies: PolicySet) -> None:
    """Of requests that both deny: Kyverno's policies are among ours. Ours may be more: a spelling is seen through."""
    answers = recorded()
    other = []
    for name, body in cases():
        allowed, message = answers[name]
        decision = answer(policies, body)
        if allowed or decision.allowed:
            continue
        theirs = {line.rstrip(":") for line in str(message).splitlines() if line.endswith(":") and line[:1].isalpha()}
        ours = {result.policy for result in decision.results if result.denies}
        if not theirs <= ours and not any(fnmatchcase(name, entry["case"]) for entry in differences()):
            other.append(f"{name}: Kyverno {sorted(theirs)}, custody {sorted(ours)}")
    assert other == []


@pytest.mark.peer
def test_kyverno_still_answers_so() -> None:
    for name in ("kyverno-controller", "kube-apiserver", "etcd", "kubectl", "jq"):
        peer(name)
    if not (TOOLS / "kyverno-webhook").is_file():
        pytest.skip("the script that boots Kyverno's controller is not here")
    answers = recorded()
    assert {name: allowed for name, (allowed, _) in kyverno(TOOLS, PEERS).items()} == {
        name: allowed for name, (allowed, _) in answers.items()}
