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
from custody.services.telling import Telling
from custody.sign.identity import Comparison
from custody.sign.listing import PREDICATE_TYPE
from custody.sign.referrers import Gathered
from custody.sign.steps import SILENT, WHO, Step, Trace
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
    compared: Callable[[Signer], Iterable[Comparison]] | None = None
    """The steps of `mismatch`, for a trace."""


def judge(evidence: Evidence, terms: Terms, now: datetime, trace: Trace = SILENT) -> Verified | Rejected:
    """Verified, or rejected with the check that failed and its reason; `trace` is told each step."""
    predicate_type = evidence.annotations.get(PREDICATE_TYPE)
    state, check = State.FAILED, None
    try:
        verified = _verify(evidence, terms, now, trace)
        reason = terms.mismatch(verified.signer) if terms.mismatch else None
        tell_signer(trace, terms, verified.signer, reason)
        if reason is None:
            return verified
        check, predicate_type = Check.IDENTITY, verified.predicate_type
    except VerificationError as error:
        check, reason = error.check, error.message
    except Exception as error:
        # A verifier's own fault, brought about by a document, costs that document and not the one beside it.
        _LOG.exception("a document could not be verified")
        state, reason = State.UNVERIFIABLE, f"verifying it failed with {type(error).__name__}"
        trace.failed(RuntimeError(reason))
    return Rejected(subject=evidence.subject, evidence=evidence.digest, source=evidence.source, reason=reason,
                    state=state, predicate_type=predicate_type, check=check)


def _verify(evidence: Evidence, terms: Terms, now: datetime, trace: Trace) -> Verified:
    try:
        return verify_evidence(evidence, terms.trust, now, trace=trace)
    except VerificationError as error:
        keys_only = terms.unlogged is Unlogged.KEYS
        if error.check not in terms.unlogged.value or (keys_only and not terms.trust.keys):
            raise
        trace.restart()
        verified = verify_evidence(evidence, replace(terms.trust, require_log=False), now, trace=trace)
        if keys_only and not isinstance(verified.signer, KeySigner):
            trace.failed(error, error.check, step=Step.LOG_ENTRY)
            raise
        return verified


def tell_signer(trace: Trace, terms: Terms, signer: Signer, reason: str | None) -> None:
    """The steps of holding a signer against whom the terms expect; `reason` is how that came out."""
    if not trace.asked:
        return
    if terms.mismatch is None:
        trace.skipped("any signer who is trusted will do", *WHO)
        return
    compared = terms.compared(signer) if terms.compared else [Comparison(Step.IDENTITY, str(signer), reason)]
    seen = set()
    for comparison in compared:
        seen.add(comparison.step)
        if comparison.reason is not None:
            trace.failed(VerificationError(comparison.reason), Check.IDENTITY, step=comparison.step)
            return
        trace.passed(comparison.got, step=comparison.step)
    trace.skipped("nothing of it was asked for", *(step for step in WHO if step not in seen))


def judge_all(subject: str, gathered: Gathered, terms: Terms, now: datetime, telling: Telling | None = None
              ) -> EvidenceSet:
    """All that was gathered about the image of this digest, judged; `telling` is told each step of each."""
    if telling is None:
        return sort(subject, (judge(evidence, terms, now) for evidence in gathered.evidence), gathered.rejected)
    return sort(subject, telling.judged(gathered, lambda evidence, trace: judge(evidence, terms, now, trace)),
                gathered.rejected)


def sort(subject: str, judged: Iterable[Verified | Rejected], unread: Iterable[Rejected] = (), weight: int = 0
         ) -> EvidenceSet:
    """`unread` is what was listed and not judged; `weight` about how many bytes the whole takes."""
    judged = tuple(judged)
    return EvidenceSet(
        subject=subject, verified=tuple(result for result in judged if isinstance(result, Verified)),
        rejected=(*(result for result in judged if isinstance(result, Rejected)), *unread), weight=weight)
