"""Responses against a real API server: what is done, to whom not, and what becomes of refusals and of nobody there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.kubernetes.client import ClusterClient
from custody.adapters.kubernetes.cluster import Cluster
from custody.adapters.kubernetes.kubeconfig import of_kubeconfig
from custody.errors import ConflictError
from custody.formats import talon, yaml
from custody.kit.clock import system_clock
from custody.ports.cluster import Object
from custody.runtime.event import Place
from custody.runtime.responses import Responses
from custody.services import quarantine
from custody.services.isolating import cut_off
from custody.services.responding import Limits, Responding
from custody.settings import Settings
from custody.settings.tables import Runtime
from custody.wiring.answering import answering
from policylang.falco import Alert
from tests.admission.conftest import api_server
from tests.cli.commands import custody
from tests.conftest import peer

_MARK = {"action": "mark", "actionner": "kubernetes:label", "parameters": {"labels": {"suspect": "true"}}}
_CUT = {"action": "cut", "actionner": "custody:quarantine"}
_KILL = {"action": "kill", "actionner": "kubernetes:terminate", "parameters": {"grace_period_seconds": 0}}
_BARE = {"action": "kill", "actionner": "kubernetes:terminate", "parameters": {"allow_bare": True}}
_CORDON = {"action": "stop", "actionner": "kubernetes:cordon"}


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with api_server(tmp_path_factory.mktemp("apiserver")) as path:
        _kubectl(path, "create", "namespace", "shop")
        _kubectl(path, "create", "serviceaccount", "default", "-n", "shop", failing=True)
        _kubectl(path, "create", "serviceaccount", "default", "-n", "kube-system", failing=True)
        _kubectl(path, "create", "serviceaccount", "looker", "-n", "shop")
        _kubectl(path, "create", "clusterrole", "looks", "--verb=get", "--resource=pods")
        _kubectl(path, "create", "clusterrolebinding", "looks", "--clusterrole=looks", "--serviceaccount=shop:looker")
        yield path


def _kubectl(kubeconfig: Path, *arguments: str, given: str | None = None, failing: bool = False) -> str:
    done = subprocess.run([peer("kubectl"), "--kubeconfig", str(kubeconfig), *arguments], input=given, text=True,
                          capture_output=True, check=False)
    assert failing or done.returncode == 0, done.stderr
    return done.stdout


class Shop:
    """A namespace of the API server, and pods in it that no kubelet runs."""

    def __init__(self, client: ClusterClient) -> None:
        self.client = client

    async def pod(self, name: str, namespace: str = "shop", owner: str = "ReplicaSet", node: str = "",
                  **metadata: Any) -> Object:
        owners = [{"apiVersion": "apps/v1", "kind": owner, "name": f"{name}-owner", "uid": f"{name}-uid",
                   "controller": True}] if owner else []
        resource = await self.client.resource("v1", "Pod")
        assert resource is not None
        return await self.client.create(resource, {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace,
                                                            "labels": {"app": name}, "ownerReferences": owners,
                                                            **metadata},
            "spec": {"containers": [{"name": "c", "image": "nginx"}], "nodeName": node or None,
                     "automountServiceAccountToken": False}})

    async def get(self, kind: str, name: str, namespace: str = "", version: str = "v1") -> Object | None:
        resource = await self.client.resource(version, kind)
        assert resource is not None
        return await self.client.get(resource, name, namespace)

    async def removed(self, name: str) -> None:
        resource = await self.client.resource("v1", "Pod")
        assert resource is not None
        await self.client.delete(resource, name, "shop", grace=0)

    def responding(self, *actions: Any, **options: Any) -> Responding:
        options.setdefault("dry_run", False)
        options.setdefault("pauses", (0.01,))
        return Responding(self.client, responses(*actions), system_clock, **options)


def responses(*actions: Any, **keys: Any) -> Responses:
    rule = {"rule": "r", "match": {"rules": ["Shell"]}, "actions": list(actions), **keys}
    return Responses(talon.read(yaml.dumped([rule]).encode(), "r.yaml"))


def alert(at: datetime | None = None, **fields: Any) -> Alert:
    return Alert("Shell", "Warning", "syscall", "o", fields, time=None if at is None else int(at.timestamp() * 1e9))


def place(pod: Object, **changes: Any) -> Place:
    metadata = pod["metadata"]
    return Place(namespace=metadata["namespace"], pod=metadata["name"], pod_uid=metadata["uid"])._replace(**changes)


@contextlib.asynccontextmanager
async def _shop(kubeconfig: Path) -> AsyncIterator[Shop]:
    access = of_kubeconfig(kubeconfig)
    cluster = Cluster(access, AiohttpHttp(tls=access.tls))
    try:
        yield Shop(ClusterClient(cluster))
    finally:
        await cluster.close()
        await asyncio.sleep(0.25)  # aiohttp lets go of connections under TLS a little later


def _scenario(kubeconfig: Path, scenario: Callable[[Shop], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(120), _shop(kubeconfig) as shop:
            await scenario(shop)

    asyncio.run(main())


async def _told(responding: Responding, about: Alert, where: Place) -> list[tuple[str, str]]:
    answers = await responding(about, where)
    assert {answer.source for answer in answers} <= {"custody"}
    return [(answer.output_fields["custody.response.outcome"], answer.output_fields["custody.response.reason"])
            for answer in answers]


def test_a_label(kubeconfig: Path) -> None:
    async def scenario(shop: Shop) -> None:
        pod = await shop.pod("label")
        responding = shop.responding(_MARK)
        assert await _told(responding, alert(), place(pod)) == [("done", "labels: suspect=true")]
        marked = await shop.get("Pod", "label", "shop")
        assert marked is not None
        assert marked["metadata"]["labels"] == {"app": "label", "suspect": "true"}
        assert await _told(responding, alert(), place(pod)) == [("not-done", "it was done to this pod before")]
        assert await _told(shop.responding(_MARK), alert(), place(pod)) == [("not-done", "the pod has them already")]

    _scenario(kubeconfig, scenario)
    events = json.loads(_kubectl(kubeconfig, "get", "events.events.k8s.io", "-n", "shop", "-o", "json"))["items"]
    noted = [event for event in events if event["regarding"]["name"] == "label"]
    assert [(event["reason"], event["note"], event["type"]) for event in noted] == [
        ("CustodyResponse", "kubernetes:label for Shell: labels: suspect=true", "Warning")]


def test_a_dry_run_changes_nothing(kubeconfig: Path) -> None:
    async def scenario(shop: Shop) -> None:
        pod = await shop.pod("dry")
        assert [outcome for outcome, _ in await _told(shop.responding(_MARK, _CUT, _KILL, dry_run=True), alert(),
                                                       place(pod))] == ["dry-run"] * 3
        rules = responses(_MARK, dry_run="true")
        told = await _told(Responding(shop.client, rules, system_clock, dry_run=False), alert(), place(pod))
        assert [outcome for outcome, _ in told] == ["dry-run"]
        after = await shop.get("Pod", "dry", "shop")
        assert after is not None
        assert after["metadata"]["labels"] == {"app": "dry"}
        assert after["metadata"]["resourceVersion"] == pod["metadata"]["resourceVersion"]

    _scenario(kubeconfig, scenario)
    events = json.loads(_kubectl(kubeconfig, "get", "events.events.k8s.io", "-n", "shop", "-o", "json"))["items"]
    assert not [event for event in events if event["regarding"]["name"] == "dry"]


def test_a_pod_is_deleted_and_only_that_pod(kubeconfig: Path) -> None:
    async def scenario(shop: Shop) -> None:
        first = await shop.pod("again")
        await shop.removed("again")
        second = await shop.pod("again")
        assert first["metadata"]["uid"] != second["metadata"]["uid"]
        (outcome, reason), = await _told(shop.responding(_KILL), alert(), place(first))
        assert outcome == "not-done"
        assert f"another pod has this name now (uid {second['metadata']['uid']}" in reason
        assert await shop.get("Pod", "again", "shop") is not None
        told = await _told(shop.responding(_KILL), alert(), place(second))
        assert told == [("done", "deleted; ReplicaSet/again-owner makes another")]
        assert await shop.get("Pod", "again", "shop") is None
        assert await _told(shop.responding(_KILL), alert(), place(second)) == [("not-done", "the pod is gone")]

    _scenario(kubeconfig, scenario)


@pytest.mark.parametrize("action", [_MARK, _CUT, _KILL])
def test_the_pod_becomes_another_between_the_look_and_the_deed(kubeconfig: Path, action: Any) -> None:
    """The API server is told the uid, so that it refuses."""
    async def scenario(shop: Shop) -> None:
        name = f"swap-{action['action']}"
        pod = await shop.pod(name)
        responding = shop.responding(action)


        swapped = asyncio.Event()

        async def retried(work: Callable[[], Awaitable[Any]]) -> Any:
            result = await work()
            if not swapped.is_set():
                swapped.set()
                await shop.removed(name)
                await shop.pod(name)
            return result

        responding._retried = retried  # type: ignore[method-assign]
        (outcome, reason), = await _told(responding, alert(), place(pod))
        assert outcome == "not-done", reason
        assert "the pod changed meanwhile" in reason
        after = await shop.get("Pod", name, "shop")
        assert after is not None
        assert after["metadata"]["labels"] == {"app": name}
        assert "deletionTimestamp" not in after["metadata"]

    _scenario(kubeconfig, scenario)


def test_who_the_alert_is_about_must_be_known(kubeconfig: Path) -> None:
    async def scenario(shop: Shop) -> None:
        pod = await shop.pod("named")
        nameless = place(pod, pod_uid="")
        responding = shop.responding(_MARK)
        for about in (alert(), alert(datetime.now(UTC) - timedelta(minutes=1)),
                      alert(datetime.fromisoformat(pod["metadata"]["creationTimestamp"]))):
            (outcome, reason), = await _told(responding, about, nameless)
            assert outcome == "not-done"
            assert "tells neither uid nor container" in reason
        (outcome, reason), = await _told(responding, alert(), nameless._replace(container_id="0123456789ab"))
        assert (outcome, reason) == ("not-done", "the pod has no container 0123456789ab any more")
        assert await _told(responding, alert(), Place()) == [("not-done", "the alert tells no pod")]
        for when, words in ((timedelta(minutes=1), "60 seconds ahead"), (-timedelta(hours=1), "60 minutes old")):
            (outcome, reason), = await _told(responding, alert(datetime.now(UTC) + when), place(pod))
            assert outcome == "not-done"
            assert words in reason
        await asyncio.sleep(1.2)
        assert [outcome for outcome, _ in await _told(responding, alert(datetime.now(UTC)), nameless)] == ["done"]

    _scenario(kubeconfig, scenario)


def test_a_container_says_which_pod(kubeconfig: Path) -> None:
    async def scenario(shop: Shop) -> None:
        pod = await shop.pod("contained")
        resource = await shop.client.resource("v1", "Pod")
        assert resource is not None
        await shop.client.patch(resource, "contained", "shop", {"status": {"containerStatuses": [{
            "name": "c", "containerID": "containerd://0123456789abcdef", "image": "x", "imageID": "", "ready": True,
            "restartCount": 0}]}}, subresource="status")
        told = await _told(shop.responding(_MARK), alert(), place(pod, pod_uid="", container_id="0123456789ab"))
        assert [outcome for outcome, _ in told] == ["done"]

    _scenario(kubeconfig, scenario)


def test_pods_that_nothing_brings_back(kubeconfig: Path) -> None:
    async def scenario(shop: Shop) -> None:
        pod = await shop.pod("bare", owner="")
        (outcome, reason), = await _told(shop.responding(_KILL), alert(), place(pod))
        assert outcome == "not-done"
        assert "no controller would bring the pod back" in reason
        told = await _told(shop.responding(_BARE), alert(), place(pod))
        assert told == [("done", "deleted; nothing brings it back")]
        spare = {**_KILL, "parameters": {"ignore_daemonsets": True}}
        daemon = await shop.pod("daemon", owner="DaemonSet")
        assert await _told(shop.responding(spare), alert(), place(daemon)) == [
            ("not-done", "it is of a DaemonSet, which the rule spares")]
        static = await shop.pod("static", owner="Node")
        assert await _told(shop.responding(_KILL), alert(), place(static)) == [
            ("not-done", "it is a static pod: its node makes it again from a file")]

    _scenario(kubeconfig, scenario)


def test_protected_namespaces(kubeconfig: Path) -> None:
    async def scenario(shop: Shop) -> None:
        pod = await shop.pod("dns", namespace="kube-system")
        assert await _told(shop.responding(_KILL, _MARK), alert(), place(pod)) == [
            ("not-done", "namespace kube-system is protected")] * 2
        assert await shop.get("Pod", "dns", "kube-system") is not None
        limits = Limits(protected=frozenset(("shop",)))
        other = await shop.pod("kept")
        assert await _told(shop.responding(_MARK, limits=limits), alert(), place(other)) == [
            ("not-done", "namespace shop is protected")]

    _scenario(kubeconfig, scenario)


def test_limits(kubeconfig: Path) -> None:
    async def scenario(shop: Shop) -> None:
        now = datetime.now(UTC)
        pods = [await shop.pod(f"many-{number}", ownerReferences=[{
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "many", "uid": "u", "controller": True}])
            for number in range(4)]
        apart = [await shop.pod(f"apart-{number}") for number in range(2)]
        responding = Responding(shop.client, responses(_MARK), lambda: now, dry_run=False, limits=Limits(4, 2, 3600))
        told = [(await _told(responding, alert(), place(pod)))[0] for pod in (*pods, *apart, pods[2])]
        assert [outcome for outcome, _ in told] == ["done", "done", "not-done", "not-done", "done", "done", "not-done"]
        assert told[2][1] == "the limit of 2 actions in ReplicaSet/many within 1 h is reached"
        assert told[6][1] == "the limit of 4 actions in namespace shop within 1 h is reached"
        now += timedelta(hours=1, seconds=1)
        assert [outcome for outcome, _ in await _told(responding, alert(), place(pods[2]))] == ["done"]

    _scenario(kubeconfig, scenario)


def test_alerts_that_come_together_are_within_the_limit(kubeconfig: Path) -> None:
    async def scenario(shop: Shop) -> None:
        pods = [await shop.pod(f"burst-{number}", ownerReferences=[{
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "burst", "uid": "u", "controller": True}])
            for number in range(6)]
        responding = shop.responding(_KILL, limits=Limits(100, 2))
        answers = await asyncio.gather(*(_told(responding, alert(), place(pod)) for pod in pods for _ in range(3)))
        assert sum(outcome == "done" for told in answers for outcome, _ in told) == 2
        left = [pod for pod in pods if await shop.get("Pod", pod["metadata"]["name"], "shop") is not None]
        assert len(left) == 4

    _scenario(kubeconfig, scenario)


def test_a_quarantine(kubeconfig: Path) -> None:
    async def scenario(shop: Shop) -> None:
        pod = await shop.pod("cut")
        (outcome, reason), = await _told(shop.responding(_CUT), alert(), place(pod))
        assert outcome == "done", reason
        assert quarantine.OPEN in reason
        after = await shop.get("Pod", "cut", "shop")
        assert after is not None
        assert after["metadata"]["labels"] == {quarantine.LABEL: pod["metadata"]["uid"]}
        policy = await shop.get("NetworkPolicy", f"custody-quarantine-{pod['metadata']['uid']}", "shop",
                                "networking.k8s.io/v1")
        assert policy is not None
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert await _told(shop.responding(_CUT), alert(), place(pod)) == [
            ("not-done", "the pod is in quarantine already")]
        other = await shop.pod("cilium")
        cilium = {**_CUT, "parameters": {"method": "cilium"}}
        (outcome, reason), = await _told(shop.responding(cilium), alert(), place(other))
        assert outcome == "failed"
        assert "serves no such kind" in reason

    _scenario(kubeconfig, scenario)


def test_a_pod_that_no_policy_cuts_off_is_not_touched(kubeconfig: Path) -> None:
    """On its node's network no policy is sure to apply: the plan says so before anything is done."""
    async def scenario(shop: Shop) -> None:
        resource = await shop.client.resource("v1", "Pod")
        assert resource is not None
        pod = await shop.client.create(resource, {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "hosted", "namespace": "shop", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "nginx"}], "hostNetwork": True,
                     "automountServiceAccountToken": False}})
        for dry_run in (True, False):
            (outcome, reason), = await _told(shop.responding(_CUT, dry_run=dry_run), alert(), place(pod))
            assert outcome == "not-done"
            assert "network" in reason
        after = await shop.get("Pod", "hosted", "shop")
        assert after is not None
        assert after["metadata"]["labels"] == {"a": "b"}
        assert await shop.get("NetworkPolicy", f"custody-quarantine-{pod['metadata']['uid']}", "shop",
                              "networking.k8s.io/v1") is None

    _scenario(kubeconfig, scenario)


