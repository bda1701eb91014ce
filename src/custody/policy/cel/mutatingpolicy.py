"""MutatingPolicy and NamespacedMutatingPolicy (policies.kyverno.io v1, v1beta1, v1alpha1).

A policy is a rule that mutates what is admitted, one more for each kind of controller whose pod templates it means as
well (`podtemplates`), and with `evaluation.mutateExisting` one that changes what lies in the cluster (`existing`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from custody.errors import MalformedError
from custody.policy.cel import podtemplates
from custody.policy.cel.constraints import compile_constraints
from custody.policy.cel.evaluated import Changing, Header, enabled
from custody.policy.cel.existing import ExistingRule
from custody.policy.cel.mutating import CustomRule, MutatingRule
from custody.policy.fields import Fields
from custody.policy.rule import Policy


class Mutating(Changing):
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
        admission, existing, background_requests = self._evaluation(fields, policy)
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
        if existing or targets is not None:  # what names targets is read in any case
            changing = ExistingRule(rules[0], targets, header.namespace, admission=admission,
                                    background_requests=background_requests)
            policy.rules += [changing] if existing else []
        return policy

    @staticmethod
    def _evaluation(fields: Fields, policy: Policy) -> tuple[bool, bool, bool]:
        """(whether requests are mutated, whether what lies in the cluster is, also by controllers' requests)."""
        evaluation = fields.inner("evaluation")
        if evaluation is None:
            return True, False, False
        evaluation.only("mode", "Kubernetes")
        admission, policy.background = enabled(evaluation, "admission", True), enabled(evaluation, "background", True)
        existing = enabled(evaluation, "mutateExisting", False)
        evaluation.take("useServerSideApply", bool)
        skip = evaluation.take("skipBackgroundRequests", bool)
        evaluation.done()
        if not admission and not existing:
            raise MalformedError("spec.evaluation", got="neither admission nor mutateExisting",
                                 expected="one of them to be enabled")
        return admission, existing, skip is False

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
