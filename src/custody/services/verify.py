"""Verify and sort: of what was fetched about an image, what counts, and of the rest which check said no.

Gathering for policies, `verify`, `verify-attestation`, `attest --replace` and `tree` all try evidence here, and differ
in their `Terms`.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from custody.errors import Check, VerificationError
from custody.evidence.model import Evidence, EvidenceSet, KeySigner, Rejected, Signer, State, Verified
from custody.sign.listing import PREDICATE_TYPE
from custody.sign.referrers import Gathered
from custody.sign.verify import Trust, verify_evidence

_LOG = logging.getLogger(__name__)


class Unlogged(enum.Enum):
    """Whose signature counts although no log keeps it, where `Trust` asks for one; its `Verified.log` is None then."""

    NOBODY = frozenset[Check]()
    KEYS = frozenset({Check.LOGGED, Check.LOG})
    """A key's, whatever is wrong with its entry: a policy may not ask for one (rekor.ignoreTlog), and sees `log`."""
    ANYBODY = frozenset({Check.LOGGED})
    """Everybody's that has no entry: whoever is shown it is told."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms evidence counts."""

    trust: Trust
    mismatch: Callable[[Signer], str | None] | None = None
    """Why a signer is not the one that was expected; None: any signer that `trust` knows will do."""
    unlogged: Unlogged = Unlogged.NOBODY


def judge(evidence: Evidence, terms: Terms, now: datetime) -> Verified | Rejected:
    """Verified, or rejected with the check that failed and its reason."""
    predicate_type = evidence.annotations.get(PREDICATE_TYPE)
    state, check = State.FAILED, None
    try:
        verified = _verify(evidence, terms, now)
        reason = terms.mismatch(verified.signer) if terms.mismatch else None
        if reason is None:
            return verified
        check, predicate_type = Check.IDENTITY, verified.predicate_type
    except VerificationError as error:
        check, reason = error.check, error.message
    except Exception as error:
        # A verifier's own fault, brought about by a document, costs that document and not the one beside it.
        _LOG.exception("a document could not be verified")
        state, reason = State.UNVERIFIABLE, f"verifying it failed with {type(error).__name__}"
    return Rejected(subject=evidence.subject, evidence=evidence.digest, source=evidence.source, reason=reason,
                    state=state, predicate_type=predicate_type, check=check)


def _verify(evidence: Evidence, terms: Terms, now: datetime) -> Verified:
    try:
        return verify_evidence(evidence, terms.trust, now)
    except VerificationError as error:
        keys_only = terms.unlogged is Unlogged.KEYS
        if error.check not in terms.unlogged.value or (keys_only and not terms.trust.keys):
            raise
        verified = verify_evidence(evidence, replace(terms.trust, require_log=False), now)
        if keys_only and not isinstance(verified.signer, KeySigner):
            raise
        return verified


def judge_all(subject: str, gathered: Gathered, terms: Terms, now: datetime) -> EvidenceSet:
    """All that was gathered about the image of this digest, judged."""
    return sort(subject, (judge(evidence, terms, now) for evidence in gathered.evidence), gathered.rejected)


def sort(subject: str, judged: Iterable[Verified | Rejected], unread: Iterable[Rejected] = (), weight: int = 0
         ) -> EvidenceSet:
    """`unread` is what was listed and not judged; `weight` about how many bytes the whole takes."""
    judged = tuple(judged)
    return EvidenceSet(
        subject=subject, verified=tuple(result for result in judged if isinstance(result, Verified)),
        rejected=(*(result for result in judged if isinstance(result, Rejected)), *unread), weight=weight)
