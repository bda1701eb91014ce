"""`custody netpol --kubeconfig` on a real API server: its pods and policies, kinds of plugins too, files over them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.cli.commands import custody
from tests.cluster.replica import Cluster

DENY = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny",
    "namespace": "shop"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
ALLOW = {**DENY, "metadata": {"name": "web", "namespace": "shop"}, "spec": {
    "podSelector": {"matchLabels": {"app": "db"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]}}
CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
       "metadata": {"name": "clusternetworkpolicies.policy.networking.k8s.io",
                    "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/network-policy-api"}},
       "spec": {"group": "policy.networking.k8s.io", "scope": "Cluster",
                "names": {"plural": "clusternetworkpolicies", "kind": "ClusterNetworkPolicy"},
                "versions": [{"name": "v1alpha2", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}
ADMIN = {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
    "metadata": {"name": "open"},
         "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}},
                  "ingress": [{"action": "Accept", "from": [{"namespaces": {"matchLabels": {"team": "ops"}}}]}]}}


def pod(namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace,
        "labels": {"app": name}},
            "spec": {"containers": [{"name": "c", "image": "c"}]}}


def test_a_cluster(kubeconfig: Path, tmp_path: Path) -> None:
    cluster = Cluster(kubeconfig)
    for name, labels in (("shop", {}), ("ops", {"team": "ops"})):
        cluster.do("create", "-f", "-", given={"apiVersion": "v1", "kind": "Namespace",
                                               "metadata": {"name": name, "labels": labels}})
    for namespace, name in (("shop", "web"), ("shop", "db"), ("ops", "agent")):
        cluster.do("create", "-f", "-", given=pod(namespace, name))
    cluster.do("patch", "-n", "shop", "pod", "web", "--subresource=status", "--type=merge", "-p",
               json.dumps({"status": {"podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}]}}))
    cluster.do("create", "-f", "-", given=[DENY, ALLOW])

    def explained(source: str, *arguments: str) -> tuple[int, str]:
        done = custody("netpol", "explain", "--kubeconfig", str(kubeconfig), "--from", source, "--to", "shop/db",
            "--port",
                       "80", *arguments, cwd=tmp_path)
        return done.returncode, done.stdout + done.stderr

    code, told = explained("10.0.0.7")
    assert (code, "NetworkPolicy shop/web allows it: spec.ingress[0] (NetworkPolicy/shop/web)" in told) == (0,
        True), told
    assert explained("ops/agent")[0] == 3
    cluster.do("create", "-f", "-", given=CRD)
    cluster.until(lambda: cluster("create", "-f", "-", given=ADMIN).returncode == 0, "the new kind")
    code, told = explained("ops/agent")
    assert (code, "ClusterNetworkPolicy open allows it" in told) == (0, True), told

    (tmp_path / "new.json").write_text(json.dumps({**ALLOW, "spec": {**ALLOW["spec"], "ingress": []}}))
    assert explained("shop/web", "new.json")[0] == 3, "the file's counts over the cluster's"
    done = custody("netpol", "diff", "new.json", "--kubeconfig", str(kubeconfig), cwd=tmp_path)
    assert re.search(r"^- +shop/web +shop/db +all +ingress: no rule allows it", done.stdout,
        re.MULTILINE), done.stdout + done.stderr
    assert done.stderr == "1 connection differs\n"
