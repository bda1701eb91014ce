"""Signed manifests that nobody wrote, judged by Kyverno's command line and by custody.

`python -m tests.fuzz.manifests COUNT [SEED]`: objects of several kinds are signed and then changed or not, policies
name keys, counts, domains and fields that may differ. Verdicts and messages are compared. Where custody is stricter on
purpose (docs/guides/image-policies.md) that is counted apart, and the other way round never.
"""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from tests.apiserver import PEERS
from tests.fuzz.imageverification import _reports
from tests.policy.manifestsigning import annotations, archived, packed, written
from tests.policy.signing import pem

KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
OBJECTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
     "data": {"a": "1", "b.txt": "two\nlines", "c": ""}},
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
                {"name": "web", "image": "nginx:1.25", "ports": [{"containerPort": 80}], "args": ["-a", "-b"]},
                {"name": "side", "image": "busybox", "resources": {"limits": {"cpu": "1"}}}]}}}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
     "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "reader"},
     "rules": [{"apiGroups": ["", "apps"], "resources": ["pods"], "verbs": ["get", "list"]}]},
]
KEPT = (("apiVersion",), ("kind",), ("metadata",), ("metadata", "name"), ("metadata", "annotations"))
VALUES: tuple[Any, ...] = ("", "x", "1", 1, 0, 2.5, True, False, None, [], "<&>", "ü", 1000000, 1e21)
IGNORED = ("data.a", "spec.replicas", "metadata.labels", "spec.template.spec.containers.*.image", "rules.0.verbs.*",
           "metadata.name")
FILLED = (("spec", "clusterIP"), ("spec", "type"), ("spec", "template", "spec", "dnsPolicy"), ("metadata", "uid"),
          ("status", "phase"), ("metadata", "generation"), ("spec", "revisionHistoryLimit"),
          ("spec", "template", "metadata", "creationTimestamp"), ("metadata", "finalizers"))


class Author:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def policy(self, name: str) -> dict[str, Any]:
        chance = self.random
        entries: list[dict[str, Any]] = [
            {"keys": {"publicKeys": pem(key).strip()}} for key in chance.sample(KEYS, chance.choice((1, 1, 1, 2)))]
        if chance.random() < 0.15:
            entries[0]["annotations"] = {"team": chance.choice("ab")}
        if chance.random() < 0.15:
            entries = [{"attestor": {"entries": entries}}]
        manifests: dict[str, Any] = {"attestors": [{"entries": entries}]}
        if len(entries) > 1 and chance.random() < 0.7:
            manifests["attestors"][0]["count"] = 1
        if chance.random() < 0.3:
            manifests["ignoreFields"] = [{
                "fields": chance.sample(IGNORED, 2),
                **({"objects": [{"kind": chance.choice(["*", "ConfigMap", "Deploy*", "ConfigMap,ClusterRole"])}]}
                   if chance.random() < 0.7 else {})}]
        if chance.random() < 0.1:
            manifests["annotationDomain"] = "example.org"
        return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": {
            "background": False, "rules": [{
                "name": "signed", "match": {"any": [{"resources": {"kinds": [
                    "ConfigMap", "Deployment", "Service", "ClusterRole"]}}]},
                "validate": {"failureAction": "Enforce", "manifests": manifests}}]}}

    def resource(self, at: int) -> dict[str, Any]:
        chance = self.random
        made = copy.deepcopy(chance.choice(OBJECTS))
        made["metadata"]["name"] += f"-{at}"
        if chance.random() < 0.2:
            made["metadata"]["annotations"] = {"team": chance.choice("ab")}
        documents = [copy.deepcopy(chance.choice(OBJECTS)) for _ in range(chance.choice((0, 0, 2)))] + [made]
        data = written(*documents)
        if chance.random() < 0.3:
            data = archived({"m/a.yaml": data, "m/b.txt": b"no manifest"})
        domain = "example.org" if chance.random() < 0.1 else "cosign.sigstore.dev"
        said = annotations(data, chance.choice(KEYS[:2]), domain=domain)
        if chance.random() < 0.2:
            said |= annotations(data, chance.choice(KEYS), domain=domain, suffix="_1")
        if chance.random() < 0.15:
            del said[chance.choice(list(said))]
        if chance.random() < 0.05:
            said[f"{domain}/message"] = packed(written(made | {"x": 1}))
        live = copy.deepcopy(made)
        for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
            self._change(live)
        live["metadata"]["annotations"] = {**live["metadata"].get("annotations", {}), **said}
        if made["kind"] != "ClusterRole":
            live["metadata"]["namespace"] = "default"
        return live

    def _change(self, live: dict[str, Any]) -> None:
        chance = self.random
        if chance.random() < 0.3:
            path: tuple[Any, ...] = chance.choice(FILLED)
        else:
            places = [place for place in _places(live, ()) if place not in KEPT]
            if not places:
                return
            path = chance.choice(places)
        at: Any = live
        for step in path[:-1]:
            if isinstance(at, dict) and step not in at:
                at[step] = {}
            at = at[step]
            if not isinstance(at, dict | list):
                return
        last = path[-1]
        if isinstance(at, list) or chance.random() < 0.7:
            at[last] = chance.choice(VALUES)
        elif chance.random() < 0.5:
            at.pop(last, None)
        else:
            at[f"{last}x"] = chance.choice(VALUES)


def _places(value: Any, path: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    listed = [path] if path else []
    for name, member in members:
        listed += _places(member, (*path, name))
    return listed


def theirs(policy: dict[str, Any], resources: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policy.yaml").write_text(yaml.safe_dump(policy))
        for at, resource in enumerate(resources):
            (folder / f"r{at:03}.yaml").write_text(yaml.safe_dump(resource))
        given = [part for at in range(len(resources)) for part in ("--resource", str(folder / f"r{at:03}.yaml"))]
        done = subprocess.run(
            [str(PEERS / "kyverno-next"), "apply", str(folder / "policy.yaml"), "--policy-report", "--output-format",
             "json", *given], capture_output=True, text=True, timeout=600)
    said: dict[str, tuple[str, str]] = {}
    for report in _reports(done.stdout):
        for result in report.get("results", []):
            for about in result.get("resources") or [report.get("scope")]:
                said[about["name"]] = (result["result"], result.get("message", ""))
    return said


def ours(policies: PolicySet, resource: dict[str, Any]) -> tuple[str, str]:
    decision = decide(Request.create(resource), {}, policies, Context(now=datetime.now(UTC)))
    result, = decision.results
    return str(result.outcome), result.message


def main(count: int, seed: int) -> int:
    author = Author(seed)
    judged = alike = stricter = wrong = 0
    while judged < count:
        policy = author.policy(f"p{judged}")
        resources = [author.resource(at) for at in range(20)]
        peer, policies = theirs(policy, resources), PolicySet([policy])
        for resource in resources:
            name = resource["metadata"]["name"]
            expected, own = peer.get(name, ("none", "")), ours(policies, resource)
            if expected[0] == "none":  # it was not even read
                continue
            judged += 1
            alike += expected == own
            if expected[0] == own[0]:
                if expected != own:
                    print(f"same, in other words: kyverno {expected[1][-300:]}\n  custody {own[1][-300:]}")
                continue
            if own[0] == "fail" and expected[0] == "pass":
                stricter += 1
                print("stricter:", own[1][-220:])
                continue
            wrong += 1
            print(f"kyverno {expected}\ncustody {own}\n{json.dumps(policy['spec']['rules'][0]['validate'])}")
    print(f"{judged} judged, {alike} alike with their message, {stricter} denied by custody alone, {wrong} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
