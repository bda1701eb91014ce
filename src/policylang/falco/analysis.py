"""What can be said of rules without any event: which can never be true and why, which others make needless.

What is said here is proved; that nothing is said proves nothing, since the work is bounded and only comparisons with
constants are understood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from policylang.falco.check.formula import Formula, Node, Read, conjunction, disjunction, negation, reads
from policylang.falco.check.formula import event_types as named_types
from policylang.falco.compiler import Residuals
from policylang.falco.rendering import rendered
from policylang.falco.rules import Rule
from policylang.falco.values.events import EVENTS, PLUGIN_EVENT
from policylang.falco.values.fields import Shape, Type
from policylang.falco.values.operators import predicate

_ADDRESSES = (Type.ADDRESS, Type.NETWORK)
_WORK = 20_000  # comparisons looked at for one question
_EVERYTHING = {"startswith": "", "contains": "", "icontains": "", "endswith": "", "glob": "*", "iglob": "*",
               "regex": ".*", "pmatch": "/"}


def field_names(formula: Formula) -> frozenset[str]:
    """Names of the fields that are read, with their arguments."""
    return frozenset(leaf.name for leaf in _fields(formula))


def _fields(formula: Formula) -> Iterator[Read]:
    for asked in () if isinstance(formula, bool) else reads(formula):
        yield from _leaves(asked)


def _leaves(asked: Read) -> Iterator[Read]:
    if asked.kind == "field":
        yield asked
    for argument in asked.arguments:
        yield from _leaves(argument)


def event_types(rule: Rule) -> frozenset[str]:
    """Types of events that it may be true of."""
    if rule.source != "syscall":
        types = frozenset((PLUGIN_EVENT,))
    else:
        outside, names = named_types(rule.condition)
        types = EVENTS - names if outside else EVENTS & names
    return frozenset(name for name in types if Residuals(rule.source, name).formula(rule.condition) is not False)


def without(formula: Formula, unknown: Callable[[str], bool]) -> Formula:
    """What is left where fields that are `unknown` are null, so that comparisons of them are false."""
    if isinstance(formula, bool):
        return formula
    if formula.kind == "test":
        return False if any(unknown(name) for name in field_names(formula)) else formula
    if formula.kind == "not":
        return negation(without(formula.parts[0], unknown))
    parts = [without(part, unknown) for part in formula.parts]
    return conjunction(parts) if formula.kind == "and" else disjunction(parts)


def folded(formula: Formula, source: str, types: Iterable[str]) -> list[Formula]:
    """What is left of it for events of each of these types of a source; nothing of those of which it is never true."""
    left = (Residuals(source, name).formula(formula) for name in types)
    return [part for part in left if part is not False]


def never(formula: Formula) -> str | None:
    """Why no event can make it true, or None."""
    return _Proof().never([(formula, True)])


def implies(narrow: Formula, wide: Formula) -> bool:
    """Whether `wide` is true of each event of which `narrow` is."""
    return _Proof().never([(narrow, True), (wide, False)]) is not None


def swallows(formula: Formula) -> list[str]:
    """What is excepted that is true of every event which has the field at all."""
    parts = () if isinstance(formula, bool) else formula.parts if formula.kind == "and" else (formula,)
    return [rendered(part.parts[0])[0] for part in parts if part.kind == "not" and _anything(part.parts[0])]


def _anything(node: Node) -> bool:
    if node.kind in ("and", "or"):
        return (all if node.kind == "and" else any)(_anything(part) for part in node.parts)
    if node.kind != "test":
        return False
    _, op, _, right = node.parts
    values = right if isinstance(right, tuple) and not hasattr(right, "_fields") else (right,)
    return op in _EVERYTHING and _EVERYTHING[op] in values


class _ExhaustedError(Exception):
    """Nothing was proved within the bounds."""


class _Facts:
    """Comparisons that are all true, or false, of one event; each level adds to the one above."""

    def __init__(self, above: _Facts | None = None) -> None:
        self.signs: dict[Node, bool] = {}
        self.asked: dict[Read, list[tuple[Node, bool]]] = {}
        self.above = above

    def sign(self, test: Node) -> bool | None:
        level: _Facts | None = self
        while level is not None:
            if test in level.signs:
                return level.signs[test]
            level = level.above
        return None

    def of(self, read: Read) -> list[tuple[Node, bool]]:
        tests: list[tuple[Node, bool]] = []
        level: _Facts | None = self
        while level is not None:
            tests = [*level.asked.get(read, ()), *tests]
            level = level.above
        return tests

    def add(self, test: Node, sign: bool) -> str | None:
        """Why that cannot be, beside the others."""
        known = self.sign(test)
        if known is not None:
            return None if known is sign else f"{rendered(test)[0]} is asked for and excluded"
        read = test.parts[0]
        self.signs[test] = sign
        self.asked.setdefault(read, []).append((test, sign))
        return _conflict(read, self.of(read))


class _Proof:
    def __init__(self) -> None:
        self.work = _WORK

    def never(self, parts: list[tuple[Formula, bool]]) -> str | None:
        try:
            return self._never(parts, _Facts())
        except (_ExhaustedError, RecursionError):
            return None

    def _never(self, parts: list[tuple[Formula, bool]], facts: _Facts) -> str | None:
        alternatives: list[tuple[Node, bool]] = []
        waiting = list(parts)
        while waiting:
            formula, sign = waiting.pop(0)
            self.work -= 1
            if self.work < 0:
                raise _ExhaustedError
            if isinstance(formula, bool):
                if formula is not sign:
                    return "it is never true" if sign else "it is always excluded"
            elif formula.kind == "not":
                waiting.append((formula.parts[0], not sign))
            elif formula.kind == "test":
                if (reason := _constant(formula, sign) or facts.add(formula, sign)) is not None:
                    return reason
            elif (formula.kind == "and") is sign:
                waiting += [(part, sign) for part in formula.parts]
            else:
                alternatives.append((formula, sign))
        for formula, sign in alternatives:
            reasons = []
            for part in formula.parts:
                reason = self._never([(part, sign)], _Facts(facts))
                if reason is None:
                    break
                reasons.append(reason)
            else:
                return reasons[0] if reasons else "there is no alternative"
        return None


def _constant(test: Node, sign: bool) -> str | None:
    read, op, _, right = test.parts
    if read.name != "evt.num" or read.kind != "field" or isinstance(right, Read):
        return None
    # Events are counted from 1: the stock macros never_true and always_true are evt.num=0 and evt.num>=0.
    held = {"=": right == 0, "<": right in (0, 1), "<=": right == 0}.get(op, False)
    always = (op == ">=" and right in (0, 1)) or (op == ">" and right == 0)
    if held and sign:
        return f"{rendered(test)[0]} is never true (never_true)"
    return f"{rendered(test)[0]} is always true" if always and not sign else None


def _conflict(read: Read, tests: list[tuple[Node, bool]]) -> str | None:
    if read.shape is not Shape.ONE or read.type in _ADDRESSES or read.type is Type.DYNAMIC:
        return None
    known = [(test, sign) for test, sign in tests if not isinstance(test.parts[3], Read)]
    present = next((test for test, sign in known if sign), None)
    absent = next((test for test, sign in known if test.parts[1] == "exists" and not sign), None)
    if present is not None and absent is not None:
        return f"{rendered(present)[0]}, and {read.name} is not there"
    chosen = next((test for test, sign in known if sign and _listed(test) is not None), None)
    if chosen is not None:
        values = _listed(chosen) or []
        for test, sign in known:
            values = [value for value in values if _holds(test, value) is sign]
            if not values:
                return (f"{rendered(chosen)[0]}, but {'' if sign else 'not '}{rendered(test)[0]}"
                        if test is not chosen else f"{rendered(chosen)[0]} names no value")
    return _outside(read, known)


def _listed(test: Node) -> list[Any] | None:
    """The values that a field may have, where a comparison names them."""
    _, op, modifier, right = test.parts
    if op == "=" and modifier == "":
        return [right]
    if op == "in" or (op == "=" and modifier in ("anyof", "oneof")):
        return list(right)
    return None


def _holds(test: Node, value: Any) -> bool:
    read, op, modifier, right = test.parts
    return op == "exists" or bool(predicate(op, modifier, right, read.type)(value))


def _outside(read: Read, known: list[tuple[Node, bool]]) -> str | None:
    """Numbers between which there is none."""
    if read.type not in (Type.SIGNED, Type.UNSIGNED, Type.PORT):
        return None
    low: tuple[int, Node] | None = None
    high: tuple[int, Node] | None = None
    for test, sign in known:
        _, op, modifier, right = test.parts
        if not sign or modifier or not isinstance(right, int):
            continue
        if op in (">", ">="):
            least = right + (op == ">")
            low = (least, test) if low is None or least > low[0] else low
        elif op in ("<", "<="):
            most = right - (op == "<")
            high = (most, test) if high is None or most < high[0] else high
    if low is None or high is None or low[0] <= high[0]:
        return None
    return f"{rendered(low[1])[0]}, and {rendered(high[1])[0]}"
