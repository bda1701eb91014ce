"""`validate.cel` and `celPreconditions`, as the API server validates (k8s.io/apiserver plugin/policy/validating)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from custody.errors import CustodyError, MalformedError
from custody.policy.cel.environment import Condition, Expressions
from custody.policy.cel.variables import Variables, activation
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kinds import Selector, builtin, resource_of
from custody.policy.kubernetes.authorizer import authorizers
from custody.policy.kyverno.judgement import Judge, Judgement, Subject
from custody.policy.lookup import Answers, LookupFailedError
from custody.policy.model import Context, Kind, Outcome, Request
from custody.policy.scope import Condition as Test
from custody.policy.worlds import path_of
from custody.ports.lookup import ApiCall
from policylang.cel import BOOL, STRING, CelError
from policylang.cel.compile.program import Program
from policylang.cel.kubernetes import admission, matching
from policylang.cel.libraries.kyverno.scalars import OR_VALUE

_LONGEST = 5 * 1024
_NAMESPACE = Kind("Namespace")
_TIMELESS = Context(now=datetime(1970, 1, 1, tzinfo=UTC))
"""No function of the API server's reads the time."""


class _Composited(Variables):
    """An error of a variable is said with its name."""

    def computed(self, program: Program, values: dict[str, Any]) -> Any:
        try:
            return program(values)
        except CelError as error:
            name = next(name for name, own in self._programs.items() if own is program)
            raise CelError(f'composited variable "{name}" fails to evaluate: {error.message}') from None


class _Validation(NamedTuple):
    text: str
    program: Program
    message: str
    words: Program | None


class _Params(NamedTuple):
    """Where the objects are that `params` stands for, one after the other."""

    kind: Kind
    namespaced: bool | None
    """None where only the API server knows."""
    namespace: str
    name: str
    labels: dict[str, str]
    needed: bool

    def of(self, given: Given) -> list[Any]:
        """Raises _ParamsError, and UnansweredError, LookupFailedError."""
        namespace = ""
        version = f"{self.kind.group}/{self.kind.version}" if self.kind.group else self.kind.version
        if self._lies_in_namespaces(given, version):
            namespace = self.namespace or ("" if given.request.kind == _NAMESPACE else given.request.namespace)
            if not namespace:
                raise _ParamsError("can't use namespaced paramRef to match cluster-scoped resources")
        plural = resource_of(self.kind).resource
        path = path_of(version, plural, namespace, self.name, self.labels)
        value = given.answers.value(ApiCall(path))
        if self.name:
            if value is None:
                group = f".{self.kind.group}" if self.kind.group else ""
                raise _ParamsError(f'{plural}{group} "{self.name}" not found')
            return [value]
        items = value.get("items") if isinstance(value, dict) else None
        if not items and self.needed:
            raise _ParamsError("no params found")
        return list(items or ())

    def _lies_in_namespaces(self, given: Given, version: str) -> bool:
        """Of a kind that is not Kubernetes' own, by the API server's discovery. Raises UnansweredError."""
        if self.namespaced is not None:
            return self.namespaced
        try:
            served = given.answers.value(ApiCall(f"/apis/{version}"))
        except LookupFailedError:  # nobody to ask, as on a command line
            return False
        resources = served.get("resources") if isinstance(served, dict) else None
        return any(isinstance(resource, dict) and resource.get("kind") == self.kind.kind
                   and resource.get("namespaced") is True for resource in resources or ())


class _ParamsError(CustodyError):
    pass


def compile_cel(fields: Fields, preconditions: Fields, rule: str, message: str, namespace: str = "") -> Judge:
    """`preconditions` is the rule, with its `celPreconditions`; `namespace` that of a policy that lies in one.

    Raises MalformedError, UnsupportedError.
    """
    params = _params(fields)
    if params is not None and namespace and not (params.namespaced and params.namespace in ("", namespace)):
        raise MalformedError(fields.path("paramRef.namespace"), got=params.namespace or "none",
                             expected=f"{namespace}: a policy of a namespace reads nothing outside of it")
    expressions = Expressions(admission(params=params is not None, authorized=True, composed={}).extended(
        libraries=[OR_VALUE]))
    expressions.declare(fields)
    validations = [_validation(entry, expressions, message) for entry in fields.each("expressions")]
    conditions = expressions.conditions(preconditions, "celPreconditions")
    # Of these nothing is kept here; that they can be evaluated is checked all the same.
    annotated = fields.each("auditAnnotations")
    for entry in annotated:
        entry.need("key", str)
        expressions.text_or_null(entry.need("valueExpression", str), entry.path("valueExpression"))
        entry.done()
    fields.only("generate", True, False)  # whether Kyverno makes a ValidatingAdmissionPolicy of it, which says the same
    fields.done()
    if not validations and not annotated:
        raise MalformedError(fields.path("expressions"), got="nothing", expected="at least one expression")

    def judge(subject: Subject) -> Judgement | None:
        given = subject.given
        values = _values(given, expressions)
        try:
            found: Sequence[Any] = [None] if params is None else params.of(given)
        except _ParamsError as error:
            return Judgement(Outcome.ERROR, f"error in parameterized resource: {error.message}")
        for param in found:
            if params is not None:
                values = {**values, "params": param}
            bound = _Composited(expressions.variables, values).environment
            holds = _hold(conditions, bound)
            if holds is not True:
                return Judgement(Outcome.FAIL, holds) if holds else Judgement(Outcome.SKIP, "cel preconditions not met")
            for validation in validations:
                if (said := _against(validation, bound)) is not None:
                    return Judgement(Outcome.FAIL, said)
        return Judgement(Outcome.PASS, f"Validation rule '{rule}' passed.")

    return judge


