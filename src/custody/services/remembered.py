"""What was gathered about a digest before, for when it cannot be gathered anew: within a budget of age, and said.

    the registry answers           → what it says, kept for later
    it does not, and it did before → what was kept, while it is no older than the budget; else an error
    it is known not to answer      → what was kept at once, without a socket; who asks next is found out beside
    what was kept is young         → that at once, where the settings say so, and the registry is asked beside

Whether a host answers is found out before somebody waits for it (`watch`), too. Only that nobody answers is no answer:
what the registry says, a 404 or a refusal of a login too, counts as it is said.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import msgspec

from custody.errors import CustodyError, NetworkError, NotFoundError
from custody.evidence.model import EvidenceSet
from custody.kit.clock import Clock
from custody.ports.evidence import EvidenceStore, KeptEvidence

_LOG = logging.getLogger(__name__)
_PATIENCE = 1.0  # seconds for which somebody who could be answered from what is kept waits for the registry
_DOWN = 5.0  # seconds after which one that did not answer is asked again
_PROBE = 2.0  # seconds between two probes of a host
_MET = 600.0  # seconds after which a host that nobody asks for is not probed any more
_HOSTS = 64  # that are probed
_MOST = 512 * 1024 * 1024
_PRUNE = 600.0  # seconds between two prunings
_DECODER = msgspec.json.Decoder(EvidenceSet)
_ENCODER = msgspec.json.Encoder()
Collect = Callable[[], Coroutine[Any, Any, EvidenceSet]]
Probe = Callable[[], Coroutine[Any, Any, None]]
"""Returns where a host answers, whatever it says. Raises NetworkError."""


class Remembered:
    """`budget` is how old what is kept may be when it counts; `first`, when it counts before anybody is asked."""

    def __init__(self, store: EvidenceStore, clock: Clock, budget: timedelta, first: timedelta = timedelta()) -> None:
        self._store, self._clock, self._budget, self._first = store, clock, budget, first
        self._down: dict[str, float] = {}
        """Hosts that did not answer → when to ask again."""
        self._asking: dict[str, asyncio.Task[EvidenceSet]] = {}
        self._met: OrderedDict[str, tuple[float, Probe]] = OrderedDict()
        """Hosts that are probed → when they were last asked for, and how to find out whether they answer."""
        self._pruned = time.monotonic()
        self.stale = 0
        """How often what was kept counted."""

    async def gather(self, key: str, host: str, collect: Collect, probe: Probe | None = None, *,
                     moves: bool = False) -> EvidenceSet:
        """`moves`: it may be another one at any time, as what a tag means, and never counts before the host is asked.

        Raises what `collect` raises, where nothing is kept that counts.
        """
        if probe is not None:
            self._meet(host, probe)
        kept = await asyncio.to_thread(self._kept, key)
        if kept is None:
            return await self._collected(key, host, collect)
        if host in self._down:
            if self._down[host] <= time.monotonic():
                self._down[host] = time.monotonic() + _DOWN
                self._asking[key] = self._ask(key, host, collect)
            return self._stale(kept, f"{host} did not answer a moment ago")
        task = self._ask(key, host, collect)
        if not moves and kept.stale_since is not None and self._clock() - kept.stale_since < self._first:
            return msgspec.structs.replace(kept, stale_since=None)
        try:
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.shield(task)
        except TimeoutError:
            self._down[host] = time.monotonic() + _DOWN
            return self._stale(kept, f"{host} did not answer within {_PATIENCE:g} s")
        except NotFoundError:
            raise
        except NetworkError as error:
            return self._stale(kept, error.message)

    def _meet(self, host: str, probe: Probe) -> None:
        self._met[host] = time.monotonic(), probe
        self._met.move_to_end(host)
        if len(self._met) > _HOSTS:
            self._met.popitem(last=False)

    async def watch(self) -> None:
        """Find out whether the hosts that were asked for of late answer, until cancelled."""
        while True:
            await asyncio.sleep(_PROBE)
            for host in [host for host, (met, _) in self._met.items() if time.monotonic() - met > _MET]:
                del self._met[host]
            await asyncio.gather(*(self._look(host, probe) for host, (_, probe) in list(self._met.items())))

    async def _look(self, host: str, probe: Probe) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await probe()
        except (TimeoutError, NetworkError):
            self._down[host] = time.monotonic() + _DOWN
        except CustodyError as error:
            _LOG.warning("%s could not be probed: %s", host, error.message)
        else:
            self._down.pop(host, None)

    def _ask(self, key: str, host: str, collect: Collect) -> asyncio.Task[EvidenceSet]:
        """Goes on when nobody waits for it any more: it finds out whether the host answers again."""
        task = self._asking.get(key)
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            task = self._asking[key] = asyncio.create_task(self._collected(key, host, collect))
            task.add_done_callback(lambda done: self._asked(key, done))
        return task

    def _asked(self, key: str, task: asyncio.Task[EvidenceSet]) -> None:
        if self._asking.get(key) is task:
            del self._asking[key]
        if not task.cancelled():
            task.exception()  # said by who waits for it

    async def _collected(self, key: str, host: str, collect: Collect) -> EvidenceSet:
        try:
            gathered = await collect()
        except NotFoundError:
            self._down.pop(host, None)
            raise
        except NetworkError:
            self._down[host] = time.monotonic() + _DOWN
            raise
        self._down.pop(host, None)
        await asyncio.to_thread(self._keep, key, gathered)
        return gathered

    def _kept(self, key: str) -> EvidenceSet | None:
        try:
            kept = self._store.get(key)
            if kept is None or self._clock() - kept.gathered > self._budget:
                return None
            return msgspec.structs.replace(_DECODER.decode(kept.data), stale_since=kept.gathered)
        except (CustodyError, msgspec.MsgspecError):
            _LOG.warning("what was gathered before cannot be read", exc_info=True)
            return None

    def _keep(self, key: str, gathered: EvidenceSet) -> None:
        try:
            self._store.put(key, KeptEvidence(self._clock(), _ENCODER.encode(gathered)))
            if time.monotonic() - self._pruned > _PRUNE:
                self._pruned = time.monotonic()
                self._store.prune(self._clock() - self._budget, _MOST)
        except CustodyError as error:  # a full disk keeps nothing for later, and what was gathered counts
            _LOG.warning("evidence is not kept: %s", error.message)

    def _stale(self, kept: EvidenceSet, reason: str) -> EvidenceSet:
        self.stale += 1
        return msgspec.structs.replace(kept, stale_reason=reason)
