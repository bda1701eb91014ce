"""Verification summaries: that a verifier held an artifact against policies, and how it came out (SLSA VSA, version 1,
slsa.dev/verification_summary/v1). Fields that it does not know are passed over, as in-toto's parsing rules demand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from custody.errors import MalformedError
from custody.kit.clock import format_rfc3339
from policylang.errors import Shape

PREDICATE_TYPE = "https://slsa.dev/verification_summary/v1"
PASSED, FAILED = "PASSED", "FAILED"
_MOST = 1000  # entries of a list


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An attestation that was looked at."""

    digest: Mapping[str, str]
    uri: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    verifier: str
    """`verifier.id`, a URI: who verified."""
    verified: datetime
    """`timeVerified`."""
    resource: str
    """`resourceUri`: what the artifact was called then."""
    policy_uri: str
    policy_digest: Mapping[str, str]
    """Algorithm name → hexadecimal."""
    result: str
    """PASSED or FAILED."""
    levels: tuple[str, ...]
    """`verifiedLevels`: SLSA levels, and other properties whose names do not begin with SLSA_."""
    inputs: tuple[Input, ...] = ()
    version: Mapping[str, str] = field(default_factory=dict)
    """`verifier.version`: components and their versions."""

    def to_json(self) -> dict[str, Any]:
        """The predicate."""
        verifier: dict[str, Any] = {"id": self.verifier}
        if self.version:
            verifier["version"] = dict(self.version)
        predicate: dict[str, Any] = {
            "verifier": verifier, "timeVerified": format_rfc3339(self.verified), "resourceUri": self.resource,
            "policy": {"uri": self.policy_uri, "digest": dict(self.policy_digest)}}
        if self.inputs:
            predicate["inputAttestations"] = [
                {**({"uri": entry.uri} if entry.uri else {}), "digest": dict(entry.digest)} for entry in self.inputs]
        return {**predicate, "verificationResult": self.result, "verifiedLevels": list(self.levels),
                "slsaVersion": "1.1"}


def parse_summary(predicate: Any, where: str = "verification summary") -> Summary:
    """Raises MalformedError, naming the field."""
    top = _map(predicate, where)
    verifier, policy = _map(top.get("verifier"), f"{where}.verifier"), _map(top.get("policy"), f"{where}.policy")
    result = _text(top.get("verificationResult"), f"{where}.verificationResult")
    if result not in (PASSED, FAILED):
        raise MalformedError(f"{where}.verificationResult", got=result, expected="PASSED or FAILED")
    inputs = []
    for at, entry in enumerate(_list(top.get("inputAttestations", []), f"{where}.inputAttestations")):
        place = f"{where}.inputAttestations[{at}]"
        known = _map(entry, place)
        inputs.append(Input(digest=_texts(known.get("digest"), f"{place}.digest"),
                            uri=_text(known.get("uri", ""), f"{place}.uri")))
    return Summary(
        verifier=_filled(verifier.get("id"), f"{where}.verifier.id"),
        version=_texts(verifier.get("version", {}), f"{where}.verifier.version"),
        verified=_moment(top.get("timeVerified"), f"{where}.timeVerified"),
        resource=_filled(top.get("resourceUri"), f"{where}.resourceUri"),
        policy_uri=_text(policy.get("uri", ""), f"{where}.policy.uri"),
        policy_digest=_texts(policy.get("digest", {}), f"{where}.policy.digest"), result=result, inputs=tuple(inputs),
        levels=tuple(_text(level, f"{where}.verifiedLevels[{at}]") for at, level in enumerate(
            _list(top.get("verifiedLevels"), f"{where}.verifiedLevels"))))


def _map(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(where, got=Shape(value), expected="an object")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > _MOST:
        raise MalformedError(where, got=f"{len(value)} entries" if isinstance(value, list) else Shape(value),
                             expected=f"a list of at most {_MOST}")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise MalformedError(where, got=Shape(value), expected="a text")
    return value


def _filled(value: Any, where: str) -> str:
    if not _text(value, where):
        raise MalformedError(where, got="an empty text", expected="a URI")
    return str(value)


def _texts(value: Any, where: str) -> dict[str, str]:
    return {key: _text(text, f"{where}.{key}") for key, text in _map(value, where).items()}


def _moment(value: Any, where: str) -> datetime:
    text = _text(value, where)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or "T" not in text.upper():
        raise MalformedError(where, got=text, expected="a time such as 2026-05-01T00:00:00Z")
    return moment
