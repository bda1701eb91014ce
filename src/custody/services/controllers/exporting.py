"""What audits find, exported to the place that a Connection names (Gatekeeper pkg/export; its flags and messages).

    {"id": "2026-11-30T03:17:00Z", "message": "audit is started"}
    {"id": …, "details": …, "eventType": "violation_audited", "group": "constraints.gatekeeper.sh", …}
    {"id": …, "message": "audit is completed"}

An audit that does not come to its end is shown to nobody: half of one would pass for all that there is. What became of
a Connection stands in its `status.byPod`, written by the replica that leads.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from custody.errors import CustodyError
from custody.policy.gatekeeper.connection import CHANNEL, CONNECTION, GROUP, KIND, VERSIONS, Connection, fault
from custody.policy.model import RuleResult
from custody.ports.cluster import ClusterObjects, Object
from custody.ports.violations import Opened, Violations
from custody.services.cluster import podstatus
from custody.services.mirror import Mirror, key_of

_LOG = logging.getLogger(__name__)
UPSERT, PUBLISH = "UpsertConnection", "Publish"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_ESCAPED = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_FLUSHED = 500
_AGAIN = 30.0
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Terms:
    """`enabled`: violations are exported at all. `homes`: the namespaces in which a Connection counts, the first
    before the others."""

    enabled: bool = False
    connection: str = CONNECTION
    channel: str = CHANNEL
    homes: Sequence[str] = ("gatekeeper-system",)


@dataclass(slots=True)
class _Open:
    """A Connection in use."""

    uid: str
    generation: object
    connection: Connection
    place: Violations
    active: bool = False
    """Whether the last audit was exported to it whole."""
    error: str = ""
    """Why it was not."""


@dataclass(slots=True)
class _Closing:
    place: Violations
    until: float
    failure: str = field(default="")


class Exporting:
    """Of the replica that leads. `replica` says whose entry of the status is written."""

    def __init__(self, cluster: ClusterObjects, opened: Opened, terms: Terms,
                 replica: Callable[[], podstatus.Replica]) -> None:
        self._cluster, self._opened, self._terms, self._replica = cluster, opened, terms, replica
        self._mirror = Mirror(cluster, [f"{GROUP}/{version}" for version in VERSIONS], KIND, plural="connections",
                              changed=lambda *_: self._changed.set())
        self._changed = asyncio.Event()
        self._settling = asyncio.Lock()
        self._open: _Open | None = None
        self._closing: list[_Closing] = []
        self._lines: list[str] = []
        self._audit = ""
        """The time of the audit that is exported now; empty for none."""

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mirror.run())
            await self._mirror.synced.wait()
            while True:
                self._changed.clear()
                await self._settle()
                await self._tell()
                try:
                    async with asyncio.timeout(_AGAIN):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    # What an audit does

    async def begin(self, audit: str) -> None:
        """An audit begins at this time. Raises nothing: an audit does not depend on who hears of it."""
        self._lines, self._audit = [], ""
        if not self._terms.enabled or not self._mirror.synced.is_set():
            return
        async with self._settling:
            await self._settled()
            if self._open is None:
                return
            self._audit = audit  # from here on to its end the Connection stays
            try:
                if await self._done(lambda place: place.begin(audit)):
                    self._lines.append(_line({"id": audit, "message": "audit is started"}))
                else:
                    self._audit = ""
            except BaseException:
                await self.drop()
                raise

    def add(self, constraint: Mapping[str, Any], result: RuleResult, named: Mapping[str, Any],
            document: Object, *, rego: bool) -> None:
        """A violation of a constraint; `named` is what its status would say of it, `rego` the language of its
        template."""
        if self._audit:
            self._lines.append(_line(message(self._audit, constraint, result, named, document, rego=rego)))

    async def flush(self, *, least: int = _FLUSHED) -> None:
        """Write what was added, where it is so much."""
        if self._audit and len(self._lines) >= least:
            lines, self._lines = self._lines, []
            if not await self._done(lambda place: place.write(lines)):
                await self.drop()

    async def end(self, passed_over: Sequence[str] = ()) -> None:
        """The audit is whole, but for the kinds that nobody could list."""
        if not self._audit:
            return
        self._lines.append(_line({"id": self._audit, "message": "audit is completed"}))
        await self.flush(least=0)
        if self._audit and await self._done(lambda place: place.end()) and self._open is not None:
            self._open.active = True
            self._open.error = f"not audited, as it cannot be listed: {', '.join(passed_over)}" if passed_over else ""
        self._audit = ""
        self._changed.set()

    async def drop(self) -> None:
        """The audit did not come to its end."""
        if self._audit and self._open is not None:
            failure = self._open.error
            await self._done(lambda place: place.drop())
            self._open.error = failure or self._open.error
        self._lines, self._audit = [], ""
        self._changed.set()

    async def _done(self, work: Callable[[Violations], None]) -> bool:
        """Whether it could be done: what cannot is said in the status and the log."""
        opened = self._open
        assert opened is not None
        try:
            await _finished(lambda: work(opened.place))
        except Exception as error:
            said = error.message if isinstance(error, CustodyError) else f"an internal error ({type(error).__name__})"
            if opened.error != said:
                _LOG.warning("violations are not exported: %s", said, exc_info=not isinstance(error, CustodyError))
            opened.active, opened.error = False, said
            self._changed.set()
            return False
        return True

    # Which Connection counts

    async def _settle(self) -> None:
        """Open the one that counts now, and close what does not any more; not while an audit is exported."""
        async with self._settling:
            if not self._audit:
                await self._settled()

    async def _settled(self) -> None:
        document = self._counting()
        before, identity = self._open, _identity(document) if document is not None else None
        if before is not None and identity != (before.uid, before.generation):
            made = Connection(document) if document is not None else None
            if made is None or made.path != before.connection.path:
                until = asyncio.get_running_loop().time() + before.connection.closing
                self._closing.append(_Closing(before.place, until))
            self._open = None
        if document is not None and self._open is None:
            connection = Connection(document)
            self._open = _Open(*_identity(document), connection,
                               self._opened(connection.path, self._terms.channel, connection.keep))
        await self._clear()

    async def _clear(self) -> None:
        """Take away the files of Connections that are gone, as long as they say."""
        left = []
        for closing in self._closing:
            try:
                if self._open is not None and await _finished(partial(closing.place.same, self._open.place)):
                    continue  # what lies there is that of the one in use
                await _finished(closing.place.clear)
            except CustodyError as error:
                if asyncio.get_running_loop().time() < closing.until:
                    left.append(closing)
                if not closing.failure or closing not in left:
                    _LOG.warning("what was exported to a Connection that is gone is still there: %s", error.message)
                closing.failure = error.message
        self._closing = left

    def _counting(self) -> Object | None:
        if not self._terms.enabled:
            return None
        for home in self._terms.homes:
            document = self._mirror.objects.get((home, self._terms.connection))
            if document is not None:
                return document if not fault(document) else None
        return None

    # What is said

    async def _tell(self) -> None:
        replica = self._replica()
        if not replica.leads:
            return
        replica = replica._replace(live=frozenset({replica.id}))  # who led before says nothing any more
        counting = self._counting()
        for document in [*self._mirror.objects.values()]:
            try:
                await podstatus.put(self._cluster, document, replica, self._entry(document, counting, replica))
            except CustodyError as error:
                _LOG.warning("the status of %s %s could not be written: %s", KIND, "/".join(key_of(document)),
                             error.message)

    def _entry(self, document: Object, counting: Object | None, replica: podstatus.Replica) -> Object:
        metadata = document["metadata"]
        entry: Object = {"id": replica.id, "operations": podstatus.LEADING, "connectionUID": metadata.get("uid"),
                         "observedGeneration": metadata.get("generation", 0), "active": False}
        refused = self._refused(document, counting)
        if refused:
            entry["errors"] = [{"type": UPSERT, "message": refused[:1024]}]
        elif self._open is not None and _identity(document) == (self._open.uid, self._open.generation):
            entry["active"] = self._open.active
            if self._open.error:
                entry["errors"] = [{"type": PUBLISH, "message": self._open.error[:1024]}]
        return entry

    def _refused(self, document: Object, counting: Object | None) -> str:
        """Why nothing is exported to it; "" where it is the one that counts."""
        namespace, name = key_of(document)
        if not self._terms.enabled:
            return "violations are exported with --enable-violation-export alone"
        if namespace not in self._terms.homes:
            return f"it lies in namespace {namespace}, and a Connection counts in {', '.join(self._terms.homes)}"
        if name != self._terms.connection:
            return f"it is called {name}, and violations are exported to {self._terms.connection} (--audit-connection)"
        if wrong := fault(document):
            return wrong
        return "" if document is counting else "one of the same name in another namespace counts"


def message(audit: str, constraint: Mapping[str, Any], result: RuleResult, named: Mapping[str, Any],
            document: Object, *, rego: bool) -> dict[str, Any]:
    """Gatekeeper's ExportMsg of a violation: its fields, in their order, without those that are empty. Details that
    Rego does not give are an empty object, and CEL has none."""
    group, _, version = str(constraint.get("apiVersion")).rpartition("/")
    about, metadata = constraint.get("metadata") or {}, document.get("metadata") or {}
    written = result.properties.get("details")
    details = json.loads(written) if written else {} if rego else None
    annotations = {key: value for key, value in sorted((about.get("annotations") or {}).items())
                   if key != _LAST_APPLIED}
    said = {
        "id": audit, "details": details, "eventType": "violation_audited",
        "group": group, "version": version, "kind": constraint.get("kind"), "name": about.get("name"),
        "message": named["message"], "enforcementAction": named["enforcementAction"],
        "enforcementActions": named.get("enforcementActions"), "constraintAnnotations": annotations,
        "resourceGroup": named["group"], "resourceAPIVersion": named["version"], "resourceKind": named["kind"],
        "resourceNamespace": named.get("namespace"), "resourceName": named["name"],
        "resourceLabels": dict(sorted((metadata.get("labels") or {}).items()))}
    return {name: value for name, value in said.items() if (name == "details" and value is not None) or value}


def _line(said: Mapping[str, Any]) -> str:
    """As Go writes it."""
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPED)


async def _finished(work: Callable[[], _T]) -> _T:
    """Done by a thread, to its end even where nobody waits any more: another one could work on the same place."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


def _identity(document: Object) -> tuple[str, object]:
    metadata = document.get("metadata") or {}
    return str(metadata.get("uid") or ""), metadata.get("generation")
