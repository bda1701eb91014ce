"""A policy: modules that were parsed, resolved and checked together, and the queries that are compiled against them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from custody.languages.budget import DEFAULT, BudgetExceeded, Limits, Meter
from custody.languages.code import Code, call, load
from custody.languages.rego import runtime
from custody.languages.rego.annotations import chain
from custody.languages.rego.blocks import V
from custody.languages.rego.bodies import Bodies, Program, constant
from custody.languages.rego.builtins import BUILTINS
from custody.languages.rego.check import check, check_calls, unsafe_error
from custody.languages.rego.declare import Builtin, Context, Halt, World
from custody.languages.rego.parser import parse_module, parse_query
from custody.languages.rego.resolve import Resolver, compile_error
from custody.languages.rego.rules import Group, generate
from custody.languages.rego.safety import Unsafe, order
from custody.languages.rego.tree import Body, Call, Expr, Module, Ref, Scalar, Term, Var, walk, walk_rule
from custody.languages.rego.values import UNDEFINED, Value
from custody.languages.source import Source


class Result(NamedTuple):
    """One solution of a query: its variables, and the value of each of its expressions."""

    bindings: dict[str, Value]
    expressions: list[Value]


class Query:
    """A compiled query."""

    def __init__(self, run: Callable[..., None], slots: int, policy: Policy, text: str) -> None:
        self._run, self._slots, self.policy, self.text = run, slots, policy, text

    def __call__(self, data: Value = None, given: Value = UNDEFINED, *, limits: Limits = DEFAULT,
                 world: World | None = None, strict: bool = False, context: Context | None = None) -> list[Result]:
        """All solutions over `data` (an object) and input `given`.

        Raises EvaluationError (conflicts; builtin errors where `strict`) and BudgetExceeded.
        """
        context = context or Context(Meter(limits), world)
        state = runtime.State(context, {} if data is None else data, given, self._slots, strict)
        results: list[Result] = []
        evaluate(lambda: self._run(state, results))
        return results

    def __reduce__(self) -> tuple[Any, ...]:
        return _requery, (self.policy, self.text)


def _requery(policy: Policy, text: str) -> Query:
    return policy.query(text)


def evaluate(run: Callable[[], Any]) -> Any:
    """Run generated code; what is nested too deeply for Python is a matter of budget."""
    try:
        return run()
    except Halt as halt:
        raise runtime.EvaluationError(halt.error.code, str(halt.error)) from None
    except RecursionError:
        raise BudgetExceeded("evaluation would nest more deeply than its budget allows") from None


class Entry:
    """One rule of a policy as a function of input and data."""

    def __init__(self, run: Callable[[runtime.State], Value], slots: int, policy: Policy, path: str) -> None:
        self._run, self._slots, self.policy, self.path = run, slots, policy, path

    def __call__(self, given: Value = UNDEFINED, data: Value = None, *, limits: Limits = DEFAULT,
                 world: World | None = None, strict: bool = False, context: Context | None = None) -> Value:
        """The rule's value, or UNDEFINED. Raises as a Query does."""
        state = runtime.State(context or Context(Meter(limits), world), {} if data is None else data, given,
                              self._slots, strict)
        try:
            return self._run(state)
        except (Halt, RecursionError) as wrong:
            caught = wrong

            def again() -> None:
                raise caught
            return evaluate(again)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reenter, (self.policy, self.path)


def _reenter(policy: Policy, path: str) -> Entry:
    return policy.entry(path)


class Policy:
    """Modules that are one program. `modules`: name → text. Raises SourceError for what OPA refuses too."""

    def __init__(self, modules: Mapping[str, str], *, version: int = 1, strict: bool = False,
                 capabilities: Iterable[str] | None = None) -> None:
        self._texts = dict(modules)
        self._options: dict[str, Any] = {"version": version, "strict": strict, "capabilities": capabilities}
        self.version = version
        self.builtins: Mapping[str, Builtin] = BUILTINS if capabilities is None else {
            name: BUILTINS[name] for name in capabilities if name in BUILTINS}
        parsed = [parse_module(Source(text, name), version) for name, text in modules.items()]
        self.modules: list[Module] = parsed
        self.groups = check(parsed, self.builtins, strict=strict)
        self._tree = _tree(self.groups.values())

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._texts, self._options)

    def query(self, text: str, *, name: str = "query", package: str | None = None, capture: bool = True) -> Query:
        """Compile a query. `capture`: an expression may be false, as at `opa eval`'s command line."""
        source = Source(text, name)
        body = parse_query(source, self.version)
        resolver = Resolver(source, self._names(package), prefix="q")
        body, names = resolver.query(body)
        return Query(_Generator(self).query(source, body, names, capture), len(self.groups), self, text)

    def _names(self, package: str | None) -> dict[str, list[str]]:
        if package is None:
            return {}
        path = package.split(".")
        return {group.path[len(path)]: ["data", *group.path[:len(path) + 1]] for group in self.groups.values()
                if list(group.path[:len(path)]) == path and len(group.path) > len(path)}

    def entry(self, path: str) -> Entry:
        """The rule at `data.a.b.c`, as a function of input and data. KeyError where there is no such rule."""
        names = tuple(path.split("."))[1:]
        group = self.groups.get(names)
        if group is None or group.kind == "function":
            raise KeyError(path)
        return Entry(_Generator(self).entry(group), len(self.groups), self, path)


