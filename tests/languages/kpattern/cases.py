"""Patterns, conditions and variables on small resources, with what the real `kyverno apply` says: a rule a case.

`python -m tests.languages.kpattern.cases KYVERNO` asks it again and writes tests/data/kyverno_apply.json.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.policy.kyverno_cases import policy

ANSWERS = Path(__file__).parents[2] / "data" / "kyverno_apply.json"

POD: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Pod",
    "metadata": {"name": "p", "namespace": "default",
                 "labels": {"app": "web", "app.kubernetes.io/name": "shop", "tier": "front", "n": "5",
                            "one": "1", "which": "tier", "key": "big"},
                 "annotations": {"a.io/x": "1", "b.io/y": "true", "big": "1Gi"}},
    "spec": {
        "hostNetwork": False, "priority": 7, "activeDeadlineSeconds": 3600, "nodeName": "node-1",
        "tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "value": "1", "effect": "NoSchedule"}],
        "securityContext": {"runAsUser": 1000, "runAsNonRoot": True, "supplementalGroups": [1, 20, 300]},
        "containers": [
            {"name": "web", "image": "ghcr.io/org/web:1.0", "args": ["-v", "--port=80"],
             "resources": {"requests": {"memory": "128Mi", "cpu": "100m"}, "limits": {"memory": "1Gi", "cpu": "2"}},
             "securityContext": {"privileged": False, "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}},
            {"name": "side", "image": "docker.io/nginx:latest", "imagePullPolicy": "Always",
             "resources": {"limits": {"memory": "512Mi"}}}],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/var/run/docker.sock"}}]}}

_VALUES: list[Any] = [
    "", "a", "a*", "?", "*", "1", "01", "1.0", "1e0", "1.5", "1Gi", "1024Mi", "100m", "1h", "60m", "3600s", "0", "5",
    "5-10",
    "1Gi-2Gi", "5!-10", "1.2.3", "1.10.0", "v1.2.3", "1.2.3-rc.1", "true", "[\"a\", \"1\"]", "[1]", "{}", "null", "abc",
    0, 1, 5, 7, 1.5, -1, 3600, True, False, None, [], ["a"], ["a", "b"], ["a*", "1"], ["1", "5"], [1, 5], [True], [""],
    {}, {"a": 1}, {"a": [1]}]
_OPERATORS = ("Equals", "Equal", "NotEquals", "NotEqual", "In", "AnyIn", "AllIn", "NotIn", "AnyNotIn", "AllNotIn",
              "GreaterThan", "GreaterThanOrEquals", "LessThan", "LessThanOrEquals", "DurationGreaterThan",
              "DurationGreaterThanOrEquals", "DurationLessThan", "DurationLessThanOrEquals")
_LEAVES: list[Any] = [
    "web", "w*", "!w*", "!web & !db", "web | db", "w?b", "?", "*", "?*", "", "!?*", "<5", ">=5", "5-10", "5!-10",
    "1-4 | 7",
    ">1Gi", "<=1024Mi", "512Mi-1Gi", "100m", "0.1", "1h", "3600", "!3600s", "true", "!true", "false | x", "7", 7, 7.0,
    7.5,
    True, False, None, "!7", "07", "7.00", ">6 & <8", "-5-10", "+1-9", "a-b", "!", "|", "&", ">", "<", ">=", " web ",
    "node-1",
    "1", "ghcr.io/*", "*:latest", "!*:latest", "!*:*", "*@*", "ALL", "-v", "--*", "1Gi", "5"]
_PLACES: list[list[Any]] = [
    ["metadata", "labels", "app"], ["metadata", "labels", "n"], ["metadata", "annotations", "big"], ["spec",
    "priority"],
    ["spec", "hostNetwork"], ["spec", "activeDeadlineSeconds"], ["spec", "nodeName"], ["spec", "missing"],
    ["spec", "containers", [], "image"], ["spec", "containers", [], "args"], ["spec", "securityContext"],
    ["spec", "securityContext", "supplementalGroups"], ["spec", "containers", [], "resources", "limits", "memory"]]
_ANCHORED: list[Any] = [
    {"=(metadata)": {"=(labels)": {"(app)": "db", "tier": "x"}}, "=(spec)": {"priority": 7}},
    {"=(metadata)": {"=(labels)": {"(app)": "db", "tier": "x"}}, "=(spec)": {"priority": 8}},
    {"=(metadata)": {"=(labels)": {"(app)": "db"}}, "spec": {"priority": 8}},
    {"=(metadata)": {"labels": {"<(app)": "db"}}, "spec": {"priority": 8}},
    {"=(metadata)": {"labels": {"<(app)": "web"}}, "spec": {"priority": 8}},
    {"(metadata)": {"labels": {"app": "db"}}, "=(spec)": {"priority": 8}},
    {"(metadata)": {"labels": {"app": "web"}}, "(kind)": "Job", "spec": {"priority": 8}},
    {"(kind)": "Job", "X(spec)": "null"}, {"(kind)": "Pod", "X(spec)": "null"}, {"(kind)": "Pod", "X(status)": "null"},
    {"(kind)": "Job", "^(spec)": [{"a": 1}]}, {"^(spec)": [{"a": 1}]},
    {"spec": {"(containers)": [{"image": "ghcr.io/*"}], "priority": 8}},
    {"spec": {"(containers)": [{"image": "*"}], "priority": 8}},
    {"spec": {"containers": [{"(name)": "web", "(image)": "docker.io/*", "imagePullPolicy": "x"}]}},
    {"spec": {"containers": [{"(name)": "*", "=(imagePullPolicy)": "Never"}]}},
    {"spec": {"containers": [{"(imagePullPolicy)": "Always", "image": "*:latest"}]}},
    {"spec": {"containers": [{"(imagePullPolicy)": "Never", "image": "*:latest"}]}},
    {"spec": {"containers": [{"<(imagePullPolicy)": "Never", "image": "x"}]}},
    {"spec": {"containers": [{"<(imagePullPolicy)": "Always", "image": "x"}]}},
    {"spec": {"containers": [{"=(securityContext)": {"(privileged)": True, "x": "y"}, "name": "web"}]}},
    {"spec": {"containers": [{"=(securityContext)": {"<(privileged)": True, "x": "y"}, "=(name)": "web"}]}},
    {"spec": {"containers": [{"=(securityContext)": {"(privileged)": False, "=(capabilities)": {"drop": ["ALL"]}}}]}},
    {"spec": {"^(containers)": [{"name": "web", "image": "ghcr.io/*"}, {"name": "side"}]}},
    {"spec": {"^(containers)": [{"name": "web"}, {"name": "none"}]}},
    {"spec": {"^(containers)": [{"(name)": "web", "image": "docker.io/*"}]}},
    {"spec": {"^(priority)": [{"a": 1}]}}, {"spec": {"^(initContainers)": [{"name": "x"}]}},
    {"spec": {"=(volumes)": [{"X(hostPath)": "null", "(name)": "v"}]}},
    {"spec": {"=(volumes)": [{"(name)": "h", "X(hostPath)": "null"}]}},
    {"spec": {"=(volumes)": [{"(name)": "v", "X(hostPath)": "null"}]}},
    {"spec": {"X(volumes)": [{"a": 1}], "priority": 8}}, {"X(status)": "null", "spec": {"X(status)": "null"}},
    {"spec": {"volumes": [[{"name": "v"}]]}}, {"spec": {"tolerations": [{"key": "a | b", "(value)": "1",
    "effect": "x"}]}},
    {"spec": {"containers": [{"args": ["-*"]}]}}, {"spec": {"containers": [{"=(args)": ["-*"]}]}},
    {"spec": {"containers": [{"=(args)": [{"a": 1}]}]}}, {"spec": {"containers": [{"name": {"a": "b"}}]}},
    {"spec": {"containers": ["*"]}}, {"spec": {"containers": [None]}}, {"spec": {"priority": ["7"]}},
    {"spec": {"priority": {"a": 1}}}, {"spec": [{"a": 1}]}, {"spec": "*"}, {"spec": "?*"}, {"spec": {}}, {"spec": None},
    {"metadata": {"labels": {"app.kubernetes.io/*": "shop"}}}, {"metadata": {"labels": {"app.kubernetes.io/*": "x"}}},
    {"metadata": {"labels": {"*/none": "x"}}}, {"metadata": {"labels": {"=(zz*)": "x", "app": "web"}}},
    {"metadata": {"labels": {"(t*)": "back", "app": "x"}}}, {"metadata": {"labels": {"(t*)": "front", "app": "x"}}},
    {"metadata": {"labels": {"X(t*)": "null"}}}, {"metadata": {"annotations": {"b.io/?": "true", "a.io/*": "2"}}},
    {"=(metadata)": {"=(labels)": {"n?": "x", "n": "<6"}}}, {"(metadata)": {"(labels)": {"t*r": "front"}},
    "spec": {"priority": 1}},
    {"spec": {"containers": [{"name": "*", "resources": {"requests": {"memory": "<=$(./../../limits/memory)"},
                                                         "limits": {"memory": "1Gi"}}}]}},
    {"spec": {"containers": [{"(name)": "web", "image": "$(../name)*", "x": "$(./../image)"}]}},
    {"spec": {"priority": "{{ request.object.spec.priority }}", "nodeName": "{{request.object.spec.nodeName}}"}},
    {"spec": {"nodeName": "node-{{ request.object.metadata.labels.n }}"}},
    {"spec": {"nodeName": "{{ request.object.spec.missing }}"}}, {"spec": {"nodeName": "\\{{ x }}"}},
    {"metadata": {"{{ request.object.metadata.missing || 'labels' }}": {"app": "db"}}},
]
_VARIABLES: list[tuple[Any, Any]] = [
    ("{{ request.object.spec.containers[].image }}", ["ghcr.io/*", "docker.io/*"]),
    ("{{ request.object.spec.containers[?name == 'web'].image | [0] }}", "ghcr.io/org/web:1.0"),
    ("{{ request.object.metadata.labels.{{ request.object.metadata.labels.which }} }}", "front"),
    ("{{ request.object.metadata.labels.\"app.kubernetes.io/name\" }}", "shop"),
    ("x-{{ request.object.metadata.labels.app }}-{{ request.object.spec.priority }}", "x-web-7"),
    ("{{ request.object.metadata.labels }}", {"app": "web"}), ("{{ request.object.spec.missing || '' }}", ""),
    ("{{ request.object.spec.missing }}", ""), ("{{ request.object.spec.missing.more || 'd' }}", "d"),
    ("{{ to_string(request.object.spec.priority) }}", "7"), ("{{- request.object.metadata.name }}", "p"),
    ("{{ length(request.object.spec.containers) }}", 2), ("{{ request.object.spec.priority }}", "7"),
    ("{{ request.object.spec.securityContext.supplementalGroups }}", [1, 20, 300]),
    ("{{ request.object.metadata.labels | keys(@) | length(@) }}", 4), ("{{ request.operation }}", "CREATE"),
    ("{{ label_match(`{{ request.object.metadata.labels }}`, request.object.metadata.labels) }}", True),
    ("{{ starts_with('{{ request.object.metadata.name }}', 'p') }}", True),
    ("{{ request.object.metadata.annotations.\"{{ request.object.metadata.labels.key }}\" }}", "1024Mi"),
    ("\\{{ request.object.metadata.name }}", "{{ request.object.metadata.name }}"),
    ("{{ request.object.spec.containers[*].resources.limits.memory }}", "512Mi"),
    ("{{ max(request.object.spec.securityContext.supplementalGroups) }}", 300),
    ("{{ images.containers.web.registry }}", "ghcr.io"), ("{{ images.containers.*.tag | sort(@) }}", ["1.0", "latest"]),
    ("{{ request.object.metadata.name | to_upper(@) }}", "P"), ("{{ abs('x') }}", "x"), ("{{ sum(`[1, 2]`) }}", 3),
]


def _at(place: list[Any], leaf: Any) -> Any:
    for step in reversed(place):
        leaf = [leaf] if step == [] else {step: leaf}
    return leaf


def blocks(seed: int = 11) -> dict[str, dict[str, Any]]:
    """Name → the rule without its name and match. Those that are recorded are of the default seed."""
    chosen = random.Random(seed)
    found: dict[str, dict[str, Any]] = {}
    leaves = [(place, leaf) for place, leaf in itertools.product(_PLACES, _LEAVES)]
    patterns = [*_ANCHORED, *(_at(place, leaf) for place, leaf in chosen.sample(leaves, 300))]
    for at, pattern in enumerate(patterns):
        found[f"pattern-{at:03}"] = {"validate": {"message": "no", "pattern": pattern}}
    for at in range(0, 60, 2):
        found[f"any-{at:03}"] = {"validate": {"message": "no", "anyPattern": [patterns[at], patterns[at + 1]]}}
    pairs = [(key, operator, value) for key, operator, value in itertools.product(_VALUES, _OPERATORS, _VALUES)
             if not (operator in ("In", "NotIn") and isinstance(key, list)
                    and not all(isinstance(k, str) for k in key))]
    for at, (key, operator, value) in enumerate(chosen.sample(pairs, 700)):
        condition = {"key": key, "operator": operator, "value": value, "message": f"c{at}"}
        found[f"condition-{at:03}"] = {"validate": {"message": "no", "deny": {"conditions": {"any": [condition]}}}}
    for at, (key, value) in enumerate(_VARIABLES):
        for operator in ("Equals", "AnyIn", "AllNotIn"):
            condition = {"key": key, "operator": operator, "value": value}
            found[f"variable-{at:03}-{operator.lower()}"] = {
                "validate": {"message": f"is {key}", "deny": {"conditions": {"all": [condition]}}}}
    return found | _said()


def _said() -> dict[str, dict[str, Any]]:
    """Which conditions' messages are joined, and how."""
    def one(message: str, value: int = 1) -> dict[str, Any]:
        return {"key": 1, "operator": "Equals", "value": value, "message": message}

    def deny(conditions: Any) -> dict[str, Any]:
        return {"validate": {"message": "no", "deny": {"conditions": conditions}}}

    denied = deny([one("m")])
    return {"said-0": deny([one("m1"), one("m2")]), "said-1": deny([one("m1"), one("m2", 2)]),
            "said-2": deny({"all": [one("m1"), one("m2")], "any": [one("m0", 2), one("m3"), one("m4")]}),
            "said-3": {"preconditions": [one("p1"), one("p2", 2)], **denied},
            "said-4": {"preconditions": {"all": [one("p1"), one("p2", 2), one("p3", 3)]}, **denied},
            "said-5": {"preconditions": {"any": [one("p1", 5), one("p2", 2)]}, **denied},
            "said-6": {"preconditions": {"any": [one("", 5), one("p2", 2)], "all": [one("")]}, **denied}}


