"""Evidence as the policy languages see it: plain data, by kind, of which nothing is there that nobody vouches for.

`custody.evidence(image)` of Rego and `evidence(image)` of CEL give this map (docs/guides/evidence.md):

    image, digest     its canonical name, and the digest that the evidence is about
    states            of each kind: verified, stale, missing, failed or unverifiable
    reasons           why, of those that are neither verified nor stale
    KIND              what is verified, a list of statements; absent in every other state

A kind that is not verified is absent and no empty list: CEL makes an error of reading it, and Rego's callers are told
by `unverified`, so that "none of them is bad" is never said of what is not there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from custody.errors import CustodyError
from custody.evidence.model import EvidenceSet, KeylessSigner, KeySigner, State, Verified, unreached
from custody.evidence.newest import newest, unread
from custody.kit.clock import format_rfc3339
from custody.policy.evidencecontents import KINDS, TYPES, content_of, types_of
from custody.policy.evidencesigners import Accepted, Who
from custody.policy.given import Given
from custody.policy.images import Image, image
from custody.policy.kyverno.sought import evidence_for
from custody.policy.lookup import LookupFailedError, Together, UnansweredError
from custody.policy.rule import Needs
from custody.ports.lookup import Authority, ImageEvidence

COUNTED = ("verified", "stale")
"""States in which a kind is there."""


# ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────────────

def needs_of(given: Given, kinds: Collection[str]) -> Needs:
    """The evidence of the images that a request brings into a pod: asked for together, before it is judged."""
    types = types_of(kinds)
    return Needs({named.name: types for named in given.images})


def evidence_view(given: Given, written: str, who: Who | None = None) -> dict[str, Any]:
    """Raises UnansweredError where it is still to be gathered, MalformedError for what is no name of an image."""
    named = image(written)
    gathered = given.evidence_of(named)
    if gathered is None:
        for beside in given.images:  # so that all are asked for in one round
            given.evidence_of(beside)
        question = ImageEvidence(named.name, Authority(), ())
        given.answers.missed += 1
        given.answers.last = question
        raise UnansweredError(question)
    if who is not None:
        gathered = _with_keys(given, named, gathered, who)
    known = view(named, gathered, given.context.now, who)
    given.memo.setdefault(evidence_view, []).append(known)
    return known


def _with_keys(given: Given, named: Image, gathered: EvidenceSet, who: Who) -> EvidenceSet:
    """With what is verified by keys that are written here, of the same digest. Raises UnansweredError."""
    terms: dict[bool, dict[str, None]] = {}
    for signer in (signer for signers in who.values() for signer in signers if signer.pem):
        terms.setdefault(signer.ignore_log, {})[signer.pem] = None
    if not terms or not gathered.subject:
        return gathered
    verified, rejected = [*gathered.verified], [*gathered.rejected]
    types, name = tuple(sorted(types_of(who))), f"{named.ref.name}@{gathered.subject}"
    together = Together()
    for ignore_log, pems in sorted(terms.items()):
        with together:
            try:
                known = evidence_for(given, name, Authority(keys="".join(pems), ignore_log=ignore_log), types)
            except LookupFailedError as error:
                known = unreached(State.UNVERIFIABLE, error.message)
            if known.subject == gathered.subject:
                # What is without a log counts for the keys that need none, and the other way round.
                kept = {signer.key for signers in who.values() for signer in signers
                        if signer.pem and signer.ignore_log == ignore_log}
                verified += [statement for statement in known.verified
                             if isinstance(statement.signer, KeySigner) and statement.signer.fingerprint in kept]
            rejected += known.rejected
    together.done()
    return msgspec.structs.replace(gathered, verified=tuple(verified), rejected=tuple(rejected))


def relied_on(given: Given, since: int) -> tuple[str, ...]:
    """Digests of the evidence that was shown of a request; `since`: beside the first so many views."""
    views = given.memo.get(evidence_view, ())[since:]
    return tuple(dict.fromkeys(statement["evidence"] for known in views for kind in KINDS
                               for statement in known.get(kind, ())))


def shown(given: Given) -> Mapping[str, str]:
    """By the name of each image of which a request was shown evidence that counts, the digest that it is about."""
    return {known["image"]: known["digest"] for known in given.memo.get(evidence_view, ())
            if any(kind in known for kind in KINDS)}


def viewed(given: Given) -> int:
    """How many views were shown by now."""
    return len(given.memo.get(evidence_view, ()))


def explained(given: Given, message: str) -> str:
    """An expression's error, with the reason why the kind of evidence that it reads is not there."""
    for known in given.memo.get(evidence_view, ()):
        for kind in KINDS:
            if f"no such key: {kind}" in message:
                for words in unverified(known, [kind]):
                    return f"{message} ({words})"
    return message


def unverified(known: Mapping[str, Any], kinds: Collection[str]) -> Iterator[str]:
    """Of these kinds, those that do not count of an image, each in words with its reason."""
    for kind in KINDS:
        state = known["states"].get(kind)
        if kind in kinds and state is not None and state not in COUNTED:
            yield f"{kind} of {known['image']}: {state}: {known['reasons'][kind]}"


