"""What is read at each scrape: how the roles of a process are, in numbers."""

from __future__ import annotations

import os
from collections.abc import Iterable

from custody.admission.webhook import Admission
from custody.server.accepting import REFUSED
from custody.server.metrics import Metrics
from custody.trust.log import Sequencer
from custody.wiring import Platform


def of_platform(metrics: Metrics, platform: Platform, roles: Iterable[str]) -> None:
    """Of the listeners, the data directory, and the registry and logs where they are among `roles`."""
    metrics.count("custody_http_refused", "Requests that no application saw, by the answer; cut: without one.",
                  ("code",), lambda: [((str(status) if status else "cut",), number)
                                      for status, number in sorted(REFUSED.items())])
    metrics.read("custody_data_free_bytes", "Room on the disk of the data directory.", (),
                 lambda: [((), _room(platform))])
    logs: dict[str, Sequencer] = {}
    if "log" in roles:
        logs["log"] = platform.log
    if "ca" in roles:
        logs["ct"] = platform.ct
    if logs:
        metrics.read("custody_log_entries", "Entries that a log's checkpoint covers.", ("log",),
                     lambda: [((name,), sequencer.log.size) for name, sequencer in logs.items()])
        metrics.read("custody_log_stopped", "Whether a log takes nothing until its disk does.", ("log",),
                     lambda: [((name,), sequencer.stopped is not None) for name, sequencer in logs.items()])
    if "registry" in roles:
        blobs = platform.registry.blobs
        metrics.read("custody_registry_unfinished_uploads", "Uploads with bytes on the disk.", (),
                     lambda: [((), len(blobs.drafts()))])
        metrics.read("custody_registry_quarantine_bytes", "Bytes of blobs that changed at rest.", (),
                     lambda: [((), blobs.quarantined()[1])])


def of_admission(metrics: Metrics, admission: Admission) -> None:
    """Of what reviews are judged by."""
    metrics.read("custody_policies", "Policies that reviews are judged by.", (),
                 lambda: [((), len(admission.policies.policies))])
    metrics.read("custody_admission_configuration_stale",
                 "Whether the API server asks by a webhook configuration that was made for other policies.",
                 ("webhook",), lambda: [((webhook,), not current) for webhook, current in admission.registered.items()])


def _room(platform: Platform) -> int:
    room = os.statvfs(platform.data)
    return room.f_bavail * room.f_frsize
