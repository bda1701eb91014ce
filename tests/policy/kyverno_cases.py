"""Patterns, anchors, operators and conditions against pods: one `validate` block and one pod a case.

Not among them: wildcards as keys that fit several keys. Kyverno takes one of these at random.

`python -m tests.policy.kyverno_cases` asks the real Kyverno CLI and writes its answers to kyverno_answers.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ANSWERS = Path(__file__).parent / "kyverno_answers.json"

POD: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Pod",
    "metadata": {"name": "p", "namespace": "default", "labels": {"app": "web", "tier": "front"},
                 "annotations": {"owner": "ann@example.com", "count": "5"}},
    "spec": {
        "hostNetwork": False, "priority": 7, "terminationGracePeriodSeconds": 30, "nodeName": "node-1",
        "activeDeadlineSeconds": 3600,
        "securityContext": {"runAsUser": 1000, "runAsNonRoot": True, "sysctls": [{"name": "a", "value": "1"}]},
        "containers": [
            {"name": "web", "image": "ghcr.io/myorg/web:1.0", "ports": [{"containerPort": 8080}],
             "resources": {"requests": {"memory": "128Mi", "cpu": "100m"}, "limits": {"memory": "1Gi", "cpu": "2"}},
             "securityContext": {"privileged": False}, "env": [{"name": "A", "value": "1"}]},
            {"name": "side", "image": "docker.io/library/nginx:latest", "imagePullPolicy": "Always",
             "resources": {"limits": {"memory": "512Mi"}}}],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/var/run/docker.sock"}}]}}
BARE: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": "default"},
                        "spec": {"containers": [{"name": "one", "image": "busybox"}]}}

_SPEC: list[Any] = [
    # anchors
    {"containers": [{"image": "ghcr.io/*"}]},
    {"containers": [{"image": "ghcr.io/* | docker.io/*"}]},
    {"containers": [{"name": "*", "(image)": "*nginx*", "imagePullPolicy": "Always"}]},
    {"containers": [{"(image)": "*:latest", "imagePullPolicy": "Never"}]},
    {"containers": [{"(image)": "*redis*", "imagePullPolicy": "Never"}]},
    {"=(hostNetwork)": False}, {"=(hostNetwork)": True}, {"=(hostPID)": True}, {"hostPID": False},
    {"=(initContainers)": [{"image": "ghcr.io/*"}]}, {"initContainers": [{"image": "ghcr.io/*"}]},
    {"=(volumes)": [{"X(hostPath)": "null"}]}, {"=(volumes)": [{"=(hostPath)": {"path": "!/var/run/docker.sock"}}]},
    {"X(hostNetwork)": "null"}, {"X(hostPID)": "null"}, {"X(nodeName)": "null"},
    {"^(containers)": [{"image": "ghcr.io/*"}]}, {"^(containers)": [{"image": "quay.io/*"}]},
    {"^(volumes)": [{"name": "v"}]}, {"^(volumes)": [{"name": "none"}]},
    {"containers": [{"<(image)": "ghcr.io/*", "resources": {"requests": {"memory": "?*"}}}]},
    {"<(hostNetwork)": True, "containers": [{"image": "x"}]},
    {"containers": [{"=(securityContext)": {"=(privileged)": "false"}}]},
    {"containers": [{"=(securityContext)": {"privileged": True}}]},
    {"containers": [{"securityContext": {"privileged": False}}]},
    {"(hostNetwork)": False, "priority": 8}, {"(hostNetwork)": True, "priority": 8},
    {"(hostPID)": True, "priority": 8},
    {"=(securityContext)": {"=(sysctls)": [{"=(name)": "a | b", "value": "?"}]}},
    {"containers": [{"(name)": "web", "^(ports)": [{"containerPort": 8080}]}]},
    {"containers": [{"=(ports)": [{"=(containerPort)": ">1024"}]}]},
    # operators, ranges, quantities, numbers
    {"containers": [{"resources": {"limits": {"memory": "<2Gi"}}}]},
    {"containers": [{"resources": {"limits": {"memory": "<=1Gi"}}}]},
    {"containers": [{"resources": {"limits": {"memory": ">512Mi"}}}]},
    {"containers": [{"resources": {"limits": {"memory": "512Mi-1Gi"}}}]},
    {"containers": [{"resources": {"limits": {"memory": "1Gi-2Gi"}}}]},
    {"containers": [{"resources": {"limits": {"memory": "1Gi!-2Gi"}}}]},
    {"containers": [{"resources": {"limits": {"memory": "1024Mi | 512Mi"}}}]},
    {"containers": [{"resources": {"limits": {"memory": "1073741824 | 536870912"}}}]},
    {"containers": [{"resources": {"requests": {"memory": "?*"}, "limits": {"memory": "?*"}}}]},
    {"priority": 7}, {"priority": "7"}, {"priority": ">5"}, {"priority": "<5"}, {"priority": "5-10"},
    {"priority": "5!-10"}, {"priority": "!7"}, {"priority": "!8"}, {"priority": 7.0}, {"priority": "*"},
    {"priority": ">=7 & <=9"}, {"priority": ">=8 & <=9"}, {"priority": "<5 | >6"}, {"priority": "7 | 8"},
    {"terminationGracePeriodSeconds": "<=30"}, {"activeDeadlineSeconds": "1h"}, {"activeDeadlineSeconds": "<2h"},
    {"nodeName": "node-?"}, {"nodeName": "node-??"}, {"nodeName": "!node-*"}, {"nodeName": "!other-*"},
    {"nodeName": "*node*"}, {"nodeName": ""}, {"nodeName": "?*"}, {"nodeName": None},
    {"hostNetwork": False}, {"hostNetwork": "false"}, {"hostNetwork": "!true"}, {"hostNetwork": True},
    {"hostNetwork": None}, {"missing": "*"}, {"missing": None}, {"missing": "?*"}, {"missing": ""}, {"missing": False},
    {"securityContext": {"runAsUser": ">0"}}, {"securityContext": {"runAsUser": "!0"}},
    {"securityContext": {"runAsUser": "1000-2000"}}, {"securityContext": "*"}, {"securityContext": None},
    {"securityContext": {"runAsNonRoot": True}}, {"securityContext": {}}, {"containers": []},
    {"volumes": [{"name": "v | h"}]}, {"volumes": [{"name": "v"}]}, {"volumes": [{"emptyDir": {}}]},
    {"volumes": "*"}, {"containers": {"image": "*"}},
    {"containers": [{"image": "*:*"}]}, {"containers": [{"image": "!*:latest"}]},
    {"containers": [{"image": "*@sha256:*"}]}, {"containers": [{"image": "ghcr.io/* & *:1.0"}]},
]
_METADATA: list[Any] = [
    {"labels": {"app": "web"}}, {"labels": {"app": "?*"}}, {"labels": {"team": "?*"}},
    {"labels": {"t*": "front"}}, {"labels": {"=(team)": "x"}}, {"labels": {"app": "w*b"}},
    {"annotations": {"owner": "*@example.com"}}, {"annotations": {"count": "5"}}, {"annotations": {"count": ">3"}},
    {"annotations": {"count": 5}}, {"=(annotations)": {"=(owner)": "!*@evil.com"}}, {"name": "!p"}, {"name": "p*"},
]
_CONDITIONS: list[Any] = [
    {"key": "{{ request.object.spec.priority || `0` }}", "operator": "Equals", "value": 7},
    {"key": "{{ request.object.spec.priority || `0` }}", "operator": "NotEquals", "value": 7},
    {"key": "{{ request.object.spec.priority || `0` }}", "operator": "GreaterThan", "value": 5},
    {"key": "{{ request.object.spec.priority || `0` }}", "operator": "LessThanOrEquals", "value": "7"},
    {"key": "{{ request.object.spec.containers[].image }}", "operator": "AnyIn", "value": ["busybox", "*nginx*"]},
    {"key": "{{ request.object.spec.containers[].image }}", "operator": "AllIn", "value": ["ghcr.io/*", "busybox"]},
    {"key": "{{ request.object.spec.containers[].image }}", "operator": "AllNotIn", "value": ["quay.io/*"]},
    {"key": "{{ request.object.spec.containers[].image }}", "operator": "AnyNotIn", "value": ["ghcr.io/*"]},
    {"key": "{{ request.object.metadata.name }}", "operator": "Equals", "value": "p"},
    {"key": "{{ request.object.metadata.name }}", "operator": "Equals", "value": "?"},
    {"key": "{{ request.object.metadata.name }}", "operator": "In", "value": ["p", "q"]},
    {"key": "{{ request.object.metadata.name }}", "operator": "NotIn", "value": ["q"]},
    {"key": "{{ length(request.object.spec.containers) }}", "operator": "Equals", "value": 1},
    {"key": "{{ length(request.object.spec.containers) }}", "operator": "AnyIn", "value": "2-3"},
    {"key": "{{ request.object.spec.hostNetwork || `false` }}", "operator": "Equals", "value": False},
    {"key": "{{ request.operation }}", "operator": "Equals", "value": "CREATE"},
    {"key": "1Gi", "operator": "GreaterThan", "value": "512Mi"}, {"key": "1h", "operator": "LessThan", "value": "30m"},
    {"key": "1h", "operator": "DurationGreaterThan", "value": "30m"},
    {"key": "1.2.3", "operator": "LessThan", "value": "1.10.0"}, {"key": "5", "operator": "Equals", "value": 5},
    {"key": "", "operator": "Equals", "value": ""}, {"key": ["a", "b"], "operator": "Equals", "value": ["a", "b"]},
]


def cases() -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, rule without name and match, pod)."""
    found = []
    for word, pod in (("full", POD), ("bare", BARE)):
        blocks: list[dict[str, Any]] = [{"validate": {"message": "no", "pattern": {"spec": one}}} for one in _SPEC]
        blocks += [{"validate": {"message": "no", "pattern": {"metadata": one}}} for one in _METADATA]
        blocks += [{"validate": {"message": "no", "anyPattern": [{"spec": one}, {"spec": other}]}}
                   for one, other in zip(_SPEC[:24:3], _SPEC[1:24:3], strict=False)]
        for one in _CONDITIONS:
            blocks.append({"validate": {"message": "denied", "deny": {"conditions": {"all": [one]}}}})
            blocks.append({"preconditions": {"any": [one]}, "validate": {"message": "no", "pattern": {"x": "y"}}})
        text = "is {{ request.object.metadata.name }} on {{ request.object.spec.nodeName }}"
        blocks += [{"validate": {"message": text, "pattern": {"x": "y"}}},
                   {"validate": {"pattern": {"spec": {"priority": 1}}}}]
        blocks += [{"validate": {"podSecurity": {"level": level, "version": version}}}
                   for level in ("baseline", "restricted") for version in ("latest", "v1.22")]
        found += [(f"{word}-{at:03}", block, pod) for at, block in enumerate(blocks)]
    return found


