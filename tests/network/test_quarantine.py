"""Quarantine: which objects change, and the engine's proof that it isolates, or that it would not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from custody.errors import MalformedError, UnsupportedError, UsageError
from custody.network import documents as networking
from custody.network.connectivity import Connectivity
from custody.network.isolation import Isolation, isolation
from custody.network.model import Direction, Namespace, Pod, Topology
from custody.services import quarantine
from custody.services.isolating import planned

UID = "6f1f1e9c-0000-4000-8000-000000000001"


def pod(labels: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": "web-1", "namespace": "shop", "uid": UID, "resourceVersion": "7",
        "labels": {"app": "web", "pod-template-hash": "abc"} if labels is None else labels, **metadata}, "spec": {}}


def policy(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


ALLOW_ALL = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}
FOR_WEB = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}],
           "egress": [{}]}


def after(changes: list[quarantine.Change], *standing: dict[str, Any], before: dict[str, Any] | None = None,
          host_network: bool = False) -> Isolation:
    """The engine's word on the pod after these changes, among two other pods."""
    documents = quarantine.carried_out([before or pod(), *standing], changes)
    changed = documents[0]["metadata"]
    pods = (Pod("shop", "web-1", changed["labels"], (0x0A000001,), host_network=host_network),
            Pod("shop", "api-1", {"app": "api"}, (0x0A000002,)),
            Pod("other", "job-1", {"app": "job"}, (0x0A000003,)))
    topology = Topology(pods, {name: Namespace(name) for name in ("shop", "other")})
    listed = [(f"x[{at}]", document) for at, document in enumerate(documents[1:])]
    return isolation(Connectivity(topology, networking.read_policies(listed, topology)), "shop/web-1")


def test_labels_are_taken_away_and_kept_beside() -> None:
    deny, strip = quarantine.plan(pod())
    assert deny.body["spec"] == {"podSelector": {"matchLabels": {quarantine.LABEL: UID}},
                                 "policyTypes": ["Ingress", "Egress"]}
    assert strip.body == {"metadata": {
        "uid": UID, "resourceVersion": "7", "labels": {quarantine.LABEL: UID, "app": None, "pod-template-hash": None},
        "annotations": {quarantine.KEPT: '{"app":"web","pod-template-hash":"abc"}'}}}
    assert "app" in strip.why


def test_it_isolates_whatever_policy_selected_the_pod_by_its_labels() -> None:
    assert not after([], policy("web", FOR_WEB)).whole
    assert after(quarantine.plan(pod()), policy("web", FOR_WEB)) == Isolation("shop/web-1", ())


def test_a_policy_that_selects_all_pods_still_allows_and_is_named() -> None:
    proof = after(quarantine.plan(pod()), policy("open", ALLOW_ALL))
    assert not proof.whole
    assert {(leak.direction, leak.peer) for leak in proof.leaks} >= {
        (Direction.INGRESS, "other/job-1"), (Direction.EGRESS, "shop/api-1")}
    assert {str(identity) for leak in proof.leaks for identity in leak.because} == {"NetworkPolicy shop/open"}
    assert "allowed by NetworkPolicy shop/open" in proof.leaks[0].told


def test_a_policy_beside_alone_would_not_isolate() -> None:
    """What responders that only add a policy do."""
    deny, _ = quarantine.plan(pod())
    labelled = pod({"app": "web", quarantine.LABEL: UID})
    proof = after([deny], policy("web", FOR_WEB), before=labelled)
    assert not proof.whole


@pytest.mark.parametrize("method", ["cilium", "calico"])
def test_denials_isolate_whatever_allows(method: quarantine.Method) -> None:
    standing = (policy("web", FOR_WEB), policy("open", ALLOW_ALL))
    assert after(quarantine.plan(pod(), standing, method), *standing) == Isolation("shop/web-1", ())


def test_a_tier_before_calicos_default_still_allows() -> None:
    tier = {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "platform"},
            "spec": {"order": 10}}
    allow = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {
        "name": "platform.monitoring"}, "spec": {"tier": "platform", "order": 1, "types": ["Ingress"], "ingress": [
            {"action": "Allow", "source": {"selector": "app == 'job'"}}]}}
    proof = after(quarantine.plan(pod(), [allow], "calico"), tier, allow)
    assert [leak.told.partition(" on ")[0] for leak in proof.leaks] == ["from other/job-1"]
    assert "GlobalNetworkPolicy" in proof.leaks[0].told


def test_an_admin_policy_cuts_off_pods_and_not_what_a_networkpolicy_lets_in_from_outside() -> None:
    changes = quarantine.plan(pod(), (), "cluster-policy")
    assert after(changes) == Isolation("shop/web-1", ())
    proof = after(changes, policy("web", FOR_WEB))
    assert [(leak.direction, leak.peer) for leak in proof.leaks] == [(Direction.INGRESS, "0.0.0.0/0, ::/0")]


def test_a_policy_for_one_direction_only_leaves_the_other_open() -> None:
    deny, strip = quarantine.plan(pod())
    deny.body["spec"]["policyTypes"] = ["Ingress"]
    proof = after([deny, strip])
    assert {leak.direction for leak in proof.leaks} == {Direction.EGRESS}
    assert all("no policy isolates it" in leak.told for leak in proof.leaks)


