"""Containers beside the records of admission: each state, with exactly that wrong which it names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.sqlite.decisions import SqliteDecisions
from custody.adapters.sqlite.inventory import SqliteInventory
from custody.errors import MalformedError
from custody.formats.containers import Running, of_pod, of_runtime, owners
from custody.ports.decisions import KeptDecision
from custody.ports.inventory import Sighting
from custody.services.admissions import Admissions
from custody.services.runtimedrift import Finding, State, reconcile

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
A, B, INDEX = ("sha256:" + letter * 64 for letter in "abc")


def pod(digest: str = A, image: str = "registry.example/shop:1.0", *, name: str = "web-5d-x2x", created: datetime = NOW,
        namespace: str = "shop", owned: bool = True, **metadata: Any) -> dict[str, Any]:
    owner = [{"kind": "ReplicaSet", "name": "web-5d", "apiVersion": "apps/v1"}] if owned else []
    return {"metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "ownerReferences": owner,
                         "labels": {"pod-template-hash": "5d"},
                         "creationTimestamp": created.strftime("%Y-%m-%dT%H:%M:%SZ"), **metadata},
            "spec": {"containers": [{"name": "web", "image": image, "volumeMounts": [{"mountPath": "/data"}]}]},
            "status": {"phase": "Running", "containerStatuses": [{
                "name": "web", "image": image, "imageID": f"registry.example/shop@{digest}" if digest else "",
                "containerID": f"containerd://{name.encode().hex():0<64}"[:77]}]}}


class World:
    def __init__(self, folder: Path) -> None:
        self.inventory = SqliteInventory(folder / "inventory.db")
        self.decisions = SqliteDecisions(folder / "decisions.db")

    def admit(self, digest: str, where: str = "shop/Pod/(generated)", at: datetime = NOW) -> None:
        self.inventory.see([Sighting(digest, "admission", where, at)])

    def decide(self, name: str, verdict: str = "allowed", at: datetime = NOW, reason: str = "") -> None:
        self.decisions.keep([KeptDecision(
            uid=f"{name}-{at}", at=at, course="validating", operation="CREATE", kind="Pod", namespace="shop", name=name,
            username="", verdict=verdict, inputs_digest="", policies_digest="p", reason=reason, body=b"")], {})

    def judge(self, *pods: dict[str, Any], **more: Any) -> Sequence[Finding]:
        return reconcile(pods, Admissions(self.inventory, self.decisions), **more).findings


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("where", ["shop/Pod/(generated)", "shop/Pod/web-5d-x2x", "shop/ReplicaSet/web-5d",
                                   "shop/Deployment/web"])
def test_it_matches_by_its_own_record_or_its_owners(world: World, where: str) -> None:
    world.admit(A, where)
    assert [finding.state for finding in world.judge(pod())] == [State.MATCHED]


def test_an_image_of_an_admitted_index_matches_and_the_other_way_round(world: World) -> None:
    world.admit(INDEX)
    world.inventory.see([Sighting(A, "index", INDEX, NOW)])
    finding, = world.judge(pod(A))
    assert (finding.state, "the index was" in finding.reason) == (State.MATCHED, True)
    assert world.judge(pod(INDEX))[0].state is State.MATCHED
    assert world.judge(pod(B))[0].state is not State.MATCHED


def test_an_admitted_image_whose_index_runs_matches(world: World) -> None:
    world.admit(A)
    world.inventory.see([Sighting(A, "index", INDEX, NOW)])
    assert world.judge(pod(INDEX))[0].state is State.MATCHED


def test_the_record_of_another_namespace_matches_nothing(world: World) -> None:
    world.admit(A, "lab/Pod/(generated)")
    finding, = world.judge(pod())
    assert finding.state is State.UNRECORDED
    assert "admitted elsewhere, as lab/Pod/(generated)" in finding.reason


def test_the_generated_record_of_others_is_no_record_of_a_pod_that_nobody_owns(world: World) -> None:
    world.admit(A, "shop/Pod/(generated)")
    assert world.judge(pod(owned=False))[0].state is State.UNRECORDED


def test_another_digest_than_was_admitted(world: World) -> None:
    world.admit(A, "shop/Pod/web-5d-x2x")
    finding, = world.judge(pod(B, f"registry.example/shop@{B}"))
    assert (finding.state, finding.admitted) == (State.ANOTHER, (A,))


def test_a_tag_that_moved_between_admission_and_pull(world: World) -> None:
    world.admit(A, "shop/Pod/web-5d-x2x")
    assert world.judge(pod(B))[0].state is State.MOVED


def test_a_tag_that_moved_since(world: World) -> None:
    world.admit(A)
    finding, = world.judge(pod(), meaning=lambda _image: B)
    assert finding.state is State.MOVED
    assert B in finding.reason
    assert world.judge(pod(), meaning=lambda _image: A)[0].state is State.MATCHED
    assert world.judge(pod(), meaning=lambda _image: None)[0].state is State.MATCHED
    assert world.judge(pod(image=f"registry.example/shop:1.0@{A}"), meaning=lambda _image: B)[0].state is State.MATCHED


def test_a_pod_that_was_denied_and_runs(world: World) -> None:
    world.admit(A, at=NOW - timedelta(days=1))
    world.decide("web-5d-x2x", "denied", reason="signed/images: no signature")
    finding, = world.judge(pod())
    assert finding.state is State.DENIED
    assert "no signature" in finding.reason
    world.admit(A, "shop/Pod/web-5d-x2x", NOW + timedelta(minutes=1))  # it was asked for again, and let in
    assert world.judge(pod())[0].state is State.MATCHED


@pytest.mark.parametrize(("given", "reason"), [
    (pod(annotations={"kubernetes.io/config.mirror": "x"}), "static pod"),
    (pod(ownerReferences=[{"kind": "Node", "name": "n1"}]), "static pod"),
    (pod(namespace="kube-system"), "exempt"), (pod(namespace="lab"), "exempt"),
    (pod(created=NOW - timedelta(days=30)), "created before the first decision"),
    (pod(created=NOW + timedelta(hours=3)), "may have been down"),
    (pod(created=NOW + timedelta(minutes=5)), "was not asked about it")])
def test_why_there_is_no_record(world: World, given: dict[str, Any], reason: str) -> None:
    world.admit(B)
    world.decide("other")
    finding, = world.judge(given, exempt=lambda namespace: namespace == "lab")
    assert finding.state is State.UNRECORDED
    assert reason in finding.reason


def test_that_nothing_is_recorded_is_no_drift(tmp_path: Path) -> None:
    report = reconcile([pod()], Admissions(SqliteInventory(tmp_path / "i.db"), None))
    assert (report.recorded, report.findings[0].state) == (False, State.UNKNOWN)
    assert report.findings[0].reason == "no record of admission is kept here"


def test_what_the_node_does_not_say_is_unknown(world: World) -> None:
    world.admit(A)
    assert "names no digest" in world.judge(pod(""))[0].reason
    waiting = pod()
    del waiting["status"]["containerStatuses"]
    finding, = world.judge(waiting)
    assert (finding.state, "not been started" in finding.reason) == (State.UNKNOWN, True)


def test_what_has_ended_does_not_run(world: World) -> None:
    ended = pod()
    ended["status"]["phase"] = "Succeeded"
    assert world.judge(ended) == ()


def test_what_only_the_runtime_knows(world: World) -> None:
    world.admit(A)
    listed = of_runtime({"containers": [
        {"id": "a" * 64, "metadata": {"name": "x"}, "image": {"image": "evil:1"}, "imageRef": B,
         "state": "CONTAINER_RUNNING"},
        {"id": "b" * 64, "metadata": {"name": "y"}, "imageRef": A, "state": "CONTAINER_RUNNING",
         "labels": {"io.kubernetes.pod.name": "gone", "io.kubernetes.pod.uid": "u",
                    "io.kubernetes.pod.namespace": "shop"}},
        {"id": "c" * 64, "metadata": {"name": "z"}, "imageRef": A, "state": "CONTAINER_EXITED"}]}, "crictl")
    states = {finding.container: (finding.state, finding.reason) for finding in world.judge(pod(), runtime=listed)}
    assert states["x"] == (State.UNRECORDED, "it belongs to no pod: somebody started it at the container runtime")
    assert states["y"][0] is State.UNRECORDED
    assert "knows no such pod" in states["y"][1]
    assert set(states) == {"web", "x", "y"}


@pytest.mark.parametrize(("document", "field"), [
    ([], "crictl"), ({"containers": {}}, "crictl.containers"), ({"containers": [1]}, "crictl.containers[0]"),
    ({"containers": [{"id": "../x"}]}, "crictl.containers[0].id")])
def test_a_list_that_is_none_is_refused_by_its_field(document: Any, field: str) -> None:
    with pytest.raises(MalformedError) as caught:
        of_runtime(document, "crictl")
    assert caught.value.message.startswith(f"{field}:")


@pytest.mark.parametrize("broken", [
    {}, {"status": 1, "spec": [], "metadata": "x"}, {"status": {"containerStatuses": [1, {"name": 2, "imageID": []}]}},
    {"metadata": {"ownerReferences": [1, {}, {"kind": "ReplicaSet"}]}}])
def test_a_pod_of_another_shape_says_nothing(broken: dict[str, Any]) -> None:
    assert all(isinstance(container, Running) for container in of_pod(broken))
    assert owners(broken) == []


def test_owners_are_followed_by_their_names() -> None:
    assert owners(pod()) == [("ReplicaSet", "web-5d"), ("Deployment", "web")]
    assert owners(pod(ownerReferences=[{"kind": "Job", "name": "nightly-29000"}])) == [
        ("Job", "nightly-29000"), ("CronJob", "nightly")]
    assert owners(pod(ownerReferences=[{"kind": "ReplicaSet", "name": "web-other"}])) == [("ReplicaSet", "web-other")]
