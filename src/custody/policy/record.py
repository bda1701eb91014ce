"""A decision with all that it was made from, as one JSON document, so that it can be made again without a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from custody.errors import MalformedError
from custody.evidence.model import EvidenceSet
from custody.policy.decide import decide
from custody.policy.kinds import UNCHECKED
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request

VERSION = "custody/decision/v1"
MAX_SIZE = 256 * 1024 * 1024


class Record(msgspec.Struct, frozen=True, kw_only=True):
    version: str = VERSION
    request: Request
    evidence: dict[str, EvidenceSet]
    policies: list[Any]
    context: Context
    mutate: bool
    decision: Decision


def record(request: Request, evidence: Mapping[str, EvidenceSet], policies: PolicySet, context: Context, *,
           mutate: bool, decision: Decision) -> bytes:
    """The JSON document. It holds the whole request and every predicate: keep it as private as those are."""
    return msgspec.json.encode(Record(request=request, evidence=dict(evidence), policies=policies.documents,
                                      context=context, mutate=mutate, decision=decision), order="deterministic")


def read(data: bytes) -> Record:
    """Raises MalformedError. What it says was verified is only as good as whoever kept the document."""
    if len(data) > MAX_SIZE:
        raise MalformedError("decision record", got=f"{len(data)} bytes", expected=f"at most {MAX_SIZE} bytes")
    try:
        found = msgspec.json.decode(data, type=Record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("decision record", got=str(error), expected=VERSION) from None
    if found.version != VERSION:
        raise MalformedError("decision record", got=found.version, expected=VERSION)
    return found


def replay(data: bytes, policies: PolicySet | None = None) -> Decision:
    """Decide again, with the recorded policies or, to see what would change, with others."""
    found = read(data)
    return decide(found.request, found.evidence, policies or PolicySet(found.policies, kinds=UNCHECKED), found.context,
                  mutate=found.mutate)