def ask(program: str, rules: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Name → [outcome, message]; what Kyverno does not load, or panics over, is not among them."""
    answers: dict[str, list[str]] = {}
    names = list(rules)
    with tempfile.TemporaryDirectory() as folder:
        pod, policies = Path(folder, "pod.json"), Path(folder, "policies")
        pod.write_text(json.dumps(POD))
        policies.mkdir()
        for start in range(0, len(names), 100):
            some = names[start:start + 100]
            for name in some:
                (policies / f"{name}.yaml").write_text(json.dumps(policy(name, rules[name])))
            done = subprocess.run([program, "apply", policies, "-r", pod, "--policy-report", "--output-format", "json"],
                                  capture_output=True, text=True, check=False, timeout=120)
            line = next((line for line in done.stdout.splitlines() if line.startswith("{")), None)
            if line is None and len(some) > 1:
                for name in some:
                    (policies / f"{name}.yaml").unlink()
                    answers |= ask(program, {name: rules[name]})
                continue
            for one in json.loads(line).get("results", []) if line else ():
                answers[one["policy"]] = [one["result"], one.get("message", "")]
            for file in policies.iterdir():
                file.unlink()
    return answers


if __name__ == "__main__":
    recorded = ask(sys.argv[1], blocks())
    rows = [[name, *answer] for name, answer in sorted(recorded.items())]
    ANSWERS.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")
    print(f"{len(rows)} of {len(blocks())} answers")
