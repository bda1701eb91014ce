"""CPU of one review without its transport: `python bench/admission/review.py [SECONDS]`; a row a set of policies.

The sets: every kyverno.io policy of the oracle's pod-security (patterns), sixteen of policies.kyverno.io (CEL), and a
thousand of which twenty-two speak of a pod: patterns for other kinds, for other namespaces and with labels that the pod
does not have, in a cluster of 10,000 namespaces. Reviews are 6.6 KB pods with three containers, half of them good. The
time is the process's, from the review's bytes to the answer's; sets take turns, and medians are printed.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from bench.admission.webhook import ORACLES, TOOLS, pss

from custody.admission.webhook import Admission
from custody.errors import CustodyError
from custody.evidence.model import EvidenceSet
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CEL = ("pod-security-vpol", "best-practices-vpol", "other-vpol")
_ASKS = re.compile(r"\b(resource|http|globalContext|image)\.\w+\(|getImage|imageData")
KINDS = ("Deployment", "Service", "Ingress", "ConfigMap", "Secret", "NetworkPolicy", "Role", "ServiceAccount")


def cel_policies(count: int = 16) -> list[dict[str, Any]]:
    """The first ValidatingPolicies of the oracle that load, speak of pods and ask nobody."""
    documents: list[dict[str, Any]] = []
    for folder in CEL:
        for file in sorted((ORACLES / "kyverno-policies" / folder).rglob("*.yaml")):
            text = file.read_text()
            if "\nkind: ValidatingPolicy" not in text or any(part.startswith(".") for part in file.parts):
                continue
            document = yaml.safe_load(text)
            if "pods" not in json.dumps(document["spec"].get("matchConstraints")) or _ASKS.search(text):
                continue
            try:
                PolicySet([document])
            except CustodyError:
                continue
            document["spec"]["validationActions"] = ["Deny"]
            documents.append(document)
    return documents[:count]


def many(patterns: list[dict[str, Any]], count: int = 1000) -> list[dict[str, Any]]:
    """`patterns`, and beside them policies that do not speak of the reviews' pods."""
    documents = [*patterns]
    for at in range(count - len(patterns)):
        match: dict[str, Any] = {"kinds": [KINDS[at // 3 % len(KINDS)]]}
        if at % 3 == 1:
            match = {"kinds": ["Pod"], "namespaces": [f"team-{at}"]}
        elif at % 3 == 2:
            match = {"kinds": ["Pod"], "selector": {"matchLabels": {"team": f"t{at}"}}}
        documents.append({
            "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": f"policy-{at}"},
            "spec": {"validationFailureAction": "Enforce", "rules": [{
                "name": "labelled", "match": {"any": [{"resources": match}]},
                "validate": {"message": "a label is needed", "pattern": {"metadata": {"labels": {"app": "?*"}}}}}]}})
    return documents


def bodies(count: int = 64) -> list[bytes]:
    made = []
    for at in range(count):
        flags = ["--bad", "1"] if at % 2 else []
        body = subprocess.run([sys.executable, TOOLS / "admission-load", "body", "--index", str(at), *flags],
                              capture_output=True, check=True).stdout
        made.append(json.dumps(json.loads(body), separators=(",", ":")).encode())
    return made


async def nothing(_: Snapshot, __: list[str]) -> Mapping[str, EvidenceSet]:
    return {}


async def measure(admission: Admission, reviews: list[bytes], seconds: float) -> float:
    """Microseconds of CPU a review."""
    begun, number = time.process_time(), 0
    while (spent := time.process_time() - begun) < seconds:
        for body in reviews:
            await admission.review(body)
        number += len(reviews)
    return spent / number * 1e6


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    with tempfile.TemporaryDirectory() as name:
        patterns = [yaml.safe_load(file.read_text()) for file in pss(Path(name))]
    sets = {"patterns": patterns, "CEL": cel_policies(), "many": many(copy.deepcopy(patterns))}
    reviews = bodies()
    admissions = {}
    for label, documents in sets.items():
        begun = time.process_time()
        admissions[label] = Admission(PolicySet(documents), nothing, lambda: NOW)
        rules = len(admissions[label].policies.rules)
        print(f"{label}: {len(documents)} policies, {rules} rules, compiled in {time.process_time() - begun:.2f} s")
    took: dict[str, list[float]] = {label: [] for label in sets}
    for admission in admissions.values():  # warm
        asyncio.run(measure(admission, reviews, 0.2))
    for _ in range(5):
        for label, admission in admissions.items():
            took[label].append(asyncio.run(measure(admission, reviews, seconds / 5)))
    for label, times in took.items():
        print(f"{label}: {statistics.median(times):.0f} µs CPU a review ({min(times):.0f} to {max(times):.0f})")


if __name__ == "__main__":
    main()
