"""Policies of many spellings, and what Kyverno's controller tells the API server to ask about for each of them.

`python -m tests.admission.kyverno_webhooks KUBECONFIG apply`, before the controller starts, and `… ask` once it runs,
writes what it tells the API server to ask about to tests/data/kyverno_webhooks.json; `… match CA URL`, with the CA and
https://host:port of its webhook, writes which of the requests below each selector matches. (Its own policy webhook
takes the version of an API server that was built from a Go module for one without matchConditions, by which each
policy gets a webhook of its own.)
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import yaml

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
MATCHES = ROOT / "tests" / "data" / "kyverno_matches.json"
OPERATIONS = ((), ("DELETE",), ("CONNECT",), ("CREATE", "UPDATE"))
CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
       "metadata": {"name": "services.serving.knative.dev"},
       "spec": {"group": "serving.knative.dev", "scope": "Namespaced",
                "names": {"plural": "services", "singular": "service", "kind": "Service", "shortNames": ["ksvc"]},
                "versions": [{"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}, "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}
DENY = {"message": "no", "deny": {"conditions": {"all": [{"key": "{{ request.name }}", "operator": "Equals",
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


def _request(name: str, operation: str, resource: str, kind: str, of: str = "") -> dict[str, Any]:
    """`resource` is group/version/plural[/subresource], `kind` version/Kind of `of`, else of the resource's group."""
    group, version, plural, *subresource = resource.split("/")
    kind_version, kind = kind.split("/")
    kind_group = of or group
    body = {"apiVersion": f"{kind_group}/{kind_version}".lstrip("/"), "kind": kind,
            "metadata": {"name": "x", "namespace": "default"}, "spec": {}}
    deleted = operation == "DELETE"
    of_kind = {"group": kind_group, "version": kind_version, "kind": kind}
    of_resource = {"group": group, "version": version, "resource": plural}
    return {"uid": name, "kind": of_kind, "requestKind": of_kind, "resource": of_resource,
            "requestResource": of_resource, "subResource": "".join(subresource), "name": "x",
        "namespace": "default", "operation": operation, "userInfo": {"username": "ann", "groups": ["dev"]},
        "object": None if deleted else body, "oldObject": body if operation in ("UPDATE", "DELETE") else None,
        "dryRun": True, "options": None}


REQUESTS = [_request(f"r{at:02}", *request) for at, request in enumerate((
    ("CREATE", "/v1/pods", "v1/Pod"), ("UPDATE", "/v1/pods", "v1/Pod"), ("DELETE", "/v1/pods", "v1/Pod"),
    ("CONNECT", "/v1/pods/exec", "v1/PodExecOptions"), ("CONNECT", "/v1/pods/attach", "v1/PodAttachOptions"),
    ("CONNECT", "/v1/pods/portforward", "v1/PodPortForwardOptions"),
    ("CONNECT", "/v1/pods/proxy", "v1/PodProxyOptions"),
    ("UPDATE", "/v1/pods/ephemeralcontainers", "v1/Pod"), ("UPDATE", "/v1/pods/status", "v1/Pod"),
    ("UPDATE", "/v1/pods/resize", "v1/Pod"), ("CREATE", "/v1/pods/eviction", "v1/Eviction", "policy"),
    ("CREATE", "apps/v1/deployments", "v1/Deployment"), ("UPDATE", "apps/v1/deployments/status", "v1/Deployment"),
    ("UPDATE", "apps/v1/deployments/scale", "v1/Scale", "autoscaling"),
    ("UPDATE", "apps/v1/statefulsets/scale", "v1/Scale", "autoscaling"),
    ("UPDATE", "/v1/replicationcontrollers/scale", "v1/Scale", "autoscaling"),
    ("CREATE", "apps/v1/daemonsets", "v1/DaemonSet"), ("CREATE", "/v1/services", "v1/Service"),
    ("CONNECT", "/v1/services/proxy", "v1/ServiceProxyOptions"), ("UPDATE", "/v1/services/status", "v1/Service"),
    ("CREATE", "serving.knative.dev/v1/services", "v1/Service"),
    ("UPDATE", "serving.knative.dev/v1/services/status", "v1/Service"),
    ("DELETE", "/v1/secrets", "v1/Secret"), ("CREATE", "/v1/configmaps", "v1/ConfigMap"),
    ("CREATE", "/v1/serviceaccounts", "v1/ServiceAccount"),
    ("CREATE", "/v1/serviceaccounts/token", "v1/TokenRequest", "authentication.k8s.io"),
    ("CREATE", "networking.k8s.io/v1/ingresses", "v1/Ingress"), ("CREATE", "batch/v1/cronjobs", "v1/CronJob"),
    ("CREATE", "batch/v1/jobs", "v1/Job"),
    ("CREATE", "autoscaling/v1/horizontalpodautoscalers", "v1/HorizontalPodAutoscaler"),
    ("CREATE", "autoscaling/v2/horizontalpodautoscalers", "v2/HorizontalPodAutoscaler"),
    ("CREATE", "rbac.authorization.k8s.io/v1/rolebindings", "v1/RoleBinding"),
    ("CREATE", "coordination.k8s.io/v1/leases", "v1/Lease"), ("CREATE", "policy/v1/poddisruptionbudgets",
                                                              "v1/PodDisruptionBudget")))]
