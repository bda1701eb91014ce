"""Documents that are not judged: refused where no API server would take them, told where they are somebody else's."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import UnsupportedError
from custody.network.documents import read
from custody.services.networking import from_targets, over
from tests.network.worlds import calico, cilium, cluster_policy, engine, policy, verdict


def documents(*given: dict[str, Any]) -> Any:
    return read([(f"d[{at}]", document) for at, document in enumerate(given)])


POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "x", "labels": {"app": "a"}},
       "spec": {"containers": [{"name": "c"}]}, "status": {"podIP": "10.0.0.1"}}
DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {
    "metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c"}]}}}}


@pytest.mark.parametrize("document", [
    {**policy(), "apiVersion": "extensions/v1beta1"}, {**policy(), "apiVersion": "v1"},
    {**policy(), "apiVersion": "networking.k8s.io"}, {**policy(), "apiVersion": "cilium.io/v2"},
    {**policy(), "kind": "networkpolicy"}, {**cilium("l"), "apiVersion": "networking.k8s.io/v1"},
    {**calico("k"), "apiVersion": "policy.networking.k8s.io/v1alpha2"}, {**cluster_policy("p", 1), "apiVersion": "v1"},
    {**cluster_policy("p", 1), "kind": "ClusterNetworkPolicies"}, {**POD, "kind": "pod"},
    {**POD, "apiVersion": "apps/v1"}, {**DEPLOYMENT, "apiVersion": "extensions/v1beta1"},
    {**DEPLOYMENT, "apiVersion": "v1"}, {**DEPLOYMENT, "kind": "deployment"}])
def test_a_kind_of_another_group_is_not_passed_over(document: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match=rf"d\[1\]: {document['apiVersion']} {document['kind']}"):
        documents({**POD, "metadata": {"name": "b"}}, document)


@pytest.mark.parametrize(("version", "kind"), [
    ("crd.antrea.io/v1beta1", "NetworkPolicy"), ("crd.antrea.io/v1beta1", "ClusterNetworkPolicy"),
    ("k8s.ovn.org/v1", "EgressFirewall"), ("network.openshift.io/v1", "EgressNetworkPolicy"),
    ("networking.gke.io/v1alpha1", "FQDNNetworkPolicy"), ("security.istio.io/v1", "AuthorizationPolicy"),
    ("k8s.cni.cncf.io/v1beta1", "MultiNetworkPolicy")])
def test_policies_of_others_are_told(version: str, kind: str) -> None:
    [unread] = documents(POD, {"apiVersion": version, "kind": kind, "metadata": {"name": "p"}, "spec": {}}).unread
    assert (unread.where, unread.kind) == ("d[1]", kind)


def test_what_else_makes_pods_is_told() -> None:
    rollout = {**DEPLOYMENT, "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
    read_ = documents(POD, rollout, {"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "spec": {}},
                      {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"}})
    assert [(unread.kind, unread.reason.split(" of ")[0]) for unread in read_.unread] == [("Rollout", "it makes pods")]


def test_calicos_own_resources_are_its_policies() -> None:
    stored = {**calico("default.deny", ingress=[{"action": "Deny"}]), "apiVersion": "crd.projectcalico.org/v1"}
    read_ = documents(POD, {**POD, "metadata": {"name": "b", "namespace": "x"}, "status": {}}, stored)
    assert [str(one.identity) for one in read_.policies] == ["Calico GlobalNetworkPolicy deny"]
    assert verdict(engine(read_.topology, stored), "x/b", "x/a") == "denied"
    with pytest.raises(UnsupportedError, match=r"crd\.projectcalico\.org/v2"):
        documents(POD, {**stored, "apiVersion": "crd.projectcalico.org/v2"})


def test_a_file_of_them_replaces_what_stands() -> None:
    stands = [("GlobalNetworkPolicy/deny", calico("deny", ingress=[{"action": "Deny"}]))]
    text = (b"apiVersion: crd.projectcalico.org/v1\nkind: GlobalNetworkPolicy\nmetadata: {name: default.deny}\n"
            b"spec: {ingress: [{action: Allow}]}")
    [(_, document)] = over(stands, from_targets(["-"], lambda: text).documents)
    assert document["spec"] == {"ingress": [{"action": "Allow"}]}
