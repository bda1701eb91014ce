"""Texts against patterns: glob as fnmatch(3), regex as RE2 in POSIX mode, pmatch by path components.

None of them takes longer than the text is long, whatever the pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from policylang.go.wildcards import starred

Predicate = Callable[[Any], bool]
LONGEST = 10_000  # characters of a pattern
_SURROGATE = re.compile("[\ud800-\udfff]")
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def lowered(text: str) -> str:
    """ASCII letters only, as in the C locale."""
    return text.lower() if text.isascii() else text.translate(_LOWER)


def uppered(text: str) -> str:
    return text.upper() if text.isascii() else re.sub("[a-z]+", lambda match: match[0].upper(), text)


@lru_cache(1024)
def glob(pattern: str, fold: bool = False) -> Predicate:
    """fnmatch(3) without flags: `*` and `?` match a slash too, `\\` escapes, `[!a]` and `[^a]` negate."""
    if fold:
        pattern = lowered(pattern)
        plain = glob(pattern)
        return lambda text: plain(lowered(text))
    if not any(letter in pattern for letter in "?[\\"):
        return starred(pattern)
    return _fullmatch(_translated(pattern), posix=False)


def _translated(pattern: str) -> str:
    out, at = ["(?s)"], 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "*":
            if out[-1] != ".*":
                out.append(".*")
        elif letter == "?":
            out.append(".")
        elif letter == "\\" and at < len(pattern):
            out.append(_escaped(pattern[at]))
            at += 1
        elif letter == "[" and (end := _closing(pattern, at)) > 0:
            out.append(_set(pattern[at:end]))
            at = end + 1
        else:
            out.append(_escaped(letter))
    return "".join(out)


def _escaped(letter: str) -> str:
    return "\\" + letter if letter in r"\.+*?()|[]{}^$-&~#" else letter


def _closing(pattern: str, at: int) -> int:
    """Where the bracket expression that begins at `at` ends, or -1: `[` is then a letter."""
    if at < len(pattern) and pattern[at] in "!^":
        at += 1
    if at < len(pattern) and pattern[at] == "]":
        at += 1
    while at < len(pattern) and pattern[at] != "]":
        if pattern.startswith("[:", at) and (end := pattern.find(":]", at)) > 0:
            at = end + 2
        else:
            at += 2 if pattern[at] == "\\" else 1
    return at if at < len(pattern) else -1


def _set(body: str) -> str:
    negative = body[:1] in ("!", "^")
    out, at = [], int(negative)
    while at < len(body):
        if body.startswith("[:", at) and (end := body.find(":]", at)) > 0:
            out.append(body[at:end + 2])
            at = end + 2
            continue
        letter = body[at]
        at += 1
        if letter == "-" and out and at < len(body):
            out.append("-")
            continue
        if letter == "\\" and at < len(body):
            letter = body[at]
            at += 1
        out.append(_escaped(letter))
    return f"[{'^' * negative}{''.join(out)}]"


@lru_cache(1024)
def regex(pattern: str) -> Predicate:
    """The whole text must match. ValueError with RE2's words."""
    return _fullmatch(pattern, posix=True)


def _fullmatch(pattern: str, *, posix: bool) -> Predicate:
    import re2

    if len(pattern) > LONGEST:
        raise ValueError(f"invalid regex pattern: pattern too large: {len(pattern)} characters, at most {LONGEST}")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 4 << 20
    options.posix_syntax = options.longest_match = posix
    try:
        fullmatch = re2.compile(pattern, options).fullmatch
    except re2.error as wrong:
        told = wrong.args[0] if wrong.args else ""
        text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
        raise ValueError(f"invalid regex pattern: {text}") from None

    def matches(text: str) -> bool:
        try:
            return fullmatch(text) is not None
        except UnicodeEncodeError:  # bytes that are no UTF-8: who chooses them must not choose that nothing is asked
            return fullmatch(_SURROGATE.sub("\ufffd", text)) is not None

    return matches


_Tree = dict[str, Any]  # component -> True where a path ends, else the components below


def prefixes(paths: Iterable[str]) -> Predicate:
    """pmatch: is one of `paths` the text, or a directory above it? Components may hold glob characters."""
    plain: _Tree = {}
    globbed = []
    for path in paths:
        components = ["root", *(part for part in path.split("/") if part)]
        if any(letter in path for letter in "?*["):
            globbed.append([glob(part) for part in components])
            continue
        node: Any = plain
        for component in components[:-1]:
            node = node.setdefault(component, {})
            if node is True:
                break  # a shorter path is there already
        else:
            node[components[-1]] = True

    def matches(text: str) -> bool:
        components = ["root", *(part for part in text.split("/") if part)]
        node: Any = plain
        for component in components:
            node = node.get(component)
            if node is True:
                return True
            if node is None:
                break
        return any(len(parts) <= len(components) and all(part(component) for part, component in zip(
            parts, components, strict=False)) for parts in globbed)

    return matches