def policy(name: str, block: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
            "metadata": {"name": name, "annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"}},
            "spec": {"validationFailureAction": "Enforce", "background": False, "rules": [
                {"name": "rule", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, **block}]}}


def ask_kyverno(program: str) -> dict[str, list[str]]:
    """Name → [outcome, message], from one run of the CLI a pod; a case that it refuses alone is `error`."""
    answers: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for pod in (POD, BARE):
            (folder / "pod.json").write_text(json.dumps(pod))
            mine = [(case, block) for case, block, whose in cases() if whose is pod]
            (folder / "policies").mkdir(exist_ok=True)
            for case, block in mine:
                (folder / "policies" / f"{case}.yaml").write_text(json.dumps(policy(case, block)))
            done = subprocess.run([program, "apply", folder / "policies", "-r", folder / "pod.json", "--policy-report",
                                   "--output-format", "json"], capture_output=True, text=True, check=False)
            report = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
            for one in report.get("results", []):
                answers[one["policy"]] = [one["result"], one.get("message", "")]
            for file in (folder / "policies").iterdir():
                file.unlink()
    return answers


if __name__ == "__main__":
    recorded = ask_kyverno(sys.argv[1] if len(sys.argv) > 1 else "kyverno")
    ANSWERS.write_text(json.dumps(dict(sorted(recorded.items())), indent=0) + "\n")
    print(f"{len(recorded)} of {len(cases())} answers")
