"""Which rules a rule asks for, and that none asks for its own value.

A reference with a variable may ask for any rule that its constant parts allow; a variable that the body bound before to
some constants, `x := "p"` or `some x in ["p", "q"]`, stands for those alone.

Source: OPA v1/ast/compile.go (NewGraph, GetRulesDynamic, checkRecursion), by behaviour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from policylang.rego.check.ruletree import Document, Path, Place, beneath, ground, shown
from policylang.rego.syntax.tree import NOTHING, Call, Expr, Ref, Rule, SomeIn, Term, Unify, Var, constant, walk
from policylang.rego.values import Set, Value, equal, key
from policylang.source import Faults, SourceError

_WIDEST = 64  # constants that one reference is followed with; more are as good as any
_Known = dict[str, list[Value]]
_Meant = dict[tuple[object, ...], dict[Rule, None]]  # a reference's parts → the rules that it may come to
Edges = dict[Rule, list[Rule]]


def edges(rules: Iterable[Rule], root: Place) -> Edges:
    """Each clause of the rules, else-branches too → the clauses that it may ask for. Bodies are in written order."""
    meant: _Meant = {}
    return {clause: list(_asked(clause, root, meant)) for rule in rules for clause in rule.chain()}


def check(graph: Edges, faults: Faults) -> None:
    """A rule may not need its own value: `rule data.a.p is recursive: data.a.p -> data.a.q -> data.a.p`."""
    done: dict[Rule, bool] = {}  # False: on the way
    for start in graph:
        if start in done:
            continue
        stack: list[tuple[Rule, Iterator[Rule]]] = [(start, iter(graph[start]))]
        done[start] = False
        while stack:
            rule, left = stack[-1]
            following = next(left, None)
            if following is None:
                done[rule] = True
                stack.pop()
            elif done.get(following) is False:
                way = [asked for asked, _ in stack]
                with faults:
                    _recursive(way[way.index(following):])
            elif following not in done:
                done[following] = False
                stack.append((following, iter(graph.get(following, []))))


def _recursive(cycle: list[Rule]) -> None:
    names = [shown(*ground(rule)) for rule in [*cycle, cycle[0]]]
    first = cycle[0]
    raise SourceError(f"rego_recursion_error: rule {names[0]} is recursive: {' -> '.join(names)}", first.module.source,
                      first.at, kind="rego_recursion_error")


def find_circles(documents: Mapping[Path, Document], graph: Edges) -> None:
    """Mark the objects of which a part asks for another part, itself or through other rules."""
    owner = {clause: document for document in documents.values() for rule in document.all for clause in rule.chain()}
    below: dict[int, set[int]] = {}
    for rule, targets in graph.items():
        if rule in owner:
            below.setdefault(owner[rule].slot, set()).update(owner[asked].slot for asked in targets if asked in owner)
    for document in documents.values():
        if document.kind != "object":
            continue
        reached: set[int] = set()
        waiting = list(below.get(document.slot, ()))
        while waiting:
            slot = waiting.pop()
            if slot not in reached:
                reached.add(slot)
                waiting += below.get(slot, ())
        document.circular = document.slot in reached


# --- what a clause asks for

def _asked(clause: Rule, root: Place, meant: _Meant) -> dict[Rule, None]:
    asked: dict[Rule, None] = {}
    known: _Known = {}
    for expr in clause.body:
        _references(walk(expr), root, known, meant, asked)
        _learn(expr, known)
    _references(walk(*clause.path[1:], *clause.args, clause.value), root, known, meant, asked)
    return asked


def _references(parts: Iterable[Term | Expr], root: Place, known: _Known, meant: _Meant,
                asked: dict[Rule, None]) -> None:
    for part in parts:
        if isinstance(part, Call) and part.operator[0] == "data":
            rules_at(root, [key(name) for name in part.operator[1:]], asked)
        elif isinstance(part, Ref) and isinstance(part.head, Var) and part.head.name == "data":
            for path in _paths(part, known):
                rules = meant.get(tuple(path))
                if rules is None:
                    rules = meant[tuple(path)] = {}
                    rules_at(root, path, rules)
                asked.update(rules)


def _paths(ref: Ref, known: _Known) -> Iterator[list[object]]:
    """The reference's parts as keys, NOTHING for what may be anything, for each of the constants that are known."""
    width = 1
    parts: list[list[object]] = []
    for part in ref.path:
        value = constant(part)
        values = [value] if value is not NOTHING else _values(part, known)
        if not values or width * len(values) > _WIDEST:
            parts.append([NOTHING])
        else:
            width *= len(values)
            parts.append([key(name) for name in values])
    for path in product(*parts):
        yield list(path)


def rules_at(root: Place, path: list[object], asked: dict[Rule, None]) -> None:
    """The rules that a reference may come to: those above it whose own references agree, and all beneath it."""
    stack = [(root, 0)]
    while stack:
        place, at = stack.pop()
        if at == len(path):
            for inner in place.walk():
                asked.update((clause, None) for rule in inner.rules for clause in rule.chain())
            continue
        if path[at] is NOTHING:
            children = list(place.children.values())
        else:
            child = place.children.get(path[at])
            children = [] if child is None else [child]
        for child in children:
            for rule in child.rules:
                if _meets(beneath(rule, child.path), path[at + 1:]):
                    asked.update((clause, None) for clause in rule.chain())
            stack.append((child, at + 1))


def _meets(rest: list[Term], path: list[object]) -> bool:
    for part, name in zip(rest, path, strict=False):
        value = constant(part)
        if value is not NOTHING and name is not NOTHING and key(value) != name:
            return False
    return True


# --- variables that are known

def _learn(expr: Expr, known: _Known) -> None:
    """What an equality, or `some … in`, binds to constants."""
    if expr.negated or expr.withs:
        return
    statement = expr.statement
    pairs: list[tuple[Term, Term | None]] = []
    if isinstance(statement, Unify):
        pairs = [(statement.left, statement.right), (statement.right, statement.left)]
    elif isinstance(statement, SomeIn):
        if isinstance(statement.value, Var) and statement.value.name not in known:
            collections = _values(statement.domain, known)
            values = None if collections is None else _all(collections)
            if values is not None and len(values) <= _WIDEST:
                known[statement.value.name] = values
        return
    for var, term in pairs:
        if isinstance(var, Var) and term is not None:
            values = _values(term, known)
            if values is not None:
                known.setdefault(var.name, values)
                return


def _values(term: Term, known: _Known) -> list[Value] | None:
    """The constants that a term can be; None where that is not known."""
    value = constant(term)
    if value is not NOTHING:
        return [value]
    if isinstance(term, Var):
        return known.get(term.name)
    if not isinstance(term, Ref):
        return None
    values = _values(term.head, known)
    for part in term.path:
        if values is None:
            return None
        name = constant(part)
        values = _all(values) if name is NOTHING else [
            member for collection in values for member in _member(collection, name)]
        if values is not None and len(values) > _WIDEST:
            return None
    return values


def _all(collections: list[Value]) -> list[Value] | None:
    members: list[Value] = []
    for collection in collections:
        if type(collection) is list:
            members += collection
        elif type(collection) is dict:
            members += collection.values()
        elif type(collection) is Set:
            members += collection
        else:
            return None
    return members


def _member(collection: Value, name: Value) -> list[Value]:
    if type(collection) is list:
        return [value for at, value in enumerate(collection) if equal(at, name)]
    if type(collection) is dict:
        return [collection[key(name)]] if key(name) in collection else []
    return [name] if type(collection) is Set and name in collection else []
