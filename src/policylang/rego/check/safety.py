"""The order of a body's expressions: each variable is bound before it is needed, or the body is unsafe.

What an expression needs and what it binds is decided as OPA does: references bind the variables in their paths, `=`
unifies, a builtin binds the variable in the place after its last argument, negation and closures bind nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator

from policylang.rego.syntax import tree

ROOTS = frozenset({"data", "input"})
Arity = Callable[[tree.Call], int | None]  # arguments of the function that is called; None where it is not known


class Unsafe(Exception):  # noqa: N818 - caught by the checker, which knows the module
    """Variables that nothing binds: (name, offset)."""

    def __init__(self, names: list[tuple[str, int]]) -> None:
        super().__init__(names)
        self.names = names


def _closures(term: tree.Term) -> Iterator[tree.Comprehension]:
    for part in tree.inside(term):
        if isinstance(part, tree.Comprehension):
            yield part
        elif isinstance(part, tree.Template):
            yield from (piece for piece in part.parts if isinstance(piece, tree.Comprehension))


def vars_in(term: tree.Term) -> Iterator[tree.Var]:
    """Variables outside closures, the roots not counted."""
    return (part for part in tree.inside(term) if isinstance(part, tree.Var) and part.name not in ROOTS)


def asked_of_input(expr: tree.Expr) -> list[tree.Ref]:
    """The references of a positive expression into the input, up to the first part that is no constant text."""
    if expr.negated or expr.withs:
        return []
    refs: list[tree.Ref] = []
    for term in tree.own_terms(expr):
        for part in tree.inside(term):
            if isinstance(part, tree.Ref) and isinstance(part.head, tree.Var) and part.head.name == "input":
                names: list[tree.Term] = []
                for name in part.path:
                    if not (isinstance(name, tree.Scalar) and isinstance(name.value, str)):
                        break
                    names.append(name)
                if names:
                    refs.append(tree.Ref(part.at, part.end, part.head, names))
    return refs


def asked_wholly(terms: Iterable[tree.Term]) -> list[tree.Ref]:
    """The references without any variable, into input and `data`."""
    return [part for term in terms for part in tree.inside(term)
            if isinstance(part, tree.Ref) and isinstance(part.head, tree.Var) and part.head.name in ROOTS
            and all(isinstance(name, tree.Scalar) for name in part.path)]


def outer_names(expr: tree.Expr) -> set[str]:
    """Names of the variables that stand in an expression outside closures."""
    return _names(expr)[0]


def _names(expr: tree.Expr) -> tuple[set[str], set[str]]:
    """Names of the variables outside closures, and of those that references begin with: nothing in the same expression
    binds these.
    """
    names: set[str] = set()
    heads: set[str] = set()
    for term in tree.own_terms(expr):
        for part in tree.inside(term):
            if isinstance(part, tree.Var):
                names.add(part.name)
            elif isinstance(part, tree.Ref) and isinstance(part.head, tree.Var):
                heads.add(part.head.name)
    call = expr.statement
    if isinstance(call, tree.Call) and len(call.operator) == 1 and "#" in call.operator[0]:
        names.add(call.operator[0])
    return names - ROOTS, heads - ROOTS


def all_names(body: tree.Body) -> set[str]:
    """Names of all variables in a body, those in closures too."""
    names: set[str] = set()
    for expr in body:
        names |= outer_names(expr) | _closed_names(expr)
    return names


def _closed_names(expr: tree.Expr) -> set[str]:
    names: set[str] = set()
    for term in tree.own_terms(expr):
        for closure in _closures(term):
            names |= _comprehension_names(closure)
    statement = expr.statement
    if isinstance(statement, tree.Every):
        names |= all_names(statement.body) - {var.name for var in (statement.key, statement.value) if var is not None}
    elif isinstance(statement, tree.Logic):
        for body in statement.bodies:
            names |= all_names(body)
    return names


def _comprehension_names(closure: tree.Comprehension) -> set[str]:
    names = all_names(closure.body)
    for head in (closure.key, closure.value):
        if head is not None:
            names |= {var.name for var in vars_in(head)}
            for inner in _closures(head):
                names |= _comprehension_names(inner)
    return names


def _needs(term: tree.Term, needs: set[str], gives: set[str]) -> None:
    """What evaluating `term` needs, and what it binds on the way: the variables in paths of references."""
    if isinstance(term, tree.Var):
        if term.name not in ROOTS:
            needs.add(term.name)
    elif isinstance(term, tree.Ref):
        _needs(term.head, needs, gives)
        for part in term.path:
            _pattern(part, gives, needs, gives)
    else:
        for part in tree.children(term):
            _needs(part, needs, gives)


def needed(term: tree.Term) -> set[str]:
    """Variables that must be bound before `term` is evaluated."""
    needs: set[str] = set()
    gives: set[str] = set()
    _needs(term, needs, gives)
    return needs - gives


def _pattern(term: tree.Term, names: set[str], needs: set[str], gives: set[str]) -> None:
    """Variables that matching `term` against a value binds go to `names`; what else is in it is needed."""
    if isinstance(term, tree.Var):
        names.add(term.name)
    elif isinstance(term, tree.Array):
        for item in term.items:
            _pattern(item, names, needs, gives)
    elif isinstance(term, tree.Object):
        for key, value in term.pairs:
            _needs(key, needs, gives)
            _pattern(value, names, needs, gives)
    else:
        _needs(term, needs, gives)


def _unify(left: tree.Term, right: tree.Term, bound: set[str]) -> tuple[set[str], set[str]]:
    """(needs, binds) of `left = right` when `bound` are bound."""
    sides = []
    for term in (left, right):
        names: set[str] = set()
        needs: set[str] = set()
        gives: set[str] = set()
        _pattern(term, names, needs, gives)
        sides.append((names, needs, gives))
    (names, needs, gives), (names2, needs2, gives2) = sides
    needed, given = needs | needs2, gives | gives2
    known = bound | given
    if never(left, right):
        return needed | (names | names2) - known, given
    if (names2 <= known and needs2 <= known) or (names <= known and needs <= known):
        return needed, given | names | names2
    if not (needs | needs2) <= known:  # `x = y[x]`: what a side needs does not come from matching it
        return needed | (names | names2) - known, given
    if isinstance(left, tree.Array) and isinstance(right, tree.Array) and len(left.items) == len(right.items):
        members = list(zip(left.items, right.items, strict=True))
    elif isinstance(left, tree.Object) and isinstance(right, tree.Object):
        theirs = {_scalar(key): value for key, value in right.pairs}
        members = [(value, theirs[_scalar(key)]) for key, value in left.pairs if _scalar(key) in theirs]
    else:
        return needed | (names | names2) - known, given
    safe = set(known)
    for _ in members:
        before = len(safe)
        for left_part, right_part in members:
            needed2, given2 = _unify(left_part, right_part, safe)
            if needed2 <= safe | given2:
                safe |= given2
        if len(safe) == before:
            break
    return needed | (names | names2) - safe, given | (safe - bound)


def never(left: tree.Term, right: tree.Term) -> bool:
    """Whether two patterns can never match, so that nothing in them is bound."""
    if isinstance(left, tree.Array) and isinstance(right, tree.Array):
        return len(left.items) != len(right.items)
    if isinstance(left, tree.Object) and isinstance(right, tree.Object):
        keys = [{_scalar(key) for key, _ in side.pairs} for side in (left, right)]
        return len(left.pairs) != len(right.pairs) or (keys[0] != keys[1] and all(
            isinstance(key, tree.Scalar) for side in (left, right) for key, _ in side.pairs))
    kinds = (tree.Array, tree.Object, tree.Scalar, tree.SetOf)
    return isinstance(left, kinds) and isinstance(right, kinds) and type(left) is not type(right)


def _scalar(term: tree.Term) -> object:
    return (type(term.value), term.value) if isinstance(term, tree.Scalar) else id(term)


def needs_and_gives(expr: tree.Expr, bound: set[str], arity: Arity) -> tuple[set[str], set[str]]:
    """What an expression needs, apart from its closures, and the variables that it binds, when `bound` are bound."""
    needs: set[str] = set()
    gives: set[str] = set()
    statement = expr.statement
    if isinstance(statement, tree.Unify):
        needed, given = _unify(statement.left, statement.right, bound)
        needs |= needed
        gives |= given
    elif isinstance(statement, tree.SomeIn):
        _needs(statement.domain, needs, gives)
        for part in (statement.key, statement.value):
            if part is not None:
                _pattern(part, gives, needs, gives)
    elif isinstance(statement, tree.Every):
        _needs(statement.domain, needs, gives)
    elif isinstance(statement, tree.Call):
        if len(statement.operator) == 1 and "#" in statement.operator[0]:
            needs.add(statement.operator[0])
        count = arity(statement)
        for argument in statement.args[:count]:
            _needs(argument, needs, gives)
        for result in statement.args[count:] if count is not None else ():
            names: set[str] = set()
            _pattern(result, names, needs, gives)
            if needs <= bound | gives:
                gives |= names
            else:
                needs |= names
    elif isinstance(statement, tree.Term):
        _needs(statement, needs, gives)
    if expr.negated:
        return needs | gives, set()
    return needs, gives


def order(body: tree.Body, bound: set[str], arity: Arity) -> tuple[tree.Body, set[str]]:
    """The body in an order in which it can be evaluated, and what is bound after it. Closures are ordered in place.

    Expressions keep their places as far as they can: they are taken in turn, in as many rounds as it takes, once what
    they need is bound. Raises Unsafe.
    """
    everything: set[str] = set()
    heads = []
    for expr in body:
        names, begun = _names(expr)
        everything |= names
        heads.append(begun)
    closed = [_closed_names(expr) for expr in body]
    have = set(bound)
    ordered: tree.Body = []
    done: set[int] = set()
    waiting: dict[str, list[int]] = {}  # variable → the expressions that it may let go
    this_round, next_round = list(range(len(body))), list[int]()
    while this_round:
        at = heapq.heappop(this_round)
        if at not in done:
            expr = body[at]
            needs, gives = needs_and_gives(expr, have, arity)
            closures = closed[at] & (everything | have)
            missing = (needs - have - gives) | ((closures | _replacing(expr) | heads[at]) - have)
            if missing:
                for name in missing:
                    waiting.setdefault(name, []).append(at)
            else:
                done.add(at)
                ordered.append(expr)
                new = gives - have
                have |= gives
                _order_closures(expr, have, arity)
                for let_go in {number for name in new for number in waiting.pop(name, ())}:
                    heapq.heappush(this_round if let_go > at else next_round, let_go)
        if not this_round:
            this_round, next_round = next_round, []
    if len(ordered) < len(body):
        raise Unsafe(_missing([expr for at, expr in enumerate(body) if at not in done], have, everything, arity))
    return ordered, have


def _replacing(expr: tree.Expr) -> set[str]:
    """What the values of a `with` need: they are found before the expression is evaluated."""
    needs: set[str] = set()
    gives: set[str] = set()
    for _, value in expr.withs:
        _needs(value, needs, gives)
    return needs - gives


def _missing(body: tree.Body, have: set[str], everything: set[str], arity: Arity) -> list[tuple[str, int]]:
    unsafe: dict[str, int] = {}
    for expr in body:
        needs, gives = needs_and_gives(expr, have, arity)
        names = (needs - have - gives) | ((_closed_names(expr) & everything) - have) | (_replacing(expr) - have) | (
            _names(expr)[1] - have)
        for term in tree.own_terms(expr):
            for var in vars_in(term):
                if var.name in names:
                    unsafe.setdefault(var.name, var.at)
        for name in names:
            unsafe.setdefault(name, expr.at)
    return sorted(unsafe.items(), key=lambda pair: pair[1])


def _order_closures(expr: tree.Expr, have: set[str], arity: Arity) -> None:
    for term in tree.own_terms(expr):
        order_in(term, have, arity)
    statement = expr.statement
    if isinstance(statement, tree.Every):
        own = {var.name for var in (statement.key, statement.value) if var is not None}
        statement.body, _ = order(statement.body, have | own, arity)
    elif isinstance(statement, tree.Logic):
        statement.bodies = [order(body, have, arity)[0] for body in statement.bodies]


def order_in(term: tree.Term, have: set[str], arity: Arity) -> None:
    """Order the closures in a term, in place."""
    for closure in _closures(term):
        closure.body, after = order(closure.body, have, arity)
        for head in (closure.key, closure.value):
            if head is not None:
                check_head(head, after, arity)


def check_head(term: tree.Term, have: set[str], arity: Arity) -> set[str]:
    """A rule's or comprehension's head: all its variables must be bound. What its references bind is returned."""
    needs: set[str] = set()
    gives: set[str] = set()
    _needs(term, needs, gives)
    if not needs <= have | gives:
        raise Unsafe(sorted(((var.name, var.at) for var in vars_in(term) if var.name in needs - have - gives),
                            key=lambda pair: pair[1]))
    order_in(term, have | gives, arity)
    return gives
