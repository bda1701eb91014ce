"""Values as CEL: JSON as literals whose maps and lists may be of several types, with `{{ }}` filled in."""

from __future__ import annotations

from typing import Any

from custody.errors import UnsupportedError
from custody.policy.migrate.expressions import literal, quoted
from custody.policy.migrate.queries import Names, query, text_of, whole
from policylang.variables import has_variables


class Quoted(str):
    """One variable within quotes: a text, whatever its value is."""

    __slots__ = ()


def written(value: Any, where: str, names: Names) -> str:
    """JSON with variables in its texts as CEL. Raises UnsupportedError."""
    return typed(value, where, names)[0]


def typed(value: Any, where: str, names: Names) -> tuple[str, str]:
    """Text and type, as CEL's checker takes it: text, int, bool, map(…), list(…), or dyn where nobody knows it."""
    if isinstance(value, dict):
        members = {}
        for key, inner in value.items():
            name = text_of(key, where, names) if has_variables(key) else quoted(key)
            members[name] = typed(inner, f"{where}.{key}", names)
        texts, inner_type = _alike([*members.values()])
        pairs = ", ".join(f"{name}: {text}" for name, text in zip(members, texts, strict=True))
        return f"{{{pairs}}}", f"map({inner_type})"
    if isinstance(value, list):
        texts, inner_type = _alike([typed(inner, f"{where}[{at}]", names) for at, inner in enumerate(value)])
        return f"[{', '.join(texts)}]", f"list({inner_type})"
    if isinstance(value, str) and has_variables(value):
        expression = whole(value)
        if expression is None or isinstance(value, Quoted):
            return text_of(value, where, names), "text"
        said = query(expression, where, names)
        if said.over:
            raise UnsupportedError(where, f"{value}: a list of lists has no words in CEL here")
        if said.type == "timestamp":
            return f"string({said.text})", "text"
        if said.type == "duration":
            raise UnsupportedError(where, f"{value}: a duration is written in another way there")
        return said.text, said.type if said.type in ("text", "int", "bool") else "dyn"
    if isinstance(value, str):
        return quoted(value), "text"
    return literal(value), type(value).__name__


def _alike(parts: list[tuple[str, str]]) -> tuple[list[str], str]:
    """Members of one map or list, which CEL wants to be of one type."""
    types = {kind for _, kind in parts}
    if len(types) <= 1:
        return [text for text, _ in parts], next(iter(types), "dyn")
    return [text if kind == "dyn" else f"dyn({text})" for text, kind in parts], "dyn"
