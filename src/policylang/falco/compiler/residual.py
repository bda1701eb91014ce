"""What is left of a formula for one type of event: what is known of the event is put in, equal comparisons become one.

Nothing here depends on order, as a part of a condition has no effect but its value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from policylang.falco.check.formula import Formula, Node, Read, conjunction, disjunction, negation
from policylang.falco.values.events import SYSCALLS
from policylang.falco.values.fields import Shape, Type
from policylang.falco.values.operators import predicate


class Residuals:
    """Formulas for events of one type; `event` None: of a type that is only known when it comes."""

    def __init__(self, source: str, event: str | None) -> None:
        self.source, self.event = source, event
        self.known: dict[Node, Formula] = {}

    def formula(self, formula: Formula) -> Formula:
        if isinstance(formula, bool):
            return formula
        residual = self.known.get(formula)
        if residual is None:
            residual = self.known[formula] = self._formula(formula)
        return residual

    def _formula(self, node: Node) -> Formula:
        if node.kind == "test":
            return self._test(node)
        if node.kind == "not":
            return negation(self.formula(node.parts[0]))
        parts = [self.formula(part) for part in node.parts]
        joined = conjunction(parts) if node.kind == "and" else disjunction(parts)
        if isinstance(joined, bool) or joined.kind != node.kind:
            return joined
        merged = _merged(joined)
        return _factored(merged) if isinstance(merged, Node) and merged.kind == "or" else merged

    def _test(self, node: Node) -> Formula:
        read, op, modifier, right = node.parts
        if op in ("in", "intersects") and not isinstance(right, Read) and not right:
            return False
        if read.kind != "field" or isinstance(right, Read):
            return node
        name = read.name
        if name == "evt.dir":
            value: Any = "<"  # enter events are gone since Falco 0.42
        elif name == "evt.source":
            value = self.source
        elif name in ("evt.type", "syscall.type") and self.event is not None:
            value = self.event
            if name == "syscall.type" and value not in SYSCALLS:
                return False
        elif name == "evt.num":
            return _counted(node, op, right)
        elif name in ("jevt.rawtime", "json.rawtime") and op == "exists":
            return True
        else:
            return node
        return op == "exists" or bool(predicate(op, modifier, right, read.type)(value))


def _counted(node: Node, op: str, right: Any) -> Formula:
    """Events are counted from 1: never_true is `evt.num=0`, always_true `evt.num>=0`."""
    if op == "exists":
        return True
    if op in ("in", "intersects"):
        return False if right == {0} else node
    if op in ("=", "<="):
        return False if right < 1 else node
    if op == "<":
        return False if right <= 1 else node
    return True if right < 1 or (op == ">=" and right == 1) else node


def _merged(node: Node) -> Formula:
    """In `or`: comparisons of one field with constants. In `and`: the negations of such."""
    groups: dict[tuple[Read, str], list[Any]] = {}
    unmerged: list[Formula] = []
    for part in node.parts:
        test = part if node.kind == "or" else part.parts[0] if part.kind == "not" else None
        constants = None if test is None or test.kind != "test" else _constants(test)
        if constants is None:
            unmerged.append(part)
        else:
            key, values = constants
            groups.setdefault(key, []).extend(values)
    merged: list[Formula] = []
    for (read, op), values in groups.items():
        unique = tuple(dict.fromkeys(values))
        if op == "in":
            test = Node("test", (read, "in", "", frozenset(unique))) if len(unique) > 1 else Node(
                "test", (read, "=", "", unique[0]))
        else:
            test = Node("test", (read, op, "anyof", unique) if len(unique) > 1 else (read, op, "", unique[0]))
        merged.append(test if node.kind == "or" else negation(test))
    return disjunction(unmerged + merged) if node.kind == "or" else conjunction(unmerged + merged)


def _factored(node: Node) -> Formula:
    """`(a and x) or (a and y)` is `a and (x or y)`."""
    cases = [part.parts if part.kind == "and" else (part,) for part in node.parts]
    common = [part for part in cases[0] if all(part in case for case in cases[1:])]
    if not common:
        return node
    rests = [conjunction([part for part in case if part not in common]) for case in cases]
    rest = disjunction(rests)
    if isinstance(rest, Node) and rest.kind == "or":
        rest = _merged(rest)
    return conjunction([*common, rest])


def _constants(test: Node) -> tuple[tuple[Read, str], Iterable[Any]] | None:
    read, op, modifier, right = test.parts
    if isinstance(right, Read) or read.type in (Type.ADDRESS, Type.NETWORK) or read.shape in (Shape.LIST, Shape.ENDS):
        return None
    if op == "=" and modifier in ("", "anyof"):
        return (read, "in"), right if modifier else (right,)
    if op == "in":
        return (read, "in"), sorted(right)
    if op in ("contains", "startswith", "endswith") and modifier in ("", "anyof") and read.shape is Shape.ONE:
        return (read, op), right if modifier else (right,)
    return None