def _again(texts: dict[str, str], options: dict[str, Any]) -> Policy:
    return Policy(texts, **options)


class _Place:
    """A node of the tree of rules, at compile time."""

    def __init__(self) -> None:
        self.children: dict[str, _Place] = {}
        self.group: Group | None = None


def _tree(groups: Iterable[Group]) -> _Place:
    root = _Place()
    for group in groups:
        place = root
        for name in group.path:
            if place.group is not None:
                place.group.beneath = True
            place = place.children.setdefault(name, _Place())
        place.group = group
        if place.children:
            group.beneath = True
    return root


class _Generator(Program):
    """Writes the functions that a query or an entry reaches."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.code = Code("rego")
        self.waiting: list[Group] = []
        self.reached: set[int] = set()
        self.nodes: dict[tuple[str, ...], runtime.Node] = {}
        self.linked: list[tuple[runtime.Node, Group]] = []
        self.mocks: set[str] = set()
        self.replaced: list[tuple[str, ...]] = []
        self._arity = policy.groups.arity(policy.builtins)
        for group in policy.groups.values():
            for clause in group.rules:
                for rule in clause.chain():
                    self._find_withs(walk_rule(rule))

    # --- what is asked for

    def entry(self, group: Group) -> Callable[[runtime.State], Value]:
        self._reach(group)
        self._generate()
        built = self._build()
        found: Callable[[runtime.State], Value] = built[group.name]
        if group.beneath:
            node = self._node(group.path)
            self._link(built)
            return lambda state: runtime.whole(runtime.Doc(state, node, runtime.UNDEFINED))
        return found

    def query(self, source: Source, body: Body, names: dict[str, str], capture: bool) -> Callable[..., None]:
        self._find_withs(walk(*body))
        check_calls(source, body, self.policy.groups, self.policy.builtins)
        try:
            body, _ = order(body, set(), self.arity)
        except Unsafe as unsafe:
            raise unsafe_error(unsafe, source) from None
        bodies = Bodies(self.code, ["s", "out"], "s", self, source)
        with bodies.closed():
            values: list[ast.expr] = []
            for expr in body:
                if capture and isinstance(expr.what, Term) and not expr.negated:
                    values.append(self._captured(bodies, expr))
                else:
                    bodies.expr(expr)
                    values.append(ast.Constant(True))
            shown = {name: unique for unique, name in names.items() if unique in bodies.env and not name.startswith("_")}
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
        out: list[ast.expr] = []

        def value(_: Any) -> None:
            out.append(bodies.temp(bodies.value(what).node))
        original, bodies._expr = bodies._expr, value  # type: ignore[method-assign]
        try:
            bodies.expr(expr)
        finally:
            bodies._expr = original  # type: ignore[method-assign]
        return out[0]

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
            source = self.policy.modules[0].source if self.policy.modules else Source("", "query")
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
        place = self.policy._tree
        for name in path:
            place = place.children[name]
        return self._copy(place, path)

    def _copy(self, place: _Place, path: tuple[str, ...]) -> runtime.Node:
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
        place = self.policy._tree
        names: list[str] = []
        state = load(bodies.state)
        for at, part in enumerate(path):
            name = constant(part)
            child = place.children.get(name) if isinstance(name, str) else None
            if child is None:
                if place.children and (not isinstance(part, Scalar)):
                    return self._doc(bodies, names), at
                return self._base(bodies, path, at)
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

    def _base(self, bodies: Bodies, path: list[Term], at: int) -> tuple[V, int]:
        """Base data: no rule has this path. Numbers in the path are names there."""
        found = V(ast.Attribute(load(bodies.state), "data", ast.Load()), "json")
        for used, part in enumerate(path):
            name = constant(part)
            if isinstance(name, (str, int)) and not isinstance(name, bool):
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
        return self.policy.builtins.get(".".join(operator))

    def _function_group(self, operator: list[str]) -> Group | None:
        place: _Place | None = self.policy._tree
        for name in operator[1:]:
            place = place.children.get(name) if place is not None else None
        return place.group if place is not None and place.group and place.group.kind == "function" else None

    def arity(self, term: Call) -> int | None:
        return self._arity(term)

    def mocked(self, name: str) -> bool:
        return name in self.mocks

    def special(self, bodies: Bodies, term: Call) -> V | None:
        name = ".".join(term.operator)
        if name == "print":
            self._print(bodies, term)
            return V(ast.Constant(True), "json")
        if name in ("rego.metadata.chain", "rego.metadata.rule") and not term.args:
            rule = next((rule for group in self.policy.groups.values() for clause in group.rules for rule in clause.chain()
                         if rule.module.source is bodies.source and rule.at <= term.at < rule.end), None)
            found = [] if rule is None else chain(rule, self.policy.modules)
            if name.endswith("rule"):
                own = next((each["annotations"] for each in found[:1] if "annotations" in each), {})
                return V(bodies.code.constant(own), "json")
            return V(bodies.code.constant(found), "json")
        return None

    def _print(self, bodies: Bodies, term: Call) -> None:
        parts: list[ast.expr] = []
        for argument in term.args:
            out = bodies.collect("shown", ast.List([], ast.Load()))
            with bodies.closed():
                found = bodies.value(argument)
                bodies.add(ast.Expr(call(ast.Attribute(load(out), "append", ast.Load()), found.node)))
            bodies.assigned.remove(out)
            parts.append(load(out))
        bodies.add(ast.Expr(bodies.call(_printed, load(bodies.state), ast.List(parts, ast.Load()))))

    def replacement(self, bodies: Bodies, target: Ref, value: Term) -> ast.expr:
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
        if isinstance(value, Var) and value.name not in bodies.env:
            operator = [value.name]
        elif isinstance(value, Ref) and isinstance(value.head, Var) and value.head.name not in bodies.env:
            operator = [value.head.name, *(str(constant(part)) for part in value.path)]
        if operator is not None:
            function = self.function(operator)
            if isinstance(function, str):
                return load(function)
            if function is not None:
                return bodies.code.hoist(_builtin_mock(function, bodies.where(value.at)))
        return bodies.call(_value_mock, bodies.temp(bodies.value(value).node))

    def note(self, bodies: Bodies, expr: Expr) -> None:
        return

    def _find_withs(self, parts: Iterable[Term | Expr]) -> None:
        for expr in parts:
            for target, _ in expr.withs if isinstance(expr, Expr) else ():
                assert isinstance(target, Ref) and isinstance(target.head, Var)
                names = [constant(part) for part in target.path]
                function = self._target_function(target.head.name, names)
                if function is not None:
                    self.mocks.add(function)
                elif target.head.name == "data":
                    self.replaced.append(tuple(map(str, names)))


def _builtin_mock(function: Builtin, where: str) -> Callable[..., Value]:
    def mock(state: runtime.State, *args: Value) -> Value:
        from custody.languages.rego.declare import BuiltinError
        try:
            return function.call(state.context, *args) if function.context else function.call(*args)
        except BuiltinError as error:
            state.failed(error, function.name, where)
            return UNDEFINED
    return mock


def _value_mock(value: Value) -> Callable[..., Value]:
    return lambda state, *args: value


def _base_at(state: runtime.State, path: tuple[str, ...]) -> Value:
    found = state.data
    for name in path:
        found = _base_ref(found, name)
    return found


def _base_ref(value: Value, name: Value) -> Value:
    """A reference into base data, where an object's names are texts."""
    if type(value) is dict and type(name) is int:
        return value.get(str(name), UNDEFINED)
    return runtime.ref(value, name)


def _printed(state: runtime.State, parts: list[list[Value]]) -> None:
    from itertools import product

    from custody.languages.rego.values import text
    rows = product(*(part or [UNDEFINED] for part in parts))
    for row in rows:
        state.meter.spend(1)
        shown = ["<undefined>" if value is UNDEFINED else value if type(value) is str else text(value) for value in row]
        state.context.printed.append(" ".join(shown))
