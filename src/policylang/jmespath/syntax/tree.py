"""The syntax tree of a JMESPath expression, and its text as `kyverno jp parse` prints it."""

from __future__ import annotations

from typing import Any

from policylang.go.printing import syntax

COMPARATORS = {"==": "tEQ", "!=": "tNE", "<": "tLT", "<=": "tLTE", ">": "tGT", ">=": "tGTE"}


class Node:
    """`kind` is go-jmespath's name without its prefix AST; `start` and `end` are offsets into the expression."""

    __slots__ = ("children", "depth", "end", "kind", "start", "value")

    def __init__(self, kind: str, value: Any = None, children: tuple[Node, ...] = (),
                 start: int = 0, end: int = 0) -> None:
        self.kind = kind
        self.value = value
        self.children = children
        self.start = start
        self.end = end
        self.depth: int = 1 + max((child.depth for child in children), default=0)

    def shape(self) -> tuple[Any, ...]:
        """What is equal for expressions that are written alike, whatever space is between their tokens."""
        value = tuple(self.value) if isinstance(self.value, list) and self.kind == "Slice" else repr(self.value)
        return self.kind, value, *(child.shape() for child in self.children)


def show(node: Node, indent: int = 0) -> str:
    """The tree's text. Bounds of slices are printed themselves, where Go prints their addresses."""
    space = " " * indent
    lines = [f"{space}AST{node.kind} {{\n"]
    value = node.value
    if value is not None:
        if node.kind == "Comparator":
            text = COMPARATORS[value]
        elif node.kind == "Slice":
            text = "[]*int{" + ", ".join("(*int)(nil)" if part is None else str(part) for part in value) + "}"
        else:
            text = syntax(value)
        lines.append(f"{space}  value: {text}\n")
    if node.children:
        lines.append(f"{space}  children: {{\n")
        lines += [show(child, indent + 4) for child in node.children]
    lines.append(f"{space}}}\n")
    return "".join(lines)
