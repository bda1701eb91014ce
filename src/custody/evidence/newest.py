"""Of one signer and predicate type the newest statement speaks: an older scan says nothing of today."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple

from custody.errors import Check
from custody.evidence.model import EvidenceSet, KeylessSigner, Rejected, State, Verified


class Newest(NamedTuple):
    """Both in the order in which they were given."""

    speaking: list[Verified]
    superseded: list[Verified]


def newest(verified: Iterable[Verified]) -> Newest:
    """Part statements into those that speak and those that a newer one of their kind has superseded.

    Of one kind are those of one signer (subject and issuer of a certificate, or a key) and one predicate type. Time is
    what an authority or a log attested; several of the same time all speak. A statement without an attested time could
    be of any day: it supersedes nothing and nothing supersedes it.

    An attested time says that a signature was there by then, not that it was made then. So whoever may push could take
    an old statement, leave out what attested its time, and have the same signature attested anew: every copy of a
    signature counts as of the earliest time that is attested for any of them.
    """
    statements = list(verified)
    first: dict[tuple[str, ...], datetime] = {}
    for statement in statements:
        if statement.signature and statement.signed_at is not None:
            copy = (*_kind(statement), statement.signature)
            first[copy] = min(first.get(copy, statement.signed_at), statement.signed_at)
    times = [first.get((*_kind(statement), statement.signature), statement.signed_at) for statement in statements]
    latest: dict[tuple[str, ...], datetime] = {}
    for statement, time in zip(statements, times, strict=True):
        if time is not None:
            kind = _kind(statement)
            latest[kind] = max(latest.get(kind, time), time)
    parted = Newest([], [])
    for statement, time in zip(statements, times, strict=True):
        parted[0 if time is None or time == latest[_kind(statement)] else 1].append(statement)
    return parted


def unread(rejected: Iterable[Rejected], predicate_types: Collection[str]) -> Rejected | None:
    """A document that could not be had and may be the newest of these types: then nobody can tell which one speaks.

    One that was read and does not verify is no statement, and takes nothing away from those that are; one that is too
    large to be read may well be one.
    """
    return next((entry for entry in rejected if (
        entry.state is State.UNVERIFIABLE or entry.check is Check.WEIGHT) and (
        entry.predicate_type is None or entry.predicate_type in predicate_types)), None)


def speaking(evidence: EvidenceSet, predicate_type: str, *, every: bool = False) -> list[Verified]:
    """The attestations of a type that speak about an image, or `every` one; none where nobody can tell which."""
    if unread(evidence.rejected, (predicate_type,)) is not None:
        return []
    attestations = list(evidence.of(predicate_type))
    return attestations if every else newest(attestations).speaking


def _kind(statement: Verified) -> tuple[str, ...]:
    signer = statement.signer
    who = ("certificate", signer.subject, signer.issuer) if isinstance(signer, KeylessSigner) else (
        "key", signer.fingerprint)
    return (*who, statement.predicate_type)
