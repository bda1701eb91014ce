"""Verification summaries in place of evidence that cannot be had: when one counts for a rule about an image.

    evidence is had                    → it decides, whatever a summary says
    none of it can be had (network)    → a summary by a trusted key says that the same policies' rule was met by
                                         the same digest, not longer ago than it may be
    else                               → the rule fails as it would have

Only rules count whose verdict on an image is by its evidence alone; one that reads the request, or that somebody is
excepted from, is judged anew or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from custody.errors import MalformedError
from custody.evidence.model import Verified
from custody.formats import vsa
from custody.formats.reference import Reference
from custody.kit.clock import format_rfc3339
from custody.policy.given import Given
from custody.policy.images import Image, image
from custody.policy.kyverno.sought import evidence_for
from custody.policy.lookup import LookupFailedError
from custody.policy.model import Outcome, RuleResult, SummaryTerms, Vouched
from custody.policy.rule import Rule
from custody.ports.lookup import Authority

_EARLY = timedelta(minutes=1)  # by which clocks of two machines may differ
SUMMARY = "summary"
"""The property of a result that rests on one: who verified, and when."""


def level(rule: Rule) -> str:
    """What `verifiedLevels` call a rule that an image met."""
    return f"CUSTODY_RULE {rule.policy.kind}/{rule.policy.name}/{rule.name}"


def resource(ref: Reference, digest: str) -> str:
    """What `resourceUri` calls an image."""
    return f"{ref.name}@{digest}"


def vouched(rule: Rule, given: Given, results: Iterable[RuleResult],
            speaks: Callable[[Image], bool]) -> Iterator[Vouched]:
    """Of a rule with one result for each image, those that met it all by evidence; `speaks` says which may be said."""
    met: dict[str, dict[str, None]] = {}
    unmet: set[str] = set()
    for result in results:
        if result.rule != rule.name or result.image is None:
            continue
        if result.outcome is not Outcome.PASS or not result.evidence or SUMMARY in result.properties:
            unmet.add(result.image)
            continue
        met.setdefault(result.image, {}).update(dict.fromkeys(result.evidence))
    for written, evidence in met.items():
        named = image(written)
        gathered = given.evidence.get(named.name)
        digest = named.digest or (gathered.subject if gathered is not None else "")
        if digest and written not in unmet and not rule.exceptions and speaks(named):
            yield Vouched(image=written, digest=digest, level=level(rule), evidence=tuple(evidence))


def summary_of(rule: Rule, given: Given, ref: Reference, digest: str, said: str = "") -> tuple[Verified, str] | str:
    """The summary that counts for a rule about an image, with words for it; or why none does.

    `said` is the level that it must name, where that is not the rule's. Raises UnansweredError.
    Nothing is asked where the context trusts no summaries.
    """
    terms = given.context.summaries
    if terms is None:
        return ""
    if rule.exceptions:
        return "exceptions name the rule"
    name = resource(ref, digest)
    try:
        known = evidence_for(given, name, Authority(keys=terms.keys, ignore_log=True), (vsa.PREDICATE_TYPE,))
    except LookupFailedError as error:
        return error.message
    reasons: list[str] = []
    for statement in known.of(vsa.PREDICATE_TYPE) if known.subject == digest else ():
        try:
            summary = vsa.parse_summary(statement.predicate)
        except MalformedError as error:
            reasons.append(error.message)
            continue
        reason = _mismatch(summary, said or level(rule), given, terms, name)
        if not reason:
            return statement, f"{summary.verifier} at {format_rfc3339(summary.verified)}"
        reasons.append(reason)
    reasons += [rejected.reason for rejected in known.rejected]
    return "; ".join(dict.fromkeys(reasons[:5])) or "there is none"


def _mismatch(summary: vsa.Summary, wanted: str, given: Given, terms: SummaryTerms, name: str) -> str:
    age = given.context.now - summary.verified
    if summary.verifier != terms.verifier:
        return f"verifier: got {summary.verifier}, expected {terms.verifier}"
    if summary.resource != name:
        return f"resourceUri: got {summary.resource}, expected {name}"
    if summary.result != vsa.PASSED:
        return f"verificationResult: got {summary.result}"
    if not terms.policies or summary.policy_digest.get("sha256") != terms.policies.removeprefix("sha256:"):
        return "policy.digest: it is of other policies"
    if age > timedelta(seconds=terms.max_age):
        return f"timeVerified: {format_rfc3339(summary.verified)} is longer ago than {terms.max_age / 3600:g} h"
    if age < -_EARLY:
        return f"timeVerified: {format_rfc3339(summary.verified)} is still to come"
    if wanted not in summary.levels:
        return f"verifiedLevels: it does not say {wanted}"
    return ""

