"""A test's documents: its steps with their templates taken in, and files of objects with bindings put in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TEMPLATES = Path(__file__).with_name("templates")
"""Kyverno's step templates by the names of their files, in our own words, where a set of tests comes without them."""
PARTS = ("try", "catch", "finally", "cleanup")


class UnsupportedStepError(Exception):
    """A part of a test that is not run here."""


@dataclass
class Step:
    name: str
    parts: dict[str, list[dict[str, Any]]]
    """By PARTS."""
    bindings: list[dict[str, Any]]
    """`name` and `value`, to be evaluated in order."""


@dataclass
class Test:
    name: str
    folder: Path
    steps: list[Step]
    timeouts: dict[str, float]
    """Seconds by operation, where the test or its folder's configuration says so."""
    bindings: list[dict[str, Any]]
    namespace: str = ""


def seconds(text: Any) -> float:
    """A Go duration: 1m30s."""
    total, number = 0.0, ""
    for part in str(text).replace("ms", "u"):
        if part.isdigit() or part == ".":
            number += part
        else:
            total += float(number) * {"h": 3600, "m": 60, "s": 1, "u": 0.001}[part]
            number = ""
    return total


def documents(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".json":
        return [yaml.safe_load(file.read_text())]
    return [document for document in yaml.load_all(file.read_text(), yaml.CSafeLoader) if document]


def read(file: Path) -> list[Test]:
    """The tests of one chainsaw-test.yaml. Raises UnsupportedStepError."""
    tests = []
    for document in documents(file):
        if document.get("kind") != "Test":
            continue
        spec = document["spec"]
        steps = [_step(step, file.parent, f"step-{at}") for at, step in enumerate(spec["steps"], 1)]
        timeouts = {name: seconds(value) for name, value in (spec.get("timeouts") or {}).items()}
        tests.append(Test(document["metadata"]["name"], file.parent, steps, timeouts, spec.get("bindings") or [],
                          str(spec.get("namespace") or "")))
    return tests


def _step(step: dict[str, Any], folder: Path, name: str) -> Step:
    bindings = list(step.get("bindings") or [])
    parts = {part: list(step.get(part) or []) for part in PARTS}
    use = step.get("use")
    if use:
        template = _template(folder, str(use["template"]))
        spec = template["spec"]
        bindings = list(spec.get("bindings") or []) + list((use.get("with") or {}).get("bindings") or []) + bindings
        for part in PARTS:
            parts[part] = list(spec.get(part) or []) + parts[part]
    return Step(str(step.get("name") or name), parts, bindings)


def _template(folder: Path, path: str) -> dict[str, Any]:
    for file in (folder / path, TEMPLATES / Path(path).name):
        if file.is_file():
            template: dict[str, Any] = documents(file)[0]
            return template
    raise UnsupportedStepError(f"step template {Path(path).name} is not here")
