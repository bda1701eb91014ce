"""Which containers run here, and what addresses are called: of the cluster, of runtimes' files, of lists."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from custody.adapters.filesystem.bundles import Bundles
from custody.errors import CustodyError, UsageError
from custody.formats.containers import of_runtime
from custody.kit import strictjson
from custody.kit.saidonce import SaidOnce
from custody.runtime.containers import Container, Containers
from custody.services.clusternames import container_of, containers_of, names_of
from custody.settings import Settings
from custody.wiring.clients import cluster_client

_LOG = logging.getLogger(__name__)
_LOOK = 15.0
"""Seconds between two looks at the pods of the cluster."""
_LARGEST = 64 << 20


class Census:
    """What is known of containers, for whoever sees only their identifiers."""

    def __init__(self, settings: Settings, files: Sequence[str] = (), *, bundles: Bundles | None = None) -> None:
        """`files` are lists of `crictl ps -o json`; `read` reads them."""
        self._settings, self.files = settings, tuple(map(Path, files))
        self._bundles = bundles or Bundles()
        self.containers = Containers(find=self._find)
        self.names: dict[str, str] = {}
        """What the cluster calls addresses."""

    def sources(self) -> list[str]:
        """Who would tell, in words. Without any nobody knows which image a container runs."""
        told = [*map(str, self.files), *map(str, self._bundles.folders())]
        try:
            client = cluster_client(self._settings)
        except UsageError:
            return told
        return [client.cluster.url, *told]

    def read(self) -> list[Container]:
        """The containers of the files, as they are now. Raises UsageError, MalformedError."""
        listed: list[Container] = []
        for path in self.files:
            try:
                with path.open("rb") as file:
                    data = file.read(_LARGEST + 1)
            except OSError as error:
                raise UsageError(f"{path}: {error.strerror}", hint="crictl ps -o json > FILE") from None
            listed += map(container_of, of_runtime(strictjson.loads(data, str(path), max_size=_LARGEST), str(path)))
        return listed

    def _find(self, identifier: str) -> Container | None:
        running = self._bundles.find(identifier)
        return None if running is None else container_of(running)

    async def look(self) -> None:
        """Ask the cluster until cancelled; where there is none, events say what they know."""
        try:
            client = cluster_client(self._settings)
        except UsageError:
            return
        failures = SaidOnce()
        try:
            while True:
                try:
                    pods = await _list(client, "v1", "Pod")
                    self.containers.note(containers_of(pods))
                    names = names_of(pods, await _list(client, "v1", "Service"))
                    self.names.update(names)
                    for address in self.names.keys() - names.keys():
                        del self.names[address]
                    failures.over()
                except CustodyError as error:
                    if failures.changes(error.message):
                        _LOG.warning("which containers run is as it was: %s", error.message)
                await asyncio.sleep(_LOOK)
        finally:
            await client.cluster.close()


async def _list(client: Any, version: str, kind: str) -> list[Mapping[str, Any]]:
    served = await client.resource(version, kind)
    return [] if served is None else list((await client.list(served)).items)
