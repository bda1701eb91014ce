"""From a tree to one Python function (built as `ast` nodes by languages.code).

Each node becomes an expression; what needs statements (loops, error absorption) puts them before it and hands on a
name. Errors are Python exceptions: a missing key is KeyError, a wrong type TypeError, so that fields cost one
subscript; FAULTS says which exceptions are error values. Where the checker knew the types, operators are written out.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from policylang import code as build
from policylang.budget import Limits, Meter
from policylang.cel.compile.calls import Calls
from policylang.cel.compile.emitting import DEEPEST, Local
from policylang.cel.compile.loops import Loops
from policylang.cel.syntax.issues import CompileError
from policylang.cel.syntax.tree import (
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
    children,
    qualified,
)
from policylang.cel.values import containers, errors
from policylang.cel.values.values import Mixed
from policylang.code import assign, call, choose, load, walrus
from policylang.source import Source

if TYPE_CHECKING:
    from policylang.cel.declarations import Declarations as Env

_IS, _IS_NOT, _IN, _NONE = ast.Is(), ast.IsNot(), ast.In(), ast.Constant(None)
# Classes that variables of declared types are looked at for, before anything is computed with them.
_DECLARED: dict[str, type] = {"bool": bool, "int": int, "string": str, "bytes": bytes, "list": list, "map": dict}


class Emitter(Loops, Calls):
    """One program."""

    def program(self, root: Node) -> Callable[..., Any]:
        self.sharing = _shares(root)
        value = self.emit(root)
        body = self.body
        body.append(build.give(value))
        prologue: list[ast.stmt] = []
        if self.used:
            loads = [assign(python, build.item(load("v"), ast.Constant(name))) for name, python in self.used.items()]
            handler: list[ast.stmt] = [build.do(call(self.function(errors.missing)))]
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
        run: Callable[..., Any] = self.code.build()["run"]
        vars(run)["fields"] = tuple(self.fields)
        return run

    def emit(self, node: Node) -> ast.expr:
        expression = _EMITS[type(node)](self, node)
        if self.watch == "trace" and not isinstance(node, Literal):
            return call(load("w"), ast.Constant(node.start), ast.Constant(node.end), expression)
        return expression

    def _literal(self, node: Literal) -> ast.expr:
        return self.code.constant(node.value)

    def _ident(self, node: Ident) -> ast.expr:
        local = self.scope.get(node.name)
        if local is not None:
            if local.error is None:
                return load(local.name)
            self.failing = True
            return choose(build.compare(load(local.error), _IS, _NONE), load(local.name),
                          call(self.function(errors.rethrow), load(local.error)))
        return self._global(node.reference, node.name)

    def _global(self, reference: Any, name: str) -> ast.expr:
        if reference is None:
            found = self.env.resolve(name)
            if found is None:
                return self._free(name)
            reference = found[0]
        if reference.constant:
            return self.code.constant(reference.value)
        if self.careful:
            self.failing = True
            expected = _DECLARED.get(self.env.variables[reference.name].kind)
            kind = _NONE if expected is None else self.function(expected)
            return call(self.function(errors.variable), load("v"), ast.Constant(reference.name), kind)
        if reference.name not in self.used:
            self.used[reference.name] = self.code.fresh("g")
        return load(self.used[reference.name])

    def _free(self, name: str) -> ast.expr:
        """A name that nobody declared, in a program that was not checked."""
        self.failing = True
        choices: list[tuple[str, tuple[str, ...]]] = []
        names = name.removeprefix(".").split(".")
        for full in self.env.candidates(name):
            own = full.split(".")
            choices += [(".".join(own[:cut]), tuple(own[cut:]))
                        for cut in range(len(own), len(own) - len(names), -1)]
        return call(self.function(errors.free_name), load("v"), self.code.hoist(tuple(choices)))

    def _select(self, node: Select) -> ast.expr:
        if not node.test:
            if node.reference is not None:
                return self._global(node.reference, node.reference.name)
            if node.type is None and (name := qualified(node)) is not None \
                    and name.split(".", 1)[0] not in self.scope:
                return self._qualified(name)
        operand = self.emit(node.operand)
        self.failing = True
        field = ast.Constant(node.field)
        if not node.test:
            return self.field(operand, node.field)
        held = operand
        if not isinstance(operand, ast.Name):
            name = self.code.fresh()
            operand, held = walrus(name, operand), load(name)
        return choose(build.compare(call(self.function(type), operand), _IS, self.code.hoist(dict)),
                      build.compare(field, _IN, held),
                      call(self.function(containers.has), held, field))

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
                    expression = self.field(expression, field)
                return expression
        return self._free(name)

    def _list(self, node: ListNode) -> ast.expr:
        if not node.optional:
            return ast.List(self.emit_all(node.elements), ast.Load())
        self.failing = True
        made = self.code.fresh("l")
        self.body.append(assign(made, ast.List([], ast.Load())))
        for at, each in enumerate(node.elements):
            value = self.emit(each)
            if at in node.optional:
                self.body.append(build.do(call(self.function(containers.extend), load(made), value)))
            else:
                self.body.append(build.do(call(build.attribute(load(made), "append"), value)))
        return load(made)

    def _map(self, node: MapNode) -> ast.expr:
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
            put = containers.put_optional if entry.optional else containers.put
            self.body.append(build.do(call(self.function(put), load(made), key, value)))
        return call(self.function(containers.finished), load(made)) if mixed else load(made)

    def _struct(self, node: Struct) -> ast.expr:
        self.failing = True
        name = node.name if node.type is not None else self.env.message_name(node.name)
        if name is None:
            return call(self.function(errors.fail), ast.Constant(f"unknown type: {node.name}"))
        made = self.code.fresh("m")
        self.body.append(assign(made, ast.Dict([], [])))
        for entry in node.entries:
            value = self.emit(entry.value)
            put = containers.put_optional if entry.optional else containers.put
            self.body.append(build.do(call(self.function(put), load(made), ast.Constant(str(entry.key)), value)))
        return call(self.function(self.env.descriptors.new), ast.Constant(name), load(made))

    def _bind(self, node: Bind) -> ast.expr:
        if self.blocks >= DEEPEST:
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
        if self.blocks >= DEEPEST:
            return self.own_function(lambda: self.loop(node))
        return self.loop(node)


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
        from policylang.cel.compile.costcount import CostEmitter  # it builds on this module, and is seldom wanted

        emitter = CostEmitter
    try:
        return emitter(env, limits, careful=careful, watch=watch).program(root)
    except (RecursionError, MemoryError, SyntaxError):
        raise CompileError.one(source, 0, "expression is too complex: nested too deeply") from None
