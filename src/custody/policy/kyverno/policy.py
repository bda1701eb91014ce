"""A ClusterPolicy or Policy, compiled: the fields that custody evaluates; any other is refused by its path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.policy.fields import Fields
from custody.policy.kyverno import autogen
from custody.policy.kyverno.action import Action, compile_overrides, enforced
from custody.policy.kyverno.context import compile_context
from custody.policy.kyverno.match import compile_block, is_empty
from custody.policy.kyverno.misspelt import check_conditions
from custody.policy.kyverno.rule import Head, KyvernoRule
from custody.policy.kyverno.validate import Validate
from custody.policy.kyverno.validation import ValidateRule
from custody.policy.kyverno.variables import RULE_ROOTS
from custody.policy.model import Request
from custody.policy.rule import Policy
from custody.policy.scope import Condition, Scope
from policylang.conditions import compile_conditions
from policylang.variables import compile_value

AUTOGEN = autogen.ANNOTATION
VERSIONS = ("kyverno.io/v1", "kyverno.io/v2beta1")
_OWN = "policies.custody.internal/"
ATTESTATIONS = f"{_OWN}attestations"
"""Annotation: `newest` (default) or `all`. Which of one signer's attestations of one type must meet the conditions."""


class Stated(NamedTuple):
    """What a policy states for all its rules."""

    policy: Policy
    action: Action
    condition: Condition | None
    """Of its webhook."""
    namespace: str
    """The one that a Policy lies in; empty for a ClusterPolicy."""
    legacy: bool
    """Whether it is of v1, whose fields of before v2beta1 may be there."""
    first_only: bool
    server_side: bool
    """useServerSideApply: how what is generated is sent."""
    generates_existing: bool
    mutates_existing: bool
    """Whether what lies in the cluster when the policy comes is a trigger, where a rule does not say."""
    every: bool
    """Whether all attestations of a signer must meet the conditions, and not only the newest."""


def compile_policy(document: Any) -> Policy:
    """Raises MalformedError and UnsupportedError, whose messages begin with a field's path."""
    top = Fields(document, "")
    kind, version = top.need("kind", str), top.need("apiVersion", str)
    if version not in VERSIONS:
        raise UnsupportedError("kind", f"{version} {kind} is not evaluated by custody yet",
                               hint=f"{' and '.join(VERSIONS)} {kind} are")
    metadata = Fields(top.need("metadata", dict), "metadata")
    name, namespace = metadata.need("name", str), metadata.take("namespace", str) or ""
    if kind == "ClusterPolicy" and namespace:
        raise MalformedError("metadata.namespace", got=namespace, expected="none for a ClusterPolicy")
    if kind == "Policy":
        namespace = namespace or "default"
        name = f"{namespace}/{name}"
    every = _annotated(metadata.text_map("annotations"))
    spec = Fields(top.need("spec", dict), "spec")
    top.any("status")
    top.done()
    action = Action(enforced(spec.take("validationFailureAction", str), "spec.validationFailureAction"),
                    compile_overrides(spec, "validationFailureActionOverrides"))
    failure_policy, timeout, condition = _asked(spec)
    background = spec.take("background", bool) is not False
    policy = Policy(name, "kyverno", failure_policy, timeout, background, kind=kind,
                    admission=spec.take("admission", bool) is not False,
                    warns=spec.take("emitWarning", bool) is not False)
    if not policy.admission and not policy.background:
        raise MalformedError("spec.admission", got="false, and background too", expected="one of them")
    spec.only("schemaValidation", True, False)  # of Kyverno's own checks of patched objects, which it no longer makes
    order = spec.take("applyRules", str)
    if order not in (None, "All", "One"):
        raise MalformedError("spec.applyRules", got=order, expected="All or One")
    server_side = spec.take("useServerSideApply", bool) is True
    generates = spec.take("generateExistingOnPolicyUpdate", bool) is True
    generates = spec.take("generateExisting", bool) is True or generates
    mutates = spec.take("mutateExistingOnPolicyUpdate", bool) is True
    stated = Stated(policy, action, condition, namespace, version == VERSIONS[0], order == "One", server_side,
                    generates,
                    mutates, every)
    written = spec.each("rules")
    spec.done()
    rules = [_rule(entry, stated, at) for at, entry in enumerate(written)]
    names = [rule.name for rule in rules]
    if not names or len(set(names)) != len(names):
        raise MalformedError("spec.rules", got=", ".join(names) or "nothing", expected="rules, each name once")
    made = autogen.generated(document)
    for at, rule, kinds in made:
        rules.append(_rule(Fields(rule, f"spec.rules[{at}]"), stated, len(rules), kinds))
    if made:
        _replaced(rules[:len(names)], frozenset(kind for _, _, kinds in made for kind in kinds))
    policy.rules = [*rules]
    return policy


def _asked(spec: Fields) -> tuple[str, int | None, Condition | None]:
    """(failurePolicy, seconds, condition) of the webhook that asks."""
    webhook = spec.inner("webhookConfiguration") or Fields({}, "spec.webhookConfiguration")
    failure_policy = None
    for fields in (spec, webhook):
        failure_policy = fields.take("failurePolicy", str) or failure_policy
        if failure_policy not in (None, "Fail", "Ignore"):
            raise MalformedError(fields.path("failurePolicy"), got=failure_policy, expected="Fail or Ignore")
    timeout = None
    for fields, name in ((spec, "webhookTimeoutSeconds"), (webhook, "timeoutSeconds")):
        seconds = fields.take(name, int)
        if seconds is not None and not 1 <= seconds <= 30:
            raise MalformedError(fields.path(name), got=seconds, expected="1 to 30")
        timeout = seconds or timeout
    conditions = None
    if webhook.peek("matchConditions"):
        from custody.policy.kyverno.cel import match_conditions

        conditions = match_conditions(webhook)
    webhook.any("matchConditions")
    webhook.done()
    return failure_policy or "Fail", timeout, conditions


