"""MutatingPolicy and NamespacedMutatingPolicy (policies.kyverno.io v1, v1beta1, v1alpha1).

A policy is a rule that mutates what is admitted, one more for each kind of controller whose pod templates it means as
well (`podtemplates`), and with `evaluation.mutateExisting` one that changes what lies in the cluster (`existing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from custody.errors import CustodyError, MalformedError
from custody.policy.cel import podtemplates
from custody.policy.cel.constraints import compile_constraints
from custody.policy.cel.environment import Expressions
from custody.policy.cel.evaluated import (
    Documents,
    Evaluated,
    Header,
    annotated,
    compile_audit,
    confine,
    enabled,
    hold,
)
from custody.policy.cel.mutations import compile_mutations, difference
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.lookup import UnansweredError
from custody.policy.model import Outcome
from custody.policy.phases import Phase
from custody.policy.rule import Policy, Spoken
from custody.policy.scope import Scope
from custody.policy.worlds import WORLD, asking
from policylang.cel.compile.program import Program
from policylang.cel.kyverno.environment import env
from policylang.errors import LanguageError


class MutatingRule(Evaluated):
    """It changes the object that is asked about."""

    phase = Phase.MUTATE

    def __init__(self, policy: Policy, spec: dict[str, Any], namespace: str, kind: str) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.policy = policy
        fields = Fields(spec, "spec")
        self.expressions = Expressions(env(kind, WORLD, namespace=namespace, composed={}))
        self.expressions.declare(fields)
        self.variables = self.expressions.variables
        self.conditions = self.expressions.conditions(fields)
        evaluation = fields.inner("evaluation")
        atomics = evaluation is not None and evaluation.take("useServerSideApply", bool) is True
        self.target_conditions = self.expressions.conditions(fields, "targetMatchConditions")
        self.mutations = compile_mutations(fields.each("mutations"), self.expressions, atomics=atomics)
        self.annotations = compile_audit(fields, self.expressions)
        self.scope, _ = compile_constraints(fields.inner("matchConstraints"), namespace=namespace)
        confine(self.expressions, namespace)
        self.reads = frozenset(self.expressions.reads)

    def evaluate(self, given: Given) -> Spoken:
        document = given.request.object
        if document is None:
            return Spoken([self.result(given, Outcome.SKIP, "skip")])
        with asking(given):
            try:
                values = self.values(given)
                if not hold(self.conditions, values):
                    return Spoken([self.result(given, Outcome.SKIP, "skip")])
                patch = difference(document, self.mutated(values, document, given))
                properties = annotated(self.annotations, values)
            except UnansweredError:
                raise
            except (CustodyError, LanguageError) as error:
                return Spoken([self.erred(given, error)])
        passed = self.result(given, Outcome.PASS, "success", properties=properties)
        return Spoken([passed], patch)

    def mutated(self, values: dict[str, Any], document: dict[str, Any], given: Given) -> dict[str, Any]:
        """Each mutation sees what those before it changed; variables that were computed stay as they are."""
        for mutation in self.mutations:
            document = values["object"] = mutation(values, document, given)
        return document


class CustomRule(Evaluated):
    """Of pod templates in custom resources, which are not mutated: as Kyverno 1.19 says it."""

    phase = Phase.MUTATE
    variables: Mapping[str, Program] = {}

    def __init__(self, policy: Policy, scope: Scope) -> None:
        self.policy, self.scope = policy, scope

    def evaluate(self, given: Given) -> Spoken:
        return Spoken([self.result(given, Outcome.SKIP,
                                   "extraction mode: mutation for custom workload CRDs is not yet supported")])


class Mutating(Documents):
    """The engine of both kinds."""

    evaluates = "policies.kyverno.io MutatingPolicy"

    def compile(self, document: dict[str, Any]) -> Policy:
        header = Header(document, "MutatingPolicy")
        policy = Policy(header.name, "kyverno", kind=header.kind)
        fields = Fields(header.spec, "spec")
        policy.failure_policy = fields.take("failurePolicy", str) or "Fail"
        if policy.failure_policy not in ("Fail", "Ignore"):
            raise MalformedError("spec.failurePolicy", got=policy.failure_policy, expected="Fail or Ignore")
        if webhook := fields.inner("webhookConfiguration"):
            policy.timeout = webhook.take("timeoutSeconds", int)
            webhook.done()
        reinvoked = fields.take("reinvocationPolicy", str) or "Never"
        if reinvoked not in ("Never", "IfNeeded"):
            raise MalformedError("spec.reinvocationPolicy", got=reinvoked, expected="Never or IfNeeded")
        admission, existing = self._evaluation(fields, policy)
        self._autogen(fields)
        targets = fields.take("targetMatchConstraints", dict)
        for name in ("matchConstraints", "matchConditions", "variables", "mutations", "targetMatchConditions",
                     "auditAnnotations"):
            fields.any(name)
        fields.done()
        rules = [MutatingRule(policy, header.spec, header.namespace, header.kind)]
        rules += [MutatingRule(policy, spec, header.namespace, header.kind)
                  for _, spec in podtemplates.extended(header.spec)]
        policy.rules = [*rules, *_customs(policy, header)] if admission and not targets else []
        if existing:
            from custody.policy.cel.existing import ExistingRule  # it is made of the rules here

            policy.rules.append(ExistingRule(rules[0], targets, header.namespace, admission=admission))
        return policy

    @staticmethod
    def _evaluation(fields: Fields, policy: Policy) -> tuple[bool, bool]:
        """(whether requests are mutated, whether what lies in the cluster is)."""
        evaluation = fields.inner("evaluation")
        if evaluation is None:
            return True, False
        evaluation.only("mode", "Kubernetes")
        admission, policy.background = enabled(evaluation, "admission", True), enabled(evaluation, "background", True)
        existing = enabled(evaluation, "mutateExisting", False)
        for name in ("useServerSideApply", "skipBackgroundRequests"):
            evaluation.take(name, bool)
        evaluation.done()
        if not admission and not existing:
            raise MalformedError("spec.evaluation", got="neither admission nor mutateExisting",
                                 expected="one of them to be enabled")
        return admission, existing

    @staticmethod
    def _autogen(fields: Fields) -> None:
        """What is made of it is the same policy; who makes a MutatingAdmissionPolicy of it is told by the document."""
        autogen = fields.inner("autogen")
        if autogen is None:
            return
        enabled(autogen, "mutatingAdmissionPolicy", False)
        if controllers := autogen.inner("podControllers"):
            controllers.texts("controllers")
            controllers.done()
        autogen.done()


def _customs(policy: Policy, header: Header) -> Iterator[CustomRule]:
    for name in podtemplates.custom(header.spec):
        resource, version, group = name.split(".", 2)
        rule = header.spec["matchConstraints"]["resourceRules"][0]
        constraints = {"resourceRules": [{"apiGroups": [group], "apiVersions": [version], "resources": [resource],
                                          "operations": rule.get("operations")}]}
        scope, _ = compile_constraints(Fields(constraints, "spec.matchConstraints"), namespace=header.namespace)
        yield CustomRule(policy, scope)
