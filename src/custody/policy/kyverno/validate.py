"""`validate` rules: pattern, anyPattern, deny and podSecurity (Kyverno pkg/engine/handlers/validation)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from custody.errors import CustodyError, MalformedError
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kyverno.variables import ROOTS, variables
from custody.policy.model import Outcome
from custody.policy.podsecurity import standard
from policylang.conditions import compile_conditions
from policylang.errors import LanguageError
from policylang.jmespath import QueryError
from policylang.kpattern import Mismatch, matcher
from policylang.variables import Roots, compile_value


class Judgement(msgspec.Struct, frozen=True):
    """What one rule says of one request or image."""

    outcome: Outcome
    message: str
    remedy: str | None = None


Judge = Callable[[Given], Judgement | None]
"""None where the rule has nothing to say, as of patterns on DELETE."""
_Match = Callable[[Any], Mismatch | None]


class Validate:
    """One compiled `validate`. `pattern` and `any_pattern` are kept for the linter."""

    def __init__(self, fields: Fields, rule: str, roots: Roots = ROOTS) -> None:
        self.rule = rule
        self._roots = roots
        self.failure_action = fields.take("failureAction", str)
        self.allow_existing = fields.take("allowExistingViolations", bool) is not False
        self.message = fields.take("message", str) or ""
        self._message = compile_value(self.message, fields.path("message"), roots)
        self.pattern = fields.any("pattern")
        self.any_pattern = fields.take("anyPattern", list)
        deny, security = fields.inner("deny"), fields.inner("podSecurity")
        self.pod_security = security is not None
        self.deny = deny is not None
        fields.done()
        forms = [name for name, value in (("pattern", self.pattern), ("anyPattern", self.any_pattern), ("deny", deny),
                                          ("podSecurity", security)) if value is not None]
        if len(forms) != 1:
            raise MalformedError(fields.where, got=" and ".join(forms) or "none of them",
                                 expected="one of pattern, anyPattern, deny, podSecurity")
        if deny is not None:
            self.judge = self._deny(deny)
        elif security is not None:
            self.judge = self._security(security)
        elif self.any_pattern is not None:
            if not self.any_pattern:
                raise MalformedError(fields.path("anyPattern"), got="an empty list", expected="at least one pattern")
            self.judge = self._any_pattern([*map(_floats, self.any_pattern)], fields.path("anyPattern"))
        else:
            self.judge = self._pattern(fields.path("pattern"))

    # ── patterns ────────────────────────────────────────────────────────────────────────────────────────────────

    def _pattern(self, where: str) -> Judge:
        match = _matching(self.pattern, where, self._roots)

        def judge(given: Given) -> Judgement | None:
            if given.request.operation == "DELETE":
                return None
            try:
                mismatch = match(given)(given.object)
            except QueryError as error:
                return Judgement(Outcome.ERROR, f"variable substitution failed: {error.message}")
            if mismatch is None:
                return Judgement(Outcome.PASS, f"validation rule '{self.rule}' passed.")
            if mismatch.skip:
                return Judgement(Outcome.SKIP, mismatch.message)
            outcome = Outcome.FAIL if mismatch.path else Outcome.ERROR
            return Judgement(outcome, self._pattern_message(given, mismatch))

        return judge

    def _pattern_message(self, given: Given, mismatch: Mismatch) -> str:
        where = f"failed at path {mismatch.path}" if mismatch.path else f"execution error: {mismatch.message}"
        if not self.message:
            return f"validation error: rule {self.rule} {where}"
        try:
            message = str(self._message(variables(given), given.context.now)) if self._message else self.message
        except QueryError:
            return ("validation error: variables substitution error in rule "
                    f"{self.rule} execution error: {mismatch.message}")
        return f"validation error: {_dotted(message)} rule {self.rule} {where}"

    def _any_pattern(self, patterns: list[Any], where: str) -> Judge:
        matches = [_matching(pattern, f"{where}[{at}]", self._roots) for at, pattern in enumerate(patterns)]

        def judge(given: Given) -> Judgement | None:
            if given.request.operation == "DELETE":
                return None
            failed: list[str] = []
            skipped: list[str] = []
            for at, match in enumerate(matches):
                try:
                    mismatch = match(given)(given.object)
                except QueryError as error:
                    return Judgement(Outcome.ERROR, f"variable substitution failed: {error.message}")
                if mismatch is None:
                    return Judgement(Outcome.PASS, f"validation rule '{self.rule}' anyPattern[{at}] passed.")
                name = f"rule {self.rule}[{at}]"
                if mismatch.skip:
                    skipped.append(f"{name} skipped: {mismatch.message}")
                else:
                    failed.append(f"{name} failed at path {mismatch.path}" if mismatch.path else
                                  f"{name} failed: {mismatch.message}")
            if failed:
                message = f"{_dotted(self.message)} " if self.message else ""
                return Judgement(Outcome.FAIL, f"validation error: {message}{' '.join(failed)}")
            return Judgement(Outcome.SKIP, " ".join(skipped))

        return judge

    # ── conditions ──────────────────────────────────────────────────────────────────────────────────────────────

    def _deny(self, fields: Fields) -> Judge:
        block = fields.any("conditions")
        where = fields.path("conditions")
        fields.done()
        # `deny: {}` has nothing that must hold first: it always denies.
        conditions = compile_conditions(block if block is not None else [], where, self._roots)

        def judge(given: Given) -> Judgement:
            values, now = variables(given), given.context.now
            try:
                denied, said = conditions(values, now)
            except (CustodyError, LanguageError) as error:
                return Judgement(Outcome.ERROR, f"failed to check deny conditions: {error.message}")
            if not denied:
                return Judgement(Outcome.PASS, f"validation rule '{self.rule}' passed.")
            try:
                message = str(self._message(values, now)) if self._message else self.message
            except QueryError:
                return Judgement(Outcome.FAIL, said or f"validation error: rule {self.rule} failed")
            return Judgement(Outcome.FAIL, "; ".join(filter(None, [message, said]))
                           or f"validation error: rule {self.rule} failed")

        return judge

    # ── Pod Security ────────────────────────────────────────────────────────────────────────────────────────────

    def _security(self, fields: Fields) -> Judge:
        level, version = fields.need("level", str), fields.take("version", str) or "latest"
        fields.done()
        if level not in standard.LEVELS:
            raise MalformedError(fields.path("level"), got=level, expected=" or ".join(standard.LEVELS))
        standard.parse_version(version, fields.path("version"))

        def judge(given: Given) -> Judgement | None:
            if given.request.operation == "DELETE":
                return None
            document = given.object or {}
            try:
                failures = standard.evaluate(document.get("spec"), document.get("metadata"), level, version)
            except MalformedError as error:
                return Judgement(Outcome.ERROR, f"failed to evaluate PodSecurity: {error.message}")
            if not failures:
                return Judgement(Outcome.PASS, f"Validation rule '{self.rule}' passed.")
            return Judgement(Outcome.FAIL, f"Validation rule '{self.rule}' failed. It violates PodSecurity "
                           f'"{level}:{version}": {standard.aggregate(failures)}')

        return judge


def _matching(pattern: Any, where: str, roots: Roots) -> Callable[[Given], _Match]:
    """A function from an input to the matcher: one for all inputs, unless the pattern has variables."""
    fill = compile_value(pattern, where, roots)
    fixed = matcher(pattern, where)
    if fill is None:
        return lambda given: fixed  # noqa: ARG005 - the other one needs it

    def match(given: Given) -> _Match:
        return matcher(fill(variables(given), given.context.now), where)

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
