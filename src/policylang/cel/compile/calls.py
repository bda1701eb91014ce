"""How calls are compiled: written out, to the one overload that fits, or to what finds it at run time."""

from __future__ import annotations

import ast

from policylang import code as build
from policylang.cel.compile import inline
from policylang.cel.compile.logic import Logic
from policylang.cel.syntax.tree import Call, Literal, qualified
from policylang.cel.types import Type
from policylang.cel.values import containers, errors, metering
from policylang.code import call, load
from policylang.errors import LanguageError

_LONG = frozenset({"string", "bytes", "list", "dyn"})  # kinds whose values a function may walk through for long
_AT_ONCE = frozenset({"_[_]", "_[?_]", "_?._", "_==_", "_!=_", "size", "optional.of", "hasValue", "value", "type",
                      "dyn"})


class Calls(Logic):
    """The part of the emitter that knows functions."""

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
        if self.looping and function not in _AT_ONCE:
            arguments = [argument if isinstance(argument, ast.Constant) or self.type_of(operand).kind not in _LONG
                         else call(self.function(metering.looked_through), self.meter(), argument)
                         for argument, operand in zip(arguments, node.operands, strict=True)]
        member = node.target is not None
        self.failing = True
        if function == "_?._" and function in self.env.functions:
            return call(self.function(containers.optional_field), *arguments)
        made = self._chosen(function, member, node, arguments)
        if self.sharing and self.type_of(node).kind in ("string", "bytes", "list", "dyn"):
            made = call(self.function(metering.paid), self.meter(), made)
        if self.watch != "cost":
            return made
        if function in ("_[_]", "_[?_]"):
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
                    except LanguageError:
                        pass  # it is an error of each evaluation, not of the program
                if overload.metered:
                    return call(self.function(overload.call), *arguments, self.meter())
                return call(self.function(overload.call), *arguments)
        if function not in self.env.functions:
            return call(self.function(errors.fail), ast.Constant(f"no such overload: {function}"))
        dispatcher = self.env.dispatcher(function, member, len(arguments), ids)
        return call(self.function(dispatcher), *arguments, *([self.meter()] if dispatcher.metered else []))


def settled(known: Type, wanted: Type) -> bool:
    """Whether the checker's knowledge of an argument is enough to call an overload without a test."""
    if wanted.kind == "param" or wanted.is_dyn:
        return True
    if known.is_dyn or known.kind in ("param", "null", "wrapper"):
        return False
    return known.kind == wanted.kind and known.name == wanted.name
