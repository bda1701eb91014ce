"""Files of recorded events: of any tool that custody reads, each line by itself, or one JSON document."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from custody.errors import CustodyError, MalformedError, StorageError, UnsupportedError, UsageError, unread
from custody.formats.telemetry.audit import Audit
from custody.formats.telemetry.event import RuntimeEvent
from custody.formats.telemetry.falcoalert import FalcoAlerts
from custody.formats.telemetry.recording import Recording
from custody.formats.telemetry.tetragon import Tetragon
from custody.formats.telemetry.told import Decode, Foreign, Lost, Unread
from custody.formats.telemetry.tracee import Tracee
from custody.kit import strictjson
from policylang.falco import Alert
from policylang.falco.values.events import PLUGIN_EVENT
from policylang.falco.values.fields import SOURCES
from policylang.falco.values.jsonsources import reader, source_of, split

LONGEST = 8 << 20  # bytes of a line
LARGEST = 64 << 20  # bytes of a document that is not in lines
MOST = 4 << 30  # bytes of a file, unpacked
_TETRAGON = ("process_exec", "process_exit", "process_kprobe", "process_tracepoint", "process_loader", "process_uprobe",
             "process_lsm", "process_throttle", "rate_limit_info")
_KEPT = 100


class Recordings:
    """The events of files, in order. What was not one is counted, and the first hundred named."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._decoders: dict[str, Decode] = {}
        self.unread: list[tuple[str, str]] = []
        """Where a line stands that is no event, and why."""
        self.unreadable = 0
        self.lost: Counter[str] = Counter()
        self.bytes = 0
        """Of the lines that were read so far."""

    def __iter__(self) -> Iterator[RuntimeEvent]:
        """Raises UsageError, also for a file in which no event is, StorageError, MalformedError."""
        for path in self._paths:
            self._decoders.clear()
            before, events = self.unreadable, 0
            for event in self._file(path):
                events += 1
                yield event
            if not events:
                reason = self.unread[-1][1] if self.unreadable > before and self.unread else ""
                raise UsageError(f"{path}: no event could be read: {_short(reason, path)}",
                                 hint="recorded events are JSON lines, or one JSON document")

    def alerts(self) -> Iterator[Alert]:
        """The alerts of files, in Falco's JSON: its own, or custody's. Raises as iterating does."""
        for path in self._paths:
            decode, before = FalcoAlerts(str(path)), self.unreadable
            alerts = 0
            try:
                with _opened(path) as file:
                    for number, line in enumerate(_lines(file), 1):
                        if not line.strip():
                            continue
                        try:
                            told = decode(line)
                        except MalformedError as wrong:
                            self._refuse(f"{path}:{number}", wrong.message)
                            continue
                        for item in told:
                            if isinstance(item, Foreign):
                                alerts += 1
                                yield item.alert
            except (OSError, EOFError, zlib.error) as error:
                raise _broken(path, error) from None
            if not alerts:
                reason = self.unread[-1][1] if self.unreadable > before and self.unread else ""
                raise UsageError(f"{path}: no alert could be read: {_short(reason, path)}",
                                 hint="alerts are lines of Falco's JSON")

    def objects(self, documents: Sequence[dict[str, Any]], where: str) -> Iterator[RuntimeEvent]:
        """Events that stand in another document."""
        for at, document in enumerate(documents):
            place = f"{where}[{at}]"
            yield from self._events(self._told(msgspec.json.encode(document), place), place)

    def _file(self, path: Path) -> Iterator[RuntimeEvent]:
        try:
            with _opened(path) as file:
                first = file.readline(LARGEST + 1)
                whole = _first_document(first, file)
                if whole is not None:
                    yield from self._document(whole, path)
                    return
                yield from self._lines(first, file, path)
        except (OSError, EOFError, zlib.error) as error:
            raise _broken(path, error) from None

    def _lines(self, first: bytes, file: BinaryIO, path: Path) -> Iterator[RuntimeEvent]:
        number, line = 1, first
        while line:
            self.bytes += len(line)
            if self.bytes > MOST:
                raise UnsupportedError(str(path), f"more than {MOST} bytes of recordings")
            where = f"{path}:{number}"
            if len(line) > LONGEST:
                self._refuse(where, f"a line of more than {LONGEST} bytes")
                while line and not line.endswith(b"\n"):
                    line = file.readline(LONGEST + 1)
            elif line.strip():
                yield from self._read(line, where)
            line = file.readline(LONGEST + 1)
            number += 1

    def _document(self, data: bytes, path: Path) -> Iterator[RuntimeEvent]:
        self.bytes += len(data)
        document = strictjson.loads(data, str(path), max_size=LARGEST)
        if isinstance(document, dict) and document.get("kind") == "EventList":
            yield from self._read(data, str(path))
            return
        try:
            objects = split(document)
        except ValueError as wrong:
            raise MalformedError(str(path), got=str(wrong), expected="events") from None
        for at, event in enumerate(objects):
            yield from self._read(msgspec.json.encode(event), f"{path}[{at}]")

    def _read(self, data: bytes, where: str) -> Iterator[RuntimeEvent]:
        try:
            events = list(self._events(self._told(data, where), where))
        except MalformedError as wrong:
            self._refuse(where, wrong.message)
            return
        yield from events

    def _refuse(self, where: str, reason: str) -> None:
        self.unreadable += 1
        if len(self.unread) < _KEPT:
            self.unread.append((where, reason))

    def _told(self, data: bytes, where: str) -> Sequence[Any]:
        """By the tool that tells such lines. Raises MalformedError."""
        document = strictjson.loads(data, where, max_size=LONGEST)
        if not isinstance(document, dict):
            raise MalformedError(where, got="no JSON object", expected="an event")
        kind = _kind(document)
        if kind is None:
            raise MalformedError(where, got=f"an object with {', '.join(sorted(document)[:5]) or 'nothing'}",
                                 expected="an event of a tool that custody reads, or of Falco's fields with evt.type")
        if kind == "recording" and document.get("evt.source", "syscall") in SOURCES:
            # What telemetry.recording makes of it, which would read it once more.
            time = document.get("evt.rawtime")
            return (RuntimeEvent(document.get("evt.source", "syscall"), document["evt.type"], document,
                                 time if isinstance(time, int) else None, where),)
        if kind in _MADE:
            decode = self._decoders.get(kind)
            if decode is None:
                decode = self._decoders[kind] = _MADE[kind](where.partition(":")[0])
            return decode(data)
        if kind not in self._decoders:
            self._decoders[kind] = _cloud(kind)
        return self._decoders[kind](data)

    def _events(self, told: Sequence[Any], where: str) -> Iterator[RuntimeEvent]:
        for item in told:
            if isinstance(item, Unread):
                self._refuse(where, item.reason)
            elif isinstance(item, Lost):
                self.lost[item.kind] += item.number
            elif isinstance(item, Foreign):
                fields = item.alert.output_fields
                name = fields.get("evt.type") if item.alert.source == "syscall" else PLUGIN_EVENT
                if not isinstance(name, str):
                    raise MalformedError(where, got="an alert without evt.type among its output fields",
                                         expected="one with it: rules are asked of events by their type")
                yield RuntimeEvent(item.alert.source, name, {**fields, "evt.rawtime": item.alert.time},
                                   item.alert.time, where)
            else:
                yield item


