"""policies.kyverno.io ValidatingPolicy and NamespacedValidatingPolicy, as Kyverno 1.19 has them.

One document is one policy with a rule of its own and one for each way in which pod templates stand in other objects
(`autogen`). What its results are called, and their messages, are Kyverno's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from custody.policy.areas import Areas, read_areas
from custody.policy.cel.autogen import EXTRACT
from custody.policy.cel.constraints import compile_constraints
from custody.policy.cel.environment import Condition, Expressions
from custody.policy.cel.heading import JSON, Head, compile_heading, compile_validation
from custody.policy.cel.templates import pod_requests
from custody.policy.cel.variables import Variables, activation, namespace_questions
from custody.policy.evidencecontents import types_of
from custody.policy.evidenceview import explained, needs_of, relied_on, viewed
from custody.policy.excepting import allowed, result
from custody.policy.exceptions import IMAGES, VALUES, PolicyException
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.model import Outcome, Request, RuleResult
from custody.policy.phases import Phase
from custody.policy.resources import OPERATIONS
from custody.policy.rule import Needs, Policy, Rule, Spoken
from custody.policy.scope import Block, Filter, Scope
from custody.policy.worlds import WORLD, asking
from policylang.cel.compile.program import Program
from policylang.cel.kyverno import env
from policylang.cel.values.errors import CelError
from policylang.errors import LanguageError

KINDS = ("ValidatingPolicy", "NamespacedValidatingPolicy")
_NAMESPACE = "namespaceObject"
INDEX = "cel.validationIndex"
_EVALUATION, _CONTEXT = "evaluation", "failed to load context: "
_NONE: dict[str, Any] = {}
_OWN = frozenset(("object", "oldObject", "request", "variables", "exceptions"))
"""Variables that are of the request, or made of such."""
_TEMPLATE = re.compile(r"\btemplate\.\??spec\b|\btemplate\s*$")
"""What reads a pod template's spec, or names a template to read it by."""


class Judgement(NamedTuple):
    outcome: Outcome
    message: str
    rule: str = ""
    properties: Mapping[str, str] = MappingProxyType({})


class Checks:
    """The compiled expressions of one spec."""

    def __init__(self, fields: Fields, head: Head) -> None:
        """Raises MalformedError, UnsupportedError."""
        expressions = Expressions(env(head.policy.kind, WORLD, namespace=head.namespace, composed={}))
        self._ignores = head.policy.failure_policy == "Ignore"
        self._conditions = expressions.conditions(fields)
        expressions.declare(fields)
        self._validations = [compile_validation(entry, expressions) for entry in fields.each("validations")]
        self._audit: dict[str, Program] = {}
        for entry in fields.each("auditAnnotations"):
            key, text = entry.need("key", str), entry.need("valueExpression", str)
            entry.done()
            self._audit[key] = expressions.text_or_null(text, entry.path("valueExpression"))
        self.reads = frozenset(expressions.reads)
        self.texts = tuple(expressions.texts)
        self.areas = read_areas(expressions.paths) if expressions.repeats and expressions.reads <= _OWN else None
        self._variables = expressions.variables
        self.kinds = expressions.kinds

    def judge(self, given: Given) -> Judgement:
        """Raises UnansweredError, LookupFailedError."""
        judgement = self._judge(given)
        if self.kinds and judgement.outcome is Outcome.ERROR:
            return judgement._replace(message=explained(given, judgement.message))
        return judgement

    def _judge(self, given: Given) -> Judgement:
        values = activation(given, self.reads, absent=_NONE)
        values["exceptions"] = allowed(given)
        try:
            if self._conditions and not holds(self._conditions, values, ignores=self._ignores):
                return Judgement(Outcome.SKIP, "skip")
        except CelError as error:
            return Judgement(Outcome.ERROR, f"{_CONTEXT}{error.message}", _EVALUATION)
        return self._validated(Variables(self._variables, values).environment if self._variables else values)

    def _validated(self, values: dict[str, Any]) -> Judgement:
        for at, (program, message, expression) in enumerate(self._validations):
            try:
                passes = program(values)
                if passes is not True:
                    said = _message(expression, message, values) or f"CEL expression validation failed at index {at}"
                    return Judgement(Outcome.FAIL, said, "", {**self._annotations(values), INDEX: str(at)})
            except LanguageError as error:
                return Judgement(Outcome.ERROR, f"error: {error.message}", "", {INDEX: str(at)})
        try:
            return Judgement(Outcome.PASS, "success", "", self._annotations(values) if self._audit else {})
        except LanguageError as error:
            return Judgement(Outcome.ERROR, f"{_CONTEXT}{error.message}", _EVALUATION)

    def _annotations(self, values: dict[str, Any]) -> dict[str, str]:
        annotations: dict[str, str] = {}
        for key, program in self._audit.items():
            try:
                value = program(values)
            except LanguageError as error:
                raise CelError(f"failed to evaluate auditAnnotation '{key}': {error.message}") from None
            if value is None:
                raise CelError(f"failed to convert auditAnnotation '{key}' expression: type conversion error from "
                               "'null_type' to 'string'")
            if value:
                annotations[key] = str(value)
        return annotations


