"""What policies say of a request once all that they ask is answered: the same for whoever compares two of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from custody.policy.model import Decision, Outcome
from custody.ports.lookup import Answer, Question

NOW = datetime(2026, 1, 1, tzinfo=UTC)
"""When they are asked, where nobody says."""
_ROUNDS = 50
Ask = Callable[[Question], Answer]
Stance = Literal["against", "for", "nothing"]


def answered(decided: Callable[[dict[Question, Answer]], Decision], ask: Ask,
             answers: dict[Question, Answer] | None = None) -> Decision:
    """Decided again with what is looked up, until nothing new is asked. `answers` are known before, and grow."""
    answers = {} if answers is None else answers
    decision = decided(answers)
    for _ in range(_ROUNDS):
        # In their order: what is made up next depends on what was, and must be the same each time.
        new = [question for question in dict.fromkeys(decision.asks.questions) if question not in answers]
        if not new:
            break
        for question in new:
            answers[question] = ask(question)
        decision = decided(answers)
    return decision


def stance(decision: Decision) -> Stance:
    """A failure and an error are both against it."""
    outcomes = {result.outcome for result in decision.results}
    return "against" if outcomes & {Outcome.FAIL, Outcome.ERROR} else "for" if Outcome.PASS in outcomes else "nothing"


def message(decision: Decision) -> str:
    """The first that is said; empty where none is."""
    return next((result.message for result in decision.results if result.message), "")
