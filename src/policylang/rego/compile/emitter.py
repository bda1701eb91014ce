"""The statements of one generated function, written from the outside in: where the next goes, and what is known there.

A body becomes nested loops: what comes after a loop was opened stands inside it. Where an expression fails, the next
turn of the innermost loop is taken (`fail`). A closed part (negation, comprehension) stands in a loop of one turn and,
when it is left, what it bound is forgotten. What a node of the tree becomes is said by the tables of an `Emit`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from policylang.code import Code, Writer, assign, attribute, both, call, compare, define, do, load, store, when
from policylang.rego.check.ruletree import Document, Path, Place
from policylang.rego.check.safety import asked_of_input, needed
from policylang.rego.declare import Builtin
from policylang.rego.evaluation import operations
from policylang.rego.evaluation.documents import Node
from policylang.rego.syntax.tree import Body, Call, Expr, Ref, Statement, Term
from policylang.rego.values import UNDEFINED, equal
from policylang.source import Source

_ONCE = (None,)
_DEEPEST = 12  # loops in one Python function, which allows 20 nested blocks


class V(NamedTuple):
    """A value in generated code. `kind`: `json` holds neither sets nor documents of rules, `doc` may be a Doc."""

    node: ast.expr
    kind: str = "any"


class Program(Protocol):
    """What an emitter needs to know of the program around it; `generator.Generator` implements it."""

    traced: bool  # whether expressions are noted, in the order in which they were written
    root: Place  # of the tree of rules

    @property
    def told(self) -> bool:
        """Whether something tells the order of what is evaluated: a trace, or `print`."""

    def reach(self, document: Document) -> None:
        """Let the function of a document be generated, too."""

    def node(self, path: Path) -> Node:
        """The run-time node at a path, with all below it, whose rules are thereby reached."""

    def function(self, operator: list[str]) -> Builtin | str | None:
        """A builtin, or the name of a generated function; None where there is none."""

    def arity(self, term: Call) -> int | None:
        """How many arguments the function that is called takes."""

    def mocked(self, name: str) -> bool:
        """Whether some `with` replaces the function."""

    def replaced_function(self, target: Ref) -> str | None:
        """The name of the function that a `with` replaces, or None where its target is a document."""

    def spot(self, source: Source, expr: Expr) -> int:
        """The index by which a trace's steps name an expression."""

    def annotations(self, source: Source, at: int) -> list[dict[str, Any]]:
        """Of the rule that stands at an offset, what `rego.metadata.chain()` gives."""


class Emit(NamedTuple):
    """What nodes of the tree become, by their type. `reference`: the value of a Ref, perhaps not wholly evaluated."""

    terms: Mapping[type[Term], Callable[[Emitter, Any], V]]
    statements: Mapping[type[Expr | Statement], Callable[[Emitter, Any], None]]
    reference: Callable[[Emitter, Ref], V]


