"""MutatingPolicies: the answers in mutating_answers.json are those of `kyverno apply` 1.19.1.

Each case: the policy's spec, the object, and the object that it left; null where the policy failed.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from custody.formats import jsonpatch
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Outcome, Request
from custody.policy.phases import Course

_CASES = json.loads((Path(__file__).parent / "mutating_answers.json").read_bytes())
_NOW = Context(now=datetime(2026, 11, 29, tzinfo=UTC))


@pytest.mark.parametrize("at", range(len(_CASES)))
def test_an_object_is_left_as_kyverno_leaves_it(at: int) -> None:
    spec, document, expected = _CASES[at]
    policy = {"apiVersion": "policies.kyverno.io/v1", "kind": "MutatingPolicy", "metadata": {"name": "p"}, "spec": spec}
    decision = decide(Request.create(document), {}, PolicySet.load([policy]), _NOW, at=Course.MUTATING)
    if expected is None:
        assert [said.outcome for said in decision.results] == [Outcome.ERROR], decision.results
        return
    assert all(said.outcome is Outcome.PASS for said in decision.results), decision.results
    assert jsonpatch.apply(document, decision.patch) == expected


def test_there_are_answers_of_both_kinds_and_about_templates() -> None:
    assert {expected is None for _, _, expected in _CASES} == {True, False}
    assert any(spec["matchConstraints"]["resourceRules"][0]["resources"] == ["pods"]
               and document["kind"] == "Deployment" and expected not in (None, document)
               for spec, document, expected in _CASES)