def holds(conditions: Sequence[Condition], values: dict[str, Any], *, ignores: bool) -> bool:
    """Whether all hold. One that does not outweighs errors; with `ignores` an error is one that does not hold.

    Raises CelError with the errors of all that could not be evaluated.
    """
    errors = []
    for condition in conditions:
        try:
            if condition.program(values) is not True:
                return False
        except LanguageError as error:
            errors.append(error.message)
    if errors and not ignores:
        raise CelError("; ".join(errors))
    return not errors


class ValidatingRule(Rule):
    partly = frozenset({IMAGES, VALUES})
    silent_by_kind = True

    def __init__(self, head: Head, config: str, scope: Scope, checks: Checks) -> None:
        self.policy, self.scope, self.checks = head.policy, scope, checks
        self.name = f"autogen-{config}" if config else ""
        self.phase = Phase.VALIDATE if head.admission else Phase.AUDIT
        self.enforce = "Deny" in head.actions
        self.warns = "Warn" in head.actions
        self._title = head.name
        self.predicate_types = types_of(checks.kinds)
        self.reads_templates = bool(config) or any(map(_TEMPLATE.search, checks.texts))
        self.needs_request = next((words for text in checks.texts for words in ("request.userInfo",) if words in text),
                                  "")

    def areas(self) -> Areas | None:
        return self.checks.areas if type(self) is ValidatingRule else None  # others judge what they make of the object

    def silence(self, request: Request, answers: Any) -> str | None:
        reason = super().silence(request, answers)
        if reason is None and request.operation == JSON:
            return "it judges objects of a cluster, and this is a JSON document"
        return reason

    @property
    def wants(self) -> bool:
        return _NAMESPACE in self.checks.reads or bool(self.checks.kinds)

    def needs(self, given: Given) -> Needs:
        """The namespace, which is looked up whatever its expressions come to: so the request is decided on once."""
        questions = namespace_questions(given.request) if _NAMESPACE in self.checks.reads else ()
        images = needs_of(given, self.checks.kinds).images if self.checks.kinds else {}
        return Needs(images, questions)

    def evaluate(self, given: Given) -> Spoken:
        before = viewed(given)
        with asking(given, self):
            result = self._result(given, self.judged(given))
        if self.checks.kinds:
            result = msgspec.structs.replace(result, evidence=relied_on(given, before))
        return Spoken([result])

    def judged(self, given: Given) -> Judgement:
        return self.checks.judge(given)

    def failed(self, given: Given, message: str) -> RuleResult:
        return self._result(given, Judgement(Outcome.ERROR, message))

    def excepted(self, given: Given, holding: Sequence[PolicyException], outcome: Outcome) -> RuleResult:
        names = ", ".join(exception.name for exception in holding)
        word = "passed" if outcome is Outcome.PASS else "skipped"
        return result(self, given, holding, outcome, name="exception",
                      message=f"rule is {word} due to policy exception: {names}")

    def unexcepted(self, given: Given, message: str) -> RuleResult:
        return self._result(given, Judgement(Outcome.ERROR, f"{_CONTEXT}{message}", _EVALUATION))

    def _result(self, given: Given, judgement: Judgement) -> RuleResult:
        told = ""
        if judgement.outcome in (Outcome.FAIL, Outcome.ERROR):
            word = "failed" if judgement.outcome is Outcome.FAIL else "error"
            told = f"Policy {self._title} {word}: {judgement.message}"
        return RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=judgement.rule,
                          outcome=judgement.outcome, message=judgement.message, resource=given.resource,
                          enforce=self.enforce, warns=self.warns, told=told, properties=dict(judgement.properties))

    def sees(self, template: str, field: str) -> bool:  # noqa: ARG002 - expressions may build a path
        words = [word for word in field.split("/") if word not in ("", "[]")]
        return all(any(word in text for text in self.checks.texts) for word in words)


