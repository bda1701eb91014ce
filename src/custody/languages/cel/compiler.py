"""From a tree to one Python function (built as `ast` nodes by languages.code).

Each node becomes an expression; what needs statements (loops, error absorption) puts them before it and hands on a
name. Errors are Python exceptions: a missing key is KeyError, a wrong type TypeError, so that fields cost one
subscript; FAULTS says which exceptions are error values. Where the checker knew the types, operators are written out.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from custody.errors import CustodyError
from custody.languages import code as build
from custody.languages.budget import Limits, Meter, too_long
from custody.languages.cel import inline, operators
from custody.languages.cel.checker import children
from custody.languages.cel.issues import CompileError
from custody.languages.cel.loops import Loops
from custody.languages.cel.tree import (
    Bind,
    Call,
    Comprehension,
    Ident,
    ListNode,
    Literal,
    MapNode,
    Node,
    Select,
    Struct,
    qualified,
)
from custody.languages.cel.types import DYN, Type
from custody.languages.cel.values import Mixed, Optional
from custody.languages.code import Code, assign, call, choose, load, walrus
from custody.languages.source import Source

if TYPE_CHECKING:
    from custody.languages.cel.env import Env

_IS, _IS_NOT, _IN = ast.Is(), ast.IsNot(), ast.In()
_TRUE, _FALSE, _NONE = ast.Constant(True), ast.Constant(False), ast.Constant(None)
# Classes that variables of declared types are looked at for, before anything is computed with them.
_DECLARED: dict[str, type] = {"bool": bool, "int": int, "string": str, "bytes": bytes, "list": list, "map": dict}
_WIDEST = 8  # operands of && and || that are nested rather than tested one after the other
_DEEPEST = 14  # blocks in one Python function, which allows 20


class Local:
    """A variable of a loop or a binding: its Python name, and the name of its error where it may have one."""

    __slots__ = ("error", "name")

    def __init__(self, name: str, error: str | None = None) -> None:
        self.name, self.error = name, error


class Emitter(Loops):
    """One program. `failing` says whether what was emitted since it was cleared can end in an error."""

    def __init__(self, env: Env, limits: Limits, *, careful: bool, watch: str) -> None:
        self.env, self.limits, self.careful, self.watch = env, limits, careful, watch
        self.code = Code("cel")
        self.body: list[ast.stmt] = []
        self.scope: dict[str, Local] = {}
        self.used: dict[str, str] = {}
        self.failing = False
        self.blocks = self.looping = 0
        self.loops = self.metered = self.sharing = False

    def program(self, root: Node) -> Callable[..., Any]:
        self.sharing = _shares(root)
        value = self.emit(root)
        body = self.body
        body.append(build.give(value))
        prologue: list[ast.stmt] = []
        if self.used:
            loads = [assign(python, build.item(load("v"), ast.Constant(name))) for name, python in self.used.items()]
            handler: list[ast.stmt] = [build.do(call(self.function(operators.missing)))]
            prologue.append(build.attempt(loads, self.code.hoist(KeyError), handler))
            for name, python in self.used.items():
                expected = _DECLARED.get(self.env.variables[name].kind)
                if expected is not None:
                    wrong = build.compare(call(self.function(type), load(python)), _IS_NOT, self.function(expected))
                    prologue.append(build.when(wrong, handler))
        if self.loops:
            prologue.append(assign("left", ast.Constant(self.limits.steps)))
        if self.metered:
            prologue.append(assign("meter", call(self.code.hoist(Meter), self.code.hoist(self.limits))))
        self.code.add("run", ("v", "w") if self.watch else ("v",), prologue + body)
        return self.code.build()["run"]  # type: ignore[no-any-return]

    # ── helpers ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def function(self, function: Any) -> ast.expr:
        return self.code.hoist(function, "f")

    def emit(self, node: Node) -> ast.expr:
        expression = _EMITS[type(node)](self, node)
        if self.watch == "trace" and not isinstance(node, Literal):
            return call(load("w"), ast.Constant(node.start), ast.Constant(node.end), expression)
        return expression

    def named(self, expression: ast.expr, stem: str = "t") -> ast.expr:
        """The expression under a name, so that it may be used twice; names and constants stay themselves."""
        if isinstance(expression, (ast.Name, ast.Constant)):
            return expression
        name = self.code.fresh(stem)
        self.body.append(assign(name, expression))
        return load(name)

    def emit_all(self, nodes: Sequence[Node]) -> list[ast.expr]:
        """Expressions in order: what one needs as statements comes after what those before it compute."""
        made: list[ast.expr] = []
        for node in nodes:
            before = len(self.body)
            expression = self.emit(node)
            if len(self.body) > before:
                spilled: list[ast.stmt] = []
                for at, each in enumerate(made):
                    if not isinstance(each, (ast.Name, ast.Constant)):
                        name = self.code.fresh()
                        spilled.append(assign(name, each))
                        made[at] = load(name)
                self.body[before:before] = spilled
            made.append(expression)
        return made

    def apart(self, node: Node) -> tuple[list[ast.stmt], ast.expr, bool]:
        """A node's statements, its expression, and whether they can fail."""
        body, failing = self.body, self.failing
        self.body, self.failing = [], False
        expression = self.emit(node)
        made = self.body, expression, self.failing
        self.body, self.failing = body, failing
        return made

    def own_function(self, emit: Callable[[], ast.expr]) -> ast.expr:
        """Emit into a function of its own: Python allows only so many blocks inside each other."""
        body, blocks, loops = self.body, self.blocks, self.loops
        self.body, self.blocks, self.loops = [], 0, False
        value = emit()
        inner, inner_loops = self.body, self.loops
        self.body, self.blocks, self.loops = body, blocks, loops or inner_loops
        if inner_loops:
            inner.insert(0, ast.Nonlocal(["left"]))
        inner.append(build.give(value))
        name = self.code.fresh("inner")
        self.body.append(build.define(name, (), inner))
        return call(load(name))

    def error_after(self, error: str) -> ast.stmt:
        """`if error is not None: rethrow(error)`"""
        return build.when(build.compare(load(error), _IS_NOT, _NONE),
                          [build.do(call(self.function(operators.rethrow), load(error)))])

    def caught(self, body: list[ast.stmt], error: str, neutral: list[ast.stmt], first: bool) -> ast.stmt:
        """Run `body`; an error is kept in `error` unless there is one already, and `neutral` is done instead."""
        fault = self.code.fresh("x")
        keep: ast.stmt = assign(error, load(fault))
        if not first:
            keep = build.when(build.compare(load(error), _IS, _NONE), [keep])
        return build.attempt(body, self.code.hoist(operators.FAULTS), [keep, *neutral], fault)

    def field(self, operand: ast.expr, field: ast.expr) -> ast.expr:
        """One subscript; of a literal by a function, because Python warns of `1["a"]` while compiling."""
        if isinstance(operand, (ast.Constant, ast.List)):
            return call(self.function(operators.select), operand, field)
        return build.item(operand, field)

    def truth(self, node: Node, expression: ast.expr) -> ast.expr:
        """The expression where it is known to be a bool, else with a test that it is one."""
        if self.type_of(node).kind == "bool" or is_boolean(expression):
            return expression
        self.failing = True
        if isinstance(expression, ast.Constant):
            return call(self.function(operators.overload))
        name = self.code.fresh()
        known = build.either(build.compare(walrus(name, expression), _IS, _TRUE),
                             build.compare(load(name), _IS, _FALSE))
        return choose(known, load(name), call(self.function(operators.overload)))

    @staticmethod
    def type_of(node: Node) -> Type:
        return node.type if node.type is not None else DYN

    def charge(self, cost: int) -> None:
        """In a program that counts cost: pay."""
        if self.watch == "cost":
            self.body.append(build.do(call(build.attribute(load("w"), "add"), ast.Constant(cost))))

    # ── names and fields ────────────────────────────────────────────────────────────────────────────────────────────

    def _literal(self, node: Literal) -> ast.expr:
        return self.code.constant(node.value)

    def _ident(self, node: Ident) -> ast.expr:
        local = self.scope.get(node.name)
        if local is not None:
            self.charge(1)
            if local.error is None:
                return load(local.name)
            self.failing = True
            return choose(build.compare(load(local.error), _IS, _NONE), load(local.name),
                          call(self.function(operators.rethrow), load(local.error)))
        return self._global(node.reference, node.name)

    def _global(self, reference: Any, name: str) -> ast.expr:
        if reference is None:
            found = self.env.resolve(name)
            if found is None:
                return self._free(name)
            reference = found[0]
        if reference.constant:
            return self.code.constant(reference.value)
        self.charge(1)
        if self.careful:
            self.failing = True
            expected = _DECLARED.get(self.env.variables[reference.name].kind)
            kind = _NONE if expected is None else self.function(expected)
            return call(self.function(operators.variable), load("v"), ast.Constant(reference.name), kind)
        if reference.name not in self.used:
            self.used[reference.name] = self.code.fresh("g")
        return load(self.used[reference.name])

    def _free(self, name: str) -> ast.expr:
        """A name that nobody declared, in a program that was not checked."""
        self.failing = True
        self.charge(1)
        choices: list[tuple[str, tuple[str, ...]]] = []
        names = name.removeprefix(".").split(".")
        for full in self.env.candidates(name):
            own = full.split(".")
            choices += [(".".join(own[:cut]), tuple(own[cut:]))
                        for cut in range(len(own), len(own) - len(names), -1)]
        return call(self.function(operators.free_name), load("v"), self.code.hoist(tuple(choices)))

    def _select(self, node: Select) -> ast.expr:
        if not node.test:
            if node.reference is not None:
                return self._global(node.reference, node.reference.name)
            if node.type is None and (name := qualified(node)) is not None \
                    and name.split(".", 1)[0] not in self.scope:
                return self._qualified(name)
        operand = self.emit(node.operand)
        self.charge(1)
        self.failing = True
        field = ast.Constant(node.field)
        if not node.test:
            return self.field(operand, field)
        if self.type_of(node.operand).kind == "message" and self.watch != "cost":
            return call(self.function(operators.has), operand, field)
        held = operand
        if not isinstance(operand, ast.Name):
            name = self.code.fresh()
            operand, held = walrus(name, operand), load(name)
        return choose(build.compare(call(self.function(type), operand), _IS, self.code.hoist(dict)),
                      build.compare(field, _IN, held),
                      call(self.function(operators.has), held, field))

    def _qualified(self, name: str) -> ast.expr:
        """`a.b.c` in a program that was not checked: the longest declared prefix, and fields of it."""
        names = name.removeprefix(".").split(".")
        dot = "." if name.startswith(".") else ""
        for cut in range(len(names), 0, -1):
            found = self.env.resolve(dot + ".".join(names[:cut]))
            if found is not None:
                expression = self._global(found[0], "")
                for field in names[cut:]:
                    self.failing = True
                    self.charge(1)
                    expression = self.field(expression, ast.Constant(field))
                return expression
        return self._free(name)

    # ── logic ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _logic(self, node: Call) -> ast.expr:
        """`&&` and `||`: an operand that decides absorbs the errors of the others, before and after it."""
        if self.blocks >= _DEEPEST:
            return self.own_function(lambda: self._logic(node))
        stop = node.function == "_||_"
        outer = self.failing
        self.blocks += 1
        parts: list[tuple[list[ast.stmt], ast.expr, bool]] = []
        for each in node.args:
            body, failing = self.body, self.failing
            self.body, self.failing = [], False
            expression = self.truth(each, self.emit(each))
            parts.append((self.body, expression, self.failing))
            self.body, self.failing = body, failing
        self.blocks -= 1
        failing = any(part[2] for part in parts)
        self.failing = outer or failing
        if not any(statements for statements, _, _ in parts) and not any(part[2] for part in parts[:-1]):
            values = [part[1] for part in parts]
            return build.either(*values) if stop else build.both(*values)
        result, error = self.code.fresh("r"), self.code.fresh("e")
        keeps = any(part[2] for part in parts[:-1])
        tail: list[ast.stmt] = []
        if keeps:
            self.body.append(assign(error, _NONE))
            tail = [self.error_after(error)]
        neutral: list[ast.stmt] = [assign(result, ast.Constant(not stop))]

        def step(at: int) -> list[ast.stmt]:
            statements, expression, fails = parts[at]
            body = [*statements, assign(result, expression)]
            if not fails or (at == len(parts) - 1 and not any(part[2] for part in parts[:-1])):
                return body
            return [self.caught(body, error, neutral, at == 0)]

        undecided = build.negate(load(result)) if stop else load(result)
        if len(parts) > _WIDEST:
            for at in range(len(parts)):
                self.body += step(at) if at == 0 else [build.when(undecided, step(at))]
            self.body += [build.when(undecided, tail)] if tail else []
            return mark_boolean(load(result))
        for at in range(len(parts) - 1, 0, -1):
            tail = [build.when(undecided, step(at) + (tail if at < len(parts) - 1 or not tail else
                                                      [build.when(undecided, tail)]))]
        self.body += step(0) + tail
        return mark_boolean(load(result))

    def _conditional(self, node: Call) -> ast.expr:
        test = self.truth(node.args[0], self.emit(node.args[0]))
        yes, no = self.apart(node.args[1]), self.apart(node.args[2])
        return self.either_way(test, yes, no)

    def either_way(self, test: ast.expr, yes: tuple[list[ast.stmt], ast.expr, bool],
                   no: tuple[list[ast.stmt], ast.expr, bool]) -> ast.expr:
        self.failing = self.failing or yes[2] or no[2]
        if not yes[0] and not no[0]:
            made = choose(test, yes[1], no[1])
            return mark_boolean(made) if is_boolean(yes[1]) and is_boolean(no[1]) else made
        result = self.code.fresh("r")
        self.body.append(build.when(test, [*yes[0], assign(result, yes[1])], [*no[0], assign(result, no[1])]))
        return load(result)

    def _or_else(self, node: Call, whole: bool) -> ast.expr:
        """`a.or(b)` and, with not `whole`, `a.orValue(b)`: b only where a is absent."""
        assert node.target is not None
        first = self.named(self.emit(node.target), "o")
        self.failing = True
        self.charge(1)
        if self.type_of(node.target).name != "optional_type":
            wrong = build.compare(call(self.function(type), first), _IS_NOT, self.code.hoist(Optional))
            self.body.append(build.when(wrong, [build.do(call(self.function(operators.overload)))]))
        value = first if whole else build.attribute(first, "value")
        return self.either_way(build.attribute(first, "present"), ([], value, False), self.apart(node.args[0]))

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _call(self, node: Call) -> ast.expr:
        function = node.function
        if function in ("_&&_", "_||_"):
            return self._logic(node)
        if function == "_?_:_":
            return self._conditional(node)
        ids = node.overloads
        if node.type is None:
            function = self._unchecked_name(node)
        if function in ("or", "orValue") and node.target is not None and len(node.args) == 1 \
                and (ids is None or ids in (("optional_or_optional",), ("optional_orValue_value",))) \
                and function in self.env.functions:
            return self._or_else(node, function == "or")
        if self.watch != "cost":
            inlined = inline.TABLE.get(function)
            if inlined is not None and self.env.writes_out(function, ids) \
                    and (made := inlined(self, node)) is not None:
                return made
        arguments = self.emit_all(node.operands)
        member = node.target is not None
        self.failing = True
        if function == "_?._" and function in self.env.functions:
            self.charge(1)
            return call(self.function(operators.optional_field), *arguments)
        made = self._chosen(function, member, node, arguments)
        if self.sharing and self.type_of(node).kind in ("string", "bytes", "list", "dyn"):
            made = call(self.function(operators.paid), self.meter(), made)
        if self.watch != "cost":
            return made
        if function in ("_[_]", "_[?_]"):
            self.charge(1 if isinstance(node.args[0], (Ident, Select)) else 2)
            return made
        return self._paid(function, ids, arguments, node)

    def _paid(self, function: str, ids: tuple[str, ...] | None, arguments: list[ast.expr], node: Call) -> ast.expr:
        names = [self.named(each) for each in arguments]
        made = self._chosen(function, node.target is not None, node, names)
        overload = ids[0] if ids and len(ids) == 1 else ""
        return call(build.attribute(load("w"), "call"), ast.Constant(function), ast.Constant(overload), made, *names)

    def _unchecked_name(self, node: Call) -> str:
        """In a program that was not checked: `a.b.f(x)` may be a function of that name."""
        if node.target is None:
            return self.env.function_name(node.function) or node.function
        name = qualified(node.target)
        if name is not None and name.split(".", 1)[0] not in self.scope:
            full = self.env.function_name(f"{name}.{node.function}")
            if full is not None:
                node.target, node.function = None, full
        return node.function

    def _chosen(self, function: str, member: bool, node: Call, arguments: list[ast.expr]) -> ast.expr:
        """A call of the one overload that fits, or of what finds it."""
        ids = node.overloads
        if ids is not None and len(ids) == 1:
            overload = next(each for each in self.env.functions[function] if each.id == ids[0])
            operands = node.operands
            known = all(map(settled, map(self.type_of, operands), overload.params))
            if overload.call is not None and known:
                constants = [each.value for each in operands if isinstance(each, Literal)]
                if overload.fold and len(constants) == len(operands) and not self.watch:
                    try:
                        return self.code.constant(overload.call(*constants))
                    except CustodyError:
                        pass  # it is an error of each evaluation, not of the program
                if overload.metered:
                    return call(self.function(overload.call), *arguments, self.meter())
                return call(self.function(overload.call), *arguments)
        if function not in self.env.functions:
            return call(self.function(operators.fail), ast.Constant(f"no such overload: {function}"))
        dispatcher = self.env.dispatcher(function, member, len(arguments), ids)
        return call(self.function(dispatcher), *arguments, *([self.meter()] if dispatcher.metered else []))

    def meter(self) -> ast.expr:
        self.metered = True
        return load("meter")

    # ── literals ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _list(self, node: ListNode) -> ast.expr:
        self.charge(10)
        if not node.optional:
            return ast.List(self.emit_all(node.elements), ast.Load())
        self.failing = True
        made = self.code.fresh("l")
        self.body.append(assign(made, ast.List([], ast.Load())))
        for at, each in enumerate(node.elements):
            value = self.emit(each)
            if at in node.optional:
                self.body.append(build.do(call(self.function(operators.extend), load(made), value)))
            else:
                self.body.append(build.do(call(build.attribute(load(made), "append"), value)))
        return load(made)

    def _map(self, node: MapNode) -> ast.expr:
        self.charge(30)
        keys = [entry.key.value if isinstance(entry.key, Literal) else None for entry in node.entries]
        if all(type(key) is str for key in keys) and len(set(keys)) == len(keys) \
                and not any(entry.optional for entry in node.entries):
            values = self.emit_all([entry.value for entry in node.entries])
            return ast.Dict([ast.Constant(key) for key in keys], values)
        self.failing = True
        made = self.code.fresh("m")
        mixed = len({self.type_of(entry.key).kind for entry in node.entries if isinstance(entry.key, Node)} - {
            "string", "int", "uint"}) > 0 and len(node.entries) > 1
        self.body.append(assign(made, call(self.function(Mixed)) if mixed else ast.Dict([], [])))
        for entry in node.entries:
            assert isinstance(entry.key, Node)
            key, value = self.emit_all([entry.key, entry.value])
            put = operators.put_optional if entry.optional else operators.put
            self.body.append(build.do(call(self.function(put), load(made), key, value)))
        return call(self.function(operators.finished), load(made)) if mixed else load(made)

    def _struct(self, node: Struct) -> ast.expr:
        self.charge(40)
        self.failing = True
        name = node.name if node.type is not None else self.env.message_name(node.name)
        if name is None:
            return call(self.function(operators.fail), ast.Constant(f"unknown type: {node.name}"))
        made = self.code.fresh("m")
        self.body.append(assign(made, ast.Dict([], [])))
        for entry in node.entries:
            value = self.emit(entry.value)
            put = operators.put_optional if entry.optional else operators.put
            self.body.append(build.do(call(self.function(put), load(made), ast.Constant(str(entry.key)), value)))
        return call(self.function(self.env.descriptors.new), ast.Constant(name), load(made))

    def _bind(self, node: Bind) -> ast.expr:
        if self.blocks >= _DEEPEST:
            return self.own_function(lambda: self._bind(node))
        statements, expression, failing = self.apart(node.value)
        name = self.code.fresh("b")
        body = [*statements, assign(name, expression)]
        error = None
        if failing:
            error = self.code.fresh("e")
            self.body.append(assign(error, _NONE))
            self.body.append(self.caught(body, error, [], True))
        else:
            self.body += body
        outer = self.scope
        self.scope = {**outer, node.var: Local(name, error)}
        made = self.emit(node.body)
        self.scope = outer
        return made

    def _comprehension(self, node: Comprehension) -> ast.expr:
        if self.blocks >= _DEEPEST:
            return self.own_function(lambda: self.loop(node))
        return self.loop(node)

    def local(self, name: str) -> Local:
        return Local(name)

    def too_long(self) -> ast.expr:
        return call(self.function(_too_long))


