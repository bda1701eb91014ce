"""What is known of JMESPath before it is said in CEL."""

from __future__ import annotations

from policylang.jmespath import Node


def asks(node: Node) -> bool:
    """Whether a function that takes no null has `@` for an argument."""
    return any((node.kind == "FunctionExpression" and child.kind == "CurrentNode" and node.value not in (
        "to_string", "to_array", "type", "not_null")) or asks(child) for child in node.children)


def is_text(steps: list[str]) -> bool:
    """Whether a path leads to a text in any object: names, labels and annotations."""
    return steps in (["kind"], ["apiVersion"]) or (steps[:1] == ["metadata"] and (
        steps[1:] in (["name"], ["namespace"], ["uid"]) or (len(steps) == 3 and steps[1] == "labels")))
