"""Policies of many spellings, and what Kyverno's controller tells the API server to ask about for each of them.

`python -m tests.admission.kyverno_webhooks KUBECONFIG apply`, before the controller starts, and `… ask` once it runs,
writes its answers to tests/data/kyverno_webhooks.json. (Its own policy webhook takes the version of an API server that
was built from a Go module for one without matchConditions, by which each policy gets a webhook of its own.)
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

ANSWERS = ROOT / "tests" / "data" / "kyverno_webhooks.json"
SELECTORS = (
    "Pod", "v1/Pod", "v2/Pod", "*/Pod", "Pod/exec", "Pod.exec", "v1/Pod/exec", "v1/Pod.attach", "Pod/attach",
    "Pod/portforward", "Pod/proxy", "Pod/log", "Pod/binding", "Pod/eviction", "Pod/status", "Pod/ephemeralcontainers",
    "Pod/resize", "Pod/*", "Pod/e*", "Pod*", "Po?", "Service", "v1/Service", "*/v1/Service",
    "serving.knative.dev/v1/Service", "serving.knative.dev/*/Service", "*.knative.dev/*/Service",
    "serving.knative.dev/v1/Service/status", "serving.knative.dev/v1/Service/scale", "Service/proxy",
    "Service/status", "Deployment", "apps/v1/Deployment", "apps/*/Deployment", "*/*/Deployment", "apps/v1/*",
    "apps/*/*", "*/v1/*", "Deployment/scale", "apps/v1/Deployment/scale", "apps/*/Deployment/status", "*Set",
    "*Set/scale", "StatefulSet.scale", "ReplicationController/scale", "*", "*/*", "*/exec", "*/scale", "*/status",
    "apps/*/*/scale", "Namespace", "Namespace/finalize", "Node", "Node/proxy", "Node/status", "Secret", "ConfigMap",
    "ServiceAccount", "ServiceAccount/token", "Event", "v1/Event", "events.k8s.io/v1/Event", "Ingress",
    "networking.k8s.io/v1/Ingress", "networking.k8s.io/*/*", "batch/v1/CronJob", "Job", "HorizontalPodAutoscaler",
    "autoscaling/v1/HorizontalPodAutoscaler", "PodDisruptionBudget", "ClusterRole",
    "rbac.authorization.k8s.io/v1/*Binding", "CustomResourceDefinition", "Binding", "PodExecOptions", "Eviction",
    "Scale", "TokenRequest", "Gadget", "pods", "apps/Deployment", "Lease", "TokenReview", "SubjectAccessReview",
    "CertificateSigningRequest/approval", "gadgets.example.com/v1/Gadget")
OPERATIONS = ((), ("DELETE",), ("CONNECT",), ("CREATE", "UPDATE"))
CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
       "metadata": {"name": "services.serving.knative.dev"},
       "spec": {"group": "serving.knative.dev", "scope": "Namespaced",
                "names": {"plural": "services", "singular": "service", "kind": "Service", "shortNames": ["ksvc"]},
                "versions": [{"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}, "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}
DENY = {"message": "no", "deny": {"conditions": {"all": [{"key": "{{ request.operation }}", "operator": "Equals",
                                                           "value": "NONE"}]}}}
PATTERN = {"message": "no", "pattern": {"metadata": {"labels": {"team": "?*"}}}}
IMAGES = [{"imageReferences": ["ghcr.io/a/*"], "attestors": [{"entries": [{"keys": {"publicKeys":
           "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8nXRh950IZbRj8Ra/N9sbqOPZrfM\n"
           "5/KAQN0/KjHcorm/J5yctVd7iEcnessRQjU917hmKO6JWVGHpDguIyakZA==\n-----END PUBLIC KEY-----"}}]}]}]


def policies() -> dict[str, dict[str, Any]]:
    """By name: one rule each."""
    made: dict[str, dict[str, Any]] = {}

    def add(name: str, match: dict[str, Any], exclude: dict[str, Any] | None = None, **judged: Any) -> None:
        rule = {"name": "r", "match": match, **({"exclude": exclude} if exclude else {}),
                **(judged or {"validate": DENY})}
        made[name] = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {
            "name": name, "annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"}}, "spec": {
                "validationFailureAction": "Enforce", "background": False, "rules": [rule]}}

    def kinds(*names: str, operations: tuple[str, ...] = ()) -> dict[str, Any]:
        resources = {"kinds": [*names], **({"operations": [*operations]} if operations else {})}
        return {"any": [{"resources": resources}]}

    for at, selector in enumerate(SELECTORS):
        add(f"s{at:03}", kinds(selector))
    for at, selector in enumerate(("Pod", "Pod/exec", "Secret", "Deployment/scale", "Namespace", "ConfigMap")):
        for n, operations in enumerate(OPERATIONS[1:]):
            add(f"o{at}{n}", kinds(selector, operations=operations))
        add(f"p{at}", kinds(selector), validate=PATTERN)
    add("images", kinds("Pod"), verifyImages=IMAGES)
    add("two", {"any": [{"resources": {"kinds": ["Secret"], "operations": ["DELETE"]}},
                        {"resources": {"kinds": ["Deployment"], "operations": ["CREATE", "UPDATE"]}}]})
    add("excluded", kinds("Secret", "ConfigMap"), {"any": [{"resources": {"kinds": ["Secret"]}}]})
    add("excluded-delete", kinds("Secret"), {"any": [{"resources": {"kinds": ["Secret"], "operations": ["DELETE"]}}]})
    add("excluded-named", kinds("Secret"), {"any": [{"resources": {"kinds": ["Secret"], "names": ["x"]}}]})
    add("broad-and-narrow", kinds("*/*", "Pod", "Pod/exec"))
    add("pods-and-all", kinds("*", "Secret"))
    return made


def normal(rules: list[dict[str, Any]]) -> list[list[str]]:
    """The rules of a webhook as (group, version, resource, scope, operation), in order."""
    return sorted({(group, version, resource, rule.get("scope", "*"), operation) for rule in rules
                   for group in rule["apiGroups"] for version in rule["apiVersions"] for resource in rule["resources"]
                   for operation in rule["operations"]})  # type: ignore[type-var]


def run(kubeconfig: str, *arguments: str, given: Any = None) -> str:
    return subprocess.run(["kubectl", "--kubeconfig", kubeconfig, *arguments], capture_output=True, text=True,
                          input=None if given is None else json.dumps(given), check=True, timeout=120).stdout


def apply(kubeconfig: str) -> None:
    run(kubeconfig, "apply", "-f", "-", given=CRD)
    items = []
    for policy in policies().values():
        apart = {**policy["spec"], "webhookConfiguration": {
            "matchConditions": [{"name": "apart", "expression": "true"}]}}
        items.append({**policy, "spec": apart})
    run(kubeconfig, "apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": items})


def ask(kubeconfig: str) -> dict[str, dict[str, list[list[str]]]]:
    """What the controller writes, by policy: `mutate` and `validate`; nothing where it asks about nothing."""
    before: Any = None
    for _ in range(60):
        time.sleep(5)
        answers: dict[str, dict[str, Any]] = {name: {} for name in policies()}
        for verb, kind in (("mutate", "mutating"), ("validate", "validating")):
            written = json.loads(run(kubeconfig, "get", f"{kind}webhookconfiguration",
                                     f"kyverno-resource-{kind}-webhook-cfg", "-o", "json"))
            for hook in written.get("webhooks") or []:
                name = hook["name"].rpartition("-finegrained-")[2]
                answers[name][verb] = normal(hook["rules"])
        if answers == before:
            return answers
        before = answers
    raise TimeoutError("the controller's webhooks did not settle")


if __name__ == "__main__":
    if sys.argv[2] == "apply":
        apply(sys.argv[1])
    else:
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(asked)}"
                           for name, asked in sorted(ask(sys.argv[1]).items()))
        Path(ANSWERS).write_text(f"{{\n{lines}\n}}\n")