def test_a_policy_that_leaves_a_way_stops_the_quarantine(kubeconfig: Path) -> None:
    """One that selects every pod goes on allowing: with `labels` the pod would not be cut off."""
    _kubectl(kubeconfig, "create", "namespace", "open")
    _kubectl(kubeconfig, "create", "serviceaccount", "default", "-n", "open", failing=True)
    _kubectl(kubeconfig, "create", "-f", "-", given=json.dumps({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "all", "namespace": "open"},
        "spec": {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}],
                 "policyTypes": ["Egress"]}}))

    async def scenario(shop: Shop) -> None:
        pod = await shop.pod("leaking", "open")
        (outcome, reason), = await _told(shop.responding(_CUT), alert(), place(pod))
        assert outcome == "not-done"
        assert "192.0.2.0/24" in reason
        assert "open/all" in reason
        after = await shop.get("Pod", "leaking", "open")
        assert after is not None
        assert quarantine.LABEL not in after["metadata"]["labels"]

    _scenario(kubeconfig, scenario)


def test_another_pod_of_the_name_is_not_cut_off(kubeconfig: Path) -> None:
    async def scenario(shop: Shop) -> None:
        await shop.pod("again")
        with pytest.raises(ConflictError, match="another one has this name"):
            await cut_off(shop.client, "shop/again", dry_run=False, uid="of-the-one-before")

    _scenario(kubeconfig, scenario)