class Emitter(Writer):
    """Where the next statement goes, and what is known there."""

    def __init__(self, code: Code, parameters: list[str], state: str, program: Program, source: Source,
                 emit: Emit) -> None:
        super().__init__(code)
        self.parameters, self.state = parameters, state
        self.program, self.source, self.emit = program, source, emit
        self.whole = self.body  # all of the function
        self.env: dict[str, V] = {}  # bound variables
        self.known: dict[tuple[object, ...], V] = {}  # values of references that were computed before this place
        self.following: Body = []  # the expressions that follow the one that is written
        self.outlined = False
        self.flag: str | None = None  # set when the closed part is decided: all its loops end
        self.assigned: list[str] = []  # names that nested functions must assign in their outer one
        self.in_order = program.told  # whether anything tells in which order members were visited

    # --- nodes of the tree

    def value(self, term: Term) -> V:
        """The value of a term; where it has none, the statement fails. Free variables in its references are bound."""
        return self.emit.terms[type(term)](self, term)

    def values(self, terms: list[Term]) -> list[ast.expr]:
        """Names or constants of several terms' values; those whose variables another one binds come after it."""
        nodes: dict[int, ast.expr] = {}
        waiting = list(enumerate(terms))
        while waiting:
            later = []
            for at, term in waiting:
                if needed(term) <= self.env.keys():
                    nodes[at] = self.named(self.value(term).node)
                else:
                    later.append((at, term))
            assert len(later) < len(waiting), "the safety check lets no variables be without a value"
            waiting = later
        return [nodes[at] for at in range(len(terms))]

    def statement(self, node: Expr | Statement) -> None:
        """An expression, or what is in it: the statements go on only where it holds."""
        self.emit.statements[type(node)](self, node)

    def exprs(self, body: Body) -> None:
        with self.changed(following=[]):
            for at, expr in enumerate(body):
                self.following = [] if expr.withs else body[at + 1:]
                self.statement(expr)

    # --- statements

    def where(self, at: int) -> str:
        return f"{self.source.name}:{self.source.place(at)[0]}"

    def fail(self) -> ast.stmt:
        if self.blocks:
            return ast.Continue()
        return ast.Return(None)

    def unless(self, test: ast.expr) -> None:
        """Go on only where `test` holds."""
        self.add(when(ast.UnaryOp(ast.Not(), test), [self.fail()]))

    def fail_if(self, test: ast.expr) -> None:
        self.add(when(test, [self.fail()]))

    @contextmanager
    def branch(self, test: ast.expr) -> Iterator[None]:
        """What is written inside runs where `test` holds."""
        branch = ast.If(test, [], [])
        self.add(branch)
        with self.changed(body=branch.body):
            yield

    @contextmanager
    def otherwise(self, test: ast.expr, statement: ast.stmt) -> Iterator[None]:
        """The statement runs where `test` holds, and what is written inside where it does not."""
        branch = ast.If(test, [statement], [])
        self.add(branch)
        with self.changed(body=branch.orelse):
            yield

    def undefined(self) -> ast.expr:
        return self.code.hoist(UNDEFINED, "U")

    def is_undefined(self, node: ast.expr) -> ast.expr:
        return ast.Compare(node, [ast.Is()], [self.undefined()])

    def is_false(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Constant):
            return ast.Constant(node.value is False)
        return ast.Compare(node, [ast.Is()], [ast.Constant(False)])

    def equals(self, node: ast.expr, value: Any) -> ast.expr:
        """A test that `node` is the scalar `value`."""
        if isinstance(node, ast.Constant):
            return ast.Constant(equal(node.value, value))
        if value is None or isinstance(value, bool):
            return compare(node, ast.Is(), ast.Constant(value))
        if isinstance(value, str):
            return compare(node, ast.Eq(), ast.Constant(value))
        node = self.named(node)
        return both(compare(node, ast.Eq(), self.code.constant(value)),
                    compare(self.call(type, node), ast.IsNot(), self.code.hoist(bool)))

    def equal(self, left: ast.expr, right: ast.expr) -> ast.expr:
        if any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in (left, right)):
            return compare(left, ast.Eq(), right)
        return self.call(equal, left, right)

    def defined(self, node: ast.expr, stem: str = "t") -> ast.expr:
        """A name for `node`, which must not be undefined."""
        name = self.named(node, stem)
        self.fail_if(self.is_undefined(name))
        return name

    def of_state(self, name: str) -> ast.expr:
        """An attribute of the run-time State."""
        return attribute(load(self.state), name)

    # --- loops

    def members(self, collection: ast.expr) -> str:
        """Open a loop over what is in a collection; the name of its turn's member."""
        value = self.code.fresh("v")
        iterate = operations.ordered_members if self.in_order else operations.members
        self.loop(store(value), self.call(iterate, load(self.state), collection))
        return value

    def entries(self, collection: ast.expr, value: str | None = None) -> tuple[str, str]:
        """Open a loop over the keys of a collection with what is under them; the names of both."""
        name = self.code.fresh("n")
        value = value or self.code.fresh("v")
        iterate = operations.ordered_entries if self.in_order else operations.entries
        self.loop(ast.Tuple([store(name), store(value)], ast.Store()),
                  self.call(iterate, load(self.state), collection))
        return name, value

    def loop(self, target: ast.expr, values: ast.expr) -> None:
        """Open a loop; all that follows in this part stands in it.

        What the rest of a body asks of the input is asked before it: where it is not there, no turn succeeds.
        """
        following, self.following = self.following, []
        if not self.program.told:
            for expr in following:
                for ref in asked_of_input(expr):
                    self.emit.reference(self, ref)
        self._open(target, values)

    def _open(self, target: ast.expr, values: ast.expr) -> None:
        if self.blocks >= _DEEPEST:  # go on in a nested function: Python allows only so many nested loops
            function = self._nested("inner")
            if self.flag and self.blocks:
                self.add(when(load(self.flag), [ast.Break()]))
            self.body, self.blocks, self.outlined = function, 0, True
        node = ast.For(target, values, [], [])
        self.add(node)
        if self.flag and self.blocks:
            self.add(when(load(self.flag), [ast.Break()]))
        self.body = node.body
        self.blocks += 1

    def _nested(self, stem: str) -> list[ast.stmt]:
        """The body of a function that is defined and called here."""
        name = self.code.fresh(stem)
        function = define(name, [], [])
        function.body = [ast.Nonlocal(list(self.assigned))] if self.assigned else [ast.Pass()]
        self.add(function, do(call(load(name))))
        return function.body

    @contextmanager
    def closed(self, flag: str | None = None) -> Iterator[None]:
        """A part of its own: what it binds and finds out is forgotten after it. Its loops end when `flag` is set."""
        assigned = len(self.assigned)
        with self.changed(body=self.body, env=dict(self.env), known=dict(self.known), blocks=self.blocks, flag=None,
                          outlined=self.outlined, in_order=self.in_order):
            if self.blocks >= _DEEPEST:
                self.body, self.blocks = self._nested("part"), 0
            self._open(store(self.code.fresh("once")), self.code.hoist(_ONCE, "ONCE"))
            self.flag = flag
            try:
                yield
            finally:
                del self.assigned[assigned:]

    def collect(self, stem: str, start: ast.expr) -> str:
        """A variable that statements further in will change, in whatever function they are."""
        name = self.code.fresh(stem)
        self.add(assign(name, start))
        self.assigned.append(name)
        return name

    @contextmanager
    def collected(self, stem: str, start: ast.expr) -> Iterator[str]:
        """A variable that only what is written inside changes."""
        name = self.collect(stem, start)
        yield name
        self.assigned.remove(name)

    @contextmanager
    def decided(self, stem: str = "flag") -> Iterator[str]:
        """A closed part that ends when the flag, whose name this gives, is set; false where it is not."""
        with self.collected(stem, ast.Constant(False)) as flag, self.closed(flag):
            yield flag

    def decide(self, flag: str) -> None:
        """Set the flag of the closed part, and leave its innermost loop."""
        self.add(assign(flag, ast.Constant(True)))
        self.add(ast.Break() if self.blocks else ast.Return(None))

    def exists(self, body: Body) -> str:
        """The name of a flag that is True where the body has a solution."""
        with self.decided() as flag:
            self.in_order = self.program.told
            self.exprs(body)
            self.decide(flag)
        return flag
