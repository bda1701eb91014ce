"""What tells whether that which runs is what was admitted: its store, and the detectors and enrichers beside rules."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import platform
import socket
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custody.errors import CustodyError, UsageError
from custody.evidence.model import EvidenceSet, unreached
from custody.evidence.model import State as EvidenceState
from custody.formats import reference
from custody.kit.clock import system_clock
from custody.registry.image import Image
from custody.runtime.containers import Containers
from custody.runtime.detecting import Detector, Enricher
from custody.runtime.egress import Baselines, EgressDetector
from custody.runtime.event import Place
from custody.runtime.executing import ExecutableDetector
from custody.runtime.opening import OpenedFiles
from custody.runtime.packagemanagers import PackageManagerDetector
from custody.runtime.witness import Witness
from custody.settings import Settings
from policylang.falco import Alert

if TYPE_CHECKING:
    from custody.adapters.sqlite.drift import SqliteDrift

_LOG = logging.getLogger(__name__)
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "ppc64le": "ppc64le",
             "s390x": "s390x", "riscv64": "riscv64"}
Say = Callable[[Alert], None]
_MOMENT = 1.0
_RUNTIMES = ("runc", "crun", "youki", "docker-init", "catatonit")
_FOLDERS = tuple(map(Path, ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/libexec/podman")))
_LOOK = 15.0
"""Seconds between two looks at the pods of the cluster."""


def drift_store(settings: Settings) -> SqliteDrift:
    """Indexes of images, baselines and what was seen of running images, in the data directory."""
    from custody.adapters.sqlite.drift import SqliteDrift

    return SqliteDrift(settings.state() / "drift.db")


def node_platform() -> str:
    """Of the machine that this runs on, as images are named by it: `linux/amd64`."""
    machine = platform.machine().lower()
    return f"linux/{_MACHINES.get(machine, machine)}"


class Drift:
    """Detectors and enrichers of one watch, and the work beside it. Whoever makes it closes it."""

    def __init__(self, settings: Settings, covers: Collection[str], *, opened: bool = False, window: float = 86_400.0,
                 volumes: bool = False) -> None:
        """`covers`: event types that the watch's inputs tell. `opened`: note which files are opened. Raises UsageError,
        StorageError.
        """
        from custody.services.baselines import read_all
        from custody.services.enriching import EvidenceEnricher
        from custody.services.imagefiles import KnownImages
        from custody.services.witnessing import Witnessing
        from custody.wiring.clients import gatherer, registry_client, service_http
        from custody.wiring.local import inventory

        self._settings = settings
        self.store = drift_store(settings)
        self.containers, self.witness = Containers(), Witness(system_clock(), covers)
        self._http = service_http(settings)
        self._client = registry_client(settings, self._http)
        self._gatherer = gatherer(settings, self._client)
        self._inventory = inventory(settings)
        self.images = KnownImages(self.store, system_clock, node_platform(), self._open)
        self.baselines = Baselines(read_all(self.store).values(), window=window)
        self.names: dict[str, str] = {}
        """What the cluster calls addresses."""
        runtimes = _runtimes()
        self.executing = ExecutableDetector(self.images, self.containers, self.witness, volumes=volumes,
                                            runtimes=runtimes)
        self.detectors: list[Detector] = [
            self.executing, PackageManagerDetector(self.containers, self.witness),
            EgressDetector(self.baselines, self.containers, self.names)]
        if opened:
            self.detectors.append(OpenedFiles(self.containers, self.witness, runtimes))
        self._enricher = EvidenceEnricher(self._inventory, self._evidence, system_clock, self.containers)
        self.enrichers: list[Enricher] = [self._enricher]
        self.witnessing = Witnessing(self.witness, self.store, system_clock, socket.gethostname())

    def work(self, say: Say) -> Iterable[Coroutine[Any, Any, None]]:
        """What runs beside the watch until it is cancelled. `say` is told alerts of executions that waited."""
        from custody.services.baselines import keeping

        return (self.images.run(), self._enricher.run(), self.witnessing.run(), keeping(self.baselines, self.store),
                self._look(), self._settle(say))

    async def finish(self, say: Say) -> None:
        """Read the images that are still waited for, and judge what waited."""
        await self.images.work()
        alerts = list(self.executing.settle())
        for alert in alerts:
            self._enricher(Place.of(alert.output_fields))
        await self._enricher.work()
        for alert in alerts:
            say(alert)

    async def _settle(self, say: Say) -> None:
        while True:
            await asyncio.sleep(_MOMENT)
            for alert in self.executing.settle():
                say(alert)

    async def close(self) -> None:
        """With what was seen and learned last."""
        from custody.services.baselines import flush

        self.witnessing.flush()
        flush(self.baselines, self.store)
        self.store.close()
        await self._http.close()

    async def _open(self, digest: str, image: str) -> tuple[Image, Collection[str]]:
        """By the name under which it was seen last, else as the runtime calls it."""
        from custody.services.targets import pull

        rows = [row for row in (await asyncio.to_thread(self._inventory.seen, [digest])).get(digest, ())
                if row.kind == "name"]
        name = max(rows, key=lambda row: row.last).where if rows else image
        if not name:
            raise UsageError(f"{digest}: nobody says of which repository it is")
        ref = reference.parse(name).at(digest)
        pulled = await pull(ref, self._client, self._settings.state() / "cache", node_platform())
        return pulled, {digest}

    async def _evidence(self, name: str) -> EvidenceSet:
        gathered = await self._gatherer.gather([name])
        return gathered.get(name) or unreached(EvidenceState.UNVERIFIABLE, "nobody was asked")

    async def _look(self) -> None:
        """Which containers run, and what addresses are called; where there is no cluster, events say what they know."""
        from custody.services.clusternames import containers_of, names_of
        from custody.wiring.clients import cluster_client

        try:
            client = cluster_client(self._settings)
        except UsageError:
            return
        said = ""
        try:
            while True:
                try:
                    pods = await _list(client, "v1", "Pod")
                    self.containers.note(containers_of(pods))
                    names = names_of(pods, await _list(client, "v1", "Service"))
                    self.names.update(names)
                    for address in self.names.keys() - names.keys():
                        del self.names[address]
                    said = ""
                except CustodyError as error:
                    if error.message != said:
                        said = error.message
                        _LOG.warning("which containers run is as it was: %s", said)
                await asyncio.sleep(_LOOK)
        finally:
            await client.cluster.close()


def _runtimes() -> list[str]:
    """SHA-256 of the container runtimes of this node: they execute themselves within a container before its program."""
    digests = []
    for path in (folder / name for folder in _FOLDERS for name in _RUNTIMES):
        try:
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError:
            continue
    return digests


async def _list(client: Any, version: str, kind: str) -> list[Mapping[str, Any]]:
    served = await client.resource(version, kind)
    return [] if served is None else list((await client.list(served)).items)
