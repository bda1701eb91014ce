"""Evidence that will be asked for soon, gathered beforehand: of pods that are still to be made, and of what is pushed.

    a review brings a pod template   → the pod that it makes is judged as the webhook will, and nobody is told
    the own registry takes a push    → the same for its image, under the names by which pods call it

What that gathers counts for the reviews to come as if they had asked (`EvidenceCache`, `Remembered`), failures
briefly. No review waits for it: a queue that is bounded takes the work, and few are worked on at once.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from custody.admission.answered import Answered
from custody.admission.judging import Judging
from custody.errors import CustodyError
from custody.formats import reference
from custody.policy.model import Request
from custody.policy.phases import Course, Phase
from custody.policy.podfields import pod_templates
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import Answer, ApiCall, ExternalData, Failed, HttpCall, Lookup, Question
from custody.services.check import request_of_image
from custody.services.gather import Gatherer

_LOG = logging.getLogger(__name__)
_WAITING = 256  # images and templates that wait for their turn
_AT_ONCE = 2
_SETTLED = 1.0  # seconds after the last push about an image: its signatures and attestations come one by one
_LONGEST = 10.0  # seconds after the first, however many follow
_SECONDS = 30.0  # for one image or template


class Prefetch:
    """`snapshots` are those that reviews are judged by now; `names` gives those of a repository of the own registry.

    To be run by the event loop that judges.
    """

    def __init__(self, judging: Judging, gatherer: Gatherer, snapshots: Callable[[], Sequence[Snapshot]],
                 names: Callable[[str], Sequence[str]] = lambda _: ()) -> None:
        self._judging, self._gatherer = judging, gatherer
        self._snapshots, self._names = snapshots, names
        self._due: dict[str, tuple[float, float, Request]] = {}
        """By image, or namespace and images: when it is due, at the latest, and the pod that is judged."""
        self._order: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.done = 0
        self.dropped = 0
        """What came while the queue was full."""

    # What is seen

    def __call__(self, answered: Answered) -> None:
        """An Observer: pods come after what was not denied and will be made."""
        judged = answered.judged
        if judged is None or judged.request.dry_run or not judged.decision.allowed:
            return
        request = judged.request
        if not any(snapshot.policies.of(Phase.VERIFY) for snapshot in self._snapshots()):
            return  # nobody will ask for evidence
        if request.operation not in ("CREATE", "UPDATE") or request.kind.kind == "Pod" or request.subresource:
            return
        try:
            templates = pod_templates(request.object)
        except CustodyError:
            return
        for pointer, spec in templates:
            if pointer.endswith("/spec"):
                pod = {"apiVersion": "v1", "kind": "Pod",
                       "metadata": {**_metadata(request.object, pointer), "namespace": request.namespace}, "spec": spec}
                self._take(f"{request.namespace} {request.kind.kind}/{request.name}{pointer}",
                           Request.create(pod, request.namespace), 0.0)

    def pushed(self, repository: str, digest: str, tags: Iterable[str] = ()) -> None:
        """Something about the image `digest` came into the own registry. Called by any thread, after it is durable."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._pushed, repository, digest, tuple(tags))

    def _pushed(self, repository: str, digest: str, tags: tuple[str, ...]) -> None:
        for name in self._names(repository):
            try:
                ref = reference.parse(f"{name}@{digest}")
                self._gatherer.forget(ref.name, digest, tags)
                self._take(str(ref), request_of_image(str(ref)), _SETTLED)
            except CustodyError as error:
                _LOG.debug("a push is not looked at beforehand: %s", error.message)

    def _take(self, key: str, request: Request, wait: float) -> None:
        now = asyncio.get_running_loop().time()
        known = self._due.get(key)
        if known is None and len(self._due) >= _WAITING:
            self.dropped += 1
            return
        latest = known[1] if known is not None else now + max(wait, _LONGEST)
        due = min(now + wait, latest)
        self._due[key] = due, latest, request
        heapq.heappush(self._order, (due, next(self._numbers), key))
        self._wake.set()

    # What is done

    async def run(self) -> None:
        """Work until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            await asyncio.gather(*(self._work() for _ in range(_AT_ONCE)))
        finally:
            self._loop = None

    async def _work(self) -> None:
        while True:
            request = await self._next()
            try:
                async with asyncio.timeout(_SECONDS):
                    await self._judge(request)
                self.done += 1
            except TimeoutError:
                _LOG.debug("evidence did not come beforehand within %g s", _SECONDS)
            except Exception:
                _LOG.exception("evidence could not be gathered beforehand")

    async def _next(self) -> Request:
        """The next that is due; what was put off since is passed over."""
        loop = asyncio.get_running_loop()
        while True:
            while self._order and self._due.get(self._order[0][2], (None,))[0] != self._order[0][0]:
                heapq.heappop(self._order)
            left = self._order[0][0] - loop.time() if self._order else None
            if left is not None and left <= 0:
                _, _, key = heapq.heappop(self._order)
                return self._due.pop(key)[2]
            self._wake.clear()
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _judge(self, request: Request) -> None:
        deadline = asyncio.get_running_loop().time() + _SECONDS
        asked = set()
        for snapshot in self._snapshots():
            terms = snapshot.keys, snapshot.predicate_types, snapshot.digest
            if terms not in asked and snapshot.policies.of(Phase.VERIFY):
                asked.add(terms)
                await self._judging.judge(request, snapshot, Course.ADMISSION, deadline=deadline)


class Reading(Lookup):
    """What can be asked without changing anything, or telling servers of others."""

    def __init__(self, beyond: Lookup) -> None:
        self._beyond = beyond

    async def answer(self, question: Question) -> Answer:
        changes = isinstance(question, ApiCall) and question.method != "GET"
        if changes or isinstance(question, (HttpCall, ExternalData)):
            return Failed("it is not asked beforehand")
        return await self._beyond.answer(question)


class Names:
    """What pods call the repositories of the own registry: by its hosts, and by the names that it mirrors."""

    def __init__(self, hosts: Iterable[str], mirrors: Mapping[str, str]) -> None:
        """`hosts` with their ports; `mirrors` as in the settings."""
        self._hosts = tuple(dict.fromkeys(hosts))
        self._mirrors = [(prefix.rstrip("/"), target.rstrip("/")) for prefix, target in mirrors.items()]

    def __call__(self, repository: str) -> list[str]:
        names = []
        for host in self._hosts:
            own = f"{host}/{repository}"
            names.append(own)
            names += [prefix + own[len(target):] for prefix, target in self._mirrors
                      if own == target or own.startswith(f"{target}/")]
        return names


def _metadata(document: Any, pointer: str) -> dict[str, Any]:
    """Labels and annotations of a template, by the pointer of its spec."""
    holder = document
    for step in pointer.split("/")[1:-1]:
        part = step.replace("~1", "/").replace("~0", "~")
        holder = holder[int(part)] if isinstance(holder, list) else holder[part]
    metadata = holder.get("metadata") if isinstance(holder, dict) else None
    known = metadata if isinstance(metadata, dict) else {}
    return {"generateName": "template-", **{key: known[key] for key in ("labels", "annotations")
                                            if isinstance(known.get(key), dict)}}
