"""The one decision: a request, verified evidence and policies in, a verdict with its reasons out. Nothing else in.

No I/O, no clock, no randomness: what it depends on is in its arguments and in `Decision.inputs_digest`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from custody.errors import CustodyError
from custody.evidence.model import EvidenceSet
from custody.kit.digest import sha256
from custody.policy.kyverno.policy import Rule
from custody.policy.kyverno.scope import Input, image
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Outcome, Request, RuleResult, Silent, Verdict
from custody.policy.podfields import ABOUT_PODS, pod_templates
from policylang.errors import LanguageError

_ENCODER = msgspec.json.Encoder(order="deterministic")
_LOG = logging.getLogger(__name__)


def decide(request: Request, evidence: Mapping[str, EvidenceSet], policies: PolicySet, context: Context, *,
           mutate: bool) -> Decision:
    """Judge a request. `evidence` is by the images' canonical names; an image without any is not verified.

    With `mutate`, as the mutating and the validating webhook in a row: images are verified, tags pinned to the digests
    that were judged, and the validate rules see the pinned pod. Without, as the validating webhook alone: a tag that
    a rule wants pinned fails. Only failures under Enforce deny; the others are warnings. Where no rule said pass,
    fail or error, the request was not judged.
    """
    return _decide(request, evidence, policies, context, mutate, validate=True)


def pin(request: Request, evidence: Mapping[str, EvidenceSet], policies: PolicySet, context: Context) -> Decision:
    """What the mutating webhook alone answers: verifyImages rules and the patch. Other rules follow all mutation."""
    return _decide(request, evidence, policies, context, True, validate=False)


def _decide(request: Request, evidence: Mapping[str, EvidenceSet], policies: PolicySet, context: Context,
            mutate: bool, *, validate: bool) -> Decision:
    given = Input(request, context, evidence)
    results: list[RuleResult] = []
    silent: list[Silent] = []
    spoke: list[Rule] = []
    patch: list[dict[str, Any]] = []

    def ask(rule: Rule, given: Input) -> list[RuleResult]:
        said = _asked(rule, given, pinning=mutate)
        if isinstance(said, str):
            silent.append(Silent(rule.policy.name, rule.name, said))
            return []
        for result in said:
            if result.outcome is not Outcome.SKIP:
                spoke.append(rule)
                break
        results.extend(said)
        return said

    # 1. Images, and the patch of those rules that judged them and had nothing against them.
    for rule in policies.rules:
        if rule.images:
            outcomes = {result.outcome for result in ask(rule, given)}
            if mutate and Outcome.PASS in outcomes and outcomes <= {Outcome.PASS, Outcome.SKIP}:
                patch += [operation for operation in rule.pins(given) if operation not in patch]
    # 2. Everything else, on the pod as it will be.
    if validate:
        pinned = _pinned(given, patch) if patch else given
        if patch and not any(result.denies for result in results):
            # The validating webhook asks these again: another rule's pin can take an image out of what one exempts.
            for rule in policies.rules:
                if rule.images and not isinstance(said := _asked(rule, pinned, pinning=False), str):
                    results += [result for result in said if result.denies]
        for rule in policies.rules:
            if not rule.images:
                ask(rule, pinned)
    # 3. The verdict, and what of the request no rule has seen.
    denied = any(result.denies for result in results)
    warnings = tuple(f"policy {result.policy}.{result.rule}: {result.message}" for result in results
                     if result.outcome is Outcome.WARN or
                     (not result.enforce and result.outcome in (Outcome.FAIL, Outcome.ERROR)))
    verdict = Verdict.DENIED if denied else Verdict.ALLOWED if spoke else Verdict.NOT_JUDGED
    return Decision(verdict=verdict, results=tuple(results), silent=tuple(silent),
                    unjudged=_templates(given, spoke),
                    patch=[] if denied else patch, warnings=warnings,
                    inputs_digest=_inputs(request, evidence, policies, context, [mutate, validate]))


def _templates(given: Input, spoke: list[Rule]) -> tuple[str, ...]:
    """Pointers of the pod specs in what is no pod, where none of the rules that spoke looks into templates."""
    if given.request.kind.kind == "Pod" or given.request.operation == "DELETE" or given.object is None:
        return ()
    if given.request.kind.group in ABOUT_PODS:
        return ()
    if any(rule.reads_templates for rule in spoke):
        return ()
    try:
        return tuple(pointer for pointer, _ in pod_templates(given.object))
    except CustodyError as error:
        return (f"/ ({error.message})",)


def _asked(rule: Rule, given: Input, *, pinning: bool) -> list[RuleResult] | str:
    """What a rule says of a request, or why it says nothing."""
    try:
        if (reason := rule.silence(given.request)) is not None:
            return reason
        return rule.results(given, pinning=pinning) or "it has nothing to judge in this request"
    except Exception as error:  # a fault of ours or of a hostile input denies with a reason, it never admits
        if isinstance(error, (CustodyError, LanguageError)):
            reason = error.message
        else:
            _LOG.exception("rule %s/%s", rule.policy.name, rule.name)
            reason = f"internal error: {type(error).__name__}"
        return [rule.failed(given, f"the rule could not be evaluated: {reason}")]


def _pinned(given: Input, patch: list[dict[str, Any]]) -> Input:
    """The request with its images pinned, and what is known of them under the names that they have then."""
    names = {operation["path"]: image(operation["value"]).name for operation in patch}
    renamed = {one.name: names[one.pointer] for one in given.images if one.pointer in names}
    evidence = {**given.evidence, **{new: given.evidence[old] for old, new in renamed.items()}}
    pinned = Input(_patched(given.request, patch), given.context, evidence)
    pinned.judged = {(entry, renamed[name]): judgement for (entry, name), judgement in given.judged.items()
                     if name in renamed and not entry.reads_request}
    return pinned


def _patched(request: Request, patch: list[dict[str, Any]]) -> Request:
    """The request with texts replaced (RFC 6902 `replace`); what is not on the way to one is shared."""
    document: Any = dict(request.object or {})
    for operation in patch:
        *way, last = operation["path"].split("/")[1:]
        part = document
        for step in way:
            key: Any = int(step) if isinstance(part, list) else step
            part[key] = part[key].copy()
            part = part[key]
        part[last] = operation["value"]
    return msgspec.structs.replace(request, object=document)


def _inputs(request: Request, evidence: Mapping[str, EvidenceSet], policies: PolicySet, context: Context,
            how: list[bool]) -> str:
    """Digest of all inputs. A predicate is in it by the digest of its evidence, whose bytes it was read from."""
    facts = [[name, gathered.subject,
              [[v.evidence, v.kind, v.predicate_type, str(v.signer), v.signed_at, v.log, v.annotations, v.format]
               for v in gathered.verified],
              [[r.evidence, r.source, r.state, r.reason, r.predicate_type] for r in gathered.rejected]]
             for name, gathered in sorted(evidence.items())]
    return sha256(_ENCODER.encode([request, facts, policies.digest, context, how]))