def test_a_pod_on_the_nodes_network_is_never_called_isolated() -> None:
    proof = after(quarantine.plan(pod()), host_network=True)
    assert not proof.whole
    assert "node's network" in proof.reason


@pytest.mark.parametrize(("owner", "words"), [
    ([], "no controller makes another"),
    ([{"kind": "ReplicaSet", "name": "web-1", "controller": True}], "ReplicaSet web-1 makes another pod"),
    ([{"kind": "StatefulSet", "name": "db", "controller": True}], "cannot make another pod")])
def test_what_else_comes_of_it_is_told(owner: list[dict[str, Any]], words: str) -> None:
    assert words in quarantine.consequences(pod(ownerReferences=owner), "labels")[1]
    assert quarantine.consequences(pod(ownerReferences=owner), "cilium") == [quarantine.OPEN]


def test_a_pod_that_has_ended_is_not_called_cut_off() -> None:
    for phase in ("Succeeded", "Failed"):
        with pytest.raises(UsageError, match="pod shop/web-1 has ended"):
            planned([("p", {**pod(), "status": {"phase": phase}}), ("q", {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "api-1"}, "spec": {}})], "shop/web-1")


def test_beside_policies_that_nobody_judges_nothing_is_proved() -> None:
    strange = ("s", {"apiVersion": "crd.antrea.io/v1beta1", "kind": "ClusterNetworkPolicy", "metadata": {"name": "a"},
                     "spec": {}})
    alone, beside = planned([("p", pod())], "shop/web-1"), planned([("p", pod()), strange], "shop/web-1")
    assert alone.proof is not None
    assert alone.proof.whole
    assert beside.proof is not None
    assert not beside.proof.whole
    assert "ClusterNetworkPolicy of s may let pass" in beside.proof.reason


def test_release_touches_nothing_of_another_pods_quarantine() -> None:
    """Who may label a pod must not lift the quarantine of another by letting this one back."""
    forged = pod({"app": "web", quarantine.LABEL: "another-uid"}, annotations={quarantine.KEPT: "{}"})
    with pytest.raises(MalformedError, match=r"label custody\.internal/quarantine: got '?another-uid"):
        quarantine.release(forged, ())
    _, strip = quarantine.plan(pod())
    inside = quarantine.merged(pod(), strip.body)
    stranger = policy("web", FOR_WEB)
    stranger["metadata"]["labels"] = {quarantine.LABEL: UID}
    assert [change.verb for change in quarantine.release(inside, [stranger])] == ["patch"]


def test_release_gives_the_labels_back_and_removes_what_was_made() -> None:
    deny, strip = quarantine.plan(pod())
    inside = quarantine.merged(pod(), strip.body)
    foreign = policy("mine", FOR_WEB)
    back, gone = quarantine.release(inside, [deny.body, foreign])
    outside = quarantine.merged(inside, back.body)
    assert outside["metadata"]["labels"] == pod()["metadata"]["labels"]
    assert quarantine.KEPT not in outside["metadata"]["annotations"]
    assert (gone.verb, gone.kind, gone.name) == ("delete", "NetworkPolicy", f"custody-quarantine-{UID}")


@pytest.mark.parametrize(("annotations", "words"), [
    ({}, "got 'nothing'"), ({quarantine.KEPT: "["}, "JSON"), ({quarantine.KEPT: '{"app": 7}'}, "labels of before"),
    ({quarantine.KEPT: '{"a":"1","a":"2"}'}, "twice")])
def test_release_needs_the_labels_of_before(annotations: dict[str, str], words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        quarantine.release(pod({quarantine.LABEL: UID}, annotations=annotations))


def test_what_is_not_planned() -> None:
    with pytest.raises(UsageError, match="already"):
        quarantine.plan(pod({quarantine.LABEL: UID}))
    with pytest.raises(UsageError, match="not in quarantine"):
        quarantine.release(pod())
    with pytest.raises(UnsupportedError, match="static pod"):
        quarantine.plan(pod(annotations={"kubernetes.io/config.mirror": "x"}))
    with pytest.raises(UsageError, match="method"):
        quarantine.plan(pod(), method="prayer")  # type: ignore[arg-type]
    with pytest.raises(MalformedError, match=r"pod shop/web-1: metadata\.uid: got nothing, expected the uid"):
        quarantine.plan(pod(uid=""))


def test_calico_stands_before_what_stands_there() -> None:
    standing = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "a"},
                "spec": {"order": -12}}
    deny, label = quarantine.plan(pod(), [standing], "calico")
    assert (deny.api_version, deny.body["spec"]["order"]) == ("projectcalico.org/v3", -13)
    assert label.body["metadata"]["labels"] == {quarantine.LABEL: UID}


@pytest.mark.parametrize("method", quarantine.METHODS)
def test_every_object_is_marked_for_release(method: quarantine.Method) -> None:
    *made, label = quarantine.plan(pod(), (), method)
    inside = quarantine.merged(pod(), label.body)
    gone = quarantine.release(inside, [change.body for change in made])[1:]
    assert [(change.kind, change.name) for change in gone] == [(change.kind, change.name) for change in made]
    assert json.loads(json.dumps([change.body for change in made]))
