"""cel.lib.ext.protos: extension fields of proto2 messages."""

from __future__ import annotations

from policylang.cel.library import Library
from policylang.cel.syntax.expander import Expander, Macro
from policylang.cel.syntax.tree import Ident, Node, Select, qualified


def _extension(build: Expander, target: Node | None, args: list[Node]) -> str | None:
    if not isinstance(target, Ident) or target.name != "proto":
        return None
    name = qualified(args[1]) if isinstance(args[1], Select) else None
    if name is None:
        raise build.error("invalid extension field", args[1])
    return name.removeprefix(".")


def _get(build: Expander, target: Node | None, args: list[Node]) -> Node | None:
    name = _extension(build, target, args)
    return None if name is None else build.select(args[0], name)


def _has(build: Expander, target: Node | None, args: list[Node]) -> Node | None:
    name = _extension(build, target, args)
    return None if name is None else build.has(args[0], name)


LIBRARY = Library("cel.lib.ext.protos", macros=(Macro("getExt", 2, True, _get), Macro("hasExt", 2, True, _has)))