_MADE: dict[str, type[Tetragon | Tracee | Audit | FalcoAlerts | Recording]] = {
    "tetragon": Tetragon, "tracee": Tracee, "k8s_audit": Audit, "falco": FalcoAlerts, "recording": Recording}


def _kind(document: dict[str, Any]) -> str | None:
    if isinstance(document.get("evt.type"), str):
        return "recording"
    if any(name in document for name in _TETRAGON):
        return "tetragon"
    if isinstance(document.get("rule"), str) and "output" in document:
        return "falco"
    if document.get("kind") == "EventList":
        return "k8s_audit"
    if "eventName" in document and "processId" in document:
        return "tracee"
    return source_of(document)


def _cloud(source: str) -> Decode:
    """One stream: Okta's counts go on from event to event."""
    read = reader(source)
    assert read is not None

    def decode(data: bytes) -> Sequence[RuntimeEvent]:
        fields = read(strictjson.loads(data, source))
        time = fields.get("evt.rawtime")
        return (RuntimeEvent(source, PLUGIN_EVENT, fields, time if isinstance(time, int) else None, source),)

    return decode


def _broken(path: Path, error: Exception) -> CustodyError:
    """Of a file that cannot be read to its end. A gzip file that is cut off has no errno."""
    if isinstance(error, OSError) and error.errno is not None:
        return unread(path, error, "a file of events")
    return StorageError(f"{path}: {error}")


def _short(reason: str, path: Path) -> str:
    return reason.removeprefix(str(path)).lstrip(": ") or "it is empty"


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(LONGEST):
        yield line


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as file:
        if file.peek(2)[:2] != b"\x1f\x8b":
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield cast(BinaryIO, unpacked)


def _first_document(first: bytes, file: BinaryIO) -> bytes | None:
    """The whole file, where it is one document; None where it has one in each line."""
    try:
        document = msgspec.json.decode(first)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if first.lstrip()[:1] not in (b"{", b"["):
            return None
        rest = file.read(LARGEST - len(first) + 1)
        data = first + rest
        try:
            msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            file.seek(len(first))
            return None
        return data
    if isinstance(document, list) or (isinstance(document, dict) and ("Records" in document)):
        return first
    return None
