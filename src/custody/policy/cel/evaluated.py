"""What mutating, generating and deleting policies of policies.kyverno.io have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from custody.errors import CustodyError, MalformedError
from custody.policy.cel.environment import Condition, Expressions
from custody.policy.cel.lint import findings
from custody.policy.cel.variables import Variables, activation, namespace_questions
from custody.policy.engine import Documents, Finding, Unit
from custody.policy.excepting import allowed, result
from custody.policy.exceptions import IMAGES, VALUES, PolicyException
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kinds import Kinds
from custody.policy.model import Outcome, RuleResult
from custody.policy.rule import Needs, Policy, Rule
from policylang.cel.compile.program import Program
from policylang.errors import LanguageError

VERSIONS = ("policies.kyverno.io/v1", "policies.kyverno.io/v1beta1", "policies.kyverno.io/v1alpha1")
_NONE: dict[str, Any] = {}


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


class Evaluated(Rule):
    """A rule whose conditions and variables are CEL."""

    enforce = True
    name = ""
    partly = frozenset({IMAGES, VALUES})
    variables: Mapping[str, Program]
    reads: frozenset[str]

    @property
    def wants(self) -> bool:
        return "namespaceObject" in self.reads or type(self).needs is not Evaluated.needs

    def needs(self, given: Given) -> Needs:
        """The namespace, which `values` looks up whatever the expressions come to: one round less."""
        return Needs({}, namespace_questions(given.request) if "namespaceObject" in self.reads else ())

    def values(self, given: Given, **instead: Any) -> dict[str, Any]:
        """What its expressions are evaluated on; `instead` of what the request has.

        Raises UnansweredError, LookupFailedError.
        """
        values = {**activation(given, self.reads, absent=_NONE), "exceptions": allowed(given), **instead}
        return Variables(self.variables, values).environment

    def result(self, given: Given, outcome: Outcome, message: str, *, properties: Mapping[str, str] = {}) -> RuleResult:
        rule = "evaluation" if outcome is Outcome.ERROR else self.name
        enforce = self.enforce and not (outcome is Outcome.ERROR and self.policy.failure_policy == "Ignore")
        return RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=rule, outcome=outcome, message=message,
                          resource=given.resource, enforce=enforce, properties=dict(properties))

    def excepted(self, given: Given, holding: Sequence[PolicyException], outcome: Outcome) -> RuleResult:
        names = ", ".join(exception.name for exception in holding)
        word = "passed" if outcome is Outcome.PASS else "skipped"
        return result(self, given, holding, outcome, name="exception",
                      message=f"rule is {word} due to policy exception: {names}")

    def unexcepted(self, given: Given, message: str) -> RuleResult:
        return self.result(given, Outcome.ERROR, f"failed to evaluate policy: {message}")

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


class Changing(Documents):
    """Engines of policies that change things."""

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:  # noqa: ARG002
        yield from findings(units[-1].document)
