"""Migrated policies beside those that Kyverno's people wrote in CEL: `python -m tests.fuzz.migrated_twins FOLDER`.

FOLDER has `GROUP/NAME` and, of the same name, `GROUP-cel/NAME` or `GROUP-vpol/NAME`. Both are asked about the resources
of the tests of both, created. A twin may mean another thing; each difference is printed, and nothing is right or wrong.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from custody.errors import CustodyError
from custody.policy.decide import decide
from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from custody.policy.model import Context, Outcome, Request
from custody.ports.lookup import Answered, NamespaceLabels
from custody.services.simulation import documents, policies, testfile
from custody.services.simulation.testfile import Broken
from tests.oracles.kyverno_migrated import Rule, judged


def main(folder: Path) -> None:
    total: Counter[str] = Counter()
    by_file: dict[str, list[Rule]] = {}
    for rule, _ in judged(folder):
        by_file.setdefault(rule.file, []).append(rule)
    for file, rules in by_file.items():
        group, _, name = str(Path(file).parent).partition("/")
        if any(rule.migrated.refused is not None or rule.looks_up for rule in rules):
            continue
        made = PolicySet([document for rule in rules for document in rule.migrated.documents],
                         kinds=builtin().unchecked())
        for twin in (f"{group}-cel", f"{group}-vpol"):
            if not group.endswith(("-cel", "-vpol")) and (folder / twin / name).is_dir():
                _compare(file, made, folder / twin / name, folder / group / name, total)
    print(dict(total))


def _compare(file: str, made: PolicySet, twin: Path, own: Path, total: Counter[str]) -> None:
    try:
        written = PolicySet([document for path in sorted(twin.glob("*.yaml")) if path.name != "artifacthub-pkg.yml"
                             for _, document in policies.documents([path]) if isinstance(document, dict)
                             and str(document.get("kind", "")).endswith("Policy")], kinds=builtin().unchecked())
    except CustodyError as error:
        print(f"{twin}: {error.message}")
        return
    total["twins"] += 1
    differs = False
    for resource in [*_resources(own), *_resources(twin)]:
        left, right = _stance(made, resource), _stance(written, resource)
        total["equal" if left == right else "different"] += 1
        if left != right:
            differs = True
            metadata = resource.get("metadata") or {}
            print(f"{file} and {twin.parent.name}: {resource.get('kind')} {metadata.get('name')}: migrated {left}, "
                  f"twin {right}")
    total["twins that differ"] += differs


def _resources(folder: Path) -> Iterator[dict[str, Any]]:
    for file in testfile.find(folder):
        for test in testfile.read(file):
            if not isinstance(test, Broken):
                for path in test.files("resources"):
                    yield from documents.resources(documents.read(path), str(path), builtin())


def _stance(asked: PolicySet, resource: dict[str, Any]) -> str:
    request = Request.create(resource, str((resource.get("metadata") or {}).get("namespace") or "default"))
    said = decide(request, {}, asked, Context(now=datetime(2026, 1, 1, tzinfo=UTC)), answers={
        NamespaceLabels(request.namespace): Answered({})})
    outcomes = {result.outcome for result in said.results}
    return "against" if outcomes & {Outcome.FAIL, Outcome.ERROR} else "for" if Outcome.PASS in outcomes else "nothing"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
