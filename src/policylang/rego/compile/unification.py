"""Unification in generated code: patterns are matched against values, and their free variables are bound."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from policylang.code import both, compare, item
from policylang.rego.compile.emitter import Emitter, V
from policylang.rego.evaluation import documents
from policylang.rego.syntax.tree import NOTHING, Array, Object, Scalar, Term, Var, constant


def bound(emitter: Emitter, term: Term) -> bool:
    """Whether no variable in the pattern is still free."""
    if isinstance(term, Var):
        return term.name in emitter.env
    if isinstance(term, Array):
        return all(bound(emitter, part) for part in term.items)
    if isinstance(term, Object):
        return all(bound(emitter, part) for _, part in term.pairs)
    return True


def unify_terms(emitter: Emitter, left: Term, right: Term) -> None:
    """`left = right`."""
    left_bound, right_bound = bound(emitter, left), bound(emitter, right)
    if left_bound and right_bound:
        _same(emitter, left, right)
    elif isinstance(left, Var) and not left_bound:
        unify(emitter, left, emitter.value(right))
    elif isinstance(right, Var) and not right_bound:
        unify(emitter, right, emitter.value(left))
    elif right_bound:
        unify(emitter, left, emitter.value(right))
    elif left_bound:
        unify(emitter, right, emitter.value(left))
    else:
        _piecewise(emitter, left, right)


def _piecewise(emitter: Emitter, left: Term, right: Term) -> None:
    """Two patterns with free variables on both sides."""
    waiting = _parts(left, right)
    if waiting is None:
        emitter.add(emitter.fail())
        return
    while waiting:
        later = []
        for first, second in waiting:
            if bound(emitter, first) or bound(emitter, second) or not (
                    isinstance(first, Var) or isinstance(second, Var)):
                unify_terms(emitter, first, second)
            else:
                later.append((first, second))
        assert len(later) < len(waiting), "the safety check lets no free variables meet"
        waiting = later


def _parts(left: Term, right: Term) -> list[tuple[Term, Term]] | None:
    """The parts of two patterns that must be equal; None where their shapes never are."""
    if isinstance(left, Array) and isinstance(right, Array) and len(left.items) == len(right.items):
        return list(zip(left.items, right.items, strict=True))
    if isinstance(left, Object) and isinstance(right, Object):
        theirs = {repr(constant(name)): part for name, part in right.pairs}
        if {repr(constant(name)) for name, _ in left.pairs} == set(theirs):
            return [(part, theirs[repr(constant(name))]) for name, part in left.pairs]
    return None


def _same(emitter: Emitter, left: Term, right: Term) -> None:
    if isinstance(left, Scalar):
        left, right = right, left
    first = emitter.value(left).node
    if isinstance(right, Scalar):
        emitter.unless(emitter.equals(first, right.value))
        return
    first = emitter.named(first)
    emitter.unless(emitter.equal(first, emitter.value(right).node))


def unify(emitter: Emitter, term: Term, value: V) -> None:
    """Match a pattern against a value that is there."""
    match = _equal if isinstance(term, (Array, Object)) and constant(term) is not NOTHING else \
        _PATTERNS.get(type(term), _equal)
    match(emitter, term, value)


def _var(emitter: Emitter, var: Var, value: V) -> None:
    known = emitter.env.get(var.name)
    if known is None:
        emitter.env[var.name] = V(emitter.named(value.node), value.kind)
    else:
        emitter.unless(emitter.equal(known.node, value.node))


def _scalar(emitter: Emitter, scalar: Scalar, value: V) -> None:
    emitter.unless(emitter.equals(value.node, scalar.value))


def _array(emitter: Emitter, array: Array, value: V) -> None:
    node = _collection(emitter, value, list, len(array.items))
    for at, part in enumerate(array.items):
        member = item(node, ast.Constant(at))
        unify(emitter, part, V(member if isinstance(part, (Var, Scalar)) else emitter.named(member), value.kind))


def _object(emitter: Emitter, pattern: Object, value: V) -> None:
    node = _collection(emitter, value, dict, len(pattern.pairs))
    for name, part in pattern.pairs:
        member = emitter.defined(emitter.call(documents.ref, node, emitter.value(name).node))
        unify(emitter, part, V(member, value.kind))


def _collection(emitter: Emitter, value: V, kind: type, length: int) -> ast.expr:
    """A name for a value that is a list or a dict of that length."""
    node = emitter.named(value.node)
    emitter.unless(both(compare(emitter.call(type, node), ast.Is(), emitter.code.hoist(kind)),
                        compare(emitter.call(len, node), ast.Eq(), ast.Constant(length))))
    return node


def _equal(emitter: Emitter, term: Term, value: V) -> None:
    node = emitter.named(value.node)
    emitter.unless(emitter.equal(emitter.value(term).node, node))


_PATTERNS: Mapping[type[Term], Callable[[Emitter, Any, V], None]] = {
    Var: _var, Scalar: _scalar, Array: _array, Object: _object}
