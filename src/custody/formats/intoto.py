"""in-toto statements: subjects by digest, and a predicate about them (in-toto attestation spec v1, statement.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.formats.protojson import Message
from custody.kit import strictjson

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
STATEMENTS = (STATEMENT, "https://in-toto.io/Statement/v0.1")
COSIGN_SIGN = "https://sigstore.dev/cosign/sign/v1"
MAX_SIZE = 64 * 1024 * 1024
_MAX_SUBJECTS = 10_000

PREDICATES: Mapping[str, str] = {
    "custom": "https://cosign.sigstore.dev/attestation/v1",
    "slsaprovenance": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance02": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance1": "https://slsa.dev/provenance/v1",
    "spdx": "https://spdx.dev/Document",
    "spdxjson": "https://spdx.dev/Document",
    "cyclonedx": "https://cyclonedx.org/bom",
    "link": "https://in-toto.io/Link/v1",
    "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
    "openvex": "https://openvex.dev/ns",
}
"""cosign's short names of predicate types."""


@dataclass(frozen=True, slots=True)
class Subject:
    digest: Mapping[str, str]
    """Algorithm name → hexadecimal."""
    name: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statement:
    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Any

    def subject_of(self, digest: str) -> Subject | None:
        """The subject that names `algorithm:hex`, if one does."""
        algorithm, _, value = digest.partition(":")
        return next((subject for subject in self.subjects if subject.digest.get(algorithm) == value), None)

    def to_bytes(self) -> bytes:
        subjects = []
        for subject in self.subjects:
            entry: dict[str, Any] = {"name": subject.name} if subject.name else {}
            entry["digest"] = dict(subject.digest)
            if subject.annotations:
                entry["annotations"] = dict(subject.annotations)
            subjects.append(entry)
        return json.dumps({"_type": STATEMENT, "subject": subjects, "predicateType": self.predicate_type,
                           "predicate": self.predicate}, separators=(",", ":"), ensure_ascii=False).encode()


def statement(digest: str, predicate_type: str, predicate: Any, *, name: str = "",
              annotations: Mapping[str, str] | None = None) -> Statement:
    """A statement about one `sha256:…` digest."""
    algorithm, _, value = digest.partition(":")
    return Statement((Subject({algorithm: value}, name, annotations or {}),), predicate_type, predicate)


def predicate_type(name: str) -> str:
    """The URI of a short name, or the URI itself. Raises UnsupportedError."""
    if name in PREDICATES:
        return PREDICATES[name]
    if "://" not in name:
        raise UnsupportedError("predicate type", f"{name!r} is neither a URI nor a short name",
                               hint="short names: " + ", ".join(PREDICATES))
    return name


def parse_statement(data: bytes, where: str = "in-toto statement") -> Statement:
    """Raises MalformedError or UnsupportedError, naming the field. Every subject has at least one digest."""
    root = Message(strictjson.loads(data, where, max_size=MAX_SIZE, max_depth=200), where)
    if root.raw("_type") not in STATEMENTS:
        raise UnsupportedError(f"{where}._type", f"{root.raw('_type')!r}; custody reads {', '.join(STATEMENTS)}")
    kind, subjects = root.text("predicateType"), root.messages("subject", _MAX_SUBJECTS)
    if not kind:
        raise root.missing("predicateType", "a URI")
    if not subjects:
        raise root.missing("subject", "at least one subject")
    return Statement(tuple(map(_subject, subjects)), kind, root.raw("predicate") if root.has("predicate") else {})


def _subject(entry: Message) -> Subject:
    digest, annotations = entry.raw("digest"), entry.raw("annotations") or {}
    if not isinstance(digest, dict) or not digest or not all(isinstance(value, str) for value in digest.values()):
        raise MalformedError(f"{entry.where}.digest", got=digest,
                             expected="algorithm names with hexadecimal values")
    if not isinstance(annotations, dict):
        raise MalformedError(f"{entry.where}.annotations", got=annotations, expected="an object")
    return Subject(digest, entry.text("name", ""), {key: _plain(value) for key, value in annotations.items()})


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def parse_annotations(pairs: Iterable[str]) -> dict[str, str]:
    """`key=value` arguments. Raises MalformedError."""
    result = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise MalformedError("annotation", got=pair, expected="key=value")
        result[key] = value
    return result
