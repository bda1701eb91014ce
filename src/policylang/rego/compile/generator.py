"""From checked modules to Python: the functions that one query or entry reaches, and the tree of rules under `data`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from policylang.code import Code, attribute, call, do, load
from policylang.rego.check.policy import Documents, check_calls, check_withs, unsafe_error
from policylang.rego.check.resolve import compile_error
from policylang.rego.check.ruletree import Document, Path, Place, beneath
from policylang.rego.check.safety import Unsafe, order
from policylang.rego.compile.emitter import Emitter
from policylang.rego.compile.rules import generate, generate_part
from policylang.rego.compile.statements import EMIT
from policylang.rego.declare import Builtin
from policylang.rego.evaluation.documents import Node, Part, evaluated, whole
from policylang.rego.evaluation.state import UNSET, State
from policylang.rego.syntax.annotations import chain
from policylang.rego.syntax.tree import Body, Call, Expr, Module, Ref, Term, Unify, Var, inside, own_terms, walk
from policylang.rego.values import UNDEFINED, Value, key
from policylang.source import Source


class Spot(NamedTuple):
    """Where an expression stands; a trace's steps name it by index."""

    source: Source
    at: int
    end: int


class Result(NamedTuple):
    """One solution of a query: its variables, and the value of each of its expressions."""

    bindings: dict[str, Value]
    expressions: list[Value]