class ExtractedRule(ValidatingRule):
    """It judges a pod made of each pod template in an object; the first that it has something against counts."""

    def judged(self, given: Given) -> Judgement:
        pods = pod_requests(given.request)
        if not pods:
            kind = given.request.kind
            version = f"{kind.group}/{kind.version}" if kind.group else kind.version
            return Judgement(Outcome.ERROR, f"error: extraction mode: no pod template found in {version}/{kind.kind}",
                             "", {INDEX: "0"})
        last = Judgement(Outcome.SKIP, "skip")
        for path, request in pods:
            inner = Given(request, given.context, given.evidence, given.answers)
            inner.exceptions = given.exceptions
            judgement = self.checks.judge(inner)
            if judgement.rule == _EVALUATION:
                error = judgement.message.removeprefix(_CONTEXT)
                return judgement._replace(message=f"{_CONTEXT}pod template at {path}: {error}")
            if judgement.outcome in (Outcome.FAIL, Outcome.ERROR):
                return judgement._replace(message=f"{judgement.message} (pod template at {path})")
            if judgement.outcome is not Outcome.SKIP:
                last = judgement
        return last


class JsonRule(ValidatingRule):
    """evaluation.mode JSON: of any JSON document, and of no request to an API server."""

    def silence(self, request: Request, answers: Any) -> str | None:  # noqa: ARG002 - it is about no cluster
        return None if request.operation == JSON else "it judges JSON documents, and no requests"


def compile_policy(document: dict[str, Any]) -> Policy:
    """Raises MalformedError and UnsupportedError, whose messages begin with a field's path."""
    heading = compile_heading(document, "kyverno-cel")
    emitted = heading.autogen.inner("validatingAdmissionPolicy")
    if emitted is not None:  # it is judged here all the same; `custody policy vap` writes the other one
        emitted.take("enabled", bool)
        emitted.done()
    return heading.compiled(_rule, _EXPRESSIONS)


_EXPRESSIONS = ("matchConstraints", "matchConditions", "variables", "validations", "auditAnnotations")


def _rule(spec: Fields, head: Head, config: str) -> Rule:
    checks = Checks(spec, head)
    constraints = spec.inner("matchConstraints")
    if head.json:
        spec.done()
        return JsonRule(head, "", Scope(Block([Filter(where="spec.matchConstraints")])), checks)
    scope, _ = compile_constraints(constraints, namespace=head.namespace, judged=OPERATIONS)
    spec.done()
    return (ExtractedRule if config == EXTRACT else ValidatingRule)(head, config, scope, checks)


def _message(expression: Program | None, message: str, values: dict[str, Any]) -> str:
    if expression is None:
        return message
    try:
        return str(expression(values))
    except LanguageError as error:
        return f"failed to evaluate message expression: {error.message}"
