"""Mutate rules and the MutatingPolicies that they become, both asked of the Kyverno CLI about the same objects.

    python -m tests.fuzz.migrated [COUNT] [FOLDER]

COUNT objects for each rule: those of `tests/policy/test_migrate_mutate.py`, or the rules of policies below FOLDER. What
Kyverno makes of an object by the rule and by the policies must be the same.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from custody.errors import CustodyError
from custody.policy.kinds import builtin
from custody.policy.kyverno import autogen
from custody.policy.migrate.answers import entries
from custody.policy.migrate.equivalence import requests
from custody.policy.migrate.matching import matched
from custody.policy.migrate.outcome import alone
from custody.policy.migrate.rules import migrate
from custody.policy.migrate.shaping import shaped
from tests.conftest import peer

Document = dict[str, Any]
_LOOKUPS = {"apiCall", "configMap", "imageRegistry", "globalReference"}


def policies(folder: Path | None) -> Iterator[Document]:
    if folder is None:
        from tests.policy.test_migrate_mutate import policy, test_both_leave_equal_objects

        for at, mutate in enumerate(test_both_leave_equal_objects.pytestmark[0].args[1]):
            document = policy(mutate)
            document["metadata"]["name"] = f"case-{at}"
            yield document
        return
    for file in sorted(folder.rglob("*.yaml")):
        try:
            documents = [*yaml.safe_load_all(file.read_text())]
        except yaml.YAMLError:
            continue
        for document in documents:
            if isinstance(document, dict) and document.get("kind") == "ClusterPolicy" and str(
                    document.get("apiVersion")).startswith("kyverno.io") and any(
                    rule.get("mutate") for rule in (document.get("spec") or {}).get("rules") or []):
                yield document


def objects(rule: Document, count: int) -> list[Document]:
    match = matched(rule, "rule", builtin(), ("CREATE", "UPDATE"), "object")
    made = []
    for request in requests(rule, match.resources, ("CREATE",), builtin(), count):
        if request.operation == "CREATE" and isinstance(request.object, dict) and not request.subresource:
            document = msgspec.to_builtins(shaped(request.object, ["sidecar"]))
            metadata = document["metadata"]
            metadata["name"] = f"o-{len(made)}"
            if document["kind"] != "Namespace":
                metadata["namespace"] = "default"
            made.append(document)
    return made


def mutated(program: str, written: list[Document], documents: list[Document]) -> list[Document]:
    """Each object as the policies leave it, in order."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "policies.yaml").write_text("\n---\n".join(json.dumps(document) for document in written))
        (root / "objects.yaml").write_text("\n---\n".join(json.dumps(document) for document in documents))
        (root / "out").mkdir()
        subprocess.run([program, "apply", root / "policies.yaml", "-r", root / "objects.yaml", "-o", root / "out"],
                       capture_output=True, text=True, check=False)
        left = {part["metadata"]["name"]: part for file in sorted((root / "out").iterdir())
                for part in yaml.safe_load_all(file.read_text()) if part}
    return [left.get(document["metadata"]["name"], document) for document in documents]


def main(count: int, folder: Path | None) -> int:
    program = peer("kyverno-next")
    asked = changed = different = 0
    for document in policies(folder):
        made = autogen.generated(document)
        try:
            results = migrate(document, builtin(), count=60)
        except CustodyError:
            continue
        for at, result in enumerate(results):
            rule = document["spec"]["rules"][at]
            if result.refused is not None or not rule.get("mutate") or rule["mutate"].get("targets"):
                continue
            if any(set(entry) & _LOOKUPS for entry in entries(rule)):
                continue  # off line the command line answers either kind in its own way
            subjects = objects(rule, count)[:count]
            before = mutated(str(program), [alone(document, at, made)], subjects)
            after = mutated(str(program), [*result.documents], subjects)
            for subject, left, right in zip(subjects, before, after, strict=True):
                asked += 1
                changed += left != subject
                if left != right:
                    different += 1
                    print(f"{result.policy}/{result.rule}", json.dumps(subject), json.dumps(left), json.dumps(right),
                          sep="\n    ", flush=True)
    print(f"{asked} objects, {changed} changed, {different} different")
    return different > 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, Path(sys.argv[2]) if len(sys.argv) > 2 else None))