class Generator:
    """Writes the functions that a query or an entry reaches. It is the `Program` of their emitters."""

    def __init__(self, modules: list[Module], documents: Documents, builtins: Mapping[str, Builtin], *,
                 traced: bool = False) -> None:
        self.modules, self.documents, self.builtins, self.traced = modules, documents, builtins, traced
        self.root, self.arity = documents.root, documents.arity(builtins)
        self.code = Code("rego")
        self._changes = documents.changes
        self._spots: dict[Spot, int] = {}
        self._waiting: list[Document] = []
        self._reached: set[int] = set()
        self._nodes: dict[Path, Node] = {}
        self._linked: list[tuple[Node, Document]] = []
        self._parts: dict[tuple[int, int], Callable[..., Value]] = {}  # of objects, by slot and keys

    # --- what is asked for

    def document(self, path: Path) -> Callable[[State], Value]:
        """All that is at a path, base data too."""
        return self.entries([path])[path]

    def entry(self, document: Document, keys: tuple[Value, ...] = ()) -> Callable[[State], Value]:
        """The rules of a document, alone; of an object, what is under some keys."""
        self.reach(document)
        if keys:
            node = self.node(document.path)
            self._build()
            return lambda state: whole(Part(state, node, keys))
        rule: Callable[[State], Value] = self._build()[document.name]
        return rule

    def entries(self, paths: Iterable[Path]) -> dict[Path, Callable[[State], Value]]:
        """Functions for what is at some paths, whose code is made together."""
        nodes = {path: self.node(path) for path in paths}
        self._build()
        return {path: partial(_evaluated, node=node) for path, node in nodes.items()}

    def part(self, document: Document, count: int) -> Callable[..., Value]:
        """A function of the state and `count` keys: what only the rules give that agree with them."""
        self.code._functions.append(generate_part(document, count, self.code, self))
        function: Callable[..., Value] = self._build()["part"]
        return function

    def query(self, source: Source, body: Body, names: dict[str, str], capture: bool) -> Callable[..., None]:
        """A function of the state and a list, to which it appends each Result. SourceError where OPA refuses it."""
        parts = list(walk(*body))
        self._changes = self._changes.with_those_of(parts, self.documents)
        check_withs(source, parts, self.root, self.builtins)
        check_calls(source, parts, self.documents, self.builtins)
        try:
            body, _ = order(body, set(), self.arity)
        except Unsafe as unsafe:
            raise unsafe_error(unsafe, source) from None
        if self.documents.types is not None:
            self.documents.types.check_query(body, source)
        emitter = Emitter(self.code, ["s", "out"], "s", self, source, EMIT)
        emitter.in_order = True
        with emitter.closed():
            values: list[ast.expr] = []
            for expr in body:
                if capture and isinstance(expr.statement, Term) and not expr.negated:
                    values.append(self._captured(emitter, expr))
                    if len(body) > 1 or _iterates(body):
                        emitter.fail_if(emitter.is_false(values[-1]))
                else:
                    emitter.statement(expr)
                    values.append(ast.Constant(True))
            shown = {name: unique for unique, name in names.items() if unique in emitter.env and name[0] not in "_$"}
            bindings = ast.Dict([ast.Constant(name) for name in shown],
                                [emitter.env[unique].node for unique in shown.values()])
            result = emitter.call(Result, bindings, ast.List(values, ast.Load()))
            emitter.add(do(call(attribute(load("out"), "append"), result)))
        self._generate()
        self.code.add("query", ["s", "out"], emitter.whole)
        run: Callable[..., None] = self._build()["query"]
        return run

    def _captured(self, emitter: Emitter, expr: Expr) -> ast.expr:
        term = expr.statement
        assert isinstance(term, Term)
        if isinstance(term, Call):
            count = self.arity(term)
            if count is not None and len(term.args) == count + 1:
                emitter.statement(expr)
                return ast.Constant(True)
        name = Var(term.at, term.end, f"$value{term.at}")
        emitter.statement(Expr(expr.at, expr.end, Unify(name, term), withs=expr.withs))
        return emitter.env[name.name].node

    # --- generation

    def _generate(self) -> None:
        while self._waiting:
            document = self._waiting.pop()
            overridden = any(document.path[:len(path)] == path for path in self._changes.paths)
            self.code._functions.append(generate(document, self.code, self, overridden))

    def _build(self) -> dict[str, Any]:
        """The functions by name, once those that they reach are generated."""
        self._generate()
        try:
            built = self.code.build()
        except (RecursionError, SyntaxError, MemoryError):
            source = self.modules[0].source if self.modules else Source("", "query")
            raise compile_error("rules are nested too deeply", source, 0) from None
        for node, document in self._linked:
            node.rule = built[document.name]
        return built

    def _copy(self, place: Place) -> Node:
        node = self._nodes[place.path] = Node(place.path)
        document = place.document
        if document is None:
            for name, child in place.children.items():
                node.children[name] = self._copy(child)
        elif document.kind == "function":
            node.rule = _undefined
        else:
            self.reach(document)
            self._linked.append((node, document))
            if document.kind == "object":
                node.part, node.circular = self._partly(document), document.circular
        return node

    def _partly(self, document: Document) -> Callable[[State, tuple[Value, ...]], Value]:
        """A function that evaluates part of an object alone; the code for it is made when it is first asked for."""
        longest = max(len(beneath(rule, document.path)) + (rule.kind == "set")
                      for rule in document.rules + document.spare)

        def partly(state: State, keys: tuple[Value, ...]) -> Value:
            keys = keys[:longest]
            asked = (document.slot, *map(key, keys))
            value = state.parts.get(asked, UNSET)
            if value is UNSET:
                function = self._parts.get((document.slot, len(keys)))
                if function is None:
                    function = self._again().part(document, len(keys))
                    self._parts[document.slot, len(keys)] = function
                state.meter.spend(len(document.rules))
                value = state.parts[asked] = function(state, *keys)
            return value
        return partly

    def _again(self) -> Generator:
        """Another generator, whose code fits into the evaluations of this one's."""
        again = Generator(self.modules, self.documents, self.builtins, traced=self.traced)
        again._parts, again._spots, again._changes = self._parts, self._spots, self._changes
        return again

    @property
    def places(self) -> list[Spot]:
        return list(self._spots)

    # --- what emitters ask

    @property
    def told(self) -> bool:
        return self.traced or self._changes.printed

    def reach(self, document: Document) -> None:
        if document.slot not in self._reached:
            self._reached.add(document.slot)
            self._waiting.append(document)

    def node(self, path: Path) -> Node:
        node = self._nodes.get(path)
        if node is not None:
            return node
        place = self.root
        for name in path:
            place = place.children[name]
        return self._copy(place)

    def function(self, operator: list[str]) -> Builtin | str | None:
        if operator[0] != "data":
            return self.builtins.get(".".join(operator))
        document = self.documents.function(operator)
        if document is None:
            return None
        self.reach(document)
        return document.name

    def mocked(self, name: str) -> bool:
        return name in self._changes.functions

    def replaced_function(self, target: Ref) -> str | None:
        return self.documents.replaced_function(target)

    def spot(self, source: Source, expr: Expr) -> int:
        return self._spots.setdefault(Spot(source, expr.at, expr.end), len(self._spots))

    def annotations(self, source: Source, at: int) -> list[dict[str, Any]]:
        for document in self.documents.values():
            for rule in document.rules:
                for clause in rule.chain():
                    if clause.module.source is source and clause.at <= at < clause.end:
                        return chain(clause, self.modules)
        return []


def _iterates(body: Body) -> bool:
    """Whether a reference in a query, outside its comprehensions, goes on with a variable: false is no answer then."""
    return any(isinstance(part, Ref) and any(isinstance(name, Var) for name in part.path)
               for expr in body for term in own_terms(expr) for part in inside(term))


def _evaluated(state: State, node: Node) -> Value:
    return whole(evaluated(state, node))


def _undefined(_: State) -> Value:
    return UNDEFINED
