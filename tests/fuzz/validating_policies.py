"""Generated ValidatingPolicies beside the Kyverno CLI: `python -m tests.fuzz.validating_policies [COUNT] [SEED]`.

Not among them: objectSelectors that select what has no labels, which the CLI holds against an absent old object too.
"""

from __future__ import annotations

import copy
import random
import sys
from typing import Any

from tests.fuzz.validating import differences

EXPRESSIONS = [
    "object.spec.containers.size() <= 1", "object.spec.containers.all(c, c.image.startsWith('ghcr.io/'))",
    "object.metadata.name.matches('^[a-m].*')", "has(object.metadata.labels.team)", "object.spec.nope == 1",
    "object.spec.containers[3].name == 'a'", "oldObject == {}", "request.operation == 'CREATE'", "1 / 0 == 1",
    "namespaceObject == null", "request.name == object.metadata.name", "object.metadata.namespace == 'default'",
    "request.resource.resource == 'pods'", "variables.images.exists(i, i == 'b')", "variables.broken == 1",
    "variables.images.size() > 1 ? variables.broken == 1 : true", "object.spec.?hostNetwork.orValue(false) == false",
    "object.spec.containers.all(c, c.?ports.orValue([]).all(p, p.?hostPort.orValue(0) == 0))", "dyn('a') < dyn(1)",
    "quantity('1Gi').isGreaterThan(quantity('1Mi'))", "object.metadata.labels['x'] == 'y'", "request.subResource == ''",
    "object.metadata.?labels.team.orValue('') != ''", "size(exceptions.allowedImages) == 0",
    "object.spec.containers.map(c, c.name).isSorted()",
    "image(object.spec.containers[0].image).registry() == 'ghcr.io'", "has(object.metadata.annotations)"]
MESSAGES: list[dict[str, str]] = [
    {}, {"message": " no object.spec here "}, {"messageExpression": "'bad ' + object.metadata.name"},
    {"messageExpression": "string(object.nope)", "message": "m"}, {"messageExpression": "''"}, {"message": "m"}]
CONDITIONS = ["true", "false", "object.nope == 1", "object.metadata.name != 'alpha'", "request.operation == 'CREATE'"]
RULES: list[dict[str, Any]] = [
    {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE", "UPDATE"]},
    {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "operations": ["*"]},
    {"apiGroups": ["apps", "batch"], "apiVersions": ["v1"], "resources": ["*"], "operations": ["CREATE"]},
    {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["DELETE"]},
    {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"], "operations": ["*"]},
    {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["*"],
     "resourceNames": ["alpha"]},
    {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["*"], "scope": "Cluster"}]
SELECTORS: list[dict[str, Any]] = [
    {"objectSelector": {"matchLabels": {"team": "x"}}}, {"namespaceSelector": {"matchLabels": {"env": "prod"}}},
    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}},
    {"objectSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}},
    {"excludeResourceRules": [RULES[5]]}]


def generated(rng: random.Random, at: int) -> dict[str, Any]:
    match: dict[str, Any] = {"resourceRules": rng.choice([[RULES[0]], [RULES[0]], [RULES[0]], [rng.choice(RULES)],
                                                          rng.sample(RULES, 2)])}
    if rng.random() < 0.3:
        match |= rng.choice(SELECTORS)
    spec: dict[str, Any] = {
        "matchConstraints": match, "failurePolicy": rng.choice(["Fail", "Ignore"]),
        "validationActions": rng.choice([["Deny"], ["Audit"], ["Warn"], ["Audit", "Warn"]]),
        "variables": [{"name": "images", "expression": "object.spec.containers.map(c, c.image)"},
                      {"name": "broken", "expression": "object.spec.broken"}],
        "validations": [{"expression": rng.choice(EXPRESSIONS), **rng.choice(MESSAGES)}
                        for _ in range(rng.randint(1, 3))]}
    if rng.random() < 0.4:
        spec["matchConditions"] = [{"name": f"m{n}", "expression": rng.choice(CONDITIONS)}
                                   for n in range(rng.randint(1, 2))]
    if rng.random() < 0.2:
        spec["auditAnnotations"] = [{"key": "k", "valueExpression": rng.choice(["'v'", "string(object.nope)"])}]
    if rng.random() < 0.3:
        spec["autogen"] = {"podControllers": {"controllers": rng.choice(
            [[], ["deployments"], ["cronjobs", "jobs"], ["jobsets.v1alpha2.jobset.x-k8s.io"]])}}
    return {"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": f"p{at:03}"},
            "spec": spec}


def resources() -> list[dict[str, Any]]:
    spec: dict[str, Any] = {"containers": [{"name": "a", "image": "b"}]}
    two = {"hostNetwork": True, "containers": [{"name": "a", "image": "ghcr.io/x/y:1", "ports": [{"hostPort": 80}]},
                                               {"name": "c", "image": "ghcr.io/z:2"}]}
    job = {"template": {"metadata": {"name": "t"}, "spec": two}}
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alpha", "labels": {"team": "x"}}, "spec": spec},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "zeta", "namespace": "prod"}, "spec": two},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "alpha"}, "spec": {"template": {
            "metadata": {"labels": {"team": "x"}}, "spec": spec}}},
        {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "zeta"}, "spec": {"jobTemplate": {
            "spec": job}}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod", "labels": {"env": "prod"}}},
        {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "Jobset", "metadata": {"name": "jobs"}, "spec": {
            "replicatedJobs": [{"name": "j", "template": {"spec": job}}]}}]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else None)
    wrong = 0
    for start in range(0, count, 50):
        policies = [generated(rng, at) for at in range(start, min(start + 50, count))]
        by_name = {policy["metadata"]["name"]: policy["spec"] for policy in policies}
        for line in differences(policies, copy.deepcopy(resources())):
            wrong += 1
            name = line.partition("policy='")[2][:4]
            print(f"{line}\n    {by_name.get(name)}")
    print(f"{count} policies, {len(resources())} resources, {wrong} results differ")


if __name__ == "__main__":
    main()
