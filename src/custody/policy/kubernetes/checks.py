"""The expressions of a ValidatingAdmissionPolicy, evaluated as the API server does, within what it lets them cost.

k8s.io/apiserver 1.34 pkg/admission/plugin/policy/validating/validator.go and plugin/cel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.policy.cel.environment import Expressions
from custody.policy.cel.variables import activation, namespace_object
from custody.policy.evidenceview import explained
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kubernetes.authorizer import authorizers
from custody.policy.kubernetes.budgeted import Budgeted, Kinds, Memory, readings, said_plainly
from custody.policy.lookup import LookupFailedError
from custody.policy.model import Kind, Outcome
from custody.policy.worlds import WORLD, asking
from custody.ports.lookup import ApiCall
from policylang.cel.compile.program import Program
from policylang.cel.cost.tally import CostExceeded
from policylang.cel.kubernetes import admission
from policylang.cel.kubernetes.costs import COSTS, Budget
from policylang.cel.types import DYN
from policylang.cel.values.errors import CelError
from policylang.errors import LanguageError

_MATCHING = 2_500_000
_LONGEST_MESSAGE = 5 * 1024
_LONGEST_ANNOTATION = 10 * 1024
_NAMESPACE = Kind("Namespace")
REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")


class Decision(NamedTuple):
    """Of one validation. `reason` is that of the Status that the API server answers with."""

    outcome: Outcome
    message: str
    reason: str = "Invalid"
    at: int = 0
    always: bool = False
    """Whether it denies whatever the binding's actions are: an audit annotation that could not be evaluated."""


class Judged(NamedTuple):
    """Of one policy with one parameter. Without `matches` its conditions do not hold."""

    decisions: list[Decision]
    annotations: dict[str, str]
    matches: bool = True


class Validation(NamedTuple):
    program: Program
    text: str
    message: str
    expression: Program | None
    reason: str


