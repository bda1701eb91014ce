"""Records of decisions where many are kept: what they share, policies and evidence, is kept once, by digest."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

import msgspec

from custody.errors import CustodyError, MalformedError
from custody.evidence.model import EvidenceSet
from custody.kit.digest import sha256
from custody.policy.decide import pairs
from custody.policy.model import Asks, Context, Decision, Request
from custody.policy.phases import Course
from custody.policy.record import VERSION, Record
from custody.ports.lookup import (
    Answer,
    Answered,
    ApiCall,
    GlobalEntry,
    HttpCall,
    Inventory,
    Partial,
    Question,
    plain,
)


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


_ENCODER = msgspec.json.Encoder(enc_hook=plain)
_DIVIDED = msgspec.json.Decoder(_Divided)
_EVIDENCE = msgspec.json.Decoder(EvidenceSet)
_DECISION = msgspec.json.Decoder(Decision)
_DOCUMENTS = msgspec.json.Decoder(list[Any])
_T = TypeVar("_T")
_SECRETS = {("", "Secret"): ("data", "stringData"), ("authentication.k8s.io", "TokenReview"): ("spec", "status"),
            ("authentication.k8s.io", "TokenRequest"): ("status",)}
"""What objects of a group and kind have that only those may see who may read the objects."""
_CREDENTIALS = re.compile("auth|cookie|key|token|secret|password", re.IGNORECASE)
"""In names of HTTP headers."""


def encoded(evidence: EvidenceSet) -> tuple[str, bytes]:
    """(digest, JSON) of what is known of an image."""
    data = _ENCODER.encode(evidence)
    return sha256(data), data


class Own(NamedTuple):
    """What is one decision's alone, written: nothing of it keeps the request's object alive."""

    request: msgspec.Raw
    decision: msgspec.Raw
    answers: list[tuple[Question, Answer]]
    withheld: bool


def own(request: Request, text: bytes, answers: Mapping[Question, Answer], decision: Decision) -> Own:
    """`text` is the request as `decide.written` gives it.

    The values of Secrets, tokens and credentials are left out, and it says so.
    """
    kept, withheld = _without_secrets(request)
    known: list[tuple[Question, Answer]] = []
    for question, answer in pairs(answers):
        shown = _without_credentials(question)
        if isinstance(answer, Answered) and isinstance(answer.value, Partial):
            answer = Answered(answer.value.read())
        hidden = isinstance(answer, Answered) and _secret(question, answer.value)
        withheld = withheld or hidden or shown is not question
        known.append((shown, Answered(None) if hidden else answer))
    if withheld:
        patch = [{name: value for name, value in operation.items() if name != "value"} for operation in decision.patch]
        decision = msgspec.structs.replace(decision, patch=patch, changes=(), asks=Asks())
    return Own(msgspec.Raw(text if kept is request else _ENCODER.encode(kept)),
               msgspec.Raw(_ENCODER.encode(decision)), known, withheld)


def divided(own: Own, evidence: Mapping[str, str], policies: str, context: Context, *, at: Course) -> bytes:
    """The part of a record that is one decision's; `evidence` and `policies` are named by digest.

    Where something is withheld it cannot be decided on again.
    """
    return _ENCODER.encode({
        "version": VERSION, "request": own.request, "evidence": evidence, "answers": own.answers, "policies": policies,
        "context": context, "at": at, "decision": own.decision, "withheld": own.withheld})


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


def _secret(question: Question, value: Any) -> bool:
    """Whether an answer is, or has, what only those may see who may read Secrets and have tokens made."""
    if isinstance(question, ApiCall):
        steps = [unquote(step) for step in question.path.partition("?")[0].split("/")]
        return bool({"secrets", "token", "tokenreviews"} & {*steps})
    if isinstance(question, GlobalEntry):
        items = value if isinstance(value, list) else value.get("items", [value]) if isinstance(value, dict) else ()
        return any(isinstance(item, dict) and item.get("kind") == "Secret" for item in items or ())
    if isinstance(question, Inventory):
        homes = (value.get("namespace") or {}).values() if isinstance(value, dict) else ()
        return any("Secret" in kinds for versions in homes for kinds in versions.values())
    return False


def _without_credentials(question: Question) -> Question:
    """The same question, where it carries none."""
    if isinstance(question, HttpCall) and any(_CREDENTIALS.search(name) for name, _ in question.headers):
        return msgspec.structs.replace(question, headers=tuple(
            (name, "" if _CREDENTIALS.search(name) else value) for name, value in question.headers))
    if isinstance(question, ApiCall) and question.body and _secret(question, None):
        return msgspec.structs.replace(question, body="")
    return question


def _without_secrets(request: Request) -> tuple[Request, bool]:
    private = _SECRETS.get((request.kind.group, request.kind.kind))
    if private is None:
        return request, False
    objects = {}
    for field in ("object", "old_object"):
        document = getattr(request, field)
        if isinstance(document, dict):
            objects[field] = {name: value for name, value in document.items() if name not in private}
            metadata = objects[field].get("metadata")
            if isinstance(metadata, dict):  # kubectl apply writes the whole object into an annotation
                objects[field]["metadata"] = {key: value for key, value in metadata.items() if key != "annotations"}
    return msgspec.structs.replace(request, **objects), True
