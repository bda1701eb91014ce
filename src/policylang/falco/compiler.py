"""Formulas to Python: one function per type of event, which says which rules are true of an event.

What several rules ask is asked once, and the rules are below it; fields are read when they are first needed. The
order in which rules are asked is therefore not the order of the files, which the caller restores.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from policylang.code import (
    Code,
    assign,
    attribute,
    both,
    call,
    compare,
    either,
    load,
    negate,
    walrus,
    when,
)
from policylang.falco import operators, transform
from policylang.falco.checker import Formula, Node, Read
from policylang.falco.fields import READ_AS, Shape, Type
from policylang.falco.sharing import Numbered, shared
from policylang.falco.special import Special, ordered, reads

Get = Callable[[str], Any]
Matches = Callable[[Get], tuple[int, ...]]
_STEPS = 24  # statements within statements
_ORDERS: dict[str, ast.cmpop] = {"<": ast.Lt(), "<=": ast.LtE(), ">": ast.Gt(), ">=": ast.GtE()}
_GET = "get"
_FOUND = "found"


def compiled(formulas: Sequence[tuple[int, Formula]], special: Special) -> Matches | None:
    """A function of an event's `get`; None where no rule can be true of such an event."""
    rules = []
    for number, formula in formulas:
        found = special.formula(formula)
        if found is True:
            rules.append(Numbered(number, ()))
        elif found is not False:
            rules.append(Numbered(number, found.parts if found.kind == "and" else (found,)))
    if not rules:
        return None
    code = Code("falco")
    writer = Writer(code)
    body = [assign(_FOUND, ast.Tuple([], ast.Load())), *writer.rules(rules, {}, 0), ast.Return(load(_FOUND))]
    code.add("matches", [_GET], body)
    made: Matches = code.build()["matches"]
    return made


def traced(formula: Formula, note: Callable[[int, int, Any], Any], spans: Iterator[tuple[int, int]]) -> Callable[
        [Get], bool]:
    """One condition as it stands, each comparison of which is noted; `spans` of field and test, in order."""
    code = Code("falco")
    writer = Writer(code, note, spans)
    code.add("holds", [_GET], [ast.Return(writer.formula(formula))])
    made: Callable[[Get], bool] = code.build()["holds"]
    return made


