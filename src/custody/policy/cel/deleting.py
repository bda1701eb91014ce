"""DeletingPolicy and NamespacedDeletingPolicy (policies.kyverno.io v1, v1beta1, v1alpha1).

A policy is asked about what lies in the cluster whenever its `schedule` says so (`kit.cron`), and wants what it matches
deleted. One without resource rules is about JSON documents, and about nothing in a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custody.errors import CustodyError, MalformedError
from custody.kit.cron import Schedule
from custody.policy.cel.constraints import compile_constraints
from custody.policy.cel.environment import Expressions
from custody.policy.cel.evaluated import Changing, Evaluated, Header, hold
from custody.policy.evidenceview import types_of
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.lookup import Answers, UnansweredError
from custody.policy.model import Change, Outcome, Request, RuleResult
from custody.policy.phases import Phase
from custody.policy.rule import Policy, Spoken
from custody.policy.worlds import WORLD, asking
from policylang.cel.kyverno.environment import env
from policylang.errors import LanguageError

JSON = ""
"""The operation of a request that is a JSON document (`cel.heading`)."""
PROPAGATIONS = ("Foreground", "Background", "Orphan")


class DeletingRule(Evaluated):
    phase = Phase.GENERATE

    def __init__(self, policy: Policy, header: Header) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.policy, self.name = policy, header.plain
        fields = Fields(header.spec, "spec")
        expressions = Expressions(env(header.kind, WORLD, namespace=header.namespace, composed={}))
        expressions.declare(fields)
        self.variables = expressions.variables
        self._conditions = expressions.conditions(fields, "conditions")
        constraints = fields.take("matchConstraints", dict)
        self.scope, _ = compile_constraints(
            None if constraints is None else Fields(constraints, "spec.matchConstraints"),
            namespace=header.namespace, needed=False, operations="passed over")
        self._rules = bool((constraints or {}).get("resourceRules"))
        self.reads = frozenset(expressions.reads)
        self.predicate_types = types_of(expressions.kinds)
        self.schedule = Schedule(fields.need("schedule", str))
        self._propagation = fields.take("deletionPropagationPolicy", str) or ""
        if self._propagation and self._propagation not in PROPAGATIONS:
            raise MalformedError("spec.deletionPropagationPolicy", got=self._propagation,
                                 expected=", ".join(PROPAGATIONS))
        fields.done()

    def silence(self, request: Request, answers: Answers) -> str | None:
        if request.operation == JSON:
            return None
        if not self._rules:
            return "it names no resources"
        if not request.existing:
            return "its policy is about what lies in the cluster, whenever its schedule says so"
        return super().silence(request, answers)

    def evaluate(self, given: Given) -> Spoken:
        document = given.request.object
        if document is None:
            return Spoken([])
        with asking(given, self):
            try:
                if not hold(self._conditions, self.values(given)):
                    return Spoken([self.result(given, Outcome.FAIL, "resource did not match")])
            except UnansweredError:
                raise
            except (CustodyError, LanguageError) as error:
                return Spoken([self.result(given, Outcome.ERROR, error.message)])
        change = Change(policy=self.policy.name, rule=self.name, verb="delete", object=document,
                        propagation=self._propagation)
        return Spoken([self.result(given, Outcome.PASS, "resource matched")], changes=[change])

    def result(self, given: Given, outcome: Outcome, message: str, *, properties: Mapping[str, str] = {}) -> RuleResult:
        """That it matched is a pass, as for Kyverno's command line; nothing is denied by it."""
        return RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=self.name, outcome=outcome,
                          message=message, resource=given.resource, enforce=False, warns=False,
                          properties=dict(properties))


class Deleting(Changing):
    """The engine of both kinds."""

    evaluates = "policies.kyverno.io DeletingPolicy"

    def compile(self, document: dict[str, Any]) -> Policy:
        header = Header(document, "DeletingPolicy")
        policy = Policy(header.name, "kyverno-cel", "Ignore", kind=header.kind)
        policy.rules = [DeletingRule(policy, header)]
        return policy
