"""Conditions that can never hold as their author meant them: what Kyverno refuses when a policy is applied.

They are those of a rule's `preconditions` and `deny`; what a foreach has is not looked at, as Kyverno does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from custody.errors import MalformedError
from custody.policy.resources import OPERATIONS
from policylang.errors import Shape


def check_conditions(block: Any, where: str) -> None:
    """Raises MalformedError for a condition without key or value, or that compares the operation to what is none."""
    for path, condition in _conditions(block, where):
        for name in ("key", "value"):
            if condition.get(name) is None:
                raise MalformedError(f"{path}.{name}", got=None, expected="a value: it is missing or misspelled")
        key, value = condition["key"], condition["value"]
        if not isinstance(key, str) or key.replace(" ", "") != "{{request.operation}}":
            continue
        if isinstance(value, str) and value.startswith("{{") and value.endswith("}}"):
            continue
        if not isinstance(value, (str, list)):
            raise MalformedError(f"{path}.value", got=Shape(value), expected="text or a list")
        for at, member in enumerate([value] if isinstance(value, str) else value):
            if member not in OPERATIONS:
                raise MalformedError(f"{path}.value" if isinstance(value, str) else f"{path}.value[{at}]",
                                     got=member if isinstance(member, str) else Shape(member),
                                     expected=f"one of {', '.join(OPERATIONS)}")


def _conditions(block: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(block, list):
        for at, member in enumerate(block):
            yield from _conditions(member, f"{where}[{at}]")
    elif isinstance(block, dict) and block.keys() & {"any", "all"}:
        for part in ("any", "all"):
            yield from _conditions(block.get(part) or [], f"{where}.{part}")
    elif isinstance(block, dict) and "operator" in block:
        yield where, block
