"""The formats of inputs by the names that `--input` takes: who reads them, and what they can tell at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from functools import partial
from typing import NamedTuple, Protocol

from custody.errors import UsageError
from custody.formats.telemetry import lenient, tetragon, tracee
from custody.formats.telemetry.audit import Audit
from custody.formats.telemetry.cloud import CloudEvents
from custody.formats.telemetry.falcoalert import FalcoAlerts
from custody.formats.telemetry.recording import Recording
from custody.formats.telemetry.told import Told
from custody.kit.near import near


class Decoder(Protocol):
    """Of one input: it may keep what the events before were, and counts what it repaired."""

    repairs: lenient.Repairs

    def __call__(self, data: bytes) -> Sequence[Told]:
        """What one line or document tells. Raises MalformedError."""


class Format(NamedTuple):
    made: Callable[[str, Set[str]], Decoder]
    """By the input's name and the event types that anybody wants, which may become others."""
    source: str
    """Whose rules judge its events; empty where it has none, or any."""
    types: frozenset[str] | None = None
    """Event types of syscall that it can tell; None: whatever it was given."""
    fields: frozenset[str] | None = None
    """Fields that it can know of some event; None: whatever it was given, or all of its source."""
    whole: bool = False
    """Files of it are one document, not a line for each event."""


def _plain(made: Callable[[str], Decoder]) -> Callable[[str, Set[str]], Decoder]:
    return lambda origin, _: made(origin)


def _cloud(source: str, *, whole: bool = False) -> Format:
    return Format(_plain(partial(CloudEvents, source=source)), source, whole=whole)


FORMATS: dict[str, Format] = {
    "audit": Format(_plain(Audit), "k8s_audit"),
    "falco": Format(_plain(FalcoAlerts), ""),
    "tetragon": Format(tetragon.Tetragon, "syscall", tetragon.TYPES, tetragon.FIELDS),
    "tracee": Format(tracee.Tracee, "syscall", tracee.TYPES, tracee.FIELDS),
    "cloudtrail": _cloud("aws_cloudtrail", whole=True), "github": _cloud("github"), "okta": _cloud("okta"),
    "gcp": _cloud("gcp_auditlog"),
    "fields": Format(_plain(Recording), ""),
}


def format_of(name: str, where: str) -> Format:
    """Raises UsageError, which names `where` it was said."""
    known = FORMATS.get(name)
    if known is None:
        raise UsageError(f"{where}: got {name!r}, expected one of {', '.join(FORMATS)}", hint=near(name, FORMATS))
    return known
