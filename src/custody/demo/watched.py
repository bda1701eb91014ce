"""The running pod: what it does, told to the runtime role as a node's sensor and the API server tell it.

The demonstration has no node. Its events are made here, with the digests of real files, and judged as any others.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custody.demo.tell import Link
from custody.demo.world import ALERTS, World, examples
from custody.errors import CustodyError
from custody.formats import oci
from custody.kit.amount import amount
from custody.kit.clock import format_rfc3339, system_clock
from custody.network import addresses, documents
from custody.network.connectivity import Connectivity
from custody.network.judgement import End, Judgement, Verdict, judge
from custody.network.model import Pod
from custody.network.ports import key
from custody.policy.load import read
from custody.services.imagefiles import read_files
from custody.services.targets import pull
from custody.wiring.drift import drift_store

Event = Callable[[], Awaitable[None]]
"""Something that happens in the pod."""
_SHOP, _DATABASE = "default/shop", "default/database"
_AT_ONCE = 5_000
_TRIES, _PAUSE = 8, 0.5
"""An image is read, and its evidence gathered, beside the events."""


@dataclass(slots=True)
class RunningPod:
    """The shop's pod as a sensor sees it."""

    world: World
    image: oci.Descriptor

    async def execute(self, name: str, sha256: str | None, **fields: Any) -> None:
        """A process of the pod executes a file."""
        path = fields.pop("path", name)
        await self._tell("fields", [self._event("execve", {
            "proc.name": path.rpartition("/")[2], "proc.exepath": path, "proc.cmdline": name, "proc.pname": "python3",
            "user.name": "shop", "evt.res": "SUCCESS", "evt.rawres": 0, "custody.exe.sha256": sha256, **fields})])

    async def execute_all(self, digests: dict[str, str]) -> None:
        """Every file, by path."""
        events = [self._event("execve", {
            "proc.name": path.rpartition("/")[2], "proc.exepath": path, "proc.cmdline": path, "proc.pname": "python3",
            "evt.res": "SUCCESS", "evt.rawres": 0, "custody.exe.sha256": sha256}) for path, sha256 in digests.items()]
        for start in range(0, len(events), _AT_ONCE):
            await self._tell("fields", events[start:start + _AT_ONCE])

    async def connect(self, address: str, port: int) -> None:
        """A process of the pod opens a connection."""
        await self._tell("fields", [self._event("connect", {
            "proc.name": "python3", "proc.exepath": "/usr/bin/python3", "fd.sip": address, "fd.rip": address,
            "fd.sport": port, "fd.rport": port, "fd.l4proto": "tcp", "evt.res": "SUCCESS"})])

    async def exec_by_api(self, user: str, command: list[str]) -> None:
        """The API server tells that somebody ran a command in the pod."""
        query = "&".join(f"command={word}" for word in command)
        moment = format_rfc3339(system_clock())
        event = {"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
                 "auditID": str(uuid.uuid4()), "stage": "ResponseStarted",
                 "requestURI": f"/api/v1/namespaces/default/pods/shop/exec?{query}&container=shop&stdin=true&tty=true",
                 "verb": "create", "user": {"username": user, "groups": ["system:authenticated"]},
                 "sourceIPs": ["192.0.2.7"], "userAgent": "kubectl/v1.34.3",
                 "objectRef": {"resource": "pods", "namespace": "default", "name": "shop", "apiVersion": "v1",
                               "subresource": "exec"},
                 "responseStatus": {"metadata": {}, "code": 101}, "requestReceivedTimestamp": moment,
                 "stageTimestamp": moment}
        await self._post("/runtime/audit", json.dumps({"kind": "EventList", "apiVersion": "audit.k8s.io/v1",
                                                       "metadata": {}, "items": [event]}).encode())

    def alerts(self) -> list[dict[str, Any]]:
        """All that were told, in Falco's form."""
        path = self.world.folder / ALERTS
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def told(self, rule: str, event: Event) -> dict[str, Any]:
        """The alert of this rule that an event raises, at once. Raises CustodyError for none."""
        before = len(self.alerts())
        await event()
        for alert in self.alerts()[before:]:
            if alert["rule"] == rule:
                return alert
        raise CustodyError(f"demo: no alert of {rule}, but {[alert['rule'] for alert in self.alerts()[before:]]}")

    async def alert(self, rule: str, event: Event) -> dict[str, Any]:
        """The same with what is known of the image. An alert waits for nobody: the first about an image is told before
        its evidence is gathered, so the event happens again."""
        alert = await self.told(rule, event)
        for _ in range(_TRIES):
            if alert["output_fields"].get("custody.evidence") == "known":
                return alert
            await asyncio.sleep(_PAUSE)
            alert = await self.told(rule, event)
        raise CustodyError(f"demo: an alert does not say whose image it is: {alert['output_fields']}")

    def _event(self, name: str, fields: dict[str, Any]) -> bytes:
        return json.dumps({
            "evt.type": name, "evt.rawtime": time.time_ns(), "container.id": "3f2a9c51d0b7", "container.name": "shop",
            "container.image": self.world.name, "container.image.repository": self.world.name,
            "container.image.digest": self.image.digest, "k8s.ns.name": "default", "k8s.pod.name": "shop",
            **fields}).encode()

    async def _tell(self, form: str, events: list[bytes]) -> None:
        await self._post(f"/runtime/events/{form}", b"\n".join(events))

    async def _post(self, path: str, body: bytes) -> None:
        async with await self.world.http.request("POST", self.world.watching + path, body=body) as answer:
            if answer.status != 200:
                raise CustodyError(f"demo: {path} answered {answer.status}: {(await answer.read(4096))!r}")


