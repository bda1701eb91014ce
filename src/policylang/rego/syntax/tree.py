"""Rego's syntax tree. `at` and `end` are offsets in the module's text.

Terms give values, `Expr`s are the lines of a body, `Rule`s make up a `Module`. Names are as written; `resolve` replaces
them with unique ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from policylang.rego.values import Set, key
from policylang.rego.values.numbers import Number
from policylang.source import Source

NOTHING = object()  # what `constant` gives for a term that is no value already


@dataclass(slots=True, eq=False)
class Term:
    at: int
    end: int


@dataclass(slots=True, eq=False)
class Scalar(Term):
    value: bool | Number | str | None


@dataclass(slots=True, eq=False)
class Var(Term):
    """A variable; `_` is wild."""

    name: str


@dataclass(slots=True, eq=False)
class Ref(Term):
    """`head.path[0][path[1]]…`; a name after a dot is a string Scalar."""

    head: Term
    path: list[Term]


@dataclass(slots=True, eq=False)
class Call(Term):
    """A call of a builtin or function. `operator`: the parts of its name; `infix`: the sign it was written with."""

    operator: list[str]
    args: list[Term]
    infix: str = ""


@dataclass(slots=True, eq=False)
class Array(Term):
    items: list[Term]


@dataclass(slots=True, eq=False)
class Object(Term):
    pairs: list[tuple[Term, Term]]


@dataclass(slots=True, eq=False)
class SetOf(Term):
    items: list[Term]


@dataclass(slots=True, eq=False)
class Comprehension(Term):
    """`kind` is array, set or object; `key` is an object's."""

    kind: str
    key: Term | None
    value: Term
    body: Body


@dataclass(slots=True, eq=False)
class Template(Term):
    """`$"…{expr}…"`: fixed texts, and set comprehensions of the expressions' values."""

    parts: list[str | Comprehension]
    raw: bool = False


@dataclass(slots=True, eq=False)
class FunctionName(Term):
    """A builtin in the place of a value: `with f as count`."""

    operator: list[str]


def value_name(term: Term) -> str:
    """What OPA's errors call a term."""
    if isinstance(term, Scalar):
        kinds = {bool: "boolean", str: "string", type(None): "null"}
        return kinds.get(type(term.value), "number")
    if isinstance(term, Comprehension):
        return f"{term.kind}comprehension"
    return {SetOf: "set", Template: "templatestring"}.get(type(term), type(term).__name__.lower())


