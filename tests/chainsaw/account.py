"""Who custody is beside a test's cluster: the chart's account, with the chart's roles and what Kyverno's own runs of
these tests grant its controllers beyond its chart (scripts/config/standard of its repository)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.chainsaw.api import Api, Object
from tests.conftest import ROOT
from tests.deploy.template import Chart

_KINDS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
_WRITTEN = ("create", "update", "patch", "delete", "get", "list", "watch")
_BESIDE = [
    {"apiGroups": ["*"], "verbs": _WRITTEN, "resources": [
        "configmaps", "networkpolicies", "resourcequotas", "secrets", "roles", "rolebindings", "clusterroles",
        "clusterrolebindings", "limitranges", "namespaces", "nodes", "nodes/status", "pods"]},
    # Kyverno's reports controller reads all there is, and so sees what nobody may change.
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
    # Its chart lets what it generates in Roles be granted.
    {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "clusterroles"], "verbs": ["bind", "escalate"]}]


def account(kubeconfig: Path, folder: Path, api: Api) -> Path:
    """The kubeconfig of the account, in namespace kyverno, made of an administrator's."""
    chart = Chart(ROOT / "deploy" / "helm" / "custody")
    rules = [{**rule, "verbs": [*rule["verbs"]]} for rule in _BESIDE]
    for document in chart.documents({"rbac": {"aggregate": True, "extraRules": rules}}, namespace="kyverno"):
        if document["kind"] in _KINDS:
            api.create(document)
    config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    config["users"][0]["user"] = {"token": _token(api)}
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def _token(api: Api) -> str:
    asked: Object = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                     "spec": {"expirationSeconds": 36000}}
    answer = api.ask("POST", "/api/v1/namespaces/kyverno/serviceaccounts/custody/token", asked)
    return str(answer["status"]["token"])