def match_conditions(fields: Fields) -> Test:
    """`webhookConfiguration.matchConditions`: whether a policy is asked. Raises MalformedError, UnsupportedError."""
    expressions = Expressions(matching())
    conditions = expressions.conditions(fields)

    def holds(request: Request, answers: Answers) -> bool:
        given = Given(request, _TIMELESS, {}, answers)
        held = _hold(conditions, _values(given, expressions))
        if isinstance(held, str) and held:
            raise MalformedError("matchConditions", got=held, expected="conditions that can be evaluated")
        return held is True

    return holds


def _values(given: Given, expressions: Expressions) -> dict[str, Any]:
    reads = expressions.reads
    asking = authorizers(given) if any(name.startswith("authorizer") for name in reads) else {}
    if given.request.kind == _NAMESPACE and "namespaceObject" in reads:
        return {**activation(given, reads - {"namespaceObject"}), **asking, "namespaceObject": None}
    return {**activation(given, reads), **asking}


def _hold(conditions: Sequence[Condition], values: dict[str, Any]) -> bool | str:
    """Whether all hold; where none is false, what went wrong with one."""
    wrong: list[str] = []
    for condition in conditions:
        try:
            if condition.program(values) is False:
                return ""
        except CelError as error:
            wrong.append(f"expression '{condition.program.source.text}' resulted in error: {error.message}")
    if not wrong:
        return True
    return wrong[0] if len(wrong) == 1 else f"[{', '.join(dict.fromkeys(wrong))}]"


def _against(validation: _Validation, values: dict[str, Any]) -> str | None:
    """What one expression has against the object."""
    try:
        if validation.program(values) is True:
            return None
    except CelError as error:
        return f"expression '{validation.text}' resulted in error: {error.message}"
    said = ""
    if validation.words is not None:
        try:
            said = str(validation.words(values)).strip()
        except CelError:
            said = ""
        if len(said.encode()) > _LONGEST or "\n" in said:
            said = ""
    return said or validation.message.strip() or f"failed expression: {validation.text.strip()}"


def _validation(fields: Fields, expressions: Expressions, message: str) -> _Validation:
    text = fields.need("expression", str)
    program = expressions.program(text, fields.path("expression"), BOOL)
    said, words = fields.take("message", str) or message, fields.take("messageExpression", str)
    fields.take("reason", str)  # of the API server's status, which Kyverno's answer does not have
    fields.done()
    message_of = expressions.program(words, fields.path("messageExpression")) if words else None
    # One that is of no known type is an error in Kyverno, which then says the message.
    return _Validation(text, program, said, message_of if message_of and message_of.result == STRING else None)


def _params(fields: Fields) -> _Params | None:
    kind, ref = fields.inner("paramKind"), fields.inner("paramRef")
    if kind is None and ref is None:
        return None
    if kind is None or ref is None:
        raise MalformedError(fields.path("paramKind" if kind is None else "paramRef"), got="nothing",
                             expected="both paramKind and paramRef")
    group, _, version = kind.need("apiVersion", str).rpartition("/")
    named = Kind(kind.need("kind", str), version, group)
    kind.done()
    name, namespace = ref.take("name", str) or "", ref.take("namespace", str) or ""
    selector = ref.inner("selector")
    labels = {} if selector is None else selector.text_map("matchLabels")
    if selector is not None:
        selector.done()
    action = ref.take("parameterNotFoundAction", str)
    if action not in (None, "Allow", "Deny"):
        raise MalformedError(ref.path("parameterNotFoundAction"), got=action, expected="Allow or Deny")
    ref.done()
    if bool(name) == (selector is not None):
        raise MalformedError(ref.where, got="name and selector" if name else "neither", expected="name or selector")
    served = [target.resource for target in builtin().find(Selector(group or "", version, named.kind, ""))
              if target.resource.group == group]
    namespaced = served[0].namespaced if served else bool(namespace) or None
    if namespace and not namespaced:
        raise MalformedError(ref.path("namespace"), got=namespace, expected=f"none: a {named.kind} lies in none")
    return _Params(named, namespaced, namespace, name, labels, action == "Deny")
