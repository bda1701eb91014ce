"""How large one document may be that becomes a policy: what compiling it takes is bounded by it.

The largest of the policies that Kyverno and its users publish has some 300 values, 18 levels and 20 variables.
"""

from __future__ import annotations

from typing import Any

from custody.errors import MalformedError

MAX_DEPTH = 64
MAX_VALUES = 50_000
MAX_TEXT = 3 << 19
"""Characters of all texts: no cluster keeps an object that is larger than 1.5 MiB."""
MAX_VARIABLES = 2_000
"""`{{`: each is an expression to compile, about a millisecond, and up to three times for controllers of pods."""


def bound(document: Any) -> None:
    """Raises MalformedError that names the innermost field which is too deep, too large or has too many variables."""
    _weighed(document, "", 0)


def _weighed(value: Any, where: str, depth: int) -> tuple[int, int, int]:
    """(values, characters, variables)"""
    if isinstance(value, str):
        values, text, variables = 1, len(value), value.count("{{")
    elif isinstance(value, (dict, list)):
        if depth > MAX_DEPTH:
            raise MalformedError(where, got=f"more than {MAX_DEPTH} levels",
                                 expected=f"at most {MAX_DEPTH} in a policy")
        values, text, variables = 1, 0, 0
        for name, member in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(name, str):
                text += len(name)
                inner = f"{where}.{name[:100]}" if where else name[:100]
            else:
                inner = f"{where}[{name}]"
            part = _weighed(member, inner, depth + 1)
            values, text, variables = values + part[0], text + part[1], variables + part[2]
    else:
        return 1, 0, 0
    for name, count, most in (("values", values, MAX_VALUES), ("characters", text, MAX_TEXT),
                              ("variables", variables, MAX_VARIABLES)):
        if count > most:
            raise MalformedError(where, got=f"{count} {name}", expected=f"at most {most} in a policy")
    return values, text, variables
