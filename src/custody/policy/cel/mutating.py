"""The rules of MutatingPolicies: they change the object that is asked about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custody.errors import CustodyError
from custody.policy.cel.constraints import compile_constraints
from custody.policy.cel.environment import Expressions
from custody.policy.cel.evaluated import Evaluated, annotated, compile_audit, hold
from custody.policy.cel.mutations import compile_mutations, difference
from custody.policy.evidenceview import types_of
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
        self.reads = frozenset(self.expressions.reads)
        self.predicate_types = types_of(self.expressions.kinds)

    def evaluate(self, given: Given) -> Spoken:
        document = given.request.object
        if document is None:
            return Spoken([self.result(given, Outcome.SKIP, "skip")])
        with asking(given, self):
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