def test_of_several_processes_one_responds(kubeconfig: Path, tmp_path: Path) -> None:
    """Two over one Lease: the second begins when the first has given it back."""
    (tmp_path / "r.yaml").write_text(yaml.dumped([{"rule": "r", "match": {"rules": ["Shell"]}, "actions": [_MARK]}]))
    settings = Settings(kubeconfig=str(kubeconfig))
    stated = Runtime(responses=[str(tmp_path / "r.yaml")], respond=True, respond_lease="shop/custody-runtime")

    async def scenario(shop: Shop) -> None:
        pod = await shop.pod("once")
        first, second = await answering(settings, stated), await answering(settings, stated)
        told = [[alert.output_fields["custody.response.outcome"] for alert in await made.responders[0](
            alert(), place(pod))] for made in (first, second)]
        assert told == [["done"], ["not-done"]]
        await first.aclose()
        assert second.responding is not None
        for _ in range(200):
            if second.responding._leading():
                break
            await asyncio.sleep(0.1)
        (answer,) = await second.responders[0](alert(), place(await shop.pod("twice")))
        assert answer.output_fields["custody.response.outcome"] == "done"
        await second.aclose()

    _scenario(kubeconfig, scenario)


def test_a_cordon(kubeconfig: Path) -> None:
    _kubectl(kubeconfig, "create", "-f", "-", given=json.dumps({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}))

    async def scenario(shop: Shop) -> None:
        pod = await shop.pod("placed", node="n1")
        assert await _told(shop.responding(_CORDON), alert(), place(pod)) == [("done", "node n1 takes no more pods")]
        node = await shop.get("Node", "n1")
        assert node is not None
        assert node["spec"]["unschedulable"] is True
        assert await _told(shop.responding(_CORDON), alert(), place(pod)) == [
            ("not-done", "node n1 is cordoned already")]
        nowhere = await shop.pod("nowhere")
        assert await _told(shop.responding(_CORDON), alert(), place(nowhere)) == [
            ("not-done", "the pod is on no node")]

    _scenario(kubeconfig, scenario)


