"""One event of the runtime, whoever told it: fields by Falco's names, read when a rule asks for them."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class Fields(Protocol):
    """A mapping of Falco's field names, or anything that answers as one: None where the event has no such field."""

    def get(self, name: str, /) -> Any: ...


class RuntimeEvent(msgspec.Struct, gc=False):
    """What rules and detectors look at."""

    source: str
    """A source of `policylang.falco`: syscall, k8s_audit, aws_cloudtrail, github, okta, gcp_auditlog."""
    type: str
    """Falco's evt.type: `execve`, `openat`, …; of sources other than syscall `pluginevent`."""
    fields: Fields
    at: int | None
    """Nanoseconds since 1970 by the clock of whoever told it; None where it said nothing."""
    origin: str
    """Which input told it: `audit-webhook`, `tetragon:/run/tetragon.log`, `ebpf`, …"""