class Writer:
    def __init__(self, code: Code, note: Callable[[int, int, Any], Any] | None = None,
                 spans: Iterator[tuple[int, int]] | None = None) -> None:
        self.code, self.note, self.spans = code, note, spans

    # --- statements: `known` has the variables of fields that were read ------------------------------------------

    def rules(self, rules: list[Numbered], known: dict[Read, str], depth: int) -> list[ast.stmt]:
        body: list[ast.stmt] = []
        left = Counter(each for rule in rules for part in rule.parts for each in reads(part))
        groups, rules = shared(rules) if depth < _STEPS else ([], rules)
        for guard, members in groups:
            body += self.read(guard, left, known)
            below = [Numbered(number, tuple(part for part in parts if part != guard)) for number, parts in members]
            body.append(when(self.expression(guard, known), self.rules(below, dict(known), depth + 1)))
            left.subtract(each for rule in members for part in rule.parts for each in reads(part))
        for number, parts in rules:
            found = ast.Tuple([ast.Constant(number)], ast.Load())
            action = ast.AugAssign(ast.Name(_FOUND, ast.Store()), ast.Add(), found)
            body += self.rule(list(ordered(Node("and", parts))), left, action, known, depth)
            left.subtract(each for part in parts for each in reads(part))
        return body

    def rule(self, parts: list[Node], left: Counter[Read], action: ast.stmt, known: dict[Read, str],
             depth: int) -> list[ast.stmt]:
        """Nested ifs: between two of them, what the next one reads. `left` is read from here on."""
        if not parts:
            return [action]
        body = self.read(parts[0], left, known)
        tests = [self.expression(parts[0], known)]
        inner = dict(known)
        own = Counter(each for part in islice(parts, 1, None) for each in reads(part))
        for at in range(1, len(parts)):
            if depth < _STEPS and (between := self.read(parts[at], own, inner)):
                below = self.rule(parts[at:], own, action, inner, depth + 1)
                return [*body, when(both(*tests), [*between, *below])]
            tests.append(self.expression(parts[at], inner))
            own.subtract(reads(parts[at]))
        return [*body, when(both(*tests), [action])]

    def read(self, node: Node, left: Counter[Read], known: dict[Read, str]) -> list[ast.stmt]:
        """Fields that are read in any case, and again, are read into variables before the statement."""
        here = Counter(reads(node))
        first = next(iter(reads(_first(node))))
        body: list[ast.stmt] = []
        for each, times in here.items():
            if each not in known and (times > 1 or (each == first and left[each] > 1)):
                known[each] = name = self.code.fresh()
                body.append(assign(name, self.value(each, known, without=True)))
        return body

    # --- expressions ------------------------------------------------------------------------------------------------

    def formula(self, formula: Formula) -> ast.expr:
        return ast.Constant(formula) if isinstance(formula, bool) else self.expression(formula, {})

    def expression(self, node: Node, known: dict[Read, str]) -> ast.expr:
        if node.kind == "test":
            return self.test(node, known)
        if node.kind == "not":
            return negate(self.expression(node.parts[0], known))
        parts = [self.expression(part, known) for part in (node.parts if self.note else ordered(node))]
        return both(*parts) if node.kind == "and" else either(*parts)

    def test(self, node: Node, known: dict[Read, str]) -> ast.expr:
        if self.note is None or self.spans is None:
            return self.plain_test(node, known)
        start, end = next(self.spans)
        return call(self.code.hoist(self.note), ast.Constant(start), ast.Constant(end),
                    ast.IfExp(self.plain_test(node, known), ast.Constant(True), ast.Constant(False)))

    def plain_test(self, node: Node, known: dict[Read, str]) -> ast.expr:
        read, op, modifier, right = node.parts
        if isinstance(right, Read):
            return self.fields(read, op, right, known)
        hoist = self.code.hoist
        if read.shape is Shape.LIST:
            if op == "exists":
                return self.value(read, known)
            value, again = self.twice(read, known)
            if read.type in (Type.ADDRESS, Type.NETWORK):
                single = operators.predicate("in", "", right, read.type)
                whole = operators.any_of if op == "intersects" else operators.both_of
                return both(value, call(hoist(whole(single)), again))
            test = call(hoist(right.isdisjoint if op == "intersects" else right.issuperset), again)
            return both(value, negate(test) if op == "intersects" else test)
        if read.shape is Shape.ANCESTORS:
            return self.any_value(read, op, modifier, right, known)
        if read.shape is Shape.ENDS and read.type not in (Type.ADDRESS, Type.NETWORK) and op != "exists":
            value, again = self.twice(read, known)
            single = operators.predicate(op, modifier, right, read.type)
            return both(value, call(hoist((operators.both_of if op == "!=" else operators.any_of)(single)), again))
        return self.one_value(read, op, modifier, right, known)

    def one_value(self, read: Read, op: str, modifier: str, right: Any, known: dict[Read, str]) -> ast.expr:
        constant = self.code.constant
        none = ast.Constant(None)
        if op == "exists":
            return compare(self.value(read, known), ast.IsNot(), none)
        simple = read.type not in (Type.ADDRESS, Type.NETWORK) and read.shape is Shape.ONE
        if simple and op == "=" and not modifier:
            return compare(self.value(read, known), ast.Eq(), constant(right))
        if simple and op in ("in", "intersects"):
            return compare(self.value(read, known), ast.In(), constant(right))
        value, again = self.twice(read, known)
        present = compare(value, ast.IsNot(), none)
        if simple and not modifier and op in _ORDERS:
            return both(present, compare(again, _ORDERS[op], constant(right)))
        if simple and op == "!=" and modifier in ("", "allof"):
            if not modifier:
                return both(present, compare(again, ast.NotEq(), constant(right)))
            return both(present, compare(again, ast.NotIn(), constant(frozenset(right)))) if right else ast.Constant(
                False)
        if op in ("contains", "bcontains") and modifier in ("", "anyof") and right:
            name = again.id if isinstance(again, ast.Name) else ""
            tests = [compare(constant(each), ast.In(), load(name)) for each in (right if modifier else (right,))]
            return both(present, either(*tests))
        if op in ("startswith", "bstartswith", "endswith") and modifier in ("", "anyof") and right:
            method = attribute(again, op.removeprefix("b"))
            return both(present, call(method, constant(right)))
        return both(present, call(self.code.hoist(operators.predicate(op, modifier, right, read.type)), again))

    def any_value(self, read: Read, op: str, modifier: str, right: Any, known: dict[Read, str]) -> ast.expr:
        if op == "exists":
            return self.value(read, known)
        value, again = self.twice(read, known)
        if op == "=" and not modifier:
            return both(value, compare(self.code.constant(right), ast.In(), again))
        if op in ("in", "intersects"):
            return both(value, negate(call(self.code.hoist(right.isdisjoint), again)))
        single = operators.predicate(op, modifier, right, read.type)
        return both(value, call(self.code.hoist(operators.any_of(single)), again))

    def fields(self, left: Read, op: str, right: Read, known: dict[Read, str]) -> ast.expr:
        first, again = self.twice(left, known)
        second, other = self.twice(right, known)
        none = ast.Constant(None)
        return both(compare(first, ast.IsNot(), none), compare(second, ast.IsNot(), none),
                    call(self.code.hoist(operators.between(op, left.shape)), again, other))

    def twice(self, read: Read, known: dict[Read, str]) -> tuple[ast.expr, ast.expr]:
        """The value where it is first asked for, and where it is asked for again."""
        if read in known:
            return load(known[read]), load(known[read])
        name = self.code.fresh()
        return walrus(name, self.value(read, known)), load(name)

    def value(self, read: Read, known: dict[Read, str], *, without: bool = False) -> ast.expr:
        if not without and read in known:
            return load(known[read])
        if read.kind == "constant":
            return ast.Constant(read.value)
        if read.kind == "list":
            return ast.List([self.value(each, known) for each in read.arguments], ast.Load())
        if read.kind != "field":
            made = transform.function(read.kind, read.select, [each.shape for each in read.arguments])
            return call(self.code.hoist(made), *(self.value(each, known) for each in read.arguments))
        name = READ_AS.get(read.name, read.name)
        if name in _ENDS:
            return call(self.code.hoist(_ENDS[name]), load(_GET))
        value = call(load(_GET), ast.Constant(name))
        return value if read.shape is Shape.ONE else call(self.code.hoist(several), value)


def several(value: Any) -> Any:
    """Values of a field that may have several; null where it has none."""
    return [value] if isinstance(value, (str, int)) else value or None


def _ends(name: str, client: str, server: str) -> Callable[[Get], Any]:
    """`name` as the event has it, else both ends of its connection."""

    def read(get: Get) -> Any:
        found = get(name)
        if found is None:
            found = [end for end in (get(client), get(server)) if end is not None]
        return several(found)

    return read


_ENDS = {"fd.ip": _ends("fd.ip", "fd.cip", "fd.sip"), "fd.port": _ends("fd.port", "fd.cport", "fd.sport")}


def _first(node: Node) -> Node:
    """The test that is made first."""
    while node.kind != "test":
        node = node.parts[0] if node.kind == "not" else ordered(node)[0]
    return node
