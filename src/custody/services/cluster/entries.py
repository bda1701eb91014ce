"""GlobalContextEntry of kyverno.io: what several policies ask for, watched or called once for all of them.

A `kubernetesResource` is a watch, and its data is the list of all objects; an `apiCall` is made again after each
`refreshInterval`. `projections` are JMESPath of the data. An entry that cannot be read, is not served or could not be
called has failed, with the reason: older data would be taken for what is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from custody.errors import CustodyError, MalformedError, language_errors
from custody.kit import strictjson
from custody.policy.fields import Fields
from custody.policy.kinds import Kinds
from custody.ports.cluster import ClusterObjects, Object
from custody.ports.lookup import Absent, Answer, Answered, ApiCall, Failed, GlobalEntry, HttpCall, Lookup
from custody.services.mirror import Mirror
from policylang import jmespath
from policylang.go.durations import parse as duration

_LOG = logging.getLogger(__name__)
SYNC = 5.0
"""Seconds that a first question waits for its watch or call."""
STALE = 60.0
"""Seconds without a watch after which what it told before is no answer any more."""
_ENTRIES = 1000
_CALL = 30.0
"""Seconds for one call of an entry."""


class Entries:
    """GlobalContextEntries of kyverno.io: each a watch of a resource, or a call that is made again and again."""

    def __init__(self, cluster: ClusterObjects, kinds: Callable[[], Kinds | None], beyond: Lookup) -> None:
        self._cluster, self._kinds, self._beyond = cluster, kinds, beyond
        self._mirror = Mirror(cluster, ["kyverno.io/v2beta1", "kyverno.io/v2alpha1", "kyverno.io/v2"],
                              "GlobalContextEntry", changed=self._changed, most=_ENTRIES)
        self._kept: dict[str, tuple[_Entry, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self._mirror.run()
        finally:
            for _, task in self._kept.values():
                task.cancel()

    async def answer(self, question: GlobalEntry) -> Answer:
        if (failed := await unsynced(self._mirror)) is not None:
            return failed
        kept = self._kept.get(question.name)
        return Absent() if kept is None else await kept[0].answer(question.projection)

    def _changed(self, before: Object | None, after: Object | None) -> None:
        name = str(((after or before or {}).get("metadata") or {}).get("name"))
        if before is not None and after is not None and before.get("spec") == after.get("spec"):
            return
        if (kept := self._kept.pop(name, None)) is not None:
            kept[1].cancel()
        if after is not None:
            entry = _entry(after, self._cluster, self._kinds, self._beyond)
            self._kept[name] = entry, asyncio.create_task(entry.run())


class _Entry:
    """One that cannot be read: whoever asks is told why."""

    def __init__(self, fault: str) -> None:
        self._fault = fault

    async def run(self) -> None:
        return None

    async def answer(self, projection: str) -> Answer:  # noqa: ARG002 - it has none
        return Failed(self._fault)


class _Projected(_Entry, ABC):
    """Data, and what each projection makes of it, computed when it is first asked for after a change."""

    def __init__(self, name: str, projections: Mapping[str, jmespath.Program]) -> None:
        super().__init__(f"global context entry {name}: no data available")
        self._name = name
        self._projections = projections
        self._results: dict[str, Answer] = {}

    @abstractmethod
    def _data(self) -> Any:
        """What there is now."""

    def _result(self, projection: str) -> Answer:
        if projection not in self._results:
            self._results[projection] = self._projected(projection)
        return self._results[projection]

    def _projected(self, projection: str) -> Answer:
        if not projection:
            return Answered(self._data())
        program = self._projections.get(projection)
        if program is None:
            return Failed(f"global context entry {self._name}: projection {projection!r} not found")
        try:
            return Answered(program(self._data()))
        except jmespath.QueryError as error:
            return Failed(f"global context entry {self._name}: projection {projection!r}: {error}")


class _Watched(_Projected):
    def __init__(self, name: str, projections: Mapping[str, jmespath.Program], spec: Mapping[str, Any],
                 cluster: ClusterObjects, kinds: Callable[[], Kinds | None]) -> None:
        super().__init__(name, projections)
        self._spec, self._cluster, self._kinds = spec, cluster, kinds
        self._mirror: Mirror | None = None

    async def run(self) -> None:
        group, version, plural = (str(self._spec.get(part) or "") for part in ("group", "version", "resource"))
        while (kind := self._kind(group, version, plural)) is None:
            self._fault = (f"global context entry {self._name}: {plural}.{group}/{version} is not served by the "
                           "cluster")
            await asyncio.sleep(1)
        self._mirror = Mirror(self._cluster, [f"{group}/{version}" if group else version], kind,
                              namespace=str(self._spec.get("namespace") or ""), changed=lambda *_: self._forget())
        await self._mirror.run()

    def _forget(self) -> None:
        self._results.clear()

    def _kind(self, group: str, version: str, plural: str) -> str | None:
        kinds = self._kinds()
        return next((resource.kind for resource in (kinds.resources if kinds is not None else ())
                     if (resource.group, resource.version, resource.plural) == (group, version, plural)), None)

    def _data(self) -> Any:
        return [*self._mirror.objects.values()] if self._mirror is not None else []

    async def answer(self, projection: str) -> Answer:
        if self._mirror is None:
            return Failed(self._fault)
        if (failed := await unsynced(self._mirror)) is not None:
            return failed
        if self._mirror.served is None:
            return Failed(f"global context entry {self._name}: {unserved(self._mirror)}")
        return self._result(projection)


class _Called(_Projected):
    def __init__(self, name: str, projections: Mapping[str, jmespath.Program], call: ApiCall | HttpCall,
                 lookup: Lookup, *, every: float, attempts: int) -> None:
        super().__init__(name, projections)
        self._call, self._lookup, self._every, self._attempts = call, lookup, every, attempts
        self._first = asyncio.Event()
        self._known: Any = None
        self._failed: Failed | None = Failed(self._fault)

    async def run(self) -> None:
        while True:
            answer = await self._ask()
            self._results.clear()
            if isinstance(answer, Answered):
                self._known, self._failed = answer.value, None
            else:  # old data would be taken for what is: Kyverno's own says the error too
                reason = answer.reason if isinstance(answer, Failed) else "there is no such thing"
                self._failed = Failed(f"global context entry {self._name}: {reason}")
                _LOG.warning("%s", self._failed.reason)
            self._first.set()
            await asyncio.sleep(self._every)

    async def _ask(self) -> Answer:
        answer: Answer = Failed(self._fault)
        for attempt in range(self._attempts):
            await asyncio.sleep(0.01 * 5 ** attempt if attempt else 0)
            try:
                async with asyncio.timeout(_CALL):
                    answer = await self._lookup.answer(self._call)
            except TimeoutError:
                answer = Failed(f"not answered within {_CALL:g} s")
            if isinstance(answer, Answered):
                return _body(answer) if isinstance(self._call, HttpCall) else answer
        return answer

    def _data(self) -> Any:
        return self._known

    async def answer(self, projection: str) -> Answer:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SYNC):
                await self._first.wait()
        return self._failed or self._result(projection)


async def unsynced(mirror: Mirror) -> Failed | None:
    """Why a mirror cannot answer: it knows nothing yet, or hears nothing any more. None where it can."""
    if mirror.failure is None:  # else whoever asks would wait in vain, each time
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SYNC):
                await mirror.synced.wait()
    if not mirror.synced.is_set():
        return Failed(mirror.failure or f"no {mirror.kind} was listed within {SYNC:g} s")
    if mirror.failure is not None and asyncio.get_running_loop().time() > mirror.failing_since + STALE:
        return Failed(f"what was known is older than {STALE:g} s: {mirror.failure}")
    return None


def unserved(mirror: Mirror) -> str:
    """Why a mirror that is synced has no objects of its own; "" where its kind is served."""
    return "" if mirror.served is not None or not mirror.synced.is_set() else (
        f"{mirror.kind} of {' or '.join(mirror.versions)} is not served by the cluster")


def _body(answer: Answered) -> Answer:
    """What an HTTP server answered, decoded."""
    reply = answer.value if isinstance(answer.value, dict) else {}
    if reply.get("status") not in (200, 201, 202):
        return Failed(f"answered {reply.get('status')}")
    try:
        return Answered(strictjson.loads(str(reply.get("body") or "").encode(), "answer"))
    except MalformedError as error:
        return Failed(error.message)


# ── the document ────────────────────────────────────────────────────────────────────────────────────────────────────

def fault(document: Object) -> str:
    """Why one cannot be read; "" where it can."""
    try:
        _read(document)
    except CustodyError as error:
        return error.message
    return ""


def _entry(document: Object, cluster: ClusterObjects, kinds: Callable[[], Kinds | None], beyond: Lookup) -> _Entry:
    try:
        name, projections, watched, call, every, attempts = _read(document)
    except CustodyError as error:
        return _Entry(f"global context entry: {error.message}")
    if watched is not None:
        return _Watched(name, projections, watched, cluster, kinds)
    assert call is not None
    return _Called(name, projections, call, beyond, every=every, attempts=attempts)


_Read = tuple[str, dict[str, jmespath.Program], dict[str, str] | None, ApiCall | HttpCall | None, float, int]


def _read(document: Object) -> _Read:
    """Raises MalformedError, UnsupportedError."""
    name = str((document.get("metadata") or {}).get("name") or "")
    spec = Fields(document.get("spec"), "spec")
    resource, called = spec.inner("kubernetesResource"), spec.inner("apiCall")
    if (resource is None) == (called is None):
        raise MalformedError("spec", got="both or neither of kubernetesResource and apiCall", expected="one of them")
    projections = {}
    for projection in spec.each("projections"):
        projected, text = projection.need("name", str), projection.need("jmesPath", str)
        projection.done()
        if projected == name:
            raise MalformedError(f"{projection.where}.name", got=projected, expected="another name than the entry's")
        with language_errors():
            projections[projected] = jmespath.compile(text, f"{projection.where}.jmesPath")
    spec.done()
    if resource is not None:
        watched = {part: resource.take(part, str) or "" for part in ("group", "version", "resource", "namespace")}
        resource.done()
        for part in ("version", "resource"):
            if not watched[part]:
                raise MalformedError(f"spec.kubernetesResource.{part}", got="none", expected="a text")
        return name, projections, watched, None, 0.0, 0
    assert called is not None
    every = called.take("refreshInterval", str) or "10m"
    if not (nanoseconds := duration(every)) or nanoseconds <= 0:
        raise MalformedError("spec.apiCall.refreshInterval", got=every, expected="a duration greater than 0, as 10m")
    attempts = called.take("retryLimit", int) or 3
    call = _call(called)
    called.done()
    return name, projections, None, call, nanoseconds / 1e9, min(max(attempts, 1), 10)


def _call(called: Fields) -> ApiCall | HttpCall:
    path, service = called.take("urlPath", str) or "", called.inner("service")
    method = called.take("method", str) or "GET"
    if (service is None) == (not path):
        raise MalformedError("spec.apiCall", got="both or neither of urlPath and service", expected="one of them")
    data = {item.need("key", str): item.any("value") for item in called.each("data")}
    if data and method != "POST":
        raise MalformedError("spec.apiCall.method", got=method, expected="POST, where there is data")
    body = json.dumps(data) if method == "POST" else ""
    if service is None:
        return ApiCall(path, method, body)
    headers = tuple((item.need("key", str), item.need("value", str)) for item in service.each("headers"))
    call = HttpCall(method, service.need("url", str), headers, body, service.take("caBundle", str) or "")
    service.done()
    return call
