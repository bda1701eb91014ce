"""The macros of CEL. Loops stay one node each, so that they compile to one loop."""

from __future__ import annotations

from typing import Any

from policylang.cel.syntax.expander import Expander, Macro
from policylang.cel.syntax.tree import Call, Ident, Node, Select, qualified


def _has(build: Expander, _: Node | None, args: list[Node]) -> Node:
    operand = args[0]
    if isinstance(operand, Select) and not operand.test:
        return build.has(operand.operand, operand.field)
    raise build.error("invalid argument to has() macro", operand)


def _quantifier(kind: str) -> Any:
    def expand(build: Expander, target: Node | None, args: list[Node]) -> Node:
        assert target is not None
        return build.loop(kind, target, build.variable(args[0]), args[1])

    return expand


def _map(build: Expander, target: Node | None, args: list[Node]) -> Node:
    assert target is not None
    guard = args[1] if len(args) == 3 else None
    return build.loop("map", target, build.variable(args[0]), guard, args[-1])


def _two(kind: str) -> Any:
    def expand(build: Expander, target: Node | None, args: list[Node]) -> Node:
        assert target is not None
        first, second = build.variable(args[0]), build.variable(args[1])
        if first == second:
            raise build.error(f"duplicate variable name: {second}", args[1])
        if kind.startswith("transform"):
            return build.loop(kind, target, first, args[2] if len(args) == 4 else None, args[-1], var2=second)
        return build.loop(kind, target, first, args[2], var2=second)

    return expand


def _bind(build: Expander, target: Node | None, args: list[Node]) -> Node | None:
    if not isinstance(target, Ident) or target.name != "cel":
        return None
    if not isinstance(args[0], Ident):
        raise build.error("cel.bind() variable names must be simple identifiers", args[0])
    return build.bind(args[0].name, args[1], args[2])


def _opt_map(build: Expander, target: Node | None, args: list[Node]) -> Node:
    return _on_value(build, target, args, build.call("of", target=build.ident("optional")))


def _opt_flat_map(build: Expander, target: Node | None, args: list[Node]) -> Node:
    return _on_value(build, target, args, None)


def _on_value(build: Expander, target: Node | None, args: list[Node], around: Call | None) -> Node:
    assert target is not None
    name = "optMap" if around else "optFlatMap"
    if not isinstance(args[0], Ident):
        raise build.error(f"{name}() variable name must be a simple identifier", args[0])
    held = build.fresh("target")
    value: Node = build.bind(args[0].name, build.call("value", target=build.ident(held)), args[1])
    if around is not None:
        value = build.call("of", value, target=build.ident("optional"))
    none = build.call("none", target=build.ident("optional"))
    return build.bind(held, target, build.call("_?_:_", build.call("hasValue", target=build.ident(held)), value, none))


def _extension(build: Expander, target: Node | None, args: list[Node]) -> str | None:
    if not isinstance(target, Ident) or target.name != "proto":
        return None
    name = qualified(args[1]) if isinstance(args[1], Select) else None
    if name is None:
        raise build.error("invalid extension field", args[1])
    return name.removeprefix(".")


def _get_extension(build: Expander, target: Node | None, args: list[Node]) -> Node | None:
    name = _extension(build, target, args)
    return None if name is None else build.select(args[0], name)


def _has_extension(build: Expander, target: Node | None, args: list[Node]) -> Node | None:
    name = _extension(build, target, args)
    return None if name is None else build.has(args[0], name)


STANDARD = (
    Macro("has", 1, False, _has),
    Macro("all", 2, True, _quantifier("all")),
    Macro("exists", 2, True, _quantifier("exists")),
    Macro("exists_one", 2, True, _quantifier("exists_one")),
    Macro("existsOne", 2, True, _quantifier("exists_one")),
    Macro("filter", 2, True, _quantifier("filter")),
    Macro("map", 2, True, _map),
    Macro("map", 3, True, _map),
)
TWO_VARIABLES = (
    Macro("all", 3, True, _two("all")),
    Macro("exists", 3, True, _two("exists")),
    Macro("exists_one", 3, True, _two("exists_one")),
    Macro("existsOne", 3, True, _two("exists_one")),
    *(Macro(name, arity, True, _two(name))
      for name in ("transformList", "transformMap", "transformMapEntry") for arity in (3, 4)),
)
BINDINGS = (Macro("bind", 3, True, _bind),)
OPTIONALS = (Macro("optMap", 2, True, _opt_map), Macro("optFlatMap", 2, True, _opt_flat_map))
EXTENSION_FIELDS = (Macro("getExt", 2, True, _get_extension), Macro("hasExt", 2, True, _has_extension))
