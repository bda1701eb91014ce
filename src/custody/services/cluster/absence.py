"""What takes the webhooks away where all replicas died at once and nobody was left to: `custody admission guard`.

It looks at the Leases by which replicas say that they live. Where none was renewed for some time, the API server is not
asked to ask anybody any more; replicas that come back put the configurations back by themselves. Time is this
machine's own: clocks of replicas need not agree, and what could not be seen is no absence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from custody.errors import CustodyError
from custody.ports.cluster import ClusterObjects, Object
from custody.services.cluster.lease import LEASES
from custody.services.cluster.operator import PRESENCE_SELECTOR
from custody.services.cluster.webhooks import withdraw

_LOG = logging.getLogger(__name__)
_LOOK = 1.0
"""Seconds between two looks; replicas renew each two."""
_ANSWER = 5.0


class Absence:
    """Of all replicas."""

    def __init__(self, cluster: ClusterObjects, namespace: str, name: str, patience: float, *,
                 clock: Callable[[], float] | None = None) -> None:
        """`name` is that of the configurations, `patience` the seconds without any sign of life after which they are
        taken away. `clock` is monotonic; default: the event loop's."""
        self.failure: str | None = None
        """Why it does not know how the replicas are; None where it does."""
        self.living = 0
        """Replicas that gave a sign of life within `patience`."""
        self.withdrawals = 0
        """How often configurations were taken away."""
        self._cluster, self._namespace, self._name, self._patience = cluster, namespace, name, patience
        self._clock = clock
        self._seen: dict[str, tuple[Object, float]] = {}
        """The Lease of each replica as it is, and since when."""
        self._looked = False
        self._since: float | None = None
        """Since when all that was seen is that nobody lives; None where that is not so."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_ANSWER):
                    await self.look()
            except (CustodyError, TimeoutError) as error:
                self.unseen(str(error) or "no answer in time")
            await asyncio.sleep(_LOOK)

    def unseen(self, reason: str) -> None:
        """It could not look: what was not seen does not count, and patience begins anew."""
        if self.failure != reason:
            _LOG.warning("replicas cannot be looked at: %s", reason)
        self.failure, self._since = reason, None

    async def look(self) -> None:
        """Once. Raises CustodyError."""
        listing = await self._cluster.list(LEASES, self._namespace, labels=PRESENCE_SELECTOR)
        self.failure = None
        now = (self._clock or asyncio.get_running_loop().time)()
        before, self._seen = self._seen, {}
        renewed = False
        for lease in listing.items:
            name, spec = str(lease["metadata"]["name"]), lease.get("spec") or {}
            known = before.get(name)
            # A Lease that was there at the first look may be of one that died long ago.
            changed = bool(spec.get("holderIdentity")) and (known[0] != spec if known is not None else self._looked)
            renewed = renewed or changed
            self._seen[name] = spec, now if known is None or changed else known[1]
        self._looked = True
        self.living = sum(now - since < self._patience for _, since in self._seen.values())
        if renewed:
            self._since = None
        elif self._since is None:
            self._since = now
        if self._since is None or now - self._since < self._patience:
            return
        if gone := await withdraw(self._cluster, self._name):
            self.withdrawals += 1
            _LOG.error("no replica gave a sign of life for %.0f s: %s taken away, and nothing is judged until one "
                       "returns", self._patience, ", ".join(gone) + (" is" if len(gone) == 1 else " are"))
