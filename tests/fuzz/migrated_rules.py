"""Migrated rules of a folder of policies, told by the Kyverno CLI: `python -m tests.fuzz.migrated_rules FOLDER [PEER]`.

PEER applies the old policy and the new one to the resources of the policy's own tests; for each rule and resource both
must say the same: for, against, or nothing. Rules that look something up are left out: there is no cluster.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from custody.services.simulation import testfile
from custody.services.simulation.testfile import Broken
from tests.oracles.kyverno_migrated import Rule, base, judged

PEER = Path.home() / ".cache" / "custody" / "peers" / "kyverno-next"
Said = dict[tuple[str, str, str, str], str]
"""By the name of the rule or policy, and the resource's kind, namespace and name."""


def main(folder: Path, peer: Path) -> int:
    files: dict[str, list[Path]] = {}
    for file in testfile.find(folder):
        for test in testfile.read(file):
            if not isinstance(test, Broken):
                for path in test.files("policies"):
                    files.setdefault(str(path), []).extend(test.files("resources"))
    total: Counter[str] = Counter()
    by_file: dict[str, list[Rule]] = {}
    for rule, _ in judged(folder):
        if rule.migrated.refused is None and not rule.looks_up:
            by_file.setdefault(rule.file, []).append(rule)
    for name, rules in by_file.items():
        resources = [*dict.fromkeys(files.get(str(folder / name), []))]
        if not resources:
            total["rules without resources"] += len(rules)
            continue
        with tempfile.TemporaryDirectory() as place:
            made = Path(place, "new.yaml")
            made.write_text(yaml.safe_dump_all(document for rule in rules for document in rule.migrated.documents))
            before, after = said(peer, folder / name, resources), said(peer, made, resources)
        if after is None or before is None:
            total["rules that the peer does not load"] += len(rules)
            print(f"{name}: not loaded")
            continue
        for rule in rules:
            _compare(rule, before, after, total)
    print(dict(total))
    return 0 if not total["different"] else 1


def _compare(rule: Rule, before: Said, after: Said, total: Counter[str]) -> None:
    names = {str(document["metadata"]["name"]) for document in rule.migrated.documents}
    old = {key[1:]: stance for key, stance in before.items() if base(key[0]) == rule.written["name"]}
    new: dict[tuple[str, ...], str] = {}
    for key, stance in after.items():
        if key[0] in names and (stance != "nothing" or key[1:] not in new):
            new[key[1:]] = stance
    for resource in sorted({*old, *new}):
        left, right = old.get(resource, "nothing"), new.get(resource, "nothing")
        total["equal" if left == right else "different"] += 1
        if left != right:
            print(f"{rule.name} {'/'.join(resource)}: {left} before, {right} after")


def said(peer: Path, policy: Path, resources: list[Path]) -> Said | None:
    """None where the peer says nothing that can be read."""
    asked = [str(peer), "apply", str(policy), "--policy-report"]
    for resource in resources:
        asked += ["--resource", str(resource)]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=600, check=False)
    start = answer.stdout.find("apiVersion:")
    if start < 0:
        return {} if answer.returncode == 0 else None
    report: dict[str, Any] = yaml.safe_load(answer.stdout[start:].partition("\n---")[0]) or {}
    stances = {"pass": "for", "fail": "against", "error": "against", "warn": "against"}
    made: Said = {}
    for result in report.get("results") or []:
        name = result["policy"] if policy.name == "new.yaml" else result.get("rule")
        for resource in result.get("resources") or []:
            key = (str(name), str(resource.get("kind")), str(resource.get("namespace", "")), str(resource.get("name")))
            stance = stances.get(result["result"], "nothing")
            if made.get(key) != "against":
                made[key] = stance
    return made


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else PEER))
