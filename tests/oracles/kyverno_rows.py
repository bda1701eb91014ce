"""Kyverno's tests of policies, each `kyverno-test.yaml` run as `custody policy test` runs it, a case a row.

A row is a result beside a resource, as the Kyverno CLI counts them. A test that cannot be run counts with as many rows
as its results name resources, all of them wrong, but for those that the Kyverno CLI 1.19.1 cannot run either (ENDED).
Rows of policies of kyverno.io and of CEL are counted apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from custody.errors import CustodyError
from custody.services.simulation import policies, testfile, testing
from custody.services.simulation.testfile import Broken, TestFile

ENDED = {"test-context-apicall": "failed to get the resource's namespace",
         "test-context-configmap": "failed to get the resource's namespace"}
"""Tests that end with an error in the Kyverno CLI, and a part of its words."""
FAILING = "missing-policy"
"""The test that is there to fail."""


class Case(NamedTuple):
    name: str
    cel: bool
    wrong: str | None


@lru_cache(2)
def cases(folder: Path) -> list[Case]:
    return [case for file in testfile.find(folder) for case in _cases(file, folder)]


def classic(folder: Path) -> Iterator[tuple[str, str | None]]:
    return ((case.name, case.wrong) for case in cases(folder) if not case.cel)


def cel(folder: Path) -> Iterator[tuple[str, str | None]]:
    return ((case.name, case.wrong) for case in cases(folder) if case.cel)


def _cases(file: Path, folder: Path) -> Iterator[Case]:
    where = str(file.parent.relative_to(folder))
    for test in testfile.read(file):
        if isinstance(test, Broken):
            yield Case(where, False, test.error.message)
            continue
        kinds = _kinds(test)
        try:
            rows = asyncio.run(testing.run(test, test.results, testing.Others(), datetime.now(UTC), lambda _: None))
        except CustodyError as error:
            if (words := ENDED.get(file.parent.name)) is not None and words in error.message:
                continue
            for result in test.results:
                for name in result.resources or ("",):
                    yield Case(f"{where} {result.policy} {name}", kinds.get(_name(result.policy), False), error.message)
            continue
        for row in rows:
            wrong = None if row.passed else f"{row.reason}: {row.message}"
            if file.parent.name == FAILING:
                wrong = "it passed" if row.passed else None
            yield Case(f"{where} {row.policy} {row.rule} {row.resource}", kinds.get(_name(row.policy), False), wrong)


def _name(policy: str) -> str:
    return policy.rpartition("/")[2]


def _kinds(test: TestFile) -> dict[str, bool]:
    """Whether a policy is one of CEL, by its name."""
    try:
        located = [*policies.documents(policies.policy_files(test.files("policies")))]
    except CustodyError:
        return {}
    return {str(document["metadata"].get("name")): not str(document.get("apiVersion", "")).startswith("kyverno.io/")
            for _, document in located if isinstance(document, dict) and isinstance(document.get("metadata"), dict)}
