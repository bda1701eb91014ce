"""Audit events of Kubernetes (audit.k8s.io/v1): the EventList of an audit webhook, and lines of an audit log.

What was asked and what was answered may be a megabyte each, and few rules look at them: they are decoded when a rule
does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from custody.errors import MalformedError
from custody.formats.telemetry import lenient
from custody.formats.telemetry.event import RuntimeEvent
from custody.formats.telemetry.instant import nanoseconds
from custody.formats.telemetry.told import Told, Unread
from policylang.falco import AuditEvent
from policylang.falco.values.events import PLUGIN_EVENT

SOURCE = "k8s_audit"
_LATE = ("requestObject", "responseObject")
_WHOLE = ("json.", "jevt.")
_EXPECTED = "audit events of audit.k8s.io/v1: an Event or an EventList"


class _Event(msgspec.Struct, gc=False, rename="camel", omit_defaults=True):
    """Of audit.k8s.io/v1, every field in its own order: what is there is there again in `jevt.obj`."""

    kind: Any = msgspec.UNSET
    api_version: Any = msgspec.UNSET
    level: Any = msgspec.UNSET
    audit_id: Any = msgspec.field(default=msgspec.UNSET, name="auditID")
    stage: Any = msgspec.UNSET
    request_uri: Any = msgspec.field(default=msgspec.UNSET, name="requestURI")
    verb: Any = msgspec.UNSET
    user: Any = msgspec.UNSET
    impersonated_user: Any = msgspec.UNSET
    authentication_metadata: Any = msgspec.UNSET
    source_i_ps: Any = msgspec.field(default=msgspec.UNSET, name="sourceIPs")
    user_agent: Any = msgspec.UNSET
    object_ref: Any = msgspec.UNSET
    response_status: Any = msgspec.UNSET
    request_object: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    response_object: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    request_received_timestamp: Any = msgspec.UNSET
    stage_timestamp: Any = msgspec.UNSET
    annotations: Any = msgspec.UNSET


class _Kind(msgspec.Struct, gc=False):
    kind: Any = None
    items: list[msgspec.Raw] | None = None


_LIST = msgspec.json.Decoder(_Kind)
_ONE = msgspec.json.Decoder(_Event)
_MANY = msgspec.json.Decoder(list[msgspec.Raw])
_ANY = msgspec.json.Decoder()
_KEYS = {name: msgspec.structs.fields(_Event)[place].encode_name
         for place, name in enumerate(_Event.__struct_fields__)}
_EARLY = [(name, key) for name, key in _KEYS.items() if key not in _LATE]


class _Document(dict[str, Any]):
    """The event as a dict, whose large parts come when they are asked for."""

    __slots__ = ("late", "repairs")

    def __init__(self, event: _Event, repairs: lenient.Repairs) -> None:
        unset = msgspec.UNSET
        super().__init__({key: value for name, key in _EARLY if (value := getattr(event, name)) is not unset})
        self.late: dict[str, msgspec.Raw] = {}
        self.repairs = repairs
        if event.request_object is not unset:
            self.late["requestObject"] = event.request_object
        if event.response_object is not unset:
            self.late["responseObject"] = event.response_object

    def get(self, key: str, default: Any = None) -> Any:
        if self.late and key in self.late:
            self.whole()
        return super().get(key, default)

    def whole(self) -> None:
        """With all its parts."""
        for key, raw in self.late.items():
            self[key] = lenient.decode(bytes(raw), _ANY, self.repairs, _EXPECTED)
        self.late = {}


_SLOW = object()
_Quick = Callable[[_Event], Any]


def _plain(name: str) -> _Quick:
    """A text of the event itself."""
    def read(event: _Event) -> Any:
        value = getattr(event, name)
        return value if type(value) is str else None if value is msgspec.UNSET else _SLOW

    return read


def _inner(part: str, name: str) -> _Quick:
    """A text in an object of the event."""
    def read(event: _Event) -> Any:
        inside = getattr(event, part)
        if type(inside) is dict:
            value = inside.get(name, _ABSENT)
            return value if type(value) is str else None if value is _ABSENT else _SLOW
        return None if inside is msgspec.UNSET else _SLOW

    return read


def _code(event: _Event) -> Any:
    status = event.response_status
    if type(status) is dict and type(code := status.get("code")) is int:
        return str(code)
    return _SLOW


def _rawtime(event: _Event) -> int | None:
    return nanoseconds(event.stage_timestamp)


_ABSENT = object()
_QUICK: dict[str, _Quick] = {
    "ka.verb": _plain("verb"), "ka.auditid": _plain("audit_id"), "ka.stage": _plain("stage"),
    "ka.uri": _plain("request_uri"), "jevt.value[/stage]": _plain("stage"),
    "ka.target.resource": _inner("object_ref", "resource"),
    "ka.target.subresource": _inner("object_ref", "subresource"), "ka.target.name": _inner("object_ref", "name"),
    "ka.target.namespace": _inner("object_ref", "namespace"), "ka.user.name": _inner("user", "username"),
    "ka.auth.decision": _inner("annotations", "authorization.k8s.io/decision"), "ka.response.code": _code,
    "evt.rawtime": _rawtime, "jevt.rawtime": lambda event: str(_rawtime(event) or 0)}
"""The fields that most rules ask for, where they are what they should be; else they are read as all others are."""


class LateAudit(AuditEvent):
    """An audit event that becomes a dict when a field of its objects is asked for, and they are decoded then."""

    __slots__ = ("_data", "_repairs", "_typed")

    def __init__(self, event: _Event, repairs: lenient.Repairs, data: bytes) -> None:
        super().__init__({})
        self._typed, self._repairs, self._data = event, repairs, data

    @property
    def digest(self) -> str:
        """Of the event as it came, in 32 hexadecimal digits."""
        return hashlib.blake2b(self._data, digest_size=16).hexdigest()

    def get(self, name: str) -> Any:
        known = self.known
        if name in known:
            return known[name]
        quick = _QUICK.get(name)
        value = _SLOW if quick is None else quick(self._typed)
        if value is _SLOW:
            value = self._read(name)
        known[name] = value
        return value

    def _read(self, name: str) -> Any:
        event = self.event
        if not isinstance(event, _Document):
            event = self.event = _Document(self._typed, self._repairs)
        if name.startswith(_WHOLE):
            event.whole()
        return super()._read(name)


class Audit:
    """Reads lines of a log, and bodies of requests: an event, a list of them, or an EventList."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self.repairs = lenient.Repairs()

    def __call__(self, data: bytes) -> Sequence[Told]:
        """Raises MalformedError where it is neither; of a list, what is no audit event is `Unread`."""
        try:
            if data.lstrip()[:1] == b"[":
                return self._each(_MANY.decode(data))
            if b'"EventList"' in data[:4096] or b'"items"' in data[:4096]:
                listed = _LIST.decode(data)
                if listed.kind == "EventList":
                    return self._each(listed.items or [])
        except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
            # What somebody put into one of them must not hide the others: each is read by itself.
            if told := self._each(lenient.members(data, 1 if data.lstrip()[:1] == b"[" else 2)):
                return told
        return [self._made(lenient.decode(data, _ONE, self.repairs, _EXPECTED), data)]

    def _each(self, items: Sequence[msgspec.Raw | bytes]) -> Sequence[Told]:
        told: list[Told] = []
        for item in items:
            own = bytes(item)
            try:
                told.append(self._made(lenient.decode(own, _ONE, self.repairs, _EXPECTED), own, listed=True))
            except MalformedError as wrong:
                told.append(Unread(wrong.message))
        return told

    def _made(self, event: _Event, data: bytes, *, listed: bool = False) -> RuntimeEvent:
        if listed and event.kind is msgspec.UNSET:  # items of a list need not say it
            event.kind = "Event"
        if event.kind != "Event" or not isinstance(event.stage, str):
            raise MalformedError("", got=f"kind {str(event.kind)[:40]!r}", expected=_EXPECTED)
        return RuntimeEvent(SOURCE, PLUGIN_EVENT, LateAudit(event, self.repairs, data),
                            nanoseconds(event.stage_timestamp), self._origin)


def key(event: RuntimeEvent) -> str:
    """By which an audit event is known when it is delivered again: its id, its stage and all that it says; empty where
    it has none.

    The id alone is not enough: an API server takes it from the request's header `Audit-ID` where a caller sends one
    (apiserver's audit_init.go), so that two requests of a caller have the same where he likes.
    """
    fields = event.fields
    audit_id, stage = fields.get("ka.auditid"), fields.get("ka.stage")
    if not (audit_id and stage):
        return ""
    # An id is as long as a header may be.
    return f"{audit_id[:64]}/{stage[:32]}" + (f"/{fields.digest}" if isinstance(fields, LateAudit) else "")
