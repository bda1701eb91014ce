"""What each role's health is: cheap questions to what it serves from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from custody.kit.clock import format_rfc3339
from custody.server.access.htpasswd import PasswordFile
from custody.server.admission import AdmissionApp
from custody.server.health import Check, State
from custody.server.runtime import RuntimeApp
from custody.trust.log import Sequencer
from custody.wiring import Platform

_ROOM = 16 * 1024 * 1024
"""Bytes that must be free for pushes and log entries."""
_TUF_NOTICE = {"root": timedelta(days=60), "timestamp": timedelta(days=5)}
"""What is left of metadata that should have been signed anew."""
_TUF_REMEDY = {"root": "custody trust tuf rotate-root --root-key FILE signs it anew",
               "timestamp": "the log says why it could not be signed"}


def checks(platform: Platform, roles: tuple[str, ...], admission: AdmissionApp | None,
           events: RuntimeApp | None = None) -> dict[str, Check]:
    """One check for each of `roles`."""
    known: Mapping[str, Callable[[], Check]] = {
        "registry": lambda: lambda: registry(platform),
        "oidc": lambda: State,
        "ca": lambda: lambda: log(platform.ct, "CT log", platform.data / "ctlog"),
        "log": lambda: lambda: log(platform.log, "log", platform.data / "log"),
        "tsa": lambda: State,
        "tuf": lambda: lambda: tuf(platform),
        "scanner": lambda: scanner(platform.data),
        "provider": lambda: State,
        "runtime": lambda: events.check if events is not None else State,
        "admission": lambda: admission.check if admission is not None else State,
    }
    return {role: known[role]() for role in roles}


def log(sequencer: Sequencer, name: str, folder: Path) -> State:
    """A stopped log takes nothing, and tries to go on by itself. A restart does that too, and harms nothing: what is
    acknowledged is durable. So both answers fail, and whoever watches one of them learns of it. On a full disk it goes
    on until the next writer comes, so that little room is said before.
    """
    stopped = sequencer.stopped
    if stopped is not None:
        return State(False, False, f"{name}: stopped: {stopped}")
    free = free_bytes(folder)
    if free < _ROOM:
        return State(note=f"{folder}: {free // 1024} KiB are free, and a log that cannot write stops")
    return State()


def tuf(platform: Platform) -> State:
    """What has run out is still served, and refused by clients: for people to see to, as a restart does not help."""
    expiry = platform.tuf.expiry()
    if expiry is None:
        return State(note=f"{platform.published[0]}: there is no trusted root to tell of yet")
    role, expires = expiry
    if expires - platform.clock() < _TUF_NOTICE[role]:
        return State(note=f"{platform.tuf.folder}: its {role} metadata {_runs_out(expires, platform.clock())}: "
                          f"{_TUF_REMEDY[role]}")
    return State()


def _runs_out(expires: datetime, now: datetime) -> str:
    return f"{'ran' if expires <= now else 'runs'} out on {format_rfc3339(expires)}"


def scanner(folder: Path) -> Check:
    """It works by itself and is asked nothing; what it writes needs room."""
    def check() -> State:
        free = free_bytes(folder)
        return State(note=f"{folder}: {free // 1024} KiB are free, so little can be kept" if free < _ROOM else "")

    return check


def registry(platform: Platform) -> State:
    """The index answers; there is room for pushes. Without room pulls go on, so that is a note: neither a restart nor
    the traffic's going elsewhere would help those who pull.
    """
    platform.registry.repositories.has_repository("healthz")
    folder = platform.data / "registry"
    if not os.access(folder, os.W_OK | os.X_OK):
        return State(note=f"{folder}: cannot be written, so nothing can be pushed")
    free = free_bytes(folder)
    if free < _ROOM:
        return State(note=f"{folder}: {free // 1024} KiB are free, so little can be pushed")
    return State()


def htpasswd(passwords: PasswordFile) -> State:
    """A file that cannot be read stops those who log in with passwords, and nobody else: a note."""
    failure = passwords.failure()
    return State(note=f"nobody can log in with a password: {failure}" if failure else "")


def free_bytes(folder: Path) -> int:
    """What this user may still write to the file system of `folder`."""
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize
