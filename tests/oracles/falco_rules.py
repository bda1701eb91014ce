"""falco-rules: Falco's rule files. A row per rule, macro and list: it loads, and its condition compiles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from policylang import falco
from policylang.errors import LanguageError


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    for file in sorted(folder.rglob("*.yaml")):
        yield from rows(file.name, file.read_text(), {})


def rows(name: str, text: str, before: dict[str, str]) -> Iterator[tuple[str, str | None]]:
    items = [item for item in yaml.load(text, yaml.CSafeLoader) or [] if isinstance(item, dict)]
    try:
        rules, failure = falco.load({**before, name: text}), None
    except LanguageError as error:
        rules, failure = None, str(error)
    for item in items:
        for kind in ("rule", "macro", "list"):
            if kind in item:
                yield f"{name} {kind} {item[kind]}", failure or _reason(rules, kind, item)


def _reason(rules: Any, kind: str, item: dict[str, Any]) -> str | None:
    name = item[kind]
    if kind == "list":
        return None if all(str(each) in rules.lists[name] or each in rules.lists for each in item["items"]) else (
            "items are missing")
    if kind == "macro":
        return None if name in rules.macros else "not loaded"
    try:
        rule = rules[name]
    except KeyError:
        return "not loaded"
    matcher = rules.compile(rule.source, "all")
    types = matcher.event_types() if rule.source == "syscall" else {"pluginevent"}
    if not types:
        return "no event can match"
    return None if rule.level.upper().startswith(str(item.get("priority", rule.level)).upper()) else rule.level
