"""CEL as text: conjunctions, quoted texts, members of maps, and wildcards as tests of texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

TRUE, FALSE = "true", "false"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_TOKENS = frozenset(("in", "true", "false", "null"))
_SPECIAL = re.compile(r"[.+*?()|\[\]{}^$\\]")


def every(parts: Iterable[str]) -> str:
    """All of them hold."""
    kept = list(dict.fromkeys(part for part in parts if part != TRUE))
    if FALSE in kept:
        return FALSE
    return TRUE if not kept else kept[0] if len(kept) == 1 else " && ".join(map(_joined, kept))


def some(parts: Iterable[str]) -> str:
    """One of them holds."""
    kept = list(dict.fromkeys(part for part in parts if part != FALSE))
    if TRUE in kept:
        return TRUE
    return FALSE if not kept else kept[0] if len(kept) == 1 else " || ".join(map(_joined, kept))


def negation(part: str) -> str:
    if part in (TRUE, FALSE):
        return FALSE if part == TRUE else TRUE
    if part.startswith("!") and is_unit(part[1:]):
        return part[1:]
    return f"!{part}" if is_unit(part) else f"!({part})"


def _joined(part: str) -> str:
    return part if is_unit(part) or is_unit(part.removeprefix("!")) or not _loose(part) else f"({part})"


def _loose(part: str) -> bool:
    """Whether it has an operator outside of all brackets that binds less than a comparison."""
    return any(letter in "&|?" for letter in _outside(part))


def is_unit(part: str) -> bool:
    """Whether it is a name, a call, a member or an index, or stands in brackets: nothing outside binds into it."""
    return not any(letter in "&|?=!<>+-*/% " for letter in _outside(part).replace(".?", ".").replace("[?", "["))


def _outside(part: str) -> str:
    """What stands outside of brackets and of quotes."""
    kept, depth, quoted, escaped = [], 0, "", False
    for letter in part:
        if quoted:
            if escaped:
                escaped = False
            elif letter == "\\":
                escaped = True
            elif letter == quoted:
                quoted = ""
        elif letter in "\"'":
            quoted = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif depth == 0:
            kept.append(letter)
    return "".join(kept)


def quoted(text: str) -> str:
    body = json.dumps(text, ensure_ascii=False)[1:-1]
    return f'"{body}"' if "'" in text else "'" + body.replace('\\"', '"') + "'"


def literal(value: object) -> str:
    """Of JSON. A whole number is an int."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(key)}: {literal(member)}' for key, member in value.items())}}}"
    return repr(value)


def member(of: str, name: str, *, optional: bool = False) -> str:
    if _NAME.match(name) and name not in _TOKENS:
        return f"{of}.{'?' if optional else ''}{name}"
    return f"{of}[{'?' if optional else ''}{quoted(name)}]"


def present(of: str, name: str) -> str:
    """Whether a map has a member."""
    if _NAME.match(name) and name not in _TOKENS:
        return f"has({of}.{name})"
    return f"{quoted(name)} in {of}"


def wildcard(pattern: str, text: str) -> str:
    """Whether a text, an expression, is what a pattern of `*` and `?` stands for."""
    if "*" not in pattern and "?" not in pattern:
        return f"{text} == {quoted(pattern)}"
    if not pattern.strip("*"):
        return TRUE
    if pattern.strip("*") == "?" and "*" in pattern:
        return f"{text} != ''"
    stem = pattern.strip("*")
    if "*" not in stem and "?" not in stem:
        ends = (pattern.startswith("*"), pattern.endswith("*"))
        word = {(True, True): "contains", (False, True): "startsWith", (True, False): "endsWith"}[ends]
        return f"{text}.{word}({quoted(stem)})"
    expression = "".join(".*" if letter == "*" else "." if letter == "?" else _SPECIAL.sub(r"\\\g<0>", letter)
                         for letter in pattern)
    return f"{text}.matches({quoted(f'^(?s:{expression})$')})"
