"""Which tests are run: `policy=…, rule=…, resource=…` of `--test-case-selector`, each a wildcard pattern."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from custody.services.simulation.testfile import Expected
from policylang.go.wildcards import glob


class Selector(NamedTuple):
    chosen: Callable[[Expected], bool]
    resources: tuple[str, ...]
    """Which every result is about, where some are named; a `*` ends them."""
    wrong: tuple[str, ...]
    """Messages about parts that select nothing."""


def parse(text: str) -> Selector:
    filters: list[tuple[str, str]] = []
    wrong: list[str] = []
    for part in text.split(",") if text else ():
        pieces = part.split("=")
        if len(pieces) != 2:
            wrong.append(f"Invalid test-case-selector argument ({part}). Parameter must be in the form "
                         "`<key>=<value>`.")
        elif pieces[0].strip() not in ("policy", "rule", "resource"):
            wrong.append(f"Invalid test-case-selector ({part}). Parameter can only be policy, rule or resource.")
        else:
            filters.append((pieces[0].strip(), pieces[1].strip()))
    resources: list[str] = []
    for key, value in filters if not wrong else ():
        if key == "resource":
            if value == "*":
                break
            resources.append(value)
    return Selector(lambda expected: all(_holds(expected, key, value) for key, value in filters), tuple(resources),
                    tuple(wrong))


def _holds(expected: Expected, key: str, pattern: str) -> bool:
    if key == "resource":
        return not expected.resources or any(glob(pattern, name) for name in expected.resources)
    value = expected.policy if key == "policy" else expected.rule
    return not value or glob(pattern, value)
