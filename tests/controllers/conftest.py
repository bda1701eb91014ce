"""A real API server with the kinds that controllers write, and the controllers of one replica that leads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.kubernetes.client import ClusterClient
from custody.adapters.kubernetes.cluster import Cluster
from custody.adapters.kubernetes.kubeconfig import of_kubeconfig
from custody.adapters.kubernetes.lookup import ClusterLookup
from custody.admission.judging import Judging
from custody.kit.clock import system_clock
from custody.policy import engines
from custody.policy.load import PolicySet
from custody.policy.model import Request
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import Object
from custody.services.controllers.running import Controllers, Options
from tests.admission.conftest import api_server
from tests.conftest import peer
from tests.controllers.engine import ROWS

OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition(group: str, version: str, kind: str, *, namespaced: bool = True) -> Object:
    plural = f"{kind.lower()}s"
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"}, "spec": {
                "group": group, "scope": "Namespaced" if namespaced else "Cluster",
                "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": OPEN},
                              "subresources": {"status": {}}}]}}


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with api_server(tmp_path_factory.mktemp("apiserver")) as path:
        made = [definition("kyverno.io", "v2", "UpdateRequest"),
                definition("wgpolicyk8s.io", "v1alpha2", "PolicyReport"),
                definition("wgpolicyk8s.io", "v1alpha2", "ClusterPolicyReport", namespaced=False),
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "custody"}},
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kyverno", "namespace": "custody"},
                 "data": {"generateSuccessEvents": "true"}}]
        for arguments in (("apply", "-f", "-"), ("wait", "--for=condition=Established", "crd", "--all")):
            subprocess.run([peer("kubectl"), "--kubeconfig", str(path), *arguments], check=True, capture_output=True,
                           input=json.dumps({"apiVersion": "v1", "kind": "List", "items": made}).encode())
        yield path


class Replica:
    """Controllers over a cluster. `set` gives it other policies."""

    def __init__(self, client: ClusterClient, lookup: ClusterLookup, policies: Sequence[Object] = ()) -> None:
        self.client = client
        self._snapshot = Snapshot(PolicySet(policies))
        self.controllers = Controllers(client, Judging(_nothing, system_clock, lookup), lambda: self._snapshot,
                                       client.kinds, system_clock, Options(), uid_of=lambda _: "a-uid")

    @property
    def policies(self) -> PolicySet:
        return self._snapshot.policies

    def set(self, *documents: Object) -> None:
        self._snapshot = Snapshot(PolicySet(documents))
        self.controllers.changed()

    async def create(self, document: Object) -> Object:
        resource = await self.client.resource(document["apiVersion"], document["kind"])
        assert resource is not None
        return await self.client.create(resource, document)

    async def admit(self, document: Object, **fields: Any) -> Object:
        """Create it, as the webhook hears of it. A dry run creates nothing."""
        made = document if fields.get("dry_run") else await self.create(document)
        self.controllers.triggers.admitted(msgspec.structs.replace(Request.create(made), **fields), "a-review")
        return made

    async def get(self, kind: str, name: str, namespace: str = "", api_version: str = "v1") -> Object | None:
        resource = await self.client.resource(api_version, kind)
        assert resource is not None
        return await self.client.get(resource, name, namespace)

    async def delete(self, document: Object) -> None:
        resource = await self.client.resource(document["apiVersion"], document["kind"])
        assert resource is not None
        await self.client.delete(resource, document["metadata"]["name"], document["metadata"].get("namespace", ""))

    async def listed(self, api_version: str, kind: str, namespace: str = "") -> list[Object]:
        resource = await self.client.resource(api_version, kind)
        assert resource is not None
        return (await self.client.list(resource, namespace)).items

    async def events(self, reason: str) -> list[Object]:
        return [event for event in await self.listed("events.k8s.io/v1", "Event") if event["reason"] == reason]


async def _nothing(_snapshot: Any, _images: list[str]) -> dict[str, Any]:
    return {}


@contextlib.asynccontextmanager
async def _leading(kubeconfig: Path, policies: Sequence[Object]) -> AsyncIterator[Replica]:
    access = of_kubeconfig(kubeconfig)
    cluster = Cluster(access, AiohttpHttp(tls=access.tls))
    replica = Replica(ClusterClient(cluster), ClusterLookup(cluster), policies)
    tasks = [asyncio.create_task(work) for work in (replica.controllers.run(lambda: True),)]
    try:
        yield replica
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await cluster.close()
        await asyncio.sleep(0.25)  # aiohttp lets go of connections under TLS a little later


class Scenario(Protocol):
    def __call__(self, scenario: Callable[[Replica], Awaitable[None]], *policies: Object) -> None: ...


@pytest.fixture
def leading(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """Runs a scenario with a replica that leads, and has policies when it begins to."""
    for row, engine in ROWS.items():
        monkeypatch.setitem(engines.ENGINES, row, engine)

    def run(scenario: Callable[[Replica], Awaitable[None]], *policies: Object) -> None:
        async def main() -> None:
            async with asyncio.timeout(180), _leading(kubeconfig, policies) as replica:
                await scenario(replica)
        asyncio.run(main())
    return run


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 90) -> Any:
    """What it gives once that is something."""
    async with asyncio.timeout(seconds):
        while True:
            given = await condition()
            if given:
                return given
            await asyncio.sleep(0.1)
