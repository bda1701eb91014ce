"""From checked modules to Python: the functions that one query or entry reaches, and the tree of rules under `data`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import Any, NamedTuple

from custody.languages.code import Code, call, load
from custody.languages.rego import runtime
from custody.languages.rego.annotations import chain
from custody.languages.rego.blocks import V
from custody.languages.rego.bodies import Bodies
from custody.languages.rego.calls import Calls, Program
from custody.languages.rego.check import Groups, check_calls, unsafe_error
from custody.languages.rego.constants import constant
from custody.languages.rego.declare import Builtin, BuiltinError
from custody.languages.rego.numbers import KINDS, number_text
from custody.languages.rego.resolve import compile_error
from custody.languages.rego.rules import Group, generate
from custody.languages.rego.safety import Unsafe, order
from custody.languages.rego.tree import (
    Body,
    Call,
    Expr,
    FunctionName,
    Module,
    Ref,
    Scalar,
    Term,
    Unify,
    Var,
    walk,
    walk_rule,
)
from custody.languages.rego.values import UNDEFINED, Value, text
from custody.languages.source import Source


class Place(NamedTuple):
    """Where an expression stands; a trace's steps name it by index."""

    source: Source
    at: int
    end: int


class Result(NamedTuple):
    """One solution of a query: its variables, and the value of each of its expressions."""

    bindings: dict[str, Value]
    expressions: list[Value]


class Rules:
    """A node of the tree of rules, at compile time."""

    def __init__(self) -> None:
        self.children: dict[str, Rules] = {}
        self.group: Group | None = None


def rule_tree(groups: Iterable[Group], packages: Iterable[list[str]]) -> Rules:
    root = Rules()
    for package in packages:
        place = root
        for name in package:
            place = place.children.setdefault(name, Rules())
    for group in groups:
        place = root
        for name in group.path:
            if place.group is not None:
                place.group.beneath = True
            place = place.children.setdefault(name, Rules())
        place.group = group
        if place.children:
            group.beneath = True
    return root


