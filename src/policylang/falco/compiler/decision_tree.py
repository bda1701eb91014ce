"""One function per type of event, which says which rules are true of an event.

What several rules ask is asked once, and the rules are below it; fields are read when they are first needed. The
order in which rules are asked is therefore not the order of the files, which the caller restores.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from itertools import islice

from policylang.code import assign, both, load, when
from policylang.falco.check.formula import Node, Read, reads
from policylang.falco.compiler.costs import ordered
from policylang.falco.compiler.emitter import Emitter, Known
from policylang.falco.compiler.grouping import Numbered, shared

_STEPS = 24  # statements within statements
FOUND = "found"  # the numbers of rules that are true


def rules(emitter: Emitter, numbered: list[Numbered], known: Known, depth: int = 0) -> list[ast.stmt]:
    """Statements that add to `FOUND` the number of each rule whose parts are true. `known` has what was read."""
    body: list[ast.stmt] = []
    left = Counter(_all_reads(numbered))
    groups, single = shared(numbered) if depth < _STEPS else ([], numbered)
    for guard, members in groups:
        body += _read_ahead(emitter, guard, left, known)
        below = [Numbered(number, tuple(part for part in parts if part != guard)) for number, parts in members]
        body.append(when(emitter.expression(guard, known), rules(emitter, below, dict(known), depth + 1)))
        left.subtract(_all_reads(members))
    for rule in single:
        number = ast.Tuple([ast.Constant(rule.number)], ast.Load())
        action = ast.AugAssign(ast.Name(FOUND, ast.Store()), ast.Add(), number)
        body += _rule(emitter, list(ordered(Node("and", rule.parts))), left, action, known, depth)
        left.subtract(_all_reads([rule]))
    return body


def _all_reads(numbered: Iterable[Numbered]) -> list[Read]:
    return [read for rule in numbered for part in rule.parts for read in reads(part)]


def _rule(emitter: Emitter, parts: list[Node], left: Counter[Read], action: ast.stmt, known: Known,
          depth: int) -> list[ast.stmt]:
    """Nested ifs: between two of them, what the next one reads. `left` is read from here on."""
    if not parts:
        return [action]
    body = _read_ahead(emitter, parts[0], left, known)
    tests = [emitter.expression(parts[0], known)]
    inner = dict(known)
    own = Counter(read for part in islice(parts, 1, None) for read in reads(part))
    for at in range(1, len(parts)):
        if depth < _STEPS and (between := _read_ahead(emitter, parts[at], own, inner)):
            below = _rule(emitter, parts[at:], own, action, inner, depth + 1)
            return [*body, when(both(*tests), [*between, *below])]
        tests.append(emitter.expression(parts[at], inner))
        own.subtract(reads(parts[at]))
    return [*body, when(both(*tests), [action])]


def _read_ahead(emitter: Emitter, node: Node, left: Counter[Read], known: Known) -> list[ast.stmt]:
    """Fields that are read in any case, and again, are read into variables before the statement."""
    here = Counter(reads(node))
    first = next(iter(reads(_first(node))))
    body: list[ast.stmt] = []
    for read, times in here.items():
        if read not in known and (times > 1 or (read == first and left[read] > 1)):
            value = emitter.value(read, known)
            known[read] = name = emitter.code.fresh()
            body.append(assign(name, value))
    return body


def _first(node: Node) -> Node:
    """The test that is made first."""
    while node.kind != "test":
        node = node.parts[0] if node.kind == "not" else ordered(node)[0]
    return node


def matches(emitter: Emitter, numbered: list[Numbered]) -> list[ast.stmt]:
    """The body of a function of an event's `get`, which gives the numbers of rules."""
    return [assign(FOUND, ast.Tuple([], ast.Load())), *rules(emitter, numbered, {}), ast.Return(load(FOUND))]