def _annotated(annotations: dict[str, str]) -> bool:
    """Whether all attestations of a signer must meet the conditions, and not only the newest."""
    if unknown := [name for name in annotations if name.startswith(_OWN) and name != ATTESTATIONS]:
        raise UnsupportedError(f"metadata.annotations.{unknown[0]}", "custody has no such annotation",
                               hint=f"{ATTESTATIONS} is")
    if annotations.get(AUTOGEN) == "all":
        raise MalformedError(f"metadata.annotations.{AUTOGEN}", got="all", expected="kinds, none, or no annotation")
    attestations = annotations.get(ATTESTATIONS, "newest")
    if attestations not in ("newest", "all"):
        raise MalformedError(f"metadata.annotations.{ATTESTATIONS}", got=attestations, expected="newest or all")
    return attestations == "all"


def _rule(fields: Fields, stated: Stated, order: int, kinds: tuple[str, ...] = ()) -> KyvernoRule:
    """`kinds`: the only ones that a rule of autogen speaks of."""
    name = fields.need("name", str)
    match, exclude = fields.inner("match"), fields.inner("exclude")
    if match is None:
        raise fields.absent("match", "what the rule speaks of")
    namespaced = bool(stated.namespace)
    excluded = None if exclude is None or is_empty(exclude) else compile_block(
        exclude, exclude=True, legacy=stated.legacy, namespaced=namespaced)
    scope = Scope(compile_block(match, legacy=stated.legacy, namespaced=namespaced), excluded,
                  conditions=[] if stated.condition is None else [stated.condition], namespace=stated.namespace,
                  kinds=kinds)
    entries = fields.peek("context")
    context, roots = compile_context(fields.each("context"), RULE_ROOTS, stated.namespace)
    block = fields.any("preconditions")
    preconditions = None if block is None else compile_conditions(
        block, fields.path("preconditions"), roots, plain=True)
    check_conditions(block, fields.path("preconditions"))
    properties = fields.text_map("reportProperties")
    skip = fields.take("skipBackgroundRequests", bool) is not False
    written = {"context": entries, "preconditions": block, **{form: fields.peek(form) for form in _FORMS}}
    forms = [form for form in _FORMS if fields.peek(form) not in (None, [])]
    if len(forms) != 1:
        for form in _FORMS:
            fields.any(form)
        fields.done()
        raise MalformedError(fields.where, got=" and ".join(forms) or "none of them",
                             expected=f"one of {', '.join(_FORMS)}")
    head = Head(stated.policy, name, fields.where, match.where, scope, preconditions, written, stated.action,
                properties, compile_value(properties, fields.path("reportProperties"), roots), order,
                stated.first_only, context, roots, stated.namespace)
    rule = _FORMS[forms[0]](head, fields, stated)
    rule.skip_background_requests = skip
    return rule


# Each form imports what it is made of: what a command's policies do not do, it does not import.

def _validate(head: Head, fields: Fields, stated: Stated) -> KyvernoRule:  # noqa: ARG001 - the forms are alike
    validate = Fields(fields.need("validate", dict), fields.path("validate"))
    fields.only("verifyImages", [])
    compiled = Validate(validate, head.name, head.roots, within=fields, namespace=head.namespace)
    fields.done()
    return ValidateRule(head, compiled)


def _verify(head: Head, fields: Fields, stated: Stated) -> KyvernoRule:
    from custody.policy.kyverno.imageentry import ImageEntry
    from custody.policy.kyverno.imagefields import compile_extractors
    from custody.policy.kyverno.verification import VerifyRule

    images, where = fields.need("verifyImages", list), fields.path("verifyImages")
    extractors = compile_extractors(fields)
    fields.done()
    return VerifyRule(head, [ImageEntry(entry, f"{where}[{at}]", every=stated.every,
                                        entries=tuple(head.roots.deferred))
                             for at, entry in enumerate(images)], extractors)


def _mutate(head: Head, fields: Fields, stated: Stated) -> KyvernoRule:
    from custody.policy.kyverno.mutate.existing import MutateExistingRule
    from custody.policy.kyverno.mutate.rule import MutateRule

    mutate = Fields(fields.need("mutate", dict), fields.path("mutate"))
    fields.done()
    if mutate.peek("targets"):
        return MutateExistingRule(head, mutate, existing=stated.mutates_existing)
    mutate.only("targets", [])
    return MutateRule(head, mutate)


def _generate(head: Head, fields: Fields, stated: Stated) -> KyvernoRule:
    from custody.policy.kyverno.generate import GenerateRule

    generate = Fields(fields.need("generate", dict), fields.path("generate"))
    fields.done()
    return GenerateRule(head, generate, server_side=stated.server_side, existing=stated.generates_existing)


_FORMS: dict[str, Callable[[Head, Fields, Stated], KyvernoRule]] = {
    "validate": _validate, "mutate": _mutate, "generate": _generate, "verifyImages": _verify}
"""What a rule does, by the name of its block."""


def _replaced(rules: list[KyvernoRule], kinds: frozenset[str]) -> None:
    """A rule that is named as if it were generated does not speak of the kinds for which some are."""
    def other(request: Request, _: Any) -> bool:
        return (request.parent or request.kind).kind not in kinds

    for rule in rules:
        if rule.name.startswith(autogen.PREFIX):
            condition: Condition = other
            rule.scope.conditions += (condition,)