class Generator(Program):
    """Writes the functions that a query or an entry reaches."""

    def __init__(self, modules: list[Module], groups: Groups, tree: Rules, builtins: Mapping[str, Builtin], *,
                 traced: bool = False) -> None:
        self.modules, self.groups, self.tree, self.builtins = modules, groups, tree, builtins
        self.traced = self.told = traced
        self._places: dict[tuple[Source, int, int], int] = {}
        self.code = Code("rego")
        self.waiting: list[Group] = []
        self.reached: set[int] = set()
        self.nodes: dict[tuple[str, ...], runtime.Node] = {}
        self.linked: list[tuple[runtime.Node, Group]] = []
        self.mocks: set[str] = set()
        self.replaced: list[tuple[str, ...]] = []
        self._arity = groups.arity(builtins)
        for group in groups.values():
            for clause in group.rules:
                for rule in clause.chain():
                    self._find_withs(walk_rule(rule))

    # --- what is asked for

    def document(self, path: tuple[str, ...]) -> Callable[[runtime.State], Value]:
        """All that is at a path, base data too."""
        node = self._node(path)
        self._generate()
        self._build()
        return lambda state: runtime.whole(runtime.document(state, node, _base_at(state, path)))

    def entry(self, group: Group) -> Callable[[runtime.State], Value]:
        """The rules at a path, alone."""
        self._reach(group)
        self._generate()
        built = self._build()
        found: Callable[[runtime.State], Value] = built[group.name]
        if group.beneath:
            node = self._node(group.path)
            self._link(built)
            return lambda state: runtime.whole(runtime.Doc(state, node, UNDEFINED))
        return found

    def query(self, source: Source, body: Body, names: dict[str, str], capture: bool) -> Callable[..., None]:
        self._find_withs(walk(*body))
        check_calls(source, body, self.groups, self.builtins)
        try:
            body, _ = order(body, set(), self.arity)
        except Unsafe as unsafe:
            raise unsafe_error(unsafe, source) from None
        bodies = Bodies(self.code, ["s", "out"], "s", self, source)
        bodies.in_order = True
        with bodies.closed():
            values: list[ast.expr] = []
            for expr in body:
                if capture and isinstance(expr.what, Term) and not expr.negated:
                    values.append(self._captured(bodies, expr))
                    if len(body) > 1:
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

    def _reach(self, group: Group) -> None:
        if group.slot not in self.reached:
            self.reached.add(group.slot)
            self.waiting.append(group)

    def _generate(self) -> None:
        while self.waiting:
            group = self.waiting.pop()
            overridden = any(path[:len(group.path)] == group.path or group.path[:len(path)] == path
                             for path in self.replaced)
            function = generate(group, self.code, self, overridden)
            self.code._functions.append(function)

    def _build(self) -> dict[str, Any]:
        try:
            built = self.code.build()
        except (RecursionError, SyntaxError, MemoryError):
            source = self.modules[0].source if self.modules else Source("", "query")
            raise compile_error("rules are nested too deeply", source, 0) from None
        self._link(built)
        return built

    def _link(self, built: dict[str, Any]) -> None:
        for node, group in self.linked:
            node.rule = built[group.name]

    def _node(self, path: tuple[str, ...]) -> runtime.Node:
        """The run-time node at a path, with all below it, whose rules are thereby reached."""
        node = self.nodes.get(path)
        if node is not None:
            return node
        place = self.tree
        for name in path:
            place = place.children[name]
        return self._copy(place, path)

    def _copy(self, place: Rules, path: tuple[str, ...]) -> runtime.Node:
        node = self.nodes[path] = runtime.Node(path)
        group = place.group
        if group is not None and group.kind != "function":
            self._reach(group)
            self.linked.append((node, group))
            node.overlay = group.beneath or group.kind == "object"
        for name, child in place.children.items():
            if child.group is None or child.group.kind != "function" or child.children:
                node.children[name] = self._copy(child, (*path, name))
        return node

    # --- Program

    def data_ref(self, bodies: Bodies, path: list[Term]) -> tuple[V, int]:
        place = self.tree
        names: list[str] = []
        state = load(bodies.state)
        for at, part in enumerate(path):
            name = constant(part)
            child = place.children.get(name) if isinstance(name, str) else None
            if child is None:
                if place.children and (not isinstance(part, Scalar)):
                    return self._doc(bodies, names), at
                return self._base(bodies, path)
            names.append(str(name))
            place = child
            group = place.group
            if group is not None and group.kind != "function" and not group.beneath:
                if group.kind == "object":
                    return self._doc(bodies, names), at + 1
                self._reach(group)
                seen = (bodies.state, "rule", group.slot)
                known = bodies.known.get(seen)
                if known is None:
                    node = bodies.defined(call(load(group.name), state), "r")
                    known = bodies.known[seen] = V(node)
                return known, at + 1
            if group is not None and group.beneath:
                return self._doc(bodies, names), at + 1
        return self._doc(bodies, names), len(path)

    def _doc(self, bodies: Bodies, names: list[str]) -> V:
        node = self._node(tuple(names))
        base = bodies.call(_base_at, load(bodies.state), bodies.code.constant(tuple(names)))
        return V(bodies.temp(bodies.call(runtime.Doc, load(bodies.state), bodies.code.hoist(node), base)), "doc")

    def _base(self, bodies: Bodies, path: list[Term]) -> tuple[V, int]:
        """Base data: no rule has this path. Numbers in the path are names there."""
        found = V(ast.Attribute(load(bodies.state), "data", ast.Load()), "json")
        for used, part in enumerate(path):
            name = constant(part)
            if isinstance(name, (str, int, float)) and not isinstance(name, bool):
                if isinstance(name, str):
                    found = bodies.step(found, part)
                else:
                    found = V(bodies.defined(bodies.call(_base_ref, found.node, ast.Constant(name))), "json")
            elif isinstance(part, Var) and part.name in bodies.env:
                found = V(bodies.defined(bodies.call(_base_ref, found.node, bodies.env[part.name].node)), "json")
            else:
                return found, used
        return found, len(path)

    def function(self, operator: list[str]) -> Builtin | str | None:
        if operator[0] == "data":
            group = self._function_group(operator)
            if group is None:
                return None
            self._reach(group)
            return group.name
        return self.builtins.get(".".join(operator))

    def _function_group(self, operator: list[str]) -> Group | None:
        place: Rules | None = self.tree
        for name in operator[1:]:
            place = place.children.get(name) if place is not None else None
        return place.group if place is not None and place.group and place.group.kind == "function" else None

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
            rule = next((rule for group in self.groups.values() for clause in group.rules for rule in clause.chain()
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
            return ".".join(operator) if self._function_group(operator) is not None else None
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
    def places(self) -> list[Place]:
        return [Place(*key) for key in self._places]

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
                    self.replaced.append(tuple(map(str, names)))


def _builtin_mock(function: Builtin, where: str) -> Callable[..., Value]:
    def mock(state: runtime.State, *args: Value) -> Value:
        try:
            return function.call(state.context, *args) if function.context else function.call(*args)
        except BuiltinError as error:
            state.failed(error, function.name, where)
            return UNDEFINED
    return mock


def _value_mock(value: Value) -> Callable[..., Value]:
    return lambda _, *__: value


def _base_at(state: runtime.State, path: tuple[str, ...]) -> Value:
    found = state.data
    for name in path:
        found = _base_ref(found, name)
    return found


def _base_ref(value: Value, name: Value) -> Value:
    """A reference into base data, where an object's names are texts."""
    if type(value) is dict and type(name) in KINDS:
        return value.get(number_text(name), UNDEFINED)
    return runtime.ref(value, name)


def _printed(state: runtime.State, parts: list[list[Value]]) -> None:
    rows = product(*(part or [UNDEFINED] for part in parts))
    for row in rows:
        state.meter.spend(1)
        shown = ["<undefined>" if value is UNDEFINED else value if type(value) is str else text(value) for value in row]
        state.context.printed.append(" ".join(shown))
