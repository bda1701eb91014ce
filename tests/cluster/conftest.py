"""An API server for a module's tests, and a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.kubernetes.client import ClusterClient
from custody.adapters.kubernetes.cluster import Cluster
from custody.adapters.kubernetes.kubeconfig import of_kubeconfig
from tests.admission.conftest import api_server

_T = TypeVar("_T")


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with api_server(tmp_path_factory.mktemp("apiserver")) as path:
        yield path


def with_client(kubeconfig: Path, work: Callable[[ClusterClient], Awaitable[_T]], seconds: float = 60) -> _T:
    """What `work` gives, of a client that is closed afterwards."""
    async def main() -> _T:
        access = of_kubeconfig(kubeconfig)
        cluster = Cluster(access, AiohttpHttp(tls=access.tls))
        try:
            async with asyncio.timeout(seconds):
                return await work(ClusterClient(cluster))
        finally:
            await cluster.close()

    return asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.05)
