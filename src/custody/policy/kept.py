"""Records of decisions where many are kept: what they share, policies and evidence, is kept once, by digest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from custody.errors import CustodyError, MalformedError
from custody.evidence.model import EvidenceSet
from custody.kit.digest import sha256
from custody.policy.decide import pairs
from custody.policy.model import Context, Decision, Request
from custody.policy.phases import Course
from custody.policy.record import VERSION, Record
from custody.ports.lookup import Answer, Answered, ApiCall, Question


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What one kept decision was made from, without its policies."""

    request: Request
    evidence: dict[str, EvidenceSet]
    answers: list[tuple[Question, Answer]]
    context: Context
    at: Course
    written: msgspec.Raw
    """The decision, as it was written."""

    @property
    def decision(self) -> Decision:
        """What was decided. Raises MalformedError."""
        return _decision(self.written)


class _Divided(msgspec.Struct, frozen=True, kw_only=True):
    """A Record whose policies and evidence lie elsewhere, by digest."""

    version: str = VERSION
    request: Request
    evidence: dict[str, str]
    answers: list[tuple[Question, Answer]] = []
    policies: str
    context: Context
    at: Course
    decision: msgspec.Raw
    withheld: bool = False


_ENCODER = msgspec.json.Encoder()
_DIVIDED = msgspec.json.Decoder(_Divided)
_EVIDENCE = msgspec.json.Decoder(EvidenceSet)
_DECISION = msgspec.json.Decoder(Decision)
_DOCUMENTS = msgspec.json.Decoder(list[Any])
_T = TypeVar("_T")
_SECRETS = ("data", "stringData")


def encoded(evidence: EvidenceSet) -> tuple[str, bytes]:
    """(digest, JSON) of what is known of an image."""
    data = _ENCODER.encode(evidence)
    return sha256(data), data


def divided(request: Request, evidence: Mapping[str, str], policies: str, context: Context, *, at: Course,
            answers: Mapping[Question, Answer], decision: Decision) -> bytes:
    """The part of a record that is this decision's alone; `evidence` and `policies` are named by digest.

    The values of Secrets are left out of it, and the record says so: it cannot be decided on again.
    """
    kept, withheld = _without_secrets(request)
    known: list[tuple[Question, Answer]] = []
    for question, answer in pairs(answers):
        hidden = isinstance(question, ApiCall) and "/secrets" in question.path and isinstance(answer, Answered)
        withheld = withheld or hidden
        known.append((question, Answered(None) if hidden else answer))
    return _ENCODER.encode(_Divided(request=kept, evidence=dict(evidence), answers=known, policies=policies,
                                    context=context, at=at, decision=msgspec.Raw(_ENCODER.encode(decision)),
                                    withheld=withheld))


def inputs(data: bytes, part: Callable[[str], bytes | None]) -> Inputs:
    """What it was made from; `part` gives what it names.

    Raises MalformedError for what is none or lacks a part, WithheldError where it had the values of a Secret.
    """
    kept = _read(data)
    if kept.withheld:
        raise WithheldError
    evidence = {image: _decoded(_EVIDENCE, _part(part, digest)) for image, digest in kept.evidence.items()}
    return Inputs(request=kept.request, evidence=evidence, answers=kept.answers, context=kept.context, at=kept.at,
                  written=kept.decision)


def joined(data: bytes, part: Callable[[str], bytes | None]) -> Record:
    """The whole record. Raises what `inputs` does."""
    known = inputs(data, part)
    policies = _decoded(_DOCUMENTS, _part(part, _read(data).policies))
    return Record(request=known.request, evidence=known.evidence, answers=known.answers, policies=policies,
                  context=known.context, at=known.at, decision=known.decision)


def decision_of(data: bytes) -> tuple[Request, Decision]:
    """What was asked and decided, also where something of it was withheld. Raises MalformedError."""
    kept = _read(data)
    return kept.request, _decision(kept.decision)


def _read(data: bytes) -> _Divided:
    kept = _decoded(_DIVIDED, data)
    if kept.version != VERSION:
        raise MalformedError("kept decision", got=kept.version, expected=VERSION)
    return kept


def _decision(written: msgspec.Raw) -> Decision:
    return _decoded(_DECISION, written)


def _decoded(decoder: msgspec.json.Decoder[_T], data: bytes | msgspec.Raw) -> _T:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("kept decision", got=str(error), expected=VERSION) from None


class WithheldError(CustodyError):
    """Values of Secrets were not kept."""

    def __init__(self) -> None:
        super().__init__("it was decided on values of a Secret, which are not kept")


def _part(part: Callable[[str], bytes | None], digest: str) -> bytes:
    data = part(digest)
    if data is None:
        raise MalformedError("kept decision", got=f"no {digest}", expected="everything that was decided on")
    return data


def _without_secrets(request: Request) -> tuple[Request, bool]:
    if request.kind.kind != "Secret" or request.kind.group:
        return request, False
    objects = {}
    for field in ("object", "old_object"):
        document = getattr(request, field)
        if isinstance(document, dict):
            objects[field] = {name: value for name, value in document.items() if name not in _SECRETS}
            metadata = objects[field].get("metadata")
            if isinstance(metadata, dict):  # kubectl apply writes the whole object into an annotation
                objects[field]["metadata"] = {key: value for key, value in metadata.items() if key != "annotations"}
    return msgspec.structs.replace(request, **objects), True
