"""Expressions and patterns of Kyverno's policies, found in folders of YAML files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from custody.formats.yaml import documents
from policylang.errors import LanguageError

_KINDS = ("ClusterPolicy", "Policy", "CleanupPolicy", "ClusterCleanupPolicy")
_QUERIES = ("jmesPath", "jmespath", "list")
_MUTATION = ("patchStrategicMerge", "patchesJson6902", "data")


def policies(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file, policy) of every document of a classic policy kind."""
    for file in sorted(folder.rglob("*.y*ml")):
        try:
            found = documents(file.read_bytes(), file.name)
        except LanguageError:
            continue
        for document in found:
            if isinstance(document, dict) and document.get("kind") in _KINDS:
                yield str(file.relative_to(folder)), document


def jmespath_expressions(folder: Path) -> Iterator[tuple[str, str, str]]:
    """(file, path, text): texts with `{{ variables }}`, and the fields that are an expression without braces."""
    for file, policy in policies(folder):
        for path, key, text in _texts(policy, "", ""):
            if "{{" in text or "$(" in text or key in _QUERIES:
                yield file, path, text


def patterns(folder: Path) -> Iterator[tuple[str, str, Any]]:
    """(file, path, pattern) of every validate.pattern and anyPattern, those of foreach too."""
    for file, policy in policies(folder):
        for path, pattern in _patterns(policy, ""):
            yield file, path, pattern


def _texts(value: Any, path: str, key: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(value, dict):
        for name, one in value.items():
            if "{{" in name:
                yield f"{path}.{name}", "", name
            yield from _texts(one, f"{path}.{name}", name)
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from _texts(one, f"{path}[{at}]", "")
    elif isinstance(value, str):
        yield path, key, value


def _patterns(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, one in value.items():
            here = f"{path}.{name}"
            if name == "pattern" and ("validate" in path or "foreach" in path) and isinstance(one, dict):
                yield here, one
            elif name == "anyPattern" and isinstance(one, list):
                yield from ((f"{here}[{at}]", each) for at, each in enumerate(one))
            elif name not in _MUTATION:
                yield from _patterns(one, here)
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from _patterns(one, f"{path}[{at}]")
