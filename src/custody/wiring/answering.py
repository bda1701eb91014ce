"""What stands behind rules while they run: rule files of registries, suppressions, and who responds."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from custody.errors import UsageError, unread
from custody.kit.clock import system_clock
from custody.runtime.detecting import Responder, Suppressor
from custody.services import falcorules
from custody.settings import Settings
from custody.settings.tables import Runtime
from custody.wiring.clients import cluster_client, registry_client

if TYPE_CHECKING:
    from custody.adapters.kubernetes.client import ClusterClient
    from custody.runtime.responses import Responses
    from custody.runtime.suppressions import Suppressions
    from custody.services.responding import Responding

_KNOWN, _MOMENT = 5.0, 0.1
"""Seconds in which it should be known who responds, and between two looks."""


@dataclass
class Answering:
    """To be closed."""

    rules: tuple[Path, ...] = ()
    suppressions: Suppressions | None = None
    responding: Responding | None = None
    notes: list[str] = field(default_factory=list)
    """What people should know: suppressions that are over, responses that are only told."""
    _open: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def suppressors(self) -> Sequence[Suppressor]:
        return () if self.suppressions is None else (self.suppressions,)

    @property
    def responders(self) -> Sequence[Responder]:
        return () if self.responding is None else (self.responding,)

    async def aclose(self) -> None:
        await self._open.aclose()


async def answering(settings: Settings, stated: Runtime) -> Answering:
    """Raises UsageError, MalformedError, VerificationError, NetworkError, StorageError."""
    made = Answering(rules=await _rules(settings, stated))
    if stated.suppressions:
        _suppress(made, stated)
    if stated.responses:
        await _respond(made, settings, stated)
    elif stated.respond:
        raise UsageError("respond: got no responses", hint="--responses FILE")
    elif stated.respond_lease:
        raise UsageError("runtime.respond_lease: got no responses", hint="responses of [runtime], or --responses FILE")
    return made


async def _rules(settings: Settings, stated: Runtime) -> tuple[Path, ...]:
    """Those of registries are fetched when it begins, and lie in the data directory as long as it runs."""
    if not any(source.startswith(falcorules.REGISTRY) for source in stated.rules):
        return tuple(map(Path, stated.rules))
    from custody.formats.reference import parse
    from custody.kit.destination import write_together
    from custody.services.verify import Terms
    from custody.sign.keys import load_public_key, read_key_file
    from custody.sign.verify import Trust

    if not stated.rule_keys:
        raise UsageError("rules: rules of a registry are taken by their signature, and got no key to trust",
                         hint="rule_keys of [runtime] in custody.toml, or custody runtime rules pull")
    keys = tuple(load_public_key(read_key_file(path, "runtime.rule_keys"), path) for path in stated.rule_keys)
    terms = Terms(Trust(None, keys, require_log=False, keys_alone=True))
    paths = []
    async with registry_client(settings) as client:
        for source in stated.rules:
            if not source.startswith(falcorules.REGISTRY):
                paths.append(Path(source))
                continue
            pulled = await falcorules.pull(client, parse(source.removeprefix(falcorules.REGISTRY)),
                                           falcorules.demanding(terms, system_clock))
            folder = settings.state() / "rules" / str(pulled.ref.digest).partition(":")[2]
            for name in pulled.files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_together([(folder / name, data) for name, data in pulled.files.items()], "runtime.rules")
            paths += [folder / name for name in pulled.files]
    return tuple(paths)


def read_suppressions(stated: Runtime) -> Suppressions:
    """As the files are now. Raises UsageError, MalformedError, StorageError."""
    from custody.formats.suppressions import read
    from custody.runtime.suppressions import Suppressions

    listed = []
    for path in stated.suppressions:
        listed += read(_content(path), path)
    return Suppressions(listed, system_clock)


def read_responses(stated: Runtime) -> Responses:
    """As the files are now. Raises UnsupportedError, MalformedError, StorageError."""
    from custody.formats.talon import read
    from custody.runtime.responses import Responses

    rules = []
    for path in stated.responses:
        rules += read(_content(path), path)
    return Responses(rules)


def _suppress(made: Answering, stated: Runtime) -> None:
    from custody.runtime.suppressions import over

    made.suppressions = read_suppressions(stated)
    made.notes += [f"suppression {count.suppression.name} is over since {count.suppression.until}"
                   for count in made.suppressions.counts if over(count.suppression, system_clock())]


async def _respond(made: Answering, settings: Settings, stated: Runtime) -> None:
    from custody.services.responding import PROTECTED, Limits, Responding

    responses = read_responses(stated)
    client = cluster_client(settings)
    made._open.push_async_callback(client.cluster.close)
    leading = await _lead(made, client, stated.respond_lease) if stated.respond_lease else lambda: True
    limits = Limits(stated.respond_namespace, stated.respond_workload, protected=PROTECTED | {*stated.protected})
    made.responding = Responding(client, responses, system_clock, dry_run=not stated.respond, limits=limits,
                                 leading=leading)
    if not stated.respond:
        made.notes.append("responses are told and not carried out: --respond, or `respond = true`, does them")


async def _lead(made: Answering, client: ClusterClient, lease: str) -> Callable[[], bool]:
    """One of several processes with the same Lease responds. It is waited for until it is known who does."""
    from custody.services.cluster.lease import Leadership

    namespace, _, name = lease.partition("/")
    if not namespace or not name:
        raise UsageError(f"runtime.respond_lease: got {lease!r}, expected NAMESPACE/NAME")
    leadership = Leadership(client, namespace, name, f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}")
    running = asyncio.create_task(leadership.run())

    async def stop() -> None:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    made._open.push_async_callback(stop)
    for _ in range(round(_KNOWN / _MOMENT)):
        if leadership.leading or leadership.holder:
            break
        await asyncio.sleep(_MOMENT)
    if not (leadership.leading or leadership.holder):
        made.notes.append(f"lease {lease}: who responds is not known yet; until it is, nothing is done")
    return lambda: leadership.leading


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise unread(path, error) from None
