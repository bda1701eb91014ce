"""Roles and entries of the global context of a real API server, as they change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.kubernetes.client import ClusterClient
from custody.adapters.kubernetes.lookup import ClusterLookup
from custody.admission.definitions import documents
from custody.ports.lookup import Absent, Answer, Answered, Failed, GlobalEntry, Roles
from custody.services.cluster.entries import fault
from custody.services.cluster.lookups import WatchedLookup
from tests.cluster.conftest import with_client

pytestmark = pytest.mark.peer


def rbac(kind: str, name: str, role: str, subjects: list[dict[str, Any]], namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.partition("/")[0],
                        "name": role.partition("/")[2]}, "subjects": subjects}


def user(name: str) -> dict[str, Any]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}


def asked(kubeconfig: Path, work: Callable[[ClusterClient, WatchedLookup], Awaitable[None]]) -> None:
    async def main(client: ClusterClient) -> None:
        kinds = await client.kinds()
        lookup = WatchedLookup(client, lambda: kinds, ClusterLookup(client.cluster))
        running = asyncio.create_task(lookup.run())
        try:
            await work(client, lookup)
        finally:
            running.cancel()

    with_client(kubeconfig, main)


async def apply(client: ClusterClient, document: dict[str, Any]) -> None:
    resource = await client.resource(document["apiVersion"], document["kind"])
    assert resource is not None
    await client.apply(resource, document, manager="tests")


async def until(lookup: WatchedLookup, question: GlobalEntry | Roles, right: Callable[[Answer], bool]) -> Answer:
    while True:
        answer = await lookup.answer(question)
        if right(answer):
            return answer
        await asyncio.sleep(0.05)


def test_roles_are_those_of_all_bindings_and_a_cluster_role_of_a_binding_counts_in_its_namespace(
        kubeconfig: Path) -> None:
    async def work(client: ClusterClient, lookup: WatchedLookup) -> None:
        agent = {"kind": "ServiceAccount", "name": "agent", "namespace": "default"}
        for binding in (rbac("RoleBinding", "a", "Role/reader", [user("ann"), agent], "default"),
                        rbac("RoleBinding", "b", "ClusterRole/edit", [user("ann")], "default"),
                        rbac("RoleBinding", "c", "ClusterRole/view", [user("ann")], "kube-system"),
                        rbac("ClusterRoleBinding", "d", "ClusterRole/cluster-admin",
                             [{**user("team"), "kind": "Group"}])):
            await apply(client, binding)
        expected = {"roles": ["default:reader"], "clusterRoles": ["cluster-admin", "edit"]}
        await until(lookup, Roles("ann", ("team",), "default"), lambda answer: answer == Answered(expected))
        assert await lookup.answer(Roles("ann", (), "other")) == Answered({"roles": ["default:reader"],
                                                                           "clusterRoles": []})
        account = Roles("system:serviceaccount:default:agent", ("system:nobodys",))
        assert await lookup.answer(account) == Answered({"roles": ["default:reader"], "clusterRoles": []})
        assert await lookup.answer(Roles("agent")) == Answered({"roles": [], "clusterRoles": []})

    asked(kubeconfig, work)


async def served(client: ClusterClient) -> None:
    """Wait until entries are."""
    for _ in range(400):
        if await client.resource("kyverno.io/v2beta1", "GlobalContextEntry", refresh=True) is not None:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("entries are not served")


def entry(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v2beta1", "kind": "GlobalContextEntry", "metadata": {"name": name}, "spec": spec}


def test_an_entry_is_a_watch_or_a_call_with_projections_and_its_failure_is_never_old_data(kubeconfig: Path) -> None:
    async def work(client: ClusterClient, lookup: WatchedLookup) -> None:
        definition = next(document for document in documents() if document["spec"]["names"]["kind"]
                          == "GlobalContextEntry")
        await apply(client, definition)
        await served(client)
        await apply(client, entry("configs", kubernetesResource={
            "version": "v1", "resource": "configmaps", "namespace": "default"}, projections=[
                {"name": "names", "jmesPath": "[].metadata.name | sort(@)"}]))
        await apply(client, entry("nodes", apiCall={"urlPath": "/api/v1/namespaces", "refreshInterval": "200ms"},
                                  projections=[{"name": "count", "jmesPath": "items | length(@)"}]))
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "here", "namespace": "default"}}
        await apply(client, config)
        await until(lookup, GlobalEntry("configs", "names"),
                    lambda answer: isinstance(answer, Answered) and "here" in answer.value)
        whole = await lookup.answer(GlobalEntry("configs"))
        assert isinstance(whole, Answered)
        assert any(document["metadata"]["name"] == "here" for document in whole.value)
        before = await until(lookup, GlobalEntry("nodes", "count"), lambda answer: isinstance(answer, Answered))
        assert isinstance(before, Answered)
        await apply(client, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "more"}})
        await until(lookup, GlobalEntry("nodes", "count"), lambda answer: answer == Answered(before.value + 1))
        assert isinstance(await lookup.answer(GlobalEntry("nodes", "nothing")), Failed)
        assert await lookup.answer(GlobalEntry("nobody")) == Absent()
        # What it calls is gone: it has failed, whatever it knew.
        await apply(client, entry("nodes", apiCall={"urlPath": "/api/v1/namespaces/nobody", "refreshInterval": "1m",
                                                    "retryLimit": 1}, projections=[]))
        failed = await until(lookup, GlobalEntry("nodes"), lambda answer: isinstance(answer, Failed))
        assert isinstance(failed, Failed)
        assert "there is no such thing" in failed.reason

    asked(kubeconfig, work)


@pytest.mark.parametrize(("spec", "words"), [
    ({}, "expected one of them"),
    ({"kubernetesResource": {"version": "v1", "resource": "pods"}, "apiCall": {"urlPath": "/api"}},
     "expected one of them"),
    ({"kubernetesResource": {"version": "v1"}}, "spec.kubernetesResource.resource: got 'none'"),
    ({"kubernetesResource": {"version": "v1", "resource": "pods", "labels": {}}}, "spec.kubernetesResource.labels"),
    ({"apiCall": {"urlPath": "/api", "refreshInterval": "0s"}}, "spec.apiCall.refreshInterval"),
    ({"apiCall": {"urlPath": "/api", "data": [{"key": "a", "value": 1}]}}, "spec.apiCall.method"),
    ({"apiCall": {"urlPath": "/api"}, "projections": [{"name": "p", "jmesPath": "a["}]}, "projections[0].jmesPath"),
    ({"apiCall": {"urlPath": "/api"}, "projections": [{"name": "e", "jmesPath": "a"}]}, "another name"),
])
def test_an_entry_that_cannot_be_read_is_refused_by_its_field(spec: dict[str, Any], words: str) -> None:
    assert words in fault(entry("e", **spec))