def unasked(views: Sequence[Mapping[str, Any]], kinds: Collection[str]) -> Iterator[str]:
    """Of these kinds, those that no view of an image is about, each in words: its `who` leaves them out."""
    for kind in KINDS:
        if kind in kinds and not any(kind in known["states"] for known in views):
            yield f"{kind} of {views[0]['image']}: not asked for by who"


def merged(known: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two views of one digest, in two repositories, as one: a kind counts where it does in both, and all is said of it.

    `image` is that of the first.
    """
    both: dict[str, Any] = {"image": known["image"], "digest": known["digest"], "states": {}, "reasons": {}}
    if stale := [view["stale_since"] for view in (known, other) if "stale_since" in view]:
        both["stale_since"] = min(stale)
    for kind in KINDS:
        worse = next((view for view in (known, other) if kind not in view), None)
        if worse is None:
            both["states"][kind] = "stale" if "stale_since" in both else "verified"
            both[kind] = [*known[kind], *(statement for statement in other[kind] if statement not in known[kind])]
        else:
            both["states"][kind] = worse["states"][kind]
            both["reasons"][kind] = worse["reasons"][kind]
    return both


# ── what is known ───────────────────────────────────────────────────────────────────────────────────────────────────

def view(named: Image, gathered: EvidenceSet, now: datetime, who: Who | None = None) -> dict[str, Any]:
    """Of one image. With `who`, of those kinds and by those signers alone."""
    known: dict[str, Any] = {"image": named.name, "digest": gathered.subject, "states": {}, "reasons": {}}
    if gathered.stale_since is not None:
        known["stale_since"] = format_rfc3339(gathered.stale_since)
    for kind in KINDS if who is None else who:
        state, reason, statements = _of_kind(named, gathered, now, kind, None if who is None else who[kind])
        known["states"][kind] = str(state)  # a plain text: the languages know no other
        if statements:
            known[kind] = statements
        else:
            known["reasons"][kind] = reason
    return known


def _of_kind(named: Image, gathered: EvidenceSet, now: datetime, kind: str,
             signers: Sequence[Accepted] | None) -> tuple[str, str, list[dict[str, Any]]]:
    """(state, why it does not count, what does)."""
    if gathered.tag_since is not None and not named.digest:
        return State.UNVERIFIABLE, "what its tag means cannot be looked up now", []
    if not gathered.subject:
        absent = gathered.rejected[0] if gathered.rejected else None
        return ((State.MISSING, "there is none", []) if absent is None
                else (absent.state, absent.reason, []))
    types = TYPES[kind]
    speaking = [statement for statement in gathered.verified
                if statement.predicate_type in types and statement.kind == (
                    "signature" if kind == "signatures" else "attestation")]
    counted = [statement for statement in speaking
               if signers is None or any(signer.takes(statement.signer) for signer in signers)]
    if kind != "signatures" and counted:
        if (unknown := unread(gathered.rejected, types)) is not None:
            return State.UNVERIFIABLE, f"{unknown.source}: {unknown.reason}", []
        counted = newest(counted).speaking
    if counted:
        try:
            statements = [{**_statement(statement), **content_of(kind, statement, now)} for statement in counted]
        except CustodyError as error:
            return State.FAILED, f"it is signed, and cannot be read: {error.message}", []
        return ("stale" if gathered.stale_since is not None else "verified"), "", statements
    rejected = [entry for entry in gathered.rejected if entry.predicate_type is None or entry.predicate_type in types]
    for state in (State.UNVERIFIABLE, State.FAILED):
        for entry in rejected:
            if entry.state is state:
                return state, f"{entry.source}: {entry.reason}", []
    if speaking:
        speakers = ", ".join(dict.fromkeys(str(statement.signer) for statement in speaking[:5]))
        return State.FAILED, f"it is by {speakers}, who does not count", []
    return State.MISSING, next((entry.reason for entry in rejected), "there is none"), []


def _statement(statement: Verified) -> dict[str, Any]:
    """What every kind says: who vouches for it, when, and where that is logged."""
    signer = statement.signer
    if isinstance(signer, KeylessSigner):
        who: dict[str, Any] = {"issuer": signer.issuer, "subject": signer.subject, "claims": dict(signer.claims)}
    elif isinstance(signer, KeySigner):
        who = {"key": signer.fingerprint}
    else:
        who = {"certificate": signer.fingerprint, "subject": signer.subject}
    known: dict[str, Any] = {"signer": who, "type": statement.predicate_type, "evidence": statement.evidence,
                             "annotations": dict(statement.annotations)}
    if statement.signed_at is not None:
        known["signed_at"] = format_rfc3339(statement.signed_at)
    if statement.log is not None:
        known["log"] = {"url": statement.log.base_url, "index": statement.log.index, "id": statement.log.log_id}
    return known
