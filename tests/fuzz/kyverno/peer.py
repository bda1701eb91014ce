"""The Kyverno CLI: many cases in one run, each policy speaking of one object alone, by its name."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml

PROGRAM = Path.home() / ".cache/custody/peers/kyverno-next"


class Case(NamedTuple):
    policy: dict[str, Any]
    resource: dict[str, Any]


class Said(NamedTuple):
    outcome: str
    message: str
    resource: Any
    """As the rules left it; None where there was an error."""


def named(at: int, rule: dict[str, Any], resource: dict[str, Any]) -> Case:
    """A policy of one rule that speaks of one object: both are called `case-AT`."""
    name = f"case-{at}"
    resource = {**resource, "metadata": {**resource.get("metadata", {}), "name": name}}
    match = {"any": [{"resources": {"kinds": [resource["kind"]], "names": [name]}}]}
    policy = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
              "metadata": {"name": name, "annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"}},
              "spec": {"rules": [{"name": "rule", "match": match, **rule}]}}
    return Case(policy, resource)


def ask(cases: list[Case], program: Path = PROGRAM) -> dict[str, Said]:
    """What Kyverno says of each case that it does not refuse, by the policy's name."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "policies.yaml").write_text("\n---\n".join(json.dumps(case.policy) for case in cases))
        (root / "resources.yaml").write_text("\n---\n".join(json.dumps(case.resource) for case in cases))
        (root / "out").mkdir()
        done = subprocess.run(
            [program, "apply", root / "policies.yaml", "-r", root / "resources.yaml", "-o", root / "out",
             "--policy-report", "--output-format", "json"], capture_output=True, text=True, check=False)
        lines = [line[line.index('{"kind":"ClusterReport"'):] for line in done.stdout.splitlines()
                 if '{"kind":"ClusterReport"' in line]
        if not lines:
            if len(cases) == 1:  # it panicked
                return {cases[0].policy["metadata"]["name"]: Said("panic", "", None)}
            half = len(cases) // 2
            return ask(cases[:half], program) | ask(cases[half:], program)
        results = {row["policy"]: row for row in json.loads(lines[0]).get("results", [])}
        said = {}
        refused = {name for name in (case.policy["metadata"]["name"] for case in cases)
                   if f". {name}: " in done.stdout}
        for case in cases:
            name = case.policy["metadata"]["name"]
            if name in refused:
                continue
            row = results.get(name, {"result": "skip"})
            file = root / "out" / f"{name}-mutated.yaml"
            documents = [document for document in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader)
                         if document] if file.exists() else []
            said[name] = Said(row["result"], row.get("message", ""),
                              documents[-1] if documents and row["result"] != "error" else None)
        return said
