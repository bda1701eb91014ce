"""Names: variables, constants, selections from them, and bindings."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from policylang import code as build
from policylang.cel.compile.emitter import DEEPEST, Emitter, Local
from policylang.cel.syntax.tree import Bind, Ident, Reference, Select, qualified
from policylang.cel.types import Type
from policylang.cel.values import containers, errors
from policylang.cel.values.errors import CelError
from policylang.code import assign, choose, load, walrus

_IS, _IN, _NONE = ast.Is(), ast.In(), ast.Constant(None)
# Classes that variables of declared types are looked at for, before anything is computed with them.
_CLASSES: dict[str, type] = {"bool": bool, "int": int, "string": str, "bytes": bytes, "list": list, "map": dict}


def class_of(declared: Type) -> type | None:
    """What a variable of that type must be an instance of; None where it is not looked at."""
    return _CLASSES.get(declared.kind)


def ident(emitter: Emitter, node: Ident) -> ast.expr:
    local = emitter.scope.get(node.name)
    if local is None:
        return _global(emitter, node.reference, node.name)
    if local.error is None:
        return load(local.name)
    emitter.failing = True
    return choose(build.compare(load(local.error), _IS, _NONE), load(local.name),
                  emitter.call(errors.rethrow, load(local.error)))


def _global(emitter: Emitter, reference: Reference | None, name: str) -> ast.expr:
    if reference is None:
        resolved = emitter.declarations.resolve(name)
        if resolved is None:
            return _free(emitter, name)
        reference = resolved[0]
    if reference.constant:
        return emitter.code.constant(reference.value)
    if emitter.careful:
        emitter.failing = True
        expected = class_of(emitter.declarations.variables[reference.name])
        kind = _NONE if expected is None else emitter.code.hoist(expected, "f")
        return emitter.call(_variable, load("v"), ast.Constant(reference.name), kind)
    if reference.name not in emitter.used:
        emitter.used[reference.name] = emitter.code.fresh("g")
    return load(emitter.used[reference.name])


def _free(emitter: Emitter, name: str) -> ast.expr:
    """A name that nobody declared, in a program that was not checked."""
    emitter.failing = True
    choices: list[tuple[str, tuple[str, ...]]] = []
    names = name.removeprefix(".").split(".")
    for candidate in emitter.declarations.candidates(name):
        parts = candidate.split(".")
        choices += [(".".join(parts[:cut]), tuple(parts[cut:]))
                    for cut in range(len(parts), len(parts) - len(names), -1)]
    return emitter.call(_free_name, load("v"), emitter.code.hoist(tuple(choices)))


def select(emitter: Emitter, node: Select) -> ast.expr:
    if not node.test:
        if node.reference is not None:
            return _global(emitter, node.reference, node.reference.name)
        if node.type is None and (name := qualified(node)) is not None \
                and name.split(".", 1)[0] not in emitter.scope:
            return _qualified(emitter, name)
        return emitter.field(emitter.emit(node.operand), node.field)
    operand = emitter.emit(node.operand)
    emitter.failing = True
    field = ast.Constant(node.field)
    held = operand
    if not isinstance(operand, ast.Name):
        name = emitter.code.fresh()
        operand, held = walrus(name, operand), load(name)
    return choose(build.compare(emitter.call(type, operand), _IS, emitter.code.hoist(dict)),
                  build.compare(field, _IN, held),
                  emitter.call(containers.has, held, field))


def _qualified(emitter: Emitter, name: str) -> ast.expr:
    """`a.b.c` in a program that was not checked: the longest declared prefix, and fields of it."""
    names = name.removeprefix(".").split(".")
    dot = "." if name.startswith(".") else ""
    for cut in range(len(names), 0, -1):
        resolved = emitter.declarations.resolve(dot + ".".join(names[:cut]))
        if resolved is not None:
            expression = _global(emitter, resolved[0], "")
            for field in names[cut:]:
                expression = emitter.field(expression, field)
            return expression
    return _free(emitter, name)


def bind(emitter: Emitter, node: Bind) -> ast.expr:
    """An error of the value is kept, and shows where the variable is used."""
    if emitter.blocks >= DEEPEST:
        return emitter.own_function(bind, node)
    value = emitter.apart(node.value)
    name = emitter.code.fresh("b")
    body = [*value.statements, assign(name, value.value)]
    error = None
    if value.failing:
        error = emitter.code.fresh("e")
        emitter.add(assign(error, _NONE))
        emitter.add(emitter.caught(body, error, [], True))
    else:
        emitter.body += body
    with emitter.changed(scope={**emitter.scope, node.var: Local(name, error)}):
        return emitter.emit(node.body)


# ── at run time ─────────────────────────────────────────────────────────────────────────────────────────────────────

def _variable(variables: Mapping[str, Any], name: str, kind: type | None) -> Any:
    """A variable where it is used, of the class that it was declared to be."""
    try:
        value = variables[name]
    except KeyError:
        raise CelError(f"no such attribute(s): {name}") from None
    if kind is not None and type(value) is not kind and not (kind in (list, dict) and isinstance(value, kind)):
        raise CelError("no such overload")
    return value


def _free_name(variables: Mapping[str, Any], choices: tuple[tuple[str, tuple[str, ...]], ...]) -> Any:
    """A name that was not declared: the longest prefix that is given, and the fields of the rest."""
    for name, fields in choices:
        if name in variables:
            value = variables[name]
            for field in fields:
                value = value[field]
            return value
    raise CelError(f"no such attribute(s): {', '.join(name for name, _ in choices)}")
