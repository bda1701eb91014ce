"""`validate` rules: patterns, deny, foreach, podSecurity and manifests (Kyverno pkg/engine/handlers/validation)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from custody.errors import CustodyError, MalformedError
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kyverno.action import compile_overrides, enforced
from custody.policy.kyverno.foreach import compile_foreach
from custody.policy.kyverno.judgement import Judge, Judgement, Subject
from custody.policy.kyverno.misspelt import check_conditions
from custody.policy.kyverno.podsecurity import compile_security
from custody.policy.kyverno.variables import ROOTS, variables
from custody.policy.model import Outcome
from policylang.conditions import compile_conditions
from policylang.errors import LanguageError
from policylang.jmespath import QueryError
from policylang.kpattern import Mismatch, matcher
from policylang.variables import Roots, Value, compile_value

_BLOCKS = ("pattern", "anyPattern", "deny", "foreach")
FORMS = (*_BLOCKS, "cel", "podSecurity", "manifests")
_SAID = 256
_Match = Callable[[Any], Mismatch | None]


class Validate:
    """One compiled `validate`. `pattern` and `any_pattern` are kept for the linter."""

    def __init__(self, fields: Fields, rule: str, roots: Roots = ROOTS,
                 values: Callable[[Given], dict[str, Any]] = variables, *, within: Fields | None = None,
                 namespace: str = "") -> None:
        """`roots`, `values`: the variables that it may name; `within`: its rule, for celPreconditions; `namespace`: of
        its policy.

        Raises MalformedError, UnsupportedError.
        """
        self.rule = rule
        self._values = values
        self._namespace = namespace
        self.enforce = enforced(fields.take("failureAction", str), fields.path("failureAction"))
        self.overrides = compile_overrides(fields, "failureActionOverrides")
        self.allow_existing = fields.take("allowExistingViolations", bool) is not False
        self.message = fields.take("message", str) or ""
        self._message_where = fields.path("message")
        self.pattern = fields.peek("pattern")
        self.any_pattern = fields.peek("anyPattern")
        self.pod_security = fields.has("podSecurity")
        self.deny = fields.has("deny")
        self.foreach = fields.has("foreach")
        self.cel = fields.has("cel")
        self.manifests = fields.has("manifests")
        forms = [form for form in FORMS if fields.has(form)]
        if len(forms) != 1:
            for form in FORMS:
                fields.any(form)
            fields.done()
            raise MalformedError(fields.where, got=" and ".join(forms) or "none of them",
                                 expected=f"one of {', '.join(FORMS)}")
        if forms[0] == "podSecurity":
            judge = compile_security(Fields(fields.need("podSecurity", dict), fields.path("podSecurity")), rule)
        elif forms[0] == "manifests":
            from custody.policy.kyverno.manifests import compile_manifests

            judge = compile_manifests(Fields(fields.need("manifests", dict), fields.path("manifests")))
        elif forms[0] == "cel":
            from custody.policy.kyverno.cel import compile_cel

            judge = compile_cel(Fields(fields.need("cel", dict), fields.path("cel")),
                                within or Fields({}, fields.where), rule, self.message, namespace)
        else:
            judge = self._block(fields, roots, 0)
        fields.done()
        self._judge = judge

    def judge(self, given: Given) -> Judgement | None:
        """None where it has nothing to say."""
        return self._judge(Subject(given, self._values(given)))

    def _block(self, fields: Fields, roots: Roots, depth: int) -> Judge:
        """What stands in `validate`, or in an entry of `foreach`."""
        forms = [form for form in _BLOCKS if fields.has(form)]
        if len(forms) != 1:
            raise MalformedError(fields.where, got=" and ".join(forms) or "none of them",
                                 expected=f"one of {', '.join(_BLOCKS)}")
        message = compile_value(self.message, self._message_where, roots) if forms[0] != "foreach" else None
        if forms[0] == "deny":
            judge = self._deny(Fields(fields.need("deny", dict), fields.path("deny")), roots, message)
        elif forms[0] == "pattern":
            judge = self._pattern(fields.any("pattern"), fields.path("pattern"), roots, message)
        elif forms[0] == "anyPattern":
            patterns = fields.take("anyPattern", list)
            if not patterns:
                raise MalformedError(fields.path("anyPattern"), got="an empty list", expected="at least one pattern")
            judge = self._any_pattern([*map(_floats, patterns)], fields.path("anyPattern"), roots, message)
        else:
            loops = fields.each("foreach")
            if not loops:
                raise MalformedError(fields.path("foreach"), got="an empty list", expected="at least one list")
            judge = compile_foreach(loops, roots, depth, self._block, self._namespace)
        if depth:
            fields.done()
        return judge

    # ── patterns ────────────────────────────────────────────────────────────────────────────────────────────────

    def _pattern(self, pattern: Any, where: str, roots: Roots, fill: Value | None) -> Judge:
        match = _matching(pattern, where, roots)

        def judge(subject: Subject) -> Judgement | None:
            judged = _judged_of(subject)
            try:
                matches = match(subject)
            except QueryError as error:
                return Judgement(Outcome.ERROR, f"variable substitution failed: {error.message}")
            if judged is None:
                return None
            mismatch = matches(judged)
            if mismatch is None:
                return Judgement(Outcome.PASS, f"validation rule '{self.rule}' passed.")
            if mismatch.skip:
                return Judgement(Outcome.SKIP, mismatch.message)
            where = f"failed at path {mismatch.path}" if mismatch.path else f"execution error: {mismatch.message}"
            outcome = Outcome.FAIL if mismatch.path else Outcome.ERROR
            if not self.message:
                return Judgement(outcome, f"validation error: rule {self.rule} {where}")
            message = self._filled(fill, subject)
            if message is None:
                return Judgement(outcome, "validation error: variables substitution error in rule "
                                 f"{self.rule} execution error: {mismatch.message}")
            return Judgement(outcome, f"validation error: {_dotted(message)} rule {self.rule} {where}")

        return judge

    def _filled(self, fill: Value | None, subject: Subject) -> str | None:
        """The rule's message; None where a variable in it has no value."""
        if fill is None:
            return self.message
        try:
            return str(fill(subject.values, subject.now))
        except QueryError:
            return None

    def _any_pattern(self, patterns: list[Any], where: str, roots: Roots, fill: Value | None) -> Judge:
        places = [f"{where}[{at}]" for at in range(len(patterns))]
        fixed = [matcher(pattern, place) for pattern, place in zip(patterns, places, strict=True)]
        fill_in = compile_value(patterns, where, roots)

        def judge(subject: Subject) -> Judgement | None:
            judged = _judged_of(subject)
            failed: list[str] = []
            skipped: list[str] = []
            try:
                matches = fixed if fill_in is None else [
                    matcher(pattern, place) for pattern, place in
                    zip(fill_in(subject.values, subject.now), places, strict=True)]
            except QueryError as error:
                return Judgement(Outcome.ERROR, f"variable substitution failed: {error.message}")
            if judged is None:
                return None
            for at, match in enumerate(matches):
                mismatch = match(judged)
                if mismatch is None:
                    return Judgement(Outcome.PASS, f"validation rule '{self.rule}' anyPattern[{at}] passed.")
                name = f"rule {self.rule}[{at}]"
                if mismatch.skip:
                    skipped.append(f"{name} skipped: {mismatch.message}")
                else:
                    failed.append(f"{name} failed at path {mismatch.path}" if mismatch.path else
                                  f"{name} failed: {mismatch.message}")
            if not failed:
                return Judgement(Outcome.SKIP, " ".join(skipped))
            said = " ".join(failed)
            if not self.message:
                return Judgement(Outcome.FAIL, f"validation error: {said}")
            message = self._filled(fill, subject)
            if message is None:
                return Judgement(Outcome.FAIL, "validation error: variables substitution error in rule "
                                 f"{self.rule} execution error: {said}")
            return Judgement(Outcome.FAIL, f"validation error: {_dotted(message)} {said}")

        return judge

    # ── conditions ──────────────────────────────────────────────────────────────────────────────────────────────

    def _deny(self, fields: Fields, roots: Roots, fill: Value | None) -> Judge:
        block = fields.any("conditions")
        where = fields.path("conditions")
        fields.done()
        # `deny: {}` has nothing that must hold first: it always denies.
        conditions = compile_conditions(block if block is not None else [], where, roots, plain=True)
        _checked_messages(block, where, roots)
        check_conditions(block, where)
        fills: dict[str, Value | None] = {"": fill}  # by what conditions say: as many as they can say together

        def judge(subject: Subject) -> Judgement:
            try:
                denied, said = conditions(subject.values, subject.now)
            except (CustodyError, LanguageError) as error:
                return Judgement(Outcome.ERROR, f"failed to check deny conditions: {error.message}")
            if not denied:
                return Judgement(Outcome.PASS, f"validation rule '{self.rule}' passed.")
            if not self.message and not said:
                return Judgement(Outcome.FAIL, f"validation error: rule {self.rule} failed")
            text = "; ".join(filter(None, [self.message, said]))
            if said not in fills:
                if len(fills) >= _SAID:
                    fills.clear()
                fills[said] = compile_value(text, where, roots)
            filled = fills[said]
            if filled is None:
                return Judgement(Outcome.FAIL, text)
            try:
                message = filled(subject.values, subject.now)
            except QueryError:
                return Judgement(Outcome.FAIL, said)
            if not isinstance(message, str):
                message = "the produced message didn't resolve to a string, check your policy definition."
            return Judgement(Outcome.FAIL, message)

        return judge


