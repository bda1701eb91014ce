"""MutatingPolicy and NamespacedMutatingPolicy (policies.kyverno.io v1, v1beta1, v1alpha1).

A policy is a rule that mutates what is admitted, one more for each kind of controller whose pod templates it means as
well (`podtemplates`), and with `evaluation.mutateExisting` one that changes what lies in the cluster (`existing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from custody.errors import CustodyError, MalformedError
from custody.formats import jsonpatch
from custody.policy.cel import podtemplates
from custody.policy.cel.constraints import compile_constraints
from custody.policy.cel.environment import Condition, Expressions
from custody.policy.cel.mutations import compile_mutations
from custody.policy.cel.variables import Variables, activation
from custody.policy.engine import Finding, Unit
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kinds import Kinds
from custody.policy.lookup import UnansweredError
from custody.policy.model import Outcome, RuleResult
from custody.policy.phases import Phase
from custody.policy.rule import Policy, Rule, Spoken
from custody.policy.scope import Scope
from custody.policy.worlds import WORLD, asking
from policylang.cel.compile.program import Program
from policylang.cel.kyverno.environment import env
from policylang.errors import LanguageError

VERSIONS = ("policies.kyverno.io/v1", "policies.kyverno.io/v1beta1", "policies.kyverno.io/v1alpha1")
EXEMPTIONS: dict[str, list[str]] = {"allowedImages": [], "allowedValues": []}


class Header:
    """What all policies of a kind say beside their spec."""

    def __init__(self, document: dict[str, Any], kind: str) -> None:
        """Raises MalformedError, UnsupportedError."""
        fields = Fields(document, "")
        self.kind = fields.need("kind", str)
        version = fields.need("apiVersion", str)
        if version not in VERSIONS:
            raise MalformedError("apiVersion", got=version, expected=" or ".join(VERSIONS))
        metadata = Fields(fields.need("metadata", dict), "metadata")
        name = metadata.need("name", str)
        self.namespace = ""
        if self.kind == f"Namespaced{kind}":
            self.namespace = metadata.take("namespace", str) or "default"
        self.plain = name
        self.name = f"{self.namespace}/{name}" if self.namespace else name
        self.spec: dict[str, Any] = fields.need("spec", dict)


def compile_audit(fields: Fields, expressions: Expressions) -> dict[str, Program]:
    """`auditAnnotations`, which become properties of a report's result. Raises MalformedError."""
    annotations = {}
    for entry in fields.each("auditAnnotations"):
        key, text = entry.need("key", str), entry.need("valueExpression", str)
        entry.done()
        annotations[key] = expressions.text_or_null(text, entry.path("valueExpression"))
    return annotations


def enabled(fields: Fields | None, name: str, otherwise: bool) -> bool:
    """`NAME: {enabled: …}`."""
    inner = fields.inner(name) if fields is not None else None
    if inner is None:
        return otherwise
    value = inner.take("enabled", bool)
    inner.done()
    return otherwise if value is None else value


def confine(expressions: Expressions, namespace: str) -> None:
    """A policy of a namespace asks neither other servers nor the whole cluster. Raises MalformedError."""
    if not namespace:
        return
    for text in expressions.texts:
        for name in ("globalContext", "http"):
            if f"{name}." in text:
                raise MalformedError("spec", got=f"{name}.*", expected="none of it in a policy of a namespace")


class Evaluated(Rule):
    """A rule whose conditions and variables are CEL."""

    enforce = True
    name = ""
    variables: Mapping[str, Program]
    reads: frozenset[str]

    def values(self, given: Given) -> dict[str, Any]:
        """What its expressions are evaluated on. Raises UnansweredError, LookupFailedError."""
        values = activation(given, self.reads)
        values["variables"] = Variables(self.variables, values)
        values["exceptions"] = EXEMPTIONS
        return values

    def result(self, given: Given, outcome: Outcome, message: str, *, properties: Mapping[str, str] = {}) -> RuleResult:
        rule = "evaluation" if outcome is Outcome.ERROR else self.name
        enforce = self.enforce and not (outcome is Outcome.ERROR and self.policy.failure_policy == "Ignore")
        return RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=rule, outcome=outcome, message=message,
                          resource=given.resource, enforce=enforce, properties=dict(properties))

    def erred(self, given: Given, error: CustodyError | LanguageError) -> RuleResult:
        return self.result(given, Outcome.ERROR, f"failed to evaluate policy: {error.message}")


def hold(conditions: Iterable[Condition], values: Mapping[str, Any]) -> bool:
    """Whether all hold: one that does not is enough, also where others fail. Raises the first LanguageError."""
    failed: LanguageError | None = None
    for condition in conditions:
        try:
            if condition.program(values) is not True:
                return False
        except LanguageError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return True


def annotated(annotations: Mapping[str, Program], values: Mapping[str, Any]) -> dict[str, str]:
    """Those that say something."""
    return {key: said for key, program in annotations.items() if isinstance(said := program(values), str) and said}


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
                patched = self.mutated(values, document, given)
                properties = annotated(self.annotations, values)
            except UnansweredError:
                raise
            except (CustodyError, LanguageError) as error:
                return Spoken([self.erred(given, error)])
        passed = self.result(given, Outcome.PASS, "success", properties=properties)
        return Spoken([passed], jsonpatch.diff(document, patched) if patched is not document else ())

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


class Mutating:
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

    def link(self, units: Sequence[Unit]) -> Iterator[Policy]:
        for unit in units:
            policy: Policy = unit.compiled
            policy.parts = (unit.at,)
            yield policy

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:  # noqa: ARG002
        yield from ()


def _customs(policy: Policy, header: Header) -> Iterator[CustomRule]:
    for name in podtemplates.custom(header.spec):
        resource, version, group = name.split(".", 2)
        rule = header.spec["matchConstraints"]["resourceRules"][0]
        constraints = {"resourceRules": [{"apiGroups": [group], "apiVersions": [version], "resources": [resource],
                                          "operations": rule.get("operations")}]}
        scope, _ = compile_constraints(Fields(constraints, "spec.matchConstraints"), namespace=header.namespace)
        yield CustomRule(policy, scope)
