"""Keys of patterns: `(k)`, `=(k)`, `^(k)`, `X(k)`, `<(k)`, `+(k)`, and what cannot be a pattern."""

from __future__ import annotations

import re
from typing import Any

from policylang.errors import InvalidError
from policylang.go.printing import sprint

CONDITION, EQUALITY, EXISTENCE, NEGATION, GLOBAL, ADDITION = "", "=", "^", "X", "<", "+"
FIRST = (CONDITION, EQUALITY, EXISTENCE, NEGATION)
"""Those that are evaluated before the plain keys of their map."""
DEEPEST = 60
_ANCHOR = re.compile(r"([+<=X^])?\((.+)\)\Z", re.DOTALL)


def anchor(key: str) -> tuple[str | None, str]:
    """`=(image)` is ("=", "image"); a plain key has None for its anchor."""
    match = _ANCHOR.match(key.strip())
    return (match[1] or "", match[2]) if match else (None, key)


def anchored(pattern: Any) -> bool:
    """Whether there is an anchor in it, at any depth."""
    if isinstance(pattern, dict):
        return any(anchor(key)[0] not in (None, ADDITION) or anchored(value) for key, value in pattern.items())
    return isinstance(pattern, list) and any(map(anchored, pattern))


def skips(pattern: Any) -> bool:
    """Whether evaluating it can end in skipping the rule."""
    if isinstance(pattern, dict):
        return any(anchor(key)[0] in (CONDITION, GLOBAL) or (anchor(key)[0] not in (NEGATION, EXISTENCE)
                                                              and skips(value)) for key, value in pattern.items())
    return isinstance(pattern, list) and any(map(skips, pattern))


def checked(pattern: Any, where: str, depth: int = 0) -> None:
    """Raises InvalidError for a pattern that could never be evaluated."""
    if depth > DEEPEST:
        raise InvalidError(where, got=f"a pattern of more than {DEEPEST} levels", expected="fewer")
    if isinstance(pattern, dict):
        for key, value in pattern.items():
            kind = anchor(key)[0]
            if kind == ADDITION:
                raise InvalidError(f"{where}.{key}", got="an add anchor", expected="() =() ^() X() or <()")
            if kind == EXISTENCE and not (isinstance(value, list) and value
                                          and all(isinstance(element, dict) for element in value)):
                raise InvalidError(f"{where}.{key}", got=sprint(value), expected="a list of maps")
            checked(value, f"{where}.{key}", depth + 1)
    elif isinstance(pattern, list):
        if not pattern:
            raise InvalidError(where, got="an empty list", expected="at least one element")
        for position, value in enumerate(pattern):
            checked(value, f"{where}[{position}]", depth + 1)


# ── wildcards in the keys of labels and annotations ─────────────────────────────────────────────────────────────────

def wild_tags(pattern: dict[str, Any]) -> tuple[str, list[str]] | None:
    """(the key of `metadata`, the keys in it whose maps have wildcards as keys), or None where there are none."""
    key = next((key for key in pattern if anchor(key)[1] == "metadata"), None)
    metadata = pattern[key] if key is not None else None
    if key is None or not isinstance(metadata, dict):
        return None
    tags = [tag for tag in metadata if anchor(tag)[1] in ("labels", "annotations") and isinstance(metadata[tag], dict)
            and any("*" in name or "?" in name for name in metadata[tag])]
    return (key, tags) if tags else None
