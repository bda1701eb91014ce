"""What an expression reads of its variables, as far as that is written down: a name and the fields behind it."""

from __future__ import annotations

from collections.abc import Iterator

from policylang.cel.syntax.tree import Call, Ident, Literal, Node, Select, children

_BY_NAME = ("_[_]", "_[?_]", "_?._")


def paths(root: Node) -> Iterator[tuple[str, ...]]:
    """Each use of a name with the longest chain of fields behind it: `("object", "spec", "containers")`.

    What a chain ends in is read whole, or asked for whether it is there. Names of an expression's own loops are among
    them: there may be too many paths, and never too few.
    """
    waiting: list[Node | None] = [root]
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        chain = _chain(node)
        if chain is not None:
            yield chain
        else:
            waiting.extend(children(node))


def _chain(node: Node) -> tuple[str, ...] | None:
    fields: list[str] = []
    while not isinstance(node, Ident):
        if isinstance(node, Select):
            fields.append(node.field)
            node = node.operand
        elif isinstance(node, Call) and node.function in _BY_NAME and node.target is None and len(node.args) == 2 and (
                isinstance(node.args[1], Literal) and isinstance(node.args[1].value, str)):
            fields.append(node.args[1].value)
            node = node.args[0]
        else:
            return None
    return (node.name.removeprefix("."), *reversed(fields))
