"""The one decision: a request, verified evidence and policies in, a verdict with its reasons out. Nothing else in.

No I/O, no clock, no randomness: what it depends on is in its arguments and in `Decision.inputs_digest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from custody.evidence.model import EvidenceSet
from custody.kit.digest import sha256
from custody.policy.kyverno.scope import Input
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Outcome, Request, RuleResult

_ENCODER = msgspec.json.Encoder(order="deterministic")


def decide(request: Request, evidence: Mapping[str, EvidenceSet], policies: PolicySet, context: Context, *,
           mutate: bool) -> Decision:
    """Judge a request. `evidence` is by the image's name as the pod writes it; an image without is not verified.

    With `mutate`, as the mutating and the validating webhook in a row: images are verified, tags pinned to the digests
    that were judged, and the validate rules see the pinned pod. Without, as the validating webhook alone: a tag that
    a rule wants pinned fails. Only failures under Enforce deny; the others are warnings.
    """
    return _decide(request, evidence, policies, context, mutate, validate=True)


def pin(request: Request, evidence: Mapping[str, EvidenceSet], policies: PolicySet, context: Context) -> Decision:
    """What the mutating webhook alone answers: verifyImages rules and the patch. Other rules follow all mutation."""
    return _decide(request, evidence, policies, context, True, validate=False)


def _decide(request: Request, evidence: Mapping[str, EvidenceSet], policies: PolicySet, context: Context,
            mutate: bool, *, validate: bool) -> Decision:
    given = Input(request, context, evidence)
    results: list[RuleResult] = []
    patch: list[dict[str, Any]] = []
    # 1. Images, and the patch of those rules that had nothing against them.
    for policy in policies.policies:
        for rule in policy.rules:
            if rule.images:
                found = rule.results(given, pinning=mutate)
                results += found
                if mutate and found and all(one.outcome in (Outcome.PASS, Outcome.SKIP) for one in found):
                    patch += [one for one in rule.pins(given) if one not in patch]
    # 2. Everything else, on the pod as it will be.
    if validate:
        pinned = Input(_patched(request, patch), context, evidence) if patch else given
        for policy in policies.policies:
            for rule in policy.rules:
                if not rule.images:
                    results += rule.results(pinned, pinning=mutate)
    denied = any(result.denies for result in results)
    warnings = tuple(f"policy {one.policy}.{one.rule}: {one.message}" for one in results
                     if not one.enforce and one.outcome in (Outcome.FAIL, Outcome.ERROR))
    return Decision(allowed=not denied, results=tuple(results), patch=[] if denied else patch, warnings=warnings,
                    inputs_digest=_inputs(request, evidence, policies, context, [mutate, validate]))


def _patched(request: Request, patch: list[dict[str, Any]]) -> Request:
    """The request with images replaced; what is not on the way to one is shared with the original."""
    found: Any = dict(request.object or {})
    found["spec"] = spec = dict(found["spec"])
    for operation in patch:
        _, _, kind, at, _ = operation["path"].split("/")
        containers = list(spec[kind])
        containers[int(at)] = {**containers[int(at)], "image": operation["value"]}
        spec[kind] = containers
    return msgspec.structs.replace(request, object=found)


def _inputs(request: Request, evidence: Mapping[str, EvidenceSet], policies: PolicySet, context: Context,
            how: list[bool]) -> str:
    """Digest of all inputs. A predicate is in it by the digest of its evidence, whose bytes it was read from."""
    facts = [[name, one.subject,
              [[v.evidence, v.kind, v.predicate_type, str(v.signer), v.signed_at, v.log, v.annotations, v.format]
               for v in one.verified],
              [[r.evidence, r.source, r.state, r.reason, r.predicate_type] for r in one.rejected]]
             for name, one in sorted(evidence.items())]
    return sha256(_ENCODER.encode([request, facts, policies.digest, context, how]))
