"""A pattern of one text, number or truth as CEL: `>=1Gi & <=2Gi`, `!*:latest`, `a | b`, 1-5, true."""

from __future__ import annotations

from typing import Any

from custody.errors import UnsupportedError
from custody.policy.migrate.expressions import every, literal, negation, quoted, some, wildcard
from policylang.go.durations import parse as duration
from policylang.go.quantities import number as quantity
from policylang.kpattern import operator

_ORDER = {"": "==", "!": "!=", ">": ">", "<": "<", ">=": ">=", "<=": "<="}


def holds(pattern: Any, value: str, where: str) -> str:
    """Whether a value that is there matches. Raises UnsupportedError."""
    if pattern is None:
        return some(f"{value} == {empty}" for empty in ("null", "''", "0", "false"))
    if isinstance(pattern, bool):
        return f"{value} == {literal(pattern)}"
    if not isinstance(pattern, str):
        return some((f"{value} == {literal(pattern)}", f"{value} == {quoted(str(pattern))}"))
    choices = [every(_condition(part.strip(" "), value, where) for part in choice.strip(" ").split("&"))
               for choice in pattern.split("|")]
    same = [f"{value} == "] if len(choices) > 1 else []
    if same and all(choice.startswith(same[0] + "'") and choice.count("'") == 2 for choice in choices):
        return f"{value} in [{', '.join(choice.removeprefix(same[0]) for choice in choices)}]"
    return some(choices)


def _condition(pattern: str, value: str, where: str) -> str:
    sign = operator(pattern)
    if sign in ("-", "!-"):
        low, _, high = pattern.replace("!-", "-").partition("-")
        if sign == "-":
            return every((_condition(f">= {low}", value, where), _condition(f"<= {high}", value, where)))
        return some((_condition(f"< {low}", value, where), _condition(f"> {high}", value, where)))
    operand = pattern[len(sign):].strip()
    text = f"string({value})"
    if quantity(operand) is not None:
        compared = f"isQuantity({text}) && quantity({text}).compareTo(quantity({quoted(operand)})) {_ORDER[sign]} 0"
        return f"!isQuantity({text}) || {compared}" if sign == "!" else compared
    if duration(operand) is not None:
        raise UnsupportedError(where, f"{pattern!r}: durations have no words in CEL for what may be none")
    if sign not in ("", "!"):
        raise UnsupportedError(where, f"{pattern!r} compares with what has no order")
    if operand in ("true", "false") or not operand.isascii():
        same = f"{text} == {quoted(operand)}"
    elif "*" in operand or "?" in operand:
        same = wildcard(operand, text)
    else:
        return f"{value} {'!=' if sign else '=='} {quoted(operand)}"
    return negation(same) if sign else same
