"""What tells whether that which runs is what was admitted: its store, and the detectors and enrichers beside rules."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import platform
import socket
from collections.abc import Callable, Collection, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custody.errors import NotFoundError, UsageError, VerificationError
from custody.evidence.model import EvidenceSet, unreached
from custody.evidence.model import State as EvidenceState
from custody.formats import reference
from custody.kit.clock import system_clock
from custody.registry.image import Image
from custody.runtime.detecting import Detector, Enricher
from custody.runtime.egress import Baselines, EgressDetector
from custody.runtime.event import Place
from custody.runtime.executing import ExecutableDetector
from custody.runtime.opening import OpenedFiles
from custody.runtime.packagemanagers import PackageManagerDetector
from custody.runtime.witness import Witness
from custody.settings import Settings
from custody.wiring.census import Census
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

    def __init__(self, settings: Settings, covers: Collection[str], census: Census, *, opened: bool = False,
                 window: float = 86_400.0, volumes: bool = False) -> None:
        """`covers`: event types that the watch's inputs tell. `census` knows containers, and what addresses are called.
        `opened`: note which files are opened. Raises UsageError, StorageError.
        """
        from custody.services.baselines import read_all
        from custody.services.enriching import EvidenceEnricher
        from custody.services.imagefiles import KnownImages
        from custody.services.witnessing import Witnessing
        from custody.wiring.clients import gatherer, registry_client, service_http
        from custody.wiring.local import inventory

        self._settings = settings
        self.store = drift_store(settings)
        self.containers, self.witness = census.containers, Witness(system_clock(), covers)
        self._http = service_http(settings)
        self._client = registry_client(settings, self._http)
        self._gatherer = gatherer(settings, self._client)
        self._inventory = inventory(settings)
        self.images = KnownImages(self.store, system_clock, node_platform(), self._open)
        self.baselines = Baselines(read_all(self.store).values(), window=window)
        self.runtimes = _runtimes()
        self.executing = ExecutableDetector(self.images, self.containers, self.witness, volumes=volumes,
                                            runtimes=self.runtimes)
        self.detectors: list[Detector] = [
            self.executing, PackageManagerDetector(self.containers, self.witness),
            EgressDetector(self.baselines, self.containers, census.names)]
        if opened:
            self.detectors.append(OpenedFiles(self.containers, self.witness, self.runtimes))
        self._enricher = EvidenceEnricher(self._inventory, self._evidence, system_clock, self.containers)
        self.enrichers: list[Enricher] = [self._enricher]
        self.witnessing = Witnessing(self.witness, self.store, system_clock, socket.gethostname())

    def work(self, say: Say) -> Iterable[Coroutine[Any, Any, None]]:
        """What runs beside the watch until it is cancelled. `say` is told alerts of executions that waited."""
        from custody.services.baselines import keeping

        return (self.images.run(), self._enricher.run(), self.witnessing.run(), keeping(self.baselines, self.store),
                self._settle(say))

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
        named, cache = reference.parse(name), self._settings.state() / "cache"
        try:
            return await pull(named.at(digest), self._client, cache, node_platform()), {digest}
        except NotFoundError:
            # containerd's list names images by their configuration: whatever the tag is now has to have that one.
            if named.tag is None:
                raise
        pulled = await pull(named, self._client, cache, node_platform())
        if pulled.manifest.config.digest != digest:
            raise VerificationError(f"{name}: it is another image by now than {digest}, which runs")
        return pulled, {digest}

    async def _evidence(self, name: str) -> EvidenceSet:
        gathered = await self._gatherer.gather([name])
        return gathered.get(name) or unreached(EvidenceState.UNVERIFIABLE, "nobody was asked")


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
