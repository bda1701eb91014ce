"""Calls: written out, to the one overload that fits, or to what finds it at run time."""

from __future__ import annotations

import ast

from policylang.cel.compile import branches
from policylang.cel.compile.emitter import Emitter
from policylang.cel.library import Overload
from policylang.cel.syntax.tree import Call, Literal, qualified
from policylang.cel.types import Type
from policylang.cel.values import containers, errors, metering
from policylang.errors import LanguageError

_LONG = frozenset({"string", "bytes", "list", "dyn"})  # kinds whose values a function may walk through for long
_AT_ONCE = frozenset({"_[_]", "_[?_]", "_?._", "_==_", "_!=_", "size", "optional.of", "hasValue", "value", "type",
                      "dyn"})
_FORMS = {"_&&_": branches.logic, "_||_": branches.logic, "_?_:_": branches.conditional}
_CHOICES = {"or": ("optional_or_optional",), "orValue": ("optional_orValue_value",)}


def call(emitter: Emitter, node: Call) -> ast.expr:
    form = _FORMS.get(node.function)
    if form is not None:
        return form(emitter, node)
    function = _unchecked_name(emitter, node) if node.type is None else node.function
    if _is_choice(emitter, node, function):
        return branches.or_else(emitter, node)
    operator = emitter.plan.operators.get(function)
    if operator is not None and emitter.declarations.writes_out(function, node.overloads) \
            and (made := operator(emitter, node)) is not None:
        return made
    return emitter.plan.apply(emitter, node, function, _arguments(emitter, node, function))


def _is_choice(emitter: Emitter, node: Call, function: str) -> bool:
    ids = _CHOICES.get(function)
    return ids is not None and node.target is not None and len(node.args) == 1 and node.overloads in (None, ids) \
        and function in emitter.declarations.functions


def _unchecked_name(emitter: Emitter, node: Call) -> str:
    """In a program that was not checked: `a.b.f(x)` may be a function of that name."""
    if node.target is None:
        return emitter.declarations.function_name(node.function) or node.function
    name = qualified(node.target)
    if name is not None and name.split(".", 1)[0] not in emitter.scope:
        full = emitter.declarations.function_name(f"{name}.{node.function}")
        if full is not None:
            node.target, node.function = None, full
    return node.function


def _arguments(emitter: Emitter, node: Call, function: str) -> list[ast.expr]:
    """In a loop, long ones are paid for where the function may walk through them."""
    arguments = emitter.emit_all(node.operands)
    emitter.failing = True
    if not emitter.looping or function in _AT_ONCE:
        return arguments
    return [argument if isinstance(argument, ast.Constant) or emitter.type_of(operand).kind not in _LONG
            else emitter.call(metering.looked_through, emitter.meter(), argument)
            for argument, operand in zip(arguments, node.operands, strict=True)]


def apply(emitter: Emitter, node: Call, function: str, arguments: list[ast.expr]) -> ast.expr:
    """A call of the function, whose value is paid for where values can multiply."""
    if function == "_?._" and function in emitter.declarations.functions:
        return _optional_field(emitter, *arguments)
    made = _chosen(emitter, node, function, arguments)
    if emitter.sharing and emitter.type_of(node).kind in _LONG:
        return emitter.call(metering.paid, emitter.meter(), made)
    return made


def _optional_field(emitter: Emitter, container: ast.expr, field: ast.expr) -> ast.expr:
    """A call for the whole path, where what it is a field of is one."""
    if isinstance(container, ast.Call) and isinstance(container.func, ast.Name) and isinstance(field, ast.Constant):
        hoisted = (emitter.code.hoist(function).id for function in (
            containers.optional_field, containers.optional_fields))
        if container.func.id in hoisted:
            return emitter.call(containers.optional_fields, *container.args, field)
    return emitter.call(containers.optional_field, container, field)


def _chosen(emitter: Emitter, node: Call, function: str, arguments: list[ast.expr]) -> ast.expr:
    """A call of the one overload that fits, or of what finds it."""
    declarations, ids = emitter.declarations, node.overloads
    if ids is not None and len(ids) == 1:
        overload = next(known for known in declarations.functions[function] if known.id == ids[0])
        if overload.call is not None and all(map(_settled, map(emitter.type_of, node.operands), overload.params)):
            return _direct(emitter, node, overload, arguments)
    if function not in declarations.functions:
        return emitter.call(errors.fail, ast.Constant(f"no such overload: {function}"))
    dispatcher = declarations.dispatcher(function, node.target is not None, len(arguments), ids)
    return emitter.call(dispatcher, *arguments, *([emitter.meter()] if dispatcher.metered else []))


def _direct(emitter: Emitter, node: Call, overload: Overload, arguments: list[ast.expr]) -> ast.expr:
    assert overload.call is not None
    constants = [operand.value for operand in node.operands if isinstance(operand, Literal)]
    if overload.fold and len(constants) == len(arguments):
        try:
            return emitter.code.constant(overload.call(*constants))
        except LanguageError:
            pass  # it is an error of each evaluation, not of the program
    meter = [emitter.meter()] if overload.metered else []
    return emitter.call(overload.call, *arguments, *meter)


def _settled(known: Type, declared: Type) -> bool:
    """Whether the checker's knowledge of an argument is enough to call an overload without a test."""
    if declared.kind == "param" or declared.is_dyn:
        return True
    if known.is_dyn or known.kind in ("param", "null", "wrapper"):
        return False
    return known.kind == declared.kind and known.name == declared.name
