"""A formula for one type of event: what is known of the event is put in, equal comparisons become one, cheap parts
come first. Nothing here depends on order, as a part of a condition has no effect but its value."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from policylang.falco.checker import Formula, Node, Read, conjunction, disjunction, negation
from policylang.falco.events import SYSCALLS
from policylang.falco.fields import Shape, Type
from policylang.falco.operators import predicate

# What a test is guessed to take, in units of a look-up in a set, and how often it is guessed to be true.
_COST = {"=": 1.0, "!=": 1.0, "in": 1.0, "intersects": 1.0, "exists": 0.8, "<": 1.0, "<=": 1.0, ">": 1.0, ">=": 1.0,
         "contains": 1.5, "icontains": 4.0, "startswith": 2.5, "endswith": 2.5, "glob": 8.0, "iglob": 10.0,
         "pmatch": 12.0, "regex": 20.0}
_CHANCE = {"=": 0.1, "!=": 0.85, "in": 0.15, "intersects": 0.15, "exists": 0.6, "<": 0.5, "<=": 0.5, ">": 0.5,
           ">=": 0.6}
_READ = 1.5  # one field of an event


class Special:
    """Formulas for events of one type; `event` None: of a type that is only known when it comes."""

    def __init__(self, source: str, event: str | None) -> None:
        self.source, self.event = source, event
        self.known: dict[Node, Formula] = {}

    def formula(self, formula: Formula) -> Formula:
        if isinstance(formula, bool):
            return formula
        found = self.known.get(formula)
        if found is None:
            found = self.known[formula] = self._formula(formula)
        return found

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
    others: list[Formula] = []
    for part in node.parts:
        test = part if node.kind == "or" else part.parts[0] if part.kind == "not" else None
        found = None if test is None or test.kind != "test" else _constants(test)
        if found is None:
            others.append(part)
        else:
            key, values = found
            groups.setdefault(key, []).extend(values)
    made: list[Formula] = []
    for (read, op), values in groups.items():
        unique = tuple(dict.fromkeys(values))
        if op == "in":
            test = Node("test", (read, "in", "", frozenset(unique))) if len(unique) > 1 else Node(
                "test", (read, "=", "", unique[0]))
        else:
            test = Node("test", (read, op, "anyof", unique) if len(unique) > 1 else (read, op, "", unique[0]))
        made.append(test if node.kind == "or" else negation(test))
    return disjunction(others + made) if node.kind == "or" else conjunction(others + made)


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


def reads(node: Node) -> Iterable[Read]:
    """What a node reads of an event, as often as it does."""
    if node.kind == "test":
        for each in (node.parts[0], node.parts[3]):
            if isinstance(each, Read):
                yield each
    else:
        for part in node.parts:
            yield from reads(part)


@lru_cache(1 << 14)
def weigh(node: Node) -> tuple[float, float]:
    """Expected cost, with parts in their best order, and chance of being true."""
    if node.kind == "test":
        read, op, modifier, right = node.parts
        cost = _COST.get(op, 3.0) * (1 if not modifier or op in ("startswith", "endswith") else 1 + len(right) / 4)
        cost += _READ + (5 if read.shape is not Shape.ONE or read.kind != "field" else 0)
        chance = _CHANCE.get(op, 0.05)
        if read.type in (Type.ADDRESS, Type.NETWORK):
            cost += 6
        if read.type is Type.BOOL and op == "=":
            chance = 0.3 if right else 0.7
        return cost, chance
    if node.kind == "not":
        cost, chance = weigh(node.parts[0])
        return cost, 1 - chance
    decided, cost, still = node.kind == "or", 0.0, 1.0
    for part in ordered(node):
        each, chance = weigh(part)
        cost += still * each
        still *= 1 - chance if decided else chance
    return cost, 1 - still if decided else still


@lru_cache(1 << 14)
def ordered(node: Node) -> tuple[Node, ...]:
    """Parts of `and` or `or`, those first that decide it soonest for what they take."""
    return tuple(sorted(node.parts, key=_rank_or if node.kind == "or" else _rank_and))


def _rank_and(node: Node) -> float:
    cost, chance = weigh(node)
    return cost / max(1 - chance, 0.001)


def _rank_or(node: Node) -> float:
    cost, chance = weigh(node)
    return cost / max(chance, 0.001)
