"""The fields that policies name, as trees: of maps, lists of one tree, and None where nothing below is named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from policylang.kpattern import anchor

Tree = dict[str, Any]
"""Fields that are named: maps, lists of one tree, or None where nothing below is."""


def fitting(patch: Any) -> Any:
    """What an object looks like that a strategic merge has something to do with: its anchors hold."""
    if isinstance(patch, dict):
        return {f"=({anchor(key)[1]})" if anchor(key)[0] in (None, "+") else key: fitting(value)
                for key, value in patch.items()}
    if isinstance(patch, list):
        return [fitting(part) for part in patch]
    return "*" if isinstance(patch, str) and "{{" in patch else patch


def nested(steps: list[str]) -> Any:
    made: Any = None
    for step in reversed(steps):
        made = {step: made}
    return made


def holders(tree: Any, name: str) -> list[tuple[Tree, str]]:
    if isinstance(tree, list):
        return holders(tree[0], name)
    if not isinstance(tree, dict):
        return []
    return [*([(tree, name)] if name in tree else []), *(hit for value in tree.values() for hit in
                                                         holders(value, name))]


def names_of(tree: Any) -> list[str]:
    if isinstance(tree, list):
        return names_of(tree[0])
    return [*tree, *(name for below in tree.values() for name in names_of(below))] if isinstance(tree, dict) else []


def lists(tree: Any) -> Iterator[list[Any]]:
    if isinstance(tree, list):  # those within are of its elements' own
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from lists(value)


def grow(tree: Any, more: Any) -> None:
    if not isinstance(tree, dict) or not isinstance(more, dict):
        return
    for key, value in more.items():
        below = tree.get(key)
        if isinstance(below, list) and isinstance(value, list):
            if below[0] is None:
                below[0] = value[0]
            else:
                grow(below[0], value[0])
        elif isinstance(below, dict):
            grow(below, value[0] if isinstance(value, list) else value)
            if isinstance(value, list):
                tree[key] = [below]
        elif isinstance(below, list):
            grow(below[0], value)
        elif below is None:
            tree[key] = value


def ways(text: str) -> Iterator[Any]:
    """Where the operations of JSON Patches lead, as trees; a variable in a path is an index."""
    text = re.sub(r"\{\{.*?\}\}", "0", text)
    for path in re.findall(r"""\b(?:path|from)["']?:\s*["']?(/[^\s"',}]*)""", text):
        made: Any = None
        for step in reversed(path.split("/")[1:]):
            made = [made] if step == "-" or step.isdigit() else {step.replace("~1", "/").replace("~0", "~"): made}
        yield made