def test_rights_that_are_missing(kubeconfig: Path, tmp_path: Path) -> None:
    """Who may look and not change: what is refused is told with the API server's words, and counts for no limit."""
    document = yaml.documents(kubeconfig.read_bytes(), "kubeconfig")[0]
    token = _kubectl(kubeconfig, "create", "token", "looker", "-n", "shop").strip()
    document["users"][0]["user"] = {"token": token}
    limited = tmp_path / "limited"
    limited.write_text(yaml.dumped(document))
    limited.chmod(0o600)

    async def scenario(shop: Shop) -> None:
        pod = await shop.pod("guarded")
        async with _shop(limited) as looker:
            responding = looker.responding({**_MARK, "ignore_errors": True}, _KILL, limits=Limits(2, 2))
            for _ in range(3):
                (outcome, reason), (second, words) = await _told(responding, alert(), place(pod))
                assert (outcome, second) == ("failed", "failed")
                assert 'pods "guarded" is forbidden: User "system:serviceaccount:shop:looker" cannot patch' in reason
                assert "cannot delete" in words
            stopping = looker.responding(_MARK, _KILL)
            assert len(await _told(stopping, alert(), place(pod))) == 1
        assert await shop.get("Pod", "guarded", "shop") is not None

    _scenario(kubeconfig, scenario)


