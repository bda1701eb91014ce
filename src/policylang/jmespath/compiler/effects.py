"""What a node can do, known from its shape."""

from __future__ import annotations

from policylang.jmespath.builtins import FUNCTIONS
from policylang.jmespath.syntax.tree import Node

_STRICT = frozenset({"Field", "Index", "Slice", "MultiSelectList", "MultiSelectHash", "Identity", "CurrentNode"})
_CHAINS = frozenset({"Subexpression", "IndexExpression", "Projection", "FilterProjection", "Flatten"})


def strict(node: Node) -> bool:
    """Null for null, without fail."""
    if node.kind in _CHAINS:
        return strict(node.children[0]) and (node.kind not in ("Subexpression", "IndexExpression")
                                              or strict(node.children[1]))
    return node.kind in _STRICT and not (node.kind == "Slice" and node.value[2] == 0)


def may_miss(node: Node) -> bool:
    """Whether a missing key may be the node's own result."""
    if node.kind in ("Subexpression", "IndexExpression", "AndExpression"):
        return any(map(may_miss, node.children))
    return node.kind == "Field"


def may_fail(node: Node) -> bool:
    return (node.kind in ("FunctionExpression", "Empty", "Literal") or (node.kind == "Slice" and node.value[2] == 0)
            or any(map(may_fail, node.children)))


def boolean(node: Node) -> bool:
    """Whether its value is true or false and nothing else."""
    return node.kind in ("NotExpression", "Comparator") or (
        node.kind == "FunctionExpression" and node.value in FUNCTIONS and FUNCTIONS[node.value].returns == ("bool",))
