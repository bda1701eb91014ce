"""Gatekeeper's policy library: every template compiles, and its suites' cases get the verdicts that they assert.

`-migrate`: the constraints of templates in CEL as ValidatingPolicies, which a search proved, get them, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from custody.errors import CustodyError
from custody.formats import yaml
from custody.policy.decide import decide
from custody.policy.engines import compile_document
from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from custody.policy.migrate.gatekeeper import TARGETS, Constraints
from custody.policy.model import Context, Outcome
from custody.services.simulation.standing import Standing
from custody.services.simulation.suites import Case, Filter, Result, Runner, find, request_of

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


def migrated(folder: Path) -> Iterator[tuple[str, str | None]]:
    """(each case whose template has CEL, what is wrong with it)"""
    kinds = builtin()
    for suite in find(f"{folder}/..."):
        place = suite.path.parent
        for trial in suite.trials:
            documents = [("template", _document(place / trial.template)), ("constraint", _document(
                place / trial.constraint))]
            if "K8sNativeValidation" not in str(documents[0][1]) or trial.expansion:
                continue
            given = [document for case in trial.cases if (document := _document(place / case.object)).get(
                "kind") != "AdmissionReview"]
            (made,) = Constraints(documents, kinds, lambda words, standing: Standing(
                standing, kinds, dict([*words.labels.items()][:40]), words.texts[:40]), given=given).migrated(
                    TARGETS[0], 400)
            for case in trial.cases:
                name = f"{suite.path.relative_to(folder)} {trial.name}/{case.name}"
                yield name, made.refused.message if made.refused is not None else _differs(
                    made.documents, place, case)


def _document(path: Path) -> dict[str, Any]:
    (document,) = yaml.documents(path.read_bytes(), str(path))
    return document


def _differs(policies: Any, place: Path, case: Case) -> str | None:
    """Of what a case asserts. A policy stops at what it is first against, so of numbers only 0 counts."""
    decision = decide(request_of(_document(place / case.object)), {}, PolicySet(policies), Context(now=_NOW))
    against = [result.message for result in decision.results if result.outcome in (Outcome.FAIL, Outcome.ERROR)]
    for assertion in case.assertions:
        expected = assertion.violations not in (0, "no")
        said = [message for message in against if assertion.pattern is None or assertion.pattern.search(message)]
        if bool(said) != expected:
            return f"got {against}, expected {assertion.violations} with {assertion.message}"
    return None


PARTS = {"migrate": migrated}