def test_nobody_is_there(kubeconfig: Path, tmp_path: Path) -> None:
    document = yaml.documents(kubeconfig.read_bytes(), "kubeconfig")[0]
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    gone = tmp_path / "gone"
    gone.write_text(yaml.dumped(document))
    gone.chmod(0o600)

    async def scenario(shop: Shop) -> None:
        where = Place(namespace="shop", pod="x", pod_uid="u")
        (outcome, reason), = await _told(shop.responding(_KILL), alert(), where)
        assert outcome == "failed"
        assert "127.0.0.1:1" in reason

    _scenario(gone, scenario)


def test_another_replica_acts(kubeconfig: Path) -> None:
    async def scenario(shop: Shop) -> None:
        pod = await shop.pod("led")
        assert await _told(shop.responding(_MARK, leading=lambda: False), alert(), place(pod)) == [
            ("not-done", "another replica acts")]

    _scenario(kubeconfig, scenario)


def test_the_command_asks_the_cluster_and_changes_nothing(kubeconfig: Path, tmp_path: Path) -> None:
    made: list[Object] = []

    async def scenario(shop: Shop) -> None:
        made.append(await shop.pod("tried"))

    _scenario(kubeconfig, scenario)
    rule = {"rule": "r", "match": {"rules": ["Shell"]}, "actions": [_MARK, _KILL]}
    (tmp_path / "r.yaml").write_text(yaml.dumped([rule]))
    (tmp_path / "alerts.jsonl").write_text("".join(json.dumps({
        "rule": "Shell", "priority": "Notice", "output": "o", "source": "syscall", "output_fields": {
            "k8s.ns.name": "shop", "k8s.pod.name": name, "k8s.pod.uid": made[0]["metadata"]["uid"]}}) + "\n"
        for name in ("tried", "gone")))
    done = custody("runtime", "responses", "try", "r.yaml", "--alerts", "alerts.jsonl", "--kubeconfig", str(kubeconfig),
                   "-o", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(row["pod"], row["outcome"]) for row in json.loads(done.stdout)] == [
        ("shop/tried", "would be done"), ("shop/tried", "would be done"), ("shop/gone", "not done"),
        ("shop/gone", "not done")]
    told = json.loads(_kubectl(kubeconfig, "get", "pod", "tried", "-n", "shop", "-o", "json"))
    assert told["metadata"]["labels"] == {"app": "tried"}
    assert "deletionTimestamp" not in told["metadata"]
