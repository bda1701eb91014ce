"""What a client says of kinds while an aggregated API gives no answer, and what follows them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from custody.adapters.kubernetes.client import ClusterClient
from custody.errors import NetworkError
from custody.policy.kinds import Kinds
from custody.policy.resources import ApiResource
from custody.services.mirror import Mirror
from tests.cluster.conftest import until

APP = ApiResource(group="apps.io", version="v1", kind="App", plural="apps")


class Discovery:
    """An API server before a metrics server that is down."""

    url = "https://cluster.example"

    async def kinds(self) -> Kinds:
        return Kinds([APP], source=self.url, unknown=[("metrics.io", "v1")])

    async def ask(self, _method: str, path: str, **_: Any) -> Any:
        raise NetworkError(f"{path} is not to be asked for")


def test_a_kind_of_a_group_that_gives_no_answer_is_not_one_that_is_not_served() -> None:
    async def work() -> None:
        client = ClusterClient(Discovery())  # type: ignore[arg-type]
        assert await client.resource("apps.io/v1", "App") == APP
        assert await client.resource("apps.io/v1", "Metric") is None
        assert await client.resource("metrics.io/v2", "Metric") is None
        with pytest.raises(NetworkError, match=r"whether metrics\.io/v1 Metric is served is not known"):
            await client.resource("metrics.io/v1", "Metric")
        mirror = Mirror(client, ["metrics.io/v1"], "Metric")
        running = asyncio.create_task(mirror.run())
        await until(lambda: mirror.failure is not None)
        assert "gives no answer (Stale)" in (mirror.failure or "")
        assert not mirror.synced.is_set()
        running.cancel()

    asyncio.run(work())
