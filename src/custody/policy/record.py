"""A decision with all that it was made from, as one JSON document, so that it can be made again without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from custody.errors import MalformedError
from custody.evidence.model import EvidenceSet
from custody.policy.decide import decide, pairs
from custody.policy.kinds import UNCHECKED
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request
from custody.policy.phases import Course
from custody.ports.lookup import Answer, Question, plain

VERSION = "custody/decision/v2"
FIRST = "custody/decision/v1"
MAX_SIZE = 256 * 1024 * 1024


class Record(msgspec.Struct, frozen=True, kw_only=True):
    version: str = VERSION
    request: Request
    evidence: dict[str, EvidenceSet]
    answers: list[tuple[Question, Answer]] = []
    policies: list[Any]
    context: Context
    at: Course = Course.ADMISSION
    decision: Decision


class _First(msgspec.Struct, frozen=True, kw_only=True):
    """What version 1 said instead of `at`."""

    version: str
    mutate: bool = True


def record(request: Request, evidence: Mapping[str, EvidenceSet], policies: PolicySet, context: Context, *,
           at: Course, answers: Mapping[Question, Answer] = {}, decision: Decision) -> bytes:
    """The JSON document. It holds the whole request and every predicate: keep it as private as those are."""
    return encode(Record(request=request, evidence=dict(evidence), answers=pairs(answers), policies=policies.documents,
                         context=context, at=at, decision=decision))


def encode(kept: Record) -> bytes:
    """The JSON document."""
    return msgspec.json.encode(kept, order="deterministic", enc_hook=plain)


def read(data: bytes) -> Record:
    """Of this version or the first. Raises MalformedError.

    What it says was verified is only as good as whoever kept the document.
    """
    if len(data) > MAX_SIZE:
        raise MalformedError("decision record", got=f"{len(data)} bytes", expected=f"at most {MAX_SIZE} bytes")
    try:
        kept = msgspec.json.decode(data, type=Record)
        if kept.version == FIRST and not msgspec.json.decode(data, type=_First).mutate:
            kept = msgspec.structs.replace(kept, at=Course.VALIDATING)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("decision record", got=str(error), expected=VERSION) from None
    if kept.version not in (VERSION, FIRST):
        raise MalformedError("decision record", got=kept.version, expected=f"{VERSION} or {FIRST}")
    return kept


def replay(data: bytes, policies: PolicySet | None = None) -> Decision:
    """Decide again, with the recorded policies or, to see what would change, with others.

    Raises MalformedError for a record in which something is missing that its own policies were given.
    """
    kept = read(data)
    decision = decide(kept.request, kept.evidence, policies or PolicySet(kept.policies, kinds=UNCHECKED), kept.context,
                      at=kept.at, answers=dict(kept.answers))
    if policies is None and kept.version == VERSION:
        missing = [f"the evidence of {name}" for name in decision.asks.images if name not in kept.decision.asks.images]
        missing += [str(question) for question in decision.asks.questions
                    if question not in kept.decision.asks.questions]
        if missing:
            raise MalformedError("decision record", got=f"nothing about {', '.join(missing)}",
                                 expected="everything that was decided on")
    return decision
