"""A ClusterPolicy, compiled: the fields that custody evaluates; any other is refused by its path."""

from __future__ import annotations

from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.policy.fields import Fields
from custody.policy.kyverno.imageentry import ImageEntry
from custody.policy.kyverno.imagefields import compile_extractors
from custody.policy.kyverno.match import compile_block
from custody.policy.kyverno.rule import Head, enforced
from custody.policy.kyverno.validate import Validate
from custody.policy.kyverno.validation import ValidateRule
from custody.policy.kyverno.variables import ROOTS
from custody.policy.kyverno.verification import VerifyRule
from custody.policy.rule import Policy, Rule
from custody.policy.scope import Scope
from policylang.conditions import compile_conditions

AUTOGEN = "pod-policies.kyverno.io/autogen-controllers"
_OWN = "policies.custody.internal/"
ATTESTATIONS = f"{_OWN}attestations"
"""Annotation: `newest` (default) or `all`. Which of one signer's attestations of one type must meet the conditions."""


def compile_policy(document: Any) -> Policy:
    """Raises MalformedError and UnsupportedError, whose messages begin with a field's path."""
    top = Fields(document, "")
    kind, version = top.need("kind", str), top.need("apiVersion", str)
    if version != "kyverno.io/v1":
        raise UnsupportedError("kind", f"{version} {kind} is not evaluated by custody yet",
                               hint="kyverno.io/v1 ClusterPolicy is")
    metadata = top.need("metadata", dict)
    name = Fields(metadata, "metadata").need("name", str)
    every = _annotated(Fields(metadata, "metadata").text_map("annotations"))
    spec = Fields(top.need("spec", dict), "spec")
    top.any("status")
    top.done()
    action = enforced(spec.take("validationFailureAction", str), "spec.validationFailureAction")
    failure_policy = spec.take("failurePolicy", str) or "Fail"
    if failure_policy not in ("Fail", "Ignore"):
        raise MalformedError("spec.failurePolicy", got=failure_policy, expected="Fail or Ignore")
    background = spec.peek("background") is not False
    spec.only("background", True, False)
    spec.only("admission", True)
    spec.only("emitWarning", True, hint="custody always warns about failures under Audit")
    timeout = spec.take("webhookTimeoutSeconds", int)
    if timeout is not None and not 1 <= timeout <= 30:
        raise MalformedError("spec.webhookTimeoutSeconds", got=timeout, expected="1 to 30")
    policy = Policy(name, "kyverno", failure_policy, timeout, background, kind=kind)
    policy.rules = [_rule(entry, policy, enforce=bool(action), every=every) for entry in spec.each("rules")]
    spec.done()
    names = [rule.name for rule in policy.rules]
    if not names or len(set(names)) != len(names):
        raise MalformedError("spec.rules", got=", ".join(names) or "nothing", expected="rules, each name once")
    return policy


def _annotated(annotations: dict[str, str]) -> bool:
    """Whether all attestations of a signer must meet the conditions, and not only the newest."""
    if unknown := [name for name in annotations if name.startswith(_OWN) and name != ATTESTATIONS]:
        raise UnsupportedError(f"metadata.annotations.{unknown[0]}", "custody has no such annotation",
                               hint=f"{ATTESTATIONS} is")
    autogen = annotations.get(AUTOGEN)
    if autogen not in (None, "none"):
        raise UnsupportedError(f"metadata.annotations.{AUTOGEN}", f"{autogen!r} is not evaluated by custody yet",
                               hint="the pods of a Deployment are judged when it creates them; write none")
    attestations = annotations.get(ATTESTATIONS, "newest")
    if attestations not in ("newest", "all"):
        raise MalformedError(f"metadata.annotations.{ATTESTATIONS}", got=attestations, expected="newest or all")
    return attestations == "all"


def _rule(fields: Fields, policy: Policy, *, enforce: bool, every: bool) -> Rule:
    name = fields.need("name", str)
    match, exclude = fields.inner("match"), fields.inner("exclude")
    if match is None:
        raise MalformedError(fields.path("match"), got="nothing", expected="what the rule speaks of")
    scope = Scope(compile_block(match), compile_block(exclude, exclude=True) if exclude is not None else None)
    block = fields.any("preconditions")
    preconditions = None if block is None else compile_conditions(block, fields.path("preconditions"), ROOTS)
    written = {"preconditions": block, "validate": fields.peek("validate"), "verifyImages": fields.peek("verifyImages")}
    validate, images = fields.inner("validate"), fields.take("verifyImages", list) or []
    extractors = compile_extractors(fields)
    fields.done()
    if (validate is None) == (not images):
        raise MalformedError(fields.where, got="none or both of them", expected="one of validate, verifyImages")
    head = Head(policy, name, fields.where, match.where, scope, preconditions, written, enforce)
    if validate is not None:
        return ValidateRule(head, Validate(validate, name))
    return VerifyRule(head, [ImageEntry(entry, f"{fields.path('verifyImages')}[{at}]", every=every)
                             for at, entry in enumerate(images)], extractors)
