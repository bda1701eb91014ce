"""One of several replicas leads: whoever holds a Lease (coordination.k8s.io/v1), as client-go's leader election does.

Time is this machine's own since it saw the Lease change: clocks of replicas need not agree. Who leads stops well before
another may begin.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from custody.errors import CustodyError
from custody.policy.resources import ApiResource
from custody.ports.cluster import ApiError, ClusterObjects, Object

_LOG = logging.getLogger(__name__)
LEASES = ApiResource(group="coordination.k8s.io", version="v1", kind="Lease", plural="leases", namespaced=True)


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds. client-go's own defaults, which `kubectl` and its controllers use."""

    duration: float = 15.0
    """After which a Lease that was not renewed may be taken."""
    renew: float = 10.0
    """Within which who leads must have renewed it, or stops."""
    retry: float = 2.0
    """Between two attempts."""


class Leadership:
    """`changed` is set whenever this replica begins or ends to lead."""

    def __init__(self, cluster: ClusterObjects, namespace: str, name: str, identity: str,
                 terms: Terms | None = None, *, labels: Mapping[str, str] | None = None, kept: bool = True) -> None:
        """`labels` of the Lease. `kept`: it stays when it is given back; else it is deleted."""
        self.changed = asyncio.Event()
        self.holder = ""
        """Who holds it, as was last seen."""
        self._cluster = cluster
        self.name = name
        self._namespace, self.identity = namespace, identity
        self._labels, self._kept = dict(labels or {}), kept
        self._terms = terms or Terms()
        self._seen: Object = {}
        self._since = 0.0
        self._held = False
        self._renewed = 0.0

    @property
    def leading(self) -> bool:
        """Whether it leads now: asked at each step, since it ends by itself where the Lease cannot be renewed."""
        return self._held and asyncio.get_running_loop().time() < self._renewed + self._terms.renew

    async def run(self) -> None:
        """Until cancelled; then the Lease is given back, so that another need not wait for its end."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    async with asyncio.timeout(self._terms.renew / 2):
                        held = await self._attempt(loop.time())
                except (CustodyError, TimeoutError) as error:
                    _LOG.warning("lease %s/%s: %s", self._namespace, self.name, str(error) or "no answer in time")
                    held = self.leading
                self._lead(leading=held)
                await asyncio.sleep(self._terms.retry)
        finally:
            if self._held:
                self._lead(leading=False)
                await asyncio.shield(self._release())

    async def _attempt(self, now: float) -> bool:
        """Whether it is held now. Raises CustodyError."""
        lease = await self._cluster.get(LEASES, self.name, self._namespace)
        if lease is None:
            try:
                await self._cluster.create(LEASES, self._wanted({}, transitions=0))
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                return False
            self._renewed = now
            return True
        spec: dict[str, Any] = lease.get("spec") or {}
        if spec != self._seen:
            self._seen, self._since = spec, now
        self.holder = str(spec.get("holderIdentity") or "")
        mine = self.holder == self.identity
        duration = float(spec.get("leaseDurationSeconds") or self._terms.duration)
        if not mine and self.holder and now < self._since + duration:
            return False
        transitions = int(spec.get("leaseTransitions") or 0) + (0 if mine else 1)
        try:
            await self._cluster.replace(LEASES, self._wanted(lease, transitions=transitions, acquired=mine))
        except ApiError as error:
            if error.reason == "Conflict":  # another was first
                return False
            raise
        self._renewed = now
        return True

    def _wanted(self, lease: Object, *, transitions: int, acquired: bool = False) -> Object:
        spec = lease.get("spec") or {}
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # of others' interest only: nobody here compares it
        metadata = {"labels": self._labels, **(lease.get("metadata") or {})}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {**metadata, "name": self.name, "namespace": self._namespace},
                "spec": {"holderIdentity": self.identity, "leaseDurationSeconds": round(self._terms.duration),
                         "acquireTime": spec.get("acquireTime", at) if acquired else at, "renewTime": at,
                         "leaseTransitions": transitions}}

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(self._terms.retry):
                lease = await self._cluster.get(LEASES, self.name, self._namespace)
                if not self._kept:
                    await self._cluster.delete(LEASES, self.name, self._namespace)
                elif lease is not None and (lease.get("spec") or {}).get("holderIdentity") == self.identity:
                    spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                    await self._cluster.replace(LEASES, {**lease, "spec": spec})
        except (CustodyError, TimeoutError) as error:
            _LOG.warning("lease %s/%s is not given back: %s", self._namespace, self.name,
                         str(error) or "no answer in time")

    def _lead(self, *, leading: bool) -> None:
        if leading != self._held:
            self._held = leading
            self.changed.set()
            _LOG.info("%s lease %s/%s", "holds" if leading else "does not hold", self._namespace, self.name)
