"""`$(./../field)`: references from one text of a policy to another, resolved when the policy is loaded."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from policylang.errors import InvalidError, Shape
from policylang.go.numbers import format_float
from policylang.kpattern import anchor, operator

_REFERENCE = re.compile(r"(?:\A|(?<=[^\\]))\$\(.[^ ]*\)")
_ESCAPED = re.compile(r"\\(\$\(.[^ )]*\))")


def resolve(document: Any, where: str) -> Any:
    """The document with its references replaced by what they lead to, variables in it included.

    Raises InvalidError where a reference leads nowhere or to what cannot be written into a text.
    """
    leaves = {_plain(path): value for path, value in _leaves(document, "")}
    return _resolved(document, "", leaves, where) if any(
        isinstance(value, str) and "$(" in value for value in leaves.values()) else document


def _resolved(value: Any, path: str, leaves: dict[str, Any], where: str) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(item, f"{path}/{_key(key)}", leaves, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, f"{path}/{at}", leaves, f"{where}[{at}]") for at, item in enumerate(value)]
    if not isinstance(value, str) or "$(" not in value:
        return value
    return _ESCAPED.sub(r"\1", _REFERENCE.sub(lambda match: _target(match[0], path, leaves, where), value))


def _target(reference: str, path: str, leaves: dict[str, Any], where: str) -> str:
    inner = reference.strip("$()")
    sign = operator(inner)
    inner = inner[len(sign):]
    goal = inner if inner.startswith("/") else posixpath.join(path, inner)
    leaf = leaves.get(posixpath.normpath(goal)) if inner else None
    if isinstance(leaf, str):
        return sign + leaf
    if sign and isinstance(leaf, (int, float)) and not isinstance(leaf, bool):
        return sign + (str(leaf) if isinstance(leaf, int) else format_float(leaf, "f", 6))
    goal = "nothing" if leaf is None else str(Shape(leaf))
    raise InvalidError(where, got=f"{reference}, which leads to {goal}", expected="the path of a text")


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for key, member in value.items() for leaf in _leaves(member, f"{path}/{_key(key)}")]
    if isinstance(value, list):
        return [leaf for at, member in enumerate(value) for leaf in _leaves(member, f"{path}/{at}")]
    return [(path, value)]


def _key(key: str) -> str:
    return key.replace("/", "\\/")


def _plain(path: str) -> str:
    return posixpath.normpath("/" + "/".join(anchor(part)[1] for part in path.split("/")[1:]))
