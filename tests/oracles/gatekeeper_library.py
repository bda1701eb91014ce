"""Gatekeeper's policy library: every template compiles, and its suites' cases get the verdicts that they assert."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from custody.errors import CustodyError
from custody.formats import yaml
from custody.policy.engines import compile_document
from custody.services.simulation.suites import Filter, Result, Runner, find

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    for path in sorted(folder.rglob("template.yaml")):
        yield f"{path.relative_to(folder)}", _compiles(path)
    runner = Runner(_NOW, Filter(""))
    for suite in find(f"{folder}/..."):
        name = str(suite.path.relative_to(folder))
        for test in runner.run(suite).inner:
            for case in test.inner or [Result("", error=test.error)]:
                yield f"{name} {test.name}/{case.name}", case.error or None


def _compiles(path: Path) -> str | None:
    try:
        compile_document(yaml.documents(path.read_bytes(), str(path))[0], 0, str(path))
    except CustodyError as error:
        return error.message
    return None
