"""Custody's patterns, conditions and variables against what the real `kyverno apply` answered, and answers now."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from tests.conftest import peer
from tests.languages.kpattern import cases
from tests.policy.kyverno_cases import policy

ROWS: dict[str, list[str]] = {name: answer for name, *answer in json.loads(cases.ANSWERS.read_text())}
BLOCKS = cases.blocks()


def answer(block: dict[str, Any]) -> list[str]:
    policies = PolicySet([policy("case", block)])
    context = Context(now=datetime(2026, 1, 1, tzinfo=UTC))
    decision = decide(Request.create(cases.POD), {}, policies, context)
    return [decision.results[0].outcome.value, decision.results[0].message]


@pytest.mark.parametrize("group", ["pattern", "any", "condition", "variable", "said"])
def test_every_recorded_answer(group: str) -> None:
    asked = [name for name in ROWS if name.startswith(group)]
    wrong = [(name, ROWS[name], ours) for name in asked if (ours := answer(BLOCKS[name])) != ROWS[name]]
    assert not wrong
    assert len(asked) > 5


@pytest.mark.peer
def test_the_peer_still_answers_so() -> None:
    some = random.Random(2).sample(sorted(ROWS), 60)
    assert cases.ask(peer("kyverno"), {name: BLOCKS[name] for name in some}) == {name: ROWS[name] for name in some}
