"""Rules with `validate` of Kyverno's own policies, migrated, in the place of the old ones in their tests.

A case is a rule, right where it is migrated and every row of its tests is what it was before. A row is not compared
where the test itself says what the rule looks up (`variables`), which a policy of CEL is not told.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from custody.errors import CustodyError
from custody.formats import yaml
from custody.policy.kinds import builtin
from custody.policy.migrate.answers import entries
from custody.policy.migrate.rules import Migrated, migrate
from custody.services.simulation import policies, testfile, testing
from custody.services.simulation.testfile import Broken, TestFile

SAMPLES = 40
_LOOKUPS = ("apiCall", "configMap", "imageRegistry", "globalReference")
_AUTOGEN = ("autogen-cronjob-", "autogen-")


class Rule(NamedTuple):
    """One rule of a file of policies, and what became of it."""

    file: str
    document: dict[str, Any]
    written: dict[str, Any]
    migrated: Migrated

    @property
    def name(self) -> str:
        return f"{self.file} {self.document['metadata']['name']}/{self.written['name']}"

    @property
    def looks_up(self) -> bool:
        return any(form in entry for entry in entries(self.written) for form in _LOOKUPS)


class Rows(NamedTuple):
    """Of one rule."""

    same: int
    wrong: list[str]
    mocked: int


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    """(the rule, what is wrong)."""
    for rule, rows in judged(folder):
        if rule.migrated.refused is not None:
            yield rule.name, rule.migrated.refused.message
        else:
            yield rule.name, rows.wrong[0] if rows.wrong else None


@lru_cache(1)
def judged(folder: Path) -> list[tuple[Rule, Rows]]:
    kinds = builtin()
    rules: dict[Path, list[Rule]] = {}
    for path in sorted(folder.rglob("*.yaml")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        for document in _policies(path):
            if not any(rule.get("validate") for rule in document["spec"]["rules"]):
                continue
            try:
                made = migrate(document, kinds, (), SAMPLES)
            except CustodyError:
                continue
            rules.setdefault(path, []).extend(
                Rule(str(path.relative_to(folder)), document, written, migrated)
                for written, migrated in zip(document["spec"]["rules"], made, strict=True) if written.get("validate"))
    counted: dict[int, Rows] = {id(rule): Rows(0, [], 0) for group in rules.values() for rule in group}
    for file in testfile.find(folder):
        for test in testfile.read(file):
            if not isinstance(test, Broken):
                _count(test, rules, counted)
    return [(rule, counted[id(rule)]) for group in rules.values() for rule in group]


def _policies(path: Path) -> Iterator[dict[str, Any]]:
    try:
        located = [*policies.documents([path])]
    except CustodyError:
        return
    for _, document in located:
        if isinstance(document, dict) and document.get("kind") in ("ClusterPolicy", "Policy") and isinstance(
                document.get("spec"), dict) and document["spec"].get("rules"):
            yield document


def _count(test: TestFile, rules: dict[Path, list[Rule]], counted: dict[int, Rows]) -> None:
    asked = {(rule.document["metadata"]["name"], rule.written["name"]): rule for path in test.files("policies")
             for rule in rules.get(path, []) if rule.migrated.refused is None}
    results, owners = [], []
    for result in test.results:
        rule = asked.get((result.policy.rpartition("/")[2], base(result.rule)))
        if rule is None:
            continue
        if rule.looks_up and not test.context:
            rows = counted[id(rule)]
            counted[id(rule)] = rows._replace(mocked=rows.mocked + max(1, len(result.resources or ())))
            continue
        results.append(dataclasses.replace(result, policy=str(rule.migrated.documents[0]["metadata"]["name"]), rule=""))
        owners.append(rule)
    if not results:
        return
    with tempfile.TemporaryDirectory() as place:
        made = Path(place, "migrated.yaml")
        documents = [document for rule in {id(rule): rule for rule in owners}.values()
                     for document in rule.migrated.documents]
        made.write_text("---\n".join(yaml.dumped(document) for document in documents))
        changed = dataclasses.replace(test, lists={**test.lists, "policies": [str(made)]}, results=results)
        by_policy = {result.policy: rule for result, rule in zip(results, owners, strict=True)}
        try:
            rows = asyncio.run(testing.run(changed, results, testing.Others(), datetime.now(UTC), lambda _: None))
        except CustodyError as error:
            for rule in by_policy.values():
                counted[id(rule)].wrong.append(error.message)
            return
        for row in rows:
            before = counted[id(by_policy[row.policy])]
            counted[id(by_policy[row.policy])] = before._replace(same=before.same + row.passed, wrong=[
                *before.wrong, *([] if row.passed else [f"{row.resource}: {row.reason}: {row.message}"])])


def base(rule: str) -> str:
    """The name of the rule that Kyverno made a rule of."""
    for prefix in _AUTOGEN:
        if rule.startswith(prefix):
            return rule.removeprefix(prefix)
    return rule


def main(folder: Path) -> None:
    """Counts, and each rule that is not right."""
    said = judged(folder)
    total: Counter[str] = Counter()
    for rule, rows in said:
        total["rules"] += 1
        total["migrated"] += rule.migrated.refused is None
        total["rows equal"] += rows.same
        total["rows different"] += len(rows.wrong)
        total["rows whose look-ups the test says"] += rows.mocked
        for wrong in rows.wrong:
            print(f"{rule.name}: {wrong}")
    print(dict(total))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