def _too_long() -> None:
    raise too_long()


def _shares(root: Node) -> bool:
    """Whether a program has variables of its own: only then can work and values multiply."""
    stack: list[Node | None] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, (Bind, Comprehension)):
            return True
        if node is not None:
            stack.extend(children(node))
    return False


def settled(known: Type, wanted: Type) -> bool:
    """Whether the checker's knowledge of an argument is enough to call an overload without a test."""
    if wanted.kind == "param" or wanted.is_dyn:
        return True
    if known.is_dyn or known.kind in ("param", "null", "wrapper"):
        return False
    return known.kind == wanted.kind and known.name == wanted.name


def mark_boolean(expression: ast.expr) -> ast.expr:
    """Remember that an expression can only be True or False."""
    expression.boolean = True  # type: ignore[attr-defined]
    return expression


def is_boolean(expression: ast.expr) -> bool:
    if isinstance(expression, ast.Compare) or getattr(expression, "boolean", False):
        return True
    if isinstance(expression, ast.UnaryOp):
        return isinstance(expression.op, ast.Not)
    if isinstance(expression, ast.Constant):
        return isinstance(expression.value, bool)
    if isinstance(expression, ast.IfExp):
        return is_boolean(expression.body) and is_boolean(expression.orelse)
    return isinstance(expression, ast.BoolOp) and all(map(is_boolean, expression.values))


_EMITS: dict[type[Node], Callable[..., ast.expr]] = {
    Literal: Emitter._literal, Ident: Emitter._ident, Select: Emitter._select, Call: Emitter._call,
    ListNode: Emitter._list, MapNode: Emitter._map, Struct: Emitter._struct, Bind: Emitter._bind,
    Comprehension: Emitter._comprehension,
}


def compile_tree(env: Env, source: Source, root: Node, limits: Limits, *, careful: bool = False,
                 watch: str = "") -> Callable[..., Any]:
    """`run(variables)`; with `watch`, `run(variables, watcher)`: "trace" calls it with start, end and value of each
    part, "cost" has it pay. With `careful` a missing variable is an error only where it is used.
    """
    emitter = Emitter
    if watch in ("cost", "optimized cost"):
        from custody.languages.cel.costcount import CostEmitter  # it builds on this module, and is seldom wanted

        emitter = CostEmitter
    try:
        return emitter(env, limits, careful=careful, watch=watch).program(root)
    except (RecursionError, MemoryError, SyntaxError):
        raise CompileError.one(source, 0, "expression is too complex: nested too deeply") from None
