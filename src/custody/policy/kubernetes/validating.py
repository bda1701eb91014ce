"""admissionregistration.k8s.io ValidatingAdmissionPolicy and its bindings (v1, v1beta1, v1alpha1).

A policy with its bindings is one Policy, whose rules are the bindings: each has its own actions, resources and
parameters. A policy that no binding names does not speak, and says so.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.policy.cel.constraints import compile_constraints
from custody.policy.engine import Finding, Unit
from custody.policy.evidenceview import needs_of, relied_on, types_of, viewed
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kinds import Kinds
from custody.policy.kubernetes.checks import Checks, Decision, namespace_of
from custody.policy.kubernetes.params import (
    ConfigurationError,
    ParamKind,
    ParamRef,
    compile_kind,
    compile_ref,
    params_of,
)
from custody.policy.lookup import Answers
from custody.policy.model import Outcome, Request, RuleResult
from custody.policy.phases import Phase
from custody.policy.resources import OPERATIONS
from custody.policy.rule import Needs, Policy, Rule, Spoken
from custody.policy.scope import Block, Scope

POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
VERSIONS = ("v1", "v1beta1", "v1alpha1")
ACTIONS = ("Deny", "Audit", "Warn")
_FAILURE = "validation.policy.admission.k8s.io/validation_failure"


class Definition(NamedTuple):
    """A compiled policy, before any binding."""

    policy: Policy
    scope: Scope
    kind: ParamKind | None
    checks: Checks


class Binding(NamedTuple):
    name: str
    policy: str
    ref: ParamRef | None
    scope: Scope
    actions: tuple[str, ...]


class BindingRule(Rule):
    phase = Phase.VALIDATE

    def __init__(self, definition: Definition, binding: Binding) -> None:
        self.policy, self.name = definition.policy, binding.name
        self._kind, self.checks, self._ref, self._actions = (
            definition.kind, definition.checks, binding.ref, binding.actions)
        self.scope = _both(definition.scope, binding.scope)
        self.enforce = "Deny" in binding.actions
        self.needs_request = next((words for words in ("request.userInfo", "authorizer") if any(
            words in text for text in self.checks.texts)), "")
        self.reads_templates = any("template" in text for text in self.checks.texts)
        self.predicate_types = types_of(self.checks.kinds)

    def needs(self, given: Given) -> Needs:
        with contextlib.suppress(CustodyError):  # what is not known is asked for in the answers
            params_of(self._kind, self._ref, given.request, given.answers)
        with contextlib.suppress(CustodyError):
            if "namespaceObject" in self.checks.reads:
                namespace_of(given)
        return needs_of(given, self.checks.kinds) if self.checks.kinds else Needs()

    def evaluate(self, given: Given) -> Spoken:
        try:
            params = params_of(self._kind, self._ref, given.request, given.answers)
        except ConfigurationError as error:
            said = Decision(Outcome.ERROR, f"failed to configure binding: {error.message}", always=True)
            return Spoken(self._results(given, [said], {}))
        decisions: list[Decision] = []
        annotations: dict[str, list[str]] = {}
        before = viewed(given)
        for value in params:
            judged = self.checks.judge(given, value)
            if not judged.matches:
                continue
            decisions += judged.decisions or [Decision(Outcome.PASS, "")]
            for key, text in judged.annotations.items():
                if text not in annotations.setdefault(f"{self.policy.name}/{key}", []):
                    annotations[f"{self.policy.name}/{key}"].append(text)
        if not decisions:
            reason = "its match conditions do not hold" if params else "there are no such parameters"
            return Spoken([self._result(given, Decision(Outcome.SKIP, reason), {})])
        results = self._results(given, decisions, {key: ", ".join(texts) for key, texts in annotations.items()})
        if self.checks.kinds:
            relied = relied_on(given, before)
            results = [msgspec.structs.replace(result, evidence=relied) for result in results]
        return Spoken(results)

    def _results(self, given: Given, decisions: Sequence[Decision], properties: dict[str, str]) -> list[RuleResult]:
        """The first that denies, as the API server answers with no other; each one that warns."""
        against = [decision for decision in decisions if decision.outcome is not Outcome.PASS]
        if not against:
            return [self._result(given, Decision(Outcome.PASS, "success"), properties)]
        results = [self._result(given, decision, properties) for decision in against]
        denying = [result for result in results if result.denies]
        return denying[:1] + [result for result in results if not result.denies]

    def _result(self, given: Given, decision: Decision, properties: dict[str, str]) -> RuleResult:
        error = decision.outcome is Outcome.ERROR
        heard = not (error and self.policy.failure_policy == "Ignore")
        denies = heard and (self.enforce or decision.always)
        told = ""
        if decision.outcome is Outcome.FAIL or error:
            properties = {**properties, "reason": decision.reason}
            if denies:
                told = f"{POLICY} '{self.policy.name}' with binding '{self.name}' denied request: {decision.message}"
            else:
                told = (f"Validation failed for {POLICY} '{self.policy.name}' with binding '{self.name}': "
                        f"{decision.message}")
            if heard and "Audit" in self._actions:
                properties[_FAILURE] = json.dumps([{
                    "message": decision.message, "policy": self.policy.name, "binding": self.name,
                    "expressionIndex": decision.at, "validationActions": [*self._actions]}], separators=(",", ":"))
        return RuleResult(policy=self.policy.name, kind=POLICY, rule=self.name, outcome=decision.outcome,
                          message=decision.message, resource=given.resource, enforce=denies,
                          warns=heard and "Warn" in self._actions, told=told, properties=properties)

    def sees(self, template: str, field: str) -> bool:  # noqa: ARG002 - expressions may build a path
        words = [word for word in field.split("/") if word not in ("", "[]")]
        return all(any(word in text for text in self.checks.texts) for word in words)


class UnboundRule(Rule):
    """Of a policy that no binding names."""

    phase = Phase.VALIDATE
    enforce = False

    def __init__(self, definition: Definition) -> None:
        self.policy, self.name, self.scope = definition.policy, "", definition.scope

    def silence(self, request: Request, answers: Answers) -> str | None:  # noqa: ARG002 - it never speaks
        return f"no {BINDING} names it"

    def evaluate(self, given: Given) -> Spoken:  # noqa: ARG002 - it never speaks
        return Spoken([])


class AdmissionPolicies:
    """Policies and bindings are documents of their own, linked by name."""

    evaluates = f"admissionregistration.k8s.io/v1 {POLICY} and {BINDING}"

    def compile(self, document: dict[str, Any]) -> Definition | Binding:
        """Raises MalformedError, UnsupportedError."""
        top = Fields(document, "")
        kind, version = top.need("kind", str), top.need("apiVersion", str)
        if version.partition("/")[2] not in VERSIONS:
            raise UnsupportedError("apiVersion", f"{version} {kind} is not evaluated by custody yet",
                                   hint=", ".join(VERSIONS) + " are")
        name = Fields(top.need("metadata", dict), "metadata").need("name", str)
        spec = Fields(top.need("spec", dict), "spec")
        top.any("status")
        top.done()
        compiled = (_definition if kind == POLICY else _binding)(name, spec)
        spec.done()
        return compiled

    def again(self, compiled: Definition | Binding) -> Definition | Binding:
        return compiled._replace(policy=copy.copy(compiled.policy)) if isinstance(compiled, Definition) else compiled

    def link(self, units: Sequence[Unit]) -> Iterator[Policy]:
        bindings: dict[str, list[Unit]] = {}
        for unit in units:
            if isinstance(unit.compiled, Binding):
                bindings.setdefault(unit.compiled.policy, []).append(unit)
        for unit in units:
            definition = unit.compiled
            if not isinstance(definition, Definition):
                continue
            policy, bound = definition.policy, bindings.get(definition.policy.name, [])
            rules: list[Rule] = [BindingRule(definition, other.compiled) for other in bound]
            policy.rules = rules or [UnboundRule(definition)]
            policy.parts = (unit.at, *(other.at for other in bound))
            yield policy

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:  # noqa: ARG002
        if any(isinstance(rule, UnboundRule) for rule in policy.rules):
            yield "metadata.name", "unbound", "warning", f"no {BINDING} names it, so it judges nothing", ""
        definition = next(unit.compiled for unit in units if isinstance(unit.compiled, Definition))
        if definition.checks.kinds:
            yield ("spec.validations", "only-in-custody", "warning", "evidence() is a function of custody's: an API "
                   "server refuses the policy, so that only custody's webhook judges by it", "")


def _definition(name: str, spec: Fields) -> Definition:
    failure_policy = spec.take("failurePolicy", str) or "Fail"
    if failure_policy not in ("Fail", "Ignore"):
        raise MalformedError("spec.failurePolicy", got=failure_policy, expected="Fail or Ignore")
    kind = compile_kind(spec.inner("paramKind"))
    scope, _ = compile_constraints(spec.inner("matchConstraints"), judged=OPERATIONS, prefixes=False)
    checks = Checks(spec, params=kind is not None, fails=failure_policy == "Fail")
    return Definition(Policy(name, "kubernetes", failure_policy, kind=POLICY), scope, kind, checks)


def _binding(name: str, spec: Fields) -> Binding:
    policy, ref = spec.need("policyName", str), compile_ref(spec.inner("paramRef"))
    scope, _ = compile_constraints(spec.inner("matchResources"), where="spec.matchResources", needed=False,
                                   judged=OPERATIONS, prefixes=False)
    actions = tuple(spec.texts("validationActions"))
    if unknown := [action for action in actions if action not in ACTIONS]:
        raise MalformedError("spec.validationActions", got=unknown[0], expected=", ".join(ACTIONS))
    if not actions or len(set(actions)) < len(actions) or {"Deny", "Warn"} <= {*actions}:
        raise MalformedError("spec.validationActions", got=", ".join(actions) or "nothing",
                             expected="at least one, each once, and not Deny and Warn together")
    return Binding(name, policy, ref, scope, actions)


def _both(policy: Scope, binding: Scope) -> Scope:
    """What both select, and neither excludes."""
    excludes = [part for scope in (policy, binding) if scope.exclude is not None for part in scope.exclude.filters]
    return Scope(Block([*policy.match.filters, *binding.match.filters], every=True),
                 Block(excludes) if excludes else None, judged=OPERATIONS)
