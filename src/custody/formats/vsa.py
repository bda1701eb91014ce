"""Verification summaries: that a verifier held an artifact against policies, and how it came out (SLSA VSA, version 1,
slsa.dev/verification_summary/v1). Fields that it does not know are passed over, as in-toto's parsing rules demand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from custody.errors import MalformedError
from custody.kit.clock import format_rfc3339
from policylang.errors import Shape

PREDICATE_TYPE = "https://slsa.dev/verification_summary/v1"
PASSED, FAILED = "PASSED", "FAILED"
_MOST = 1000  # entries of a list
_TRACK = re.compile(r"SLSA_([A-Z]+)_LEVEL_([0-9]{1,3})")
_EARLY = timedelta(minutes=1)  # by which clocks of two machines may differ


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
    dependencies: Mapping[str, int] | None = None
    """`dependencyLevels`: how many dependencies have each level; None where nothing is said of any."""

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
        predicate |= {"verificationResult": self.result, "verifiedLevels": list(self.levels)}
        if self.dependencies is not None:
            predicate["dependencyLevels"] = dict(self.dependencies)
        return {**predicate, "slsaVersion": "1.1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Which summaries count, once it is known who signed one. A verifier's name says nothing without its signer."""

    verifier: str
    resource: str
    levels: tuple[str, ...] = ()
    """All of them. One of a track (`SLSA_BUILD_LEVEL_2`) is met by any higher one of that track."""
    policies: frozenset[str] = frozenset()
    """`sha256:HEX`; the policy must be one of them, where there are any."""
    max_age: timedelta | None = None


def mismatch(summary: Summary, terms: Terms, now: datetime) -> str | None:
    """Why a summary does not count; None where it does (SLSA: verifying VSAs, steps 3 to 6)."""
    age = now - summary.verified
    digests = {f"{name}:{value.lower()}" for name, value in summary.policy_digest.items()}
    if summary.verifier != terms.verifier:
        return f"verifier.id: got {summary.verifier!r}, expected {terms.verifier!r}"
    if summary.resource != terms.resource:
        return f"resourceUri: got {summary.resource!r}, expected {terms.resource!r}"
    if summary.result != PASSED:
        return f"verificationResult: got {summary.result}, expected {PASSED}"
    lacking = [level for level in terms.levels if not _is_met(level, summary.levels)]
    if lacking:
        return (f"verifiedLevels: got {', '.join(summary.levels) or 'none'}, expected {', '.join(lacking)}"
                f"{'' if len(lacking) == 1 else ' too'}")
    if terms.policies and not digests & terms.policies:
        return (f"policy.digest: got {', '.join(sorted(digests)) or 'none'}, expected "
                f"{' or '.join(sorted(terms.policies))}")
    if age < -_EARLY:
        return f"timeVerified: {format_rfc3339(summary.verified)} is still to come"
    if terms.max_age is not None and age > terms.max_age:
        hours = terms.max_age.total_seconds() / 3600
        return f"timeVerified: {format_rfc3339(summary.verified)} is longer ago than {hours:g} h"
    return None


def _is_met(asked: str, levels: Sequence[str]) -> bool:
    track = _TRACK.fullmatch(asked)
    if track is None:
        return asked in levels
    return any(said is not None and said[1] == track[1] and int(said[2]) >= int(track[2])
               for said in map(_TRACK.fullmatch, levels))


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
        dependencies=_counts(top.get("dependencyLevels"), f"{where}.dependencyLevels"),
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


def _counts(value: Any, where: str) -> dict[str, int] | None:
    if value is None:
        return None
    for level, number in _map(value, where).items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise MalformedError(f"{where}.{level}", got=Shape(number), expected="how many dependencies have it")
    return dict(value)


def _moment(value: Any, where: str) -> datetime:
    text = _text(value, where)
    try:
        moment = datetime.fromisoformat(text)
        moment.astimezone(UTC)  # it must be one in UTC too
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.tzinfo is None or "T" not in text.upper():
        raise MalformedError(where, got=text, expected="a time such as 2026-05-01T00:00:00Z")
    return moment