@dataclass(slots=True, eq=False)
class Expr:
    """A line of a body: `statement`, perhaps negated, under `withs` (target, value)."""

    at: int
    end: int
    statement: Statement
    negated: bool = False
    withs: list[tuple[Term, Term]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Unify:
    """`left = right`, or `left := right` where `assign`."""

    left: Term
    right: Term
    assign: bool = False


@dataclass(slots=True, eq=False)
class Some:
    """`some x, y`."""

    names: list[Var]


@dataclass(slots=True, eq=False)
class SomeIn:
    """`some key, value in domain`."""

    key: Term | None
    value: Term
    domain: Term


@dataclass(slots=True, eq=False)
class Every:
    """`every key, value in domain { body }`."""

    key: Var | None
    value: Var
    domain: Term
    body: Body


@dataclass(slots=True, eq=False)
class Logic:
    """`{…} and {…}`, `{…} or {…}`: `operator` is `and` or `or`; with one body and `not`, it is `not {…}`.

    `braced`: which of the bodies were written in braces.
    """

    operator: str
    bodies: list[Body]
    braced: list[bool]


Body: TypeAlias = list[Expr]
Statement: TypeAlias = Term | Unify | Some | SomeIn | Every | Logic


@dataclass(slots=True, eq=False)
class Rule:
    """One clause of a rule. `path`: the name's parts, of which only the first must be a constant.

    `kind` is `value` (complete, or an object's member where the path is not constant), `set` (`value` is added to it)
    or `function` (`args`). `otherwise` is the else-branch, whose path and args are the same.
    """

    at: int
    end: int
    path: list[Term]
    kind: str
    args: list[Term]
    value: Term
    body: Body
    default: bool = False
    otherwise: Rule | None = None
    module: Module = None  # type: ignore[assignment]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    generated_value: bool = False
    assigned: bool = False
    has_if: bool = False

    def chain(self) -> Iterator[Rule]:
        rule: Rule | None = self
        while rule is not None:
            yield rule
            rule = rule.otherwise


@dataclass(slots=True, eq=False)
class Import:
    at: int
    end: int
    path: list[str]
    alias: str | None

    @property
    def name(self) -> str:
        return self.alias or self.path[-1]


@dataclass(slots=True, eq=False)
class Comment:
    """`text` is what follows the `#`."""

    at: int
    end: int
    text: str


@dataclass(slots=True, eq=False)
class Module:
    """`version` is 0 or 1: which syntax it was read with. `features`: the imported future keywords."""

    source: Source
    package: list[str]
    package_at: int
    imports: list[Import]
    rules: list[Rule]
    comments: list[Comment]
    version: int
    features: frozenset[str]
    annotations: list[dict[str, Any]] = field(default_factory=list)


# --- what is inside

_CHILDREN: dict[type, Callable[[Any], list[Term]]] = {
    Ref: lambda ref: [ref.head, *ref.path],
    Call: lambda call: call.args,
    Array: lambda array: array.items,
    SetOf: lambda term: term.items,
    Object: lambda term: [part for pair in term.pairs for part in pair],
}


def children(term: Term) -> list[Term]:
    """The terms directly inside, without those of comprehensions and templates; not to be changed."""
    list_of = _CHILDREN.get(type(term))
    return [] if list_of is None else list_of(term)


def rebuilt(term: Term, change: Callable[[Term], Term]) -> Term:
    """The term with others for its `children`; itself where it has none."""
    if isinstance(term, Ref):
        return Ref(term.at, term.end, change(term.head), list(map(change, term.path)))
    if isinstance(term, Call):
        return Call(term.at, term.end, term.operator, list(map(change, term.args)), term.infix)
    if isinstance(term, (Array, SetOf)):
        return type(term)(term.at, term.end, list(map(change, term.items)))
    if isinstance(term, Object):
        return Object(term.at, term.end, [(change(name), change(value)) for name, value in term.pairs])
    return term


def inside(term: Term) -> Iterator[Term]:
    """A term and all in it, outside closures."""
    stack = [term]
    while stack:
        part = stack.pop()
        yield part
        list_of = _CHILDREN.get(type(part))
        if list_of is not None:
            stack += list_of(part)


def own_terms(expr: Expr) -> list[Term]:
    """The terms of an expression, without those inside the bodies that it holds."""
    statement = expr.statement
    terms = [value for _, value in expr.withs]
    if isinstance(statement, Unify):
        terms += [statement.left, statement.right]
    elif isinstance(statement, SomeIn):
        terms += [part for part in (statement.key, statement.value, statement.domain) if part is not None]
    elif isinstance(statement, Every):
        terms.append(statement.domain)
    elif isinstance(statement, Term):
        terms.append(statement)
    return terms


def walk(*roots: Term | Expr) -> Iterator[Term | Expr]:
    """All terms and expressions in the roots, those in closures too, in no order."""
    stack: list[Term | Expr] = list(roots)
    while stack:
        node = stack.pop()
        yield node
        list_of = _CHILDREN.get(type(node))
        if list_of is not None:
            stack += list_of(node)
        elif isinstance(node, Expr):
            for replacement in node.withs:
                stack += replacement
            stack += own_terms(node)[len(node.withs):]
            if isinstance(node.statement, Every):
                stack += node.statement.body
            elif isinstance(node.statement, Logic):
                stack += [expr for body in node.statement.bodies for expr in body]
        elif isinstance(node, Comprehension):
            stack += [part for part in (node.key, node.value) if part is not None]
            stack += node.body
        elif isinstance(node, Template):
            stack += [part for part in node.parts if isinstance(part, Comprehension)]


def walk_rule(rule: Rule) -> Iterator[Term | Expr]:
    """All in one clause, its else-branches apart."""
    return walk(*rule.args, *rule.path[1:], rule.value, *rule.body)


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