def _checked_messages(block: Any, where: str, roots: Roots) -> None:
    """What conditions say may have variables; those that there are not are refused when the policy is loaded."""
    for part in block if isinstance(block, list) else [block] if isinstance(block, dict) else []:
        for condition in [part, *(part.get("any") or []), *(part.get("all") or [])]:
            if isinstance(message := condition.get("message"), str):
                compile_value(message, f"{where}.message", roots)


def _judged_of(subject: Subject) -> Any:
    """What patterns are compared with; None where they say nothing, as of what is deleted."""
    if subject.element is not None:
        return subject.element
    return None if subject.given.request.operation == "DELETE" else subject.given.object


def _matching(pattern: Any, where: str, roots: Roots) -> Callable[[Subject], _Match]:
    """A function from an input to the matcher: one for all inputs, unless the pattern has variables."""
    fill = compile_value(pattern, where, roots)
    fixed = matcher(pattern, where)
    if fill is None:
        return lambda subject: fixed  # noqa: ARG005 - the other one needs it

    def match(subject: Subject) -> _Match:
        return matcher(fill(subject.values, subject.now), where)

    return match


def _dotted(message: str) -> str:
    return message if message.endswith(".") else message + "."


def _floats(value: Any) -> Any:
    """Kyverno sends anyPattern through Go's encoding/json, after which all its numbers are floats."""
    if isinstance(value, dict):
        return {key: _floats(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_floats(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