class Checks:
    def __init__(self, spec: Fields, *, params: bool, fails: bool, bound: Sequence[str] = (),
                 plain: bool = False) -> None:
        """`fails`: failurePolicy Fail. `bound`: variables that who judges gives, beside those that are written here.
        `plain`: with nothing that an API server does not have.

        Raises MalformedError, UnsupportedError.
        """
        composed = dict.fromkeys(bound, DYN)
        expressions = Expressions(admission(
            params=params, authorized=True, composed=composed, known=None if plain else WORLD.evidence), cost=COSTS)
        self._fails, self._params = fails, params
        self._conditions = expressions.conditions(spec)
        expressions.declare(spec)
        self._validations = [_validation(entry, expressions) for entry in spec.each("validations")]
        self._audit: dict[str, Program] = {}
        for entry in spec.each("auditAnnotations"):
            key, text = entry.need("key", str), entry.need("valueExpression", str)
            entry.done()
            self._audit[key] = expressions.text_or_null(text, entry.path("valueExpression"))
        self.reads = frozenset(expressions.reads)
        self.texts = tuple(expressions.texts)
        self.paths = frozenset(expressions.paths)
        self.repeats = expressions.repeats
        self.kinds = expressions.kinds
        """Of evidence, that expressions may ask for."""
        self._variables = expressions.variables
        self._memory = Memory(readings(expressions, bound)) if expressions.variables else None
        self._authorizes = any(name.startswith("authorizer") for name in self.reads)

    def judge(self, given: Given, params: Mapping[str, Any] | None, bound: Mapping[str, Any] = {}) -> Judged:
        """Raises UnansweredError, LookupFailedError."""
        if not self.kinds:
            return self._judge(given, params, bound)
        with asking(given):
            judged = self._judge(given, params, bound)
        return judged._replace(decisions=[
            decision._replace(message=explained(given, decision.message)) if decision.outcome is Outcome.ERROR
            else decision for decision in judged.decisions])

    def _judge(self, given: Given, params: Mapping[str, Any] | None, bound: Mapping[str, Any]) -> Judged:
        values = activation(given, self.reads - {"namespaceObject"})
        if self._params:
            values["params"] = params
        if self._authorizes:
            values |= authorizers(given)
        values["namespaceObject"] = None
        try:
            if not self._matches(values):
                return Judged([], {}, matches=False)
        except LanguageError as error:
            return Judged([Decision(Outcome.ERROR, error.message)], {})
        if "namespaceObject" in self.reads:
            values["namespaceObject"] = namespace_of(given)
        kept = None if self._memory is None else self._memory.of(given, params)
        try:
            return self._judged(values, bound, kept)
        except CostExceeded as exceeded:
            if kept is None:
                return Judged([Decision(Outcome.ERROR, exceeded.message)], {})
        try:
            return self._judged(values, bound, None)
        except CostExceeded as exceeded:
            return Judged([Decision(Outcome.ERROR, exceeded.message)], {})

    def _judged(self, values: dict[str, Any], bound: Mapping[str, Any], kept: Kinds | None) -> Judged:
        """Raises CostExceeded."""
        decisions = self._decided(values, Budget(), bound, kept)
        return Judged(decisions, self._annotations(values, decisions, bound, kept))

    def _matches(self, values: dict[str, Any]) -> bool:
        """Raises LanguageError under Fail."""
        errors: dict[str, None] = {}
        budget = Budget(_MATCHING)
        try:
            for condition in self._conditions:
                try:
                    if _evaluated(budget, condition.program, values) is False:
                        return False
                except CelError as error:
                    errors[error.message] = None
        except CostExceeded:
            if self._fails:
                raise
            return False
        if errors and self._fails:
            raise CelError(next(iter(errors)) if len(errors) == 1 else f"[{', '.join(errors)}]")
        return not errors

    def _decided(self, values: dict[str, Any], budget: Budget, given_variables: Mapping[str, Any],
                 kept: Kinds | None) -> list[Decision]:
        """Raises CostExceeded."""
        decisions: list[Decision] = []
        with self._bound(values, budget, given_variables, kept) as bound:
            for at, validation in enumerate(self._validations):
                try:
                    passes = _evaluated(budget, validation.program, bound) is True
                    decisions.append(Decision(Outcome.PASS if passes else Outcome.FAIL, "", validation.reason, at))
                except CelError as error:
                    decisions.append(Decision(Outcome.ERROR, error.message, at=at))
        if any(decision.outcome is Outcome.FAIL for decision in decisions):
            with self._bound(values, budget, given_variables, kept) as bound:
                messages, spent = self._messages(bound, budget)
            if spent and kept is not None:
                raise CostExceeded(spent)
            for at, decision in enumerate(decisions):
                if decision.outcome is Outcome.FAIL:
                    decisions[at] = (
                        Decision(Outcome.ERROR, f"failed messageExpression: {spent}", at=at) if spent
                        else decision._replace(message=self._message(at, messages[at])))
        return decisions

    def _messages(self, values: dict[str, Any], budget: Budget) -> tuple[list[str], str]:
        """What messageExpressions give, and what is said where nothing was left for them."""
        messages: list[str] = []
        for validation in self._validations:
            said: Any = ""
            if validation.expression is not None:
                try:
                    said = _evaluated(budget, validation.expression, values)
                except CelError:
                    said = ""
                except CostExceeded as exceeded:
                    return messages, exceeded.message
            messages.append(said.strip() if isinstance(said, str) else "")
        return messages, ""

    def _message(self, at: int, said: str) -> str:
        validation = self._validations[at]
        if len(said.encode()) > _LONGEST_MESSAGE or "\n" in said:
            said = ""
        return said or validation.message.strip() or f"failed expression: {validation.text.strip()}"

    def _annotations(self, values: dict[str, Any], decisions: list[Decision], given_variables: Mapping[str, Any],
                     kept: Kinds | None) -> dict[str, str]:
        """Raises CostExceeded."""
        annotations: dict[str, str] = {}
        if not self._audit:
            return annotations
        budget = Budget()
        with self._bound(values, budget, given_variables, kept) as bound:
            for key, program in self._audit.items():
                try:
                    value = _evaluated(budget, program, bound)
                except CelError as error:
                    decisions.append(Decision(Outcome.ERROR, error.message, always=True))
                    continue
                if isinstance(value, str) and value.strip():
                    annotations[key] = value.strip()[:_LONGEST_ANNOTATION]
        return annotations

    def _bound(self, values: dict[str, Any], budget: Budget, given_variables: Mapping[str, Any],
               kept: Kinds | None) -> Budgeted:
        """With variables anew: validations, messages and annotations each pay for their own."""
        variables = Budgeted(self._variables, values, budget, {} if self._memory is None else self._memory.places, kept)
        variables.update(given_variables)
        return variables


def _evaluated(budget: Budget, program: Program, values: dict[str, Any]) -> Any:
    """Raises CelError in the API server's words, CostExceeded."""
    try:
        return budget.evaluate(program, values)
    except CelError as error:
        about = f"expression '{program.source.text}' resulted in error: "
        plain = said_plainly(CelError(error.message.removeprefix(about)), program, values)
        raise CelError(f"{about}{plain.message}") from None


def namespace_of(given: Given) -> dict[str, Any] | None:
    """`namespaceObject`: None for what lies in no namespace, and for a namespace itself.

    Raises UnansweredError, LookupFailedError: also where there is no such namespace.
    """
    if given.request.kind == _NAMESPACE or not given.request.namespace:
        return None
    document = namespace_object(given)
    if document is None:
        raise LookupFailedError(ApiCall(f"/api/v1/namespaces/{given.request.namespace}"), "there is no such namespace")
    metadata = dict(document.get("metadata") or {})
    if "uid" in metadata:
        metadata["UID"] = metadata.pop("uid")
    return {**document, "metadata": metadata}


def _validation(fields: Fields, expressions: Expressions) -> Validation:
    text, message = fields.need("expression", str), fields.take("message", str) or ""
    expression = fields.take("messageExpression", str) or ""
    reason = fields.take("reason", str) or "Invalid"
    fields.done()
    if reason not in REASONS:
        raise MalformedError(fields.path("reason"), got=reason, expected=", ".join(REASONS))
    program = expressions.truth(text, fields.path("expression"))
    said = expressions.text(expression, fields.path("messageExpression")) if expression else None
    return Validation(program, text, message, said, reason)
