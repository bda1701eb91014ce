"""What became of one review: the facts for a log line, a metric or a record. Observers cannot change the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from custody.admission.endpoint import Endpoint
from custody.admission.judging import Judged
from custody.admission.review import Review
from custody.policy.model import Decision


class Answered(NamedTuple):
    """One review and its answer."""

    review: Review
    endpoint: Endpoint
    seconds: float
    """From the whole body to the answer."""
    policies_digest: str
    decision: Decision | None
    """None where it was refused without a decision: too large, too late, or a fault."""
    reason: str = ""
    """Why there is no decision."""
    judged: Judged | None = None
    """The decision with its inputs; None where there is no decision."""
    size: int = 0
    """Bytes of the review."""

    @property
    def outcome(self) -> str:
        """`allowed`, `denied`, `not judged`, or `refused` where none was made."""
        return str(self.decision.verdict) if self.decision is not None else "refused"


Observer = Callable[[Answered], None]


def both(first: Observer, second: Observer) -> Observer:
    """Tells two."""
    def observe(answered: Answered) -> None:
        first(answered)
        second(answered)

    return observe
