"""What policies do beside judging, in a cluster: controllers of each replica, and those of the one that leads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from custody.admission.judging import Judging
from custody.errors import CustodyError
from custody.kit.clock import Clock
from custody.policy.kinds import Kinds
from custody.policy.resources import ApiResource
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import ClusterObjects
from custody.server.metrics import Metrics
from custody.services.cluster.lease import Leadership
from custody.services.cluster.policies import Collection
from custody.services.controllers.named import Reference
from custody.services.controllers.running import Controllers, Options

_LOG = logging.getLogger(__name__)
_LOOK = 0.5  # seconds between two looks at who leads: it ends by itself, without an event
_ASKED = ApiResource(group="authentication.k8s.io", version="v1", kind="SelfSubjectReview", plural="selfsubjectreviews")
_ACCOUNT = "system:serviceaccount:"


async def controllers(client: ClusterObjects, judging: Judging, snapshot: Callable[[], Snapshot],
                      kinds: Callable[[], Awaitable[Kinds]], clock: Clock, collection: Collection, *, namespace: str,
                      excluded: Sequence[str], identity: str) -> Controllers:
    """Raises CustodyError."""
    def uid_of(about: Reference) -> str:
        group = about.api_version.rpartition("/")[0]
        held = collection.held.get((group, about.kind, about.namespace, about.name))
        return str((held.document.get("metadata") or {}).get("uid") or "") if held is not None else ""

    options = Options(namespace=namespace, excluded=tuple(excluded), own=await _own(client), instance=identity)
    return Controllers(client, judging, snapshot, kinds, clock, options, uid_of=uid_of)


async def _own(client: ClusterObjects) -> tuple[str, ...]:
    """The account that this is. A person's is none: what they do triggers policies, though custody runs as them."""
    answer = await client.create(_ASKED, {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    name = str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")
    return (name,) if name.startswith(_ACCOUNT) else ()


async def carry_out(parts: Controllers, leadership: Leadership) -> None:
    """Until cancelled: what each replica does, and what one does while it leads."""
    leading: asyncio.Task[None] | None = None
    async with asyncio.TaskGroup() as group:
        group.create_task(parts.run())
        try:
            while True:
                if leadership.leading and (leading is None or leading.done()):
                    leading = asyncio.create_task(parts.lead())
                elif not leadership.leading and leading is not None:
                    await _end(leading)
                    leading = None
                await asyncio.sleep(_LOOK)
        finally:
            if leading is not None:
                await _end(leading)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, CustodyError):
        await task


def count(metrics: Metrics, parts: Controllers) -> None:
    """What they did, for /metrics."""
    metrics.count("custody_controllers", "What controllers did since the start.", ("controller",),
                  lambda: [((name,), number) for name, number in parts.counts().items()])