"""AdmissionRequests, of kinds that Kyverno's own configuration does not filter out."""


def normal(rules: list[dict[str, Any]]) -> list[list[str]]:
    """The rules of a webhook as (group, version, resource, scope, operation), in order."""
    return sorted({(group, version, resource, rule.get("scope", "*"), operation) for rule in rules
                   for group in rule["apiGroups"] for version in rule["apiVersions"] for resource in rule["resources"]
                   for operation in rule["operations"]})  # type: ignore[type-var]


def run(kubeconfig: str, *arguments: str, given: Any = None) -> str:
    return subprocess.run(["kubectl", "--kubeconfig", kubeconfig, *arguments], capture_output=True, text=True,
                          input=None if given is None else json.dumps(given), check=True, timeout=120).stdout


def always() -> dict[str, dict[str, Any]]:
    """By name: policies that deny whatever they match and ann asks for, one for each selector."""
    made = {name: json.loads(json.dumps(policy)) for name, policy in policies().items() if name[1:].isdigit()
            and name[0] == "s"}
    for policy in made.values():
        policy["spec"]["rules"][0]["validate"]["allowExistingViolations"] = False
        policy["spec"]["rules"][0]["validate"]["deny"]["conditions"]["all"][0] = {
            "key": "{{ request.userInfo.username }}", "operator": "Equals", "value": "ann"}
    return made


def match(kubeconfig: str, ca: str, url: str) -> dict[str, list[str]]:
    """By the request's uid: the names of the policies that deny it. There are to be no other policies."""
    for policy in always().values():
        try:
            run(kubeconfig, "apply", "-f", "-", given=policy)
        except subprocess.CalledProcessError as error:
            print(policy["metadata"]["name"], error.stderr, file=sys.stderr)
    time.sleep(30)
    context = ssl.create_default_context(cafile=ca)
    matched = {}
    for request in REQUESTS:
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()
        with urllib.request.urlopen(urllib.request.Request(
                f"{url}/validate/fail", body, {"Content-Type": "application/json"}), context=context,
                timeout=30) as reply:
            answer = json.load(reply)["response"]
        message = answer.get("status", {}).get("message", "").partition("policies \n\n")[2]
        matched[request["uid"]] = sorted(yaml.safe_load(message) or {})
    return matched


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
    elif sys.argv[2] == "match":
        lines = ",\n".join(f"{json.dumps(uid)}: {json.dumps(names)}"
                           for uid, names in match(sys.argv[1], *sys.argv[3:]).items())
        Path(MATCHES).write_text(f"{{\n{lines}\n}}\n")
    else:
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(asked)}"
                           for name, asked in sorted(ask(sys.argv[1]).items()))
        Path(ANSWERS).write_text(f"{{\n{lines}\n}}\n")
