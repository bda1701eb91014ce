"""From checked modules to Python: the functions that one query or entry reaches, and the tree of rules under `data`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from policylang.code import Code, call, load
from policylang.rego import runtime
from policylang.rego.annotations import chain
from policylang.rego.blocks import V
from policylang.rego.bodies import Bodies
from policylang.rego.calls import Calls, Program
from policylang.rego.check import Documents, check_calls, check_withs, unsafe_error
from policylang.rego.constants import NOTHING, constant
from policylang.rego.declare import Builtin, BuiltinError
from policylang.rego.documents import Document, Path, Place, beneath
from policylang.rego.resolve import compile_error
from policylang.rego.rules import generate, generate_part
from policylang.rego.safety import Unsafe, inside, order, own_terms
from policylang.rego.state import UNSET, State
from policylang.rego.tree import (
    Body,
    Call,
    Expr,
    FunctionName,
    Module,
    Ref,
    Term,
    Unify,
    Var,
    walk,
)
from policylang.rego.values import UNDEFINED, Value, key, text
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


class Generator(Program):
    """Writes the functions that a query or an entry reaches."""

    def __init__(self, modules: list[Module], documents: Documents, builtins: Mapping[str, Builtin], *,
                 traced: bool = False) -> None:
        self.modules, self.documents, self.builtins = modules, documents, builtins
        self.traced = self.told = traced
        self._places: dict[tuple[Source, int, int], int] = {}
        self.code = Code("rego")
        self.waiting: list[Document] = []
        self.reached: set[int] = set()
        self.nodes: dict[Path, runtime.Node] = {}
        self.linked: list[tuple[runtime.Node, Document]] = []
        self.mocks: set[str] = set()
        self.replaced: list[Path] = []
        self._parts: dict[tuple[int, int], Callable[..., Value]] = {}  # of objects, by slot and keys
        self._arity = documents.arity(builtins)
        if documents.changes is None:
            for document in documents.values():
                for clause in document.rules:
                    for rule in clause.chain():
                        self._find_withs(documents.parts[rule])
            documents.changes = frozenset(self.mocks), tuple(self.replaced), self.told and not traced
        mocks, replaced, told = documents.changes
        self.mocks, self.replaced, self.told = set(mocks), list(replaced), told or traced

    # --- what is asked for

    def document(self, path: Path) -> Callable[[State], Value]:
        """All that is at a path, base data too."""
        node = self._node(path)
        self._generate()
        self._build()
        return partial(_evaluated, node=node)

    def entry(self, document: Document, keys: tuple[Value, ...] = ()) -> Callable[[State], Value]:
        """The rules of a document, alone; of an object, what is under some keys."""
        self._reach(document)
        if keys:
            node = self._node(document.path)
            self._generate()
            self._build()
            return lambda state: runtime.whole(runtime.Part(state, node, keys))
        self._generate()
        found: Callable[[State], Value] = self._build()[document.name]
        return found

    def entries(self, paths: Iterable[Path]) -> dict[Path, Callable[[State], Value]]:
        """Functions for what is at some paths, whose code is made together."""
        nodes = {path: self._node(path) for path in paths}
        self._generate()
        self._build()
        return {path: partial(_evaluated, node=node) for path, node in nodes.items()}

    def part(self, document: Document, count: int) -> Callable[..., Value]:
        """A function of the state and `count` keys: what only the rules give that agree with them."""
        self.code._functions.append(generate_part(document, count, self.code, self))
        self._generate()
        found: Callable[..., Value] = self._build()["part"]
        return found

    def query(self, source: Source, body: Body, names: dict[str, str], capture: bool) -> Callable[..., None]:
        parts = list(walk(*body))
        self._find_withs(parts)
        check_withs(source, parts, self.documents.root, self.builtins)
        check_calls(source, parts, self.documents, self.builtins)
        try:
            body, _ = order(body, set(), self.arity)
        except Unsafe as unsafe:
            raise unsafe_error(unsafe, source) from None
        if self.documents.types is not None:
            self.documents.types.check_query(body, source)
        bodies = Bodies(self.code, ["s", "out"], "s", self, source)
        bodies.in_order = True
        with bodies.closed():
            values: list[ast.expr] = []
            for expr in body:
                if capture and isinstance(expr.what, Term) and not expr.negated:
                    values.append(self._captured(bodies, expr))
                    if len(body) > 1 or _iterates(body):
                        bodies.fail_if(bodies.is_false(values[-1]))
                else:
                    bodies.expr(expr)
                    values.append(ast.Constant(True))
            shown = {name: unique for unique, name in names.items() if unique in bodies.env and name[0] not in "_$"}
            bindings = ast.Dict([ast.Constant(name) for name in shown],
                                [bodies.env[unique].node for unique in shown.values()])
            result = bodies.call(Result, bindings, ast.List(values, ast.Load()))
            bodies.add(ast.Expr(call(ast.Attribute(load("out"), "append", ast.Load()), result)))
        self._generate()
        self.code.add("query", ["s", "out"], bodies.body)
        run: Callable[..., None] = self._build()["query"]
        return run

    def _captured(self, bodies: Bodies, expr: Expr) -> ast.expr:
        what = expr.what
        assert isinstance(what, Term)
        if isinstance(what, Call):
            count = self.arity(what)
            if count is not None and len(what.args) == count + 1:
                bodies.expr(expr)
                return ast.Constant(True)
        name = Var(what.at, what.end, f"$value{what.at}")
        bodies.expr(Expr(expr.at, expr.end, Unify(name, what), withs=expr.withs))
        return bodies.env[name.name].node

    # --- generation

    def _reach(self, document: Document) -> None:
        if document.slot not in self.reached:
            self.reached.add(document.slot)
            self.waiting.append(document)

    def _generate(self) -> None:
        while self.waiting:
            document = self.waiting.pop()
            overridden = any(document.path[:len(path)] == path for path in self.replaced)
            self.code._functions.append(generate(document, self.code, self, overridden))

    def _build(self) -> dict[str, Any]:
        try:
            built = self.code.build()
        except (RecursionError, SyntaxError, MemoryError):
            source = self.modules[0].source if self.modules else Source("", "query")
            raise compile_error("rules are nested too deeply", source, 0) from None
        for node, document in self.linked:
            node.rule = built[document.name]
        return built

    def _node(self, path: Path) -> runtime.Node:
        """The run-time node at a path, with all below it, whose rules are thereby reached."""
        node = self.nodes.get(path)
        if node is not None:
            return node
        place = self.documents.root
        for name in path:
            place = place.children[name]
        return self._copy(place)

    def _copy(self, place: Place) -> runtime.Node:
        node = self.nodes[place.path] = runtime.Node(place.path)
        document = place.document
        if document is None:
            for name, child in place.children.items():
                node.children[name] = self._copy(child)
        elif document.kind == "function":
            node.rule = _undefined
        else:
            self._reach(document)
            self.linked.append((node, document))
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
            found = state.parts.get(asked, UNSET)
            if found is UNSET:
                function = self._parts.get((document.slot, len(keys)))
                if function is None:
                    function = self._again().part(document, len(keys))
                    self._parts[document.slot, len(keys)] = function
                state.meter.spend(len(document.rules))
                found = state.parts[asked] = function(state, *keys)
            return found
        return partly

    def _again(self) -> Generator:
        """Another generator, whose code fits into the evaluations of this one's."""
        other = Generator(self.modules, self.documents, self.builtins, traced=self.traced)
        other._parts, other._places = self._parts, self._places
        other.mocks, other.replaced, other.told = self.mocks, self.replaced, self.told
        return other

    # --- Program

    def data_ref(self, bodies: Bodies, path: list[Term]) -> tuple[V, int]:
        place = self.documents.root
        for at, part in enumerate(path):
            name = constant(part)
            child = None if name is NOTHING else place.children.get(key(name))
            if child is None:
                if place.children and name is NOTHING:
                    return self._doc(bodies, place), at
                return self._base(bodies), 0
            place = child
            if place.document is not None:
                return self._rules(bodies, place, place.document), at + 1
        return self._doc(bodies, place), len(path)

    def _rules(self, bodies: Bodies, place: Place, document: Document) -> V:
        """The value of the rules at a place; an object of which perhaps only a part is needed."""
        if document.kind == "function":
            bodies.add(bodies.fail())
            return V(bodies.undefined())
        seen = (bodies.state, "rule", document.slot)
        known = bodies.known.get(seen)
        if known is None:
            if document.kind == "object":
                known = self._doc(bodies, place)
            else:
                self._reach(document)
                known = V(bodies.defined(call(load(document.name), load(bodies.state)), "r"))
            bodies.known[seen] = known
        return known

    def _doc(self, bodies: Bodies, place: Place) -> V:
        node = bodies.code.hoist(self._node(place.path))
        return V(bodies.defined(bodies.call(runtime.document, load(bodies.state), node), "d"), "doc")

    def _base(self, bodies: Bodies) -> V:
        """Base data, where no rule has the path that is asked for."""
        return V(ast.Attribute(load(bodies.state), "data", ast.Load()), "base")

    def is_made(self, part: Term | Expr) -> bool:
        if isinstance(part, Call):
            return part.operator[0] == "data"
        if not (isinstance(part, Ref) and isinstance(part.head, Var) and part.head.name == "data"):
            return False
        place = self.documents.root
        for name in map(constant, part.path):
            if name is NOTHING:
                return bool(place.children)
            child = place.children.get(key(name))
            if child is None:
                return False
            if child.document is not None:
                return True
            place = child
        return True

    def function(self, operator: list[str]) -> Builtin | str | None:
        if operator[0] == "data":
            document = self._function(operator)
            if document is None:
                return None
            self._reach(document)
            return document.name
        return self.builtins.get(".".join(operator))

    def _function(self, operator: list[str]) -> Document | None:
        document = self.documents.get(tuple(operator[1:]))
        return document if document is not None and document.kind == "function" else None

    def arity(self, term: Call) -> int | None:
        return self._arity(term)

    def mocked(self, name: str) -> bool:
        return name in self.mocks

    def special(self, bodies: Calls, term: Call) -> V | None:
        name = ".".join(term.operator)
        if name == "print":
            self._print(bodies, term)
            return V(ast.Constant(True), "json")
        if name in ("rego.metadata.chain", "rego.metadata.rule") and not term.args:
            rule = next((rule for document in self.documents.values() for clause in document.rules
                         for rule in clause.chain()
                         if rule.module.source is bodies.source and rule.at <= term.at < rule.end), None)
            found = [] if rule is None else chain(rule, self.modules)
            if name.endswith("rule"):
                own: Value = next((each["annotations"] for each in found[:1] if "annotations" in each), {})
                return V(bodies.code.constant(own), "json")
            return V(bodies.code.constant(found), "json")
        return None

    def _print(self, bodies: Calls, term: Call) -> None:
        parts: list[ast.expr] = []
        for argument in term.args:
            out = bodies.collect("shown", ast.List([], ast.Load()))
            with bodies.closed():
                found = bodies.value(argument)
                bodies.add(ast.Expr(call(ast.Attribute(load(out), "append", ast.Load()), found.node)))
            bodies.assigned.remove(out)
            parts.append(load(out))
        bodies.add(ast.Expr(bodies.call(_printed, load(bodies.state), ast.List(parts, ast.Load()))))

    def replacement(self, bodies: Bodies, target: Term, value: Term) -> ast.expr:
        assert isinstance(target, Ref)
        assert isinstance(target.head, Var)
        root = target.head.name
        names = [constant(part) for part in target.path]
        function = self._target_function(root, names)
        if function is not None:
            replacing = self._replacing(bodies, value)
            return ast.Tuple([ast.Constant("mock"), ast.Constant(function), replacing], ast.Load())
        found = bodies.temp(bodies.value(value).node)
        return ast.Tuple([ast.Constant(root), bodies.code.constant(names, "path"), found], ast.Load())

    def _target_function(self, root: str, names: list[Any]) -> str | None:
        """The name of the function that a `with` replaces, or None where its target is a document."""
        if root == "input":
            return None
        operator = [root, *map(str, names)]
        if root == "data":
            return ".".join(operator) if self._function(operator) is not None else None
        return ".".join(operator)

    def _replacing(self, bodies: Bodies, value: Term) -> ast.expr:
        operator: list[str] | None = None
        if isinstance(value, FunctionName):
            operator = value.operator
        elif isinstance(value, Ref) and isinstance(value.head, Var) and value.head.name == "data":
            operator = ["data", *(str(constant(part)) for part in value.path)]
        if operator is not None:
            function = self.function(operator)
            if isinstance(function, str):
                return load(function)
            if function is not None:
                return bodies.code.hoist(_builtin_mock(function, bodies.where(value.at)))
        return bodies.call(_value_mock, bodies.temp(bodies.value(value).node))

    def note(self, bodies: Bodies, expr: Expr, *, done: bool) -> None:
        if not self.traced or expr.at == expr.end:
            return
        place = self._places.setdefault((bodies.source, expr.at, expr.end), len(self._places))
        names = {name.partition("#")[0]: value.node for name, value in bodies.env.items()
                 if value.kind != "doc" and name[0] not in "_$"} if done else {}
        bindings = ast.Dict([ast.Constant(name) for name in names], list(names.values()))
        context = ast.Attribute(load(bodies.state), "context", ast.Load())
        bodies.add(ast.Expr(call(ast.Attribute(context, "note", ast.Load()), ast.Constant(place),
                                 ast.Constant(done), bindings)))

    @property
    def places(self) -> list[Spot]:
        return [Spot(*spot) for spot in self._places]

    def _find_withs(self, parts: Iterable[Term | Expr]) -> None:
        for expr in parts:
            if isinstance(expr, Call) and expr.operator == ["print"]:
                self.told = True
            for target, _ in expr.withs if isinstance(expr, Expr) else ():
                assert isinstance(target, Ref)
                assert isinstance(target.head, Var)
                names = [constant(part) for part in target.path]
                function = self._target_function(target.head.name, names)
                if function is not None:
                    self.mocks.add(function)
                elif target.head.name == "data":
                    self.replaced.append(tuple(map(key, names)))


def _builtin_mock(function: Builtin, where: str) -> Callable[..., Value]:
    def mock(state: State, *args: Value) -> Value:
        try:
            return function.call(state.context, *args) if function.context else function.call(*args)
        except BuiltinError as error:
            state.failed(error, function.name, where)
            return UNDEFINED
    return mock


def _value_mock(value: Value) -> Callable[..., Value]:
    return lambda _, *__: value


def _iterates(body: Body) -> bool:
    """Whether a reference in a query, outside its comprehensions, goes on with a variable: false is no answer then."""
    return any(isinstance(part, Ref) and any(isinstance(name, Var) for name in part.path)
               for expr in body for term in own_terms(expr) for part in inside(term))


def _evaluated(state: State, node: runtime.Node) -> Value:
    return runtime.whole(runtime.document(state, node))


def _undefined(_: State) -> Value:
    return UNDEFINED


def _printed(state: State, parts: list[list[Value]]) -> None:
    rows = product(*(part or [UNDEFINED] for part in parts))
    for row in rows:
        state.meter.spend(1)
        shown = ["<undefined>" if value is UNDEFINED else value if type(value) is str else text(value) for value in row]
        state.context.printed.append(" ".join(shown))
