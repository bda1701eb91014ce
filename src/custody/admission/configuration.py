"""Validating- and MutatingWebhookConfiguration for a custody that the API server reaches by a URL."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import yaml

from custody.errors import MalformedError, UnsupportedError
from custody.policy.kyverno.match import kind_selector
from custody.policy.load import PolicySet

OWN_NAMESPACES = ("kube-system", "custody")
"""Never sent to the webhook: where it runs itself, and what must start when it does not answer."""
_RESOURCES = {
    "Pod": ("", "pods"), "Service": ("", "services"), "ConfigMap": ("", "configmaps"), "Secret": ("", "secrets"),
    "Namespace": ("", "namespaces"), "ServiceAccount": ("", "serviceaccounts"), "Deployment": ("apps", "deployments"),
    "StatefulSet": ("apps", "statefulsets"), "DaemonSet": ("apps", "daemonsets"), "ReplicaSet": ("apps", "replicasets"),
    "Job": ("batch", "jobs"), "CronJob": ("batch", "cronjobs"), "Ingress": ("networking.k8s.io", "ingresses"),
    "NetworkPolicy": ("networking.k8s.io", "networkpolicies"), "Role": ("rbac.authorization.k8s.io", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io", "rolebindings"),
    "ClusterRole": ("rbac.authorization.k8s.io", "clusterroles"),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io", "clusterrolebindings")}


def configurations(url: str, ca_bundle: bytes, policies: PolicySet | None = None, *, failure_policy: str = "Fail",
                   timeout: int | None = None, exclude: Sequence[str] = OWN_NAMESPACES) -> list[dict[str, Any]]:
    """Two documents: mutating (pods only) and validating, for the kinds that the policies name.

    `url` is `https://host:port`; `timeout` in seconds, 1 to 30, default the policies' or 10.
    """
    if not url.startswith("https://"):
        raise MalformedError("url", got=url, expected="https://…, the API server calls nothing else")
    if failure_policy not in ("Fail", "Ignore"):
        raise MalformedError("failurePolicy", got=failure_policy, expected="Fail or Ignore")
    seconds = timeout or (policies.timeout if policies else None) or 10
    rules, verifies = _rules(policies)
    common = {
        "admissionReviewVersions": ["v1", "v1beta1"], "failurePolicy": failure_policy, "matchPolicy": "Equivalent",
        "sideEffects": "None", "timeoutSeconds": seconds,
        "namespaceSelector": {"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": list(exclude)}]}}

    def one(kind: str, word: str, rules: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        client = {"url": f"{url.rstrip('/')}/{word}", "caBundle": base64.b64encode(ca_bundle).decode()}
        hook = {"name": f"{word}.custody.internal", "clientConfig": client, "rules": rules, **common, **more}
        return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "custody"},
                "webhooks": [hook]}

    pods = [_rule("", ["pods", "pods/ephemeralcontainers"], ["CREATE", "UPDATE"])]
    mutating = [one("MutatingWebhookConfiguration", "mutate", pods, reinvocationPolicy="IfNeeded")] if verifies else []
    return [*mutating, one("ValidatingWebhookConfiguration", "validate", rules)]


def _rules(policies: PolicySet | None) -> tuple[list[dict[str, Any]], bool]:
    groups: dict[str, set[str]] = {}
    operations = {"CREATE", "UPDATE"}
    verifies = policies is None
    for rule in (rule for policy in policies.policies for rule in policy.rules) if policies else ():
        verifies |= bool(rule.images)
        operations |= rule.match.operations
        for text in rule.match.kinds:
            kind = kind_selector(text)[2]
            if kind not in _RESOURCES:
                raise UnsupportedError(f"{rule.where}.match", f"which resources are {text} is not known to custody yet")
            group, plural = _RESOURCES[kind]
            groups.setdefault(group, set()).update([plural] + (["pods/ephemeralcontainers"] if kind == "Pod" else []))
    if not groups:
        groups = {"": {"pods", "pods/ephemeralcontainers"}}
    return [_rule(group, sorted(plurals), sorted(operations)) for group, plurals in sorted(groups.items())], verifies


def _rule(group: str, resources: list[str], operations: list[str]) -> dict[str, Any]:
    return {"apiGroups": [group], "apiVersions": ["*"], "resources": resources, "operations": operations, "scope": "*"}


def to_yaml(found: list[dict[str, Any]]) -> str:
    return yaml.safe_dump_all(found, sort_keys=False, width=200)
