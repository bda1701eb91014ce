"""custody's answers beside those that the real Kyverno CLI gave: outcome and message, word for word."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from custody.errors import MalformedError, UnsupportedError
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from tests.conftest import peer
from tests.policy.kyverno_cases import ANSWERS, ask_kyverno, cases, policy

RECORDED = json.loads(ANSWERS.read_text())


def explained(name: str, block: dict[str, Any]) -> str | None:
    """Why custody's answer is another one on purpose."""
    if "podSecurity" in block["validate"]:
        return "the API server's own words instead of Kyverno's"
    if name not in RECORDED:
        return "Kyverno does not load it"
    if block["validate"].get("pattern") == {"spec": {"containers": []}}:
        return "refused: a pattern of no elements"
    return None


def answer(block: dict[str, Any], pod: dict[str, Any]) -> list[str]:
    policies = PolicySet([policy("case", block)])
    decision = decide(Request.create(pod), {}, policies, Context(now=datetime(2026, 11, 24, tzinfo=UTC)))
    return [decision.results[0].outcome.value, decision.results[0].message]


@pytest.mark.parametrize(("name", "block", "pod"), cases(), ids=[name for name, _, _ in cases()])
def test_as_kyverno(name: str, block: dict[str, Any], pod: dict[str, Any]) -> None:
    reason = explained(name, block)
    if reason is None:
        assert answer(block, pod) == RECORDED[name]
    elif reason.startswith("refused"):
        with pytest.raises((UnsupportedError, MalformedError), match=r"spec\.rules\[0\]\."):
            answer(block, pod)
    elif name in RECORDED:
        assert answer(block, pod)[0] == RECORDED[name][0]


@pytest.mark.peer
def test_kyverno_still_answers_so() -> None:
    assert ask_kyverno(peer("kyverno")) == RECORDED
