"""Terms that are values already: the constants of generated code."""

from __future__ import annotations

from typing import Any

from policylang.rego.syntax.tree import Array, Object, Scalar, SetOf, Term
from policylang.rego.values import Set, key

NOTHING = object()


def constant(term: Term) -> Any:
    """The value of a term that holds only scalars; `NOTHING` of others."""
    if isinstance(term, Scalar):
        return term.value
    if isinstance(term, (Array, SetOf)):
        items = [constant(item) for item in term.items]
        if any(item is NOTHING for item in items):
            return NOTHING
        return items if isinstance(term, Array) else Set.of(items)
    if isinstance(term, Object):
        pairs = [(constant(name), constant(value)) for name, value in term.pairs]
        if any(name is NOTHING or value is NOTHING for name, value in pairs):
            return NOTHING
        return {key(name): value for name, value in pairs}
    return NOTHING


def holds_set(value: Any) -> bool:
    if type(value) is list:
        return any(map(holds_set, value))
    if type(value) is dict:
        return any(map(holds_set, value.values()))
    return type(value) is Set