class Network:
    """The shop's network policies."""

    def __init__(self) -> None:
        file = examples() / "network" / "shop.yaml"
        listed = documents.read([(f"{file.name}[{at}]", document) for at, document in enumerate(read(file))])
        self.engine = Connectivity(listed.topology, listed.policies)
        self.policies = listed.policies

    def pod(self, place: str) -> Pod:
        return next(pod for pod in self.engine.topology.pods if pod.place == place)

    def between(self, target: str, port: int) -> Judgement:
        """From the shop to a pod `namespace/name`, or to an address, by TCP."""
        end = End(self.pod(target)) if "/" in target else End(None, addresses.number(target))
        return judge(self.engine, End(self.pod(_SHOP)), end, key("TCP", port))


async def tell_running(world: World, link: Link, image: oci.Descriptor) -> None:
    """The good pod: all of its files executed, and its connections made, without an alert."""
    pulled = await pull(world.ref(image.digest), world.client, world.folder / "cache")
    store = drift_store(world.settings)
    try:
        files = await asyncio.to_thread(read_files, pulled, store, system_clock, _silent)
    finally:
        store.close()
    pod = RunningPod(world, image)
    digests = {f"/{entry.path}": entry.sha256 for entry in files.entries() if entry.sha256}
    await pod.execute_all(digests)
    network = Network()
    database = network.between(_DATABASE, 5432)
    if database.verdict is not Verdict.ALLOWED:
        raise CustodyError("demo: the shop does not reach its database")
    await pod.connect("10.244.1.8", 5432)
    await asyncio.sleep(1.5)
    if alerts := pod.alerts():
        raise CustodyError(f"demo: the good pod raised an alert: {alerts[0]}")
    link.say(f"{amount(len(digests), 'file')} of the image executed, each with the bytes of its layer: 0 alerts")
    link.say(f"{amount(len(network.policies), 'network policy', 'network policies')}: {_SHOP} reaches {_DATABASE} by "
             f"5432/TCP, and nothing beyond name service and database")


@contextlib.contextmanager
def _silent(_title: str, _total: int | None) -> Iterator[None]:
    yield None


def host_file(*names: str) -> tuple[str, str]:
    """(path, SHA-256) of the first of these that is on this machine: a real program that no image of ours has."""
    for name in names:
        if os.path.isfile(name):
            return name, hashlib.sha256(Path(name).read_bytes()).hexdigest()
    raise CustodyError(f"demo: none of {', '.join(names)} is on this machine")
