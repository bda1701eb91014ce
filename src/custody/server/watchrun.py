"""What watches what runs, while it runs: inputs that are read, sensors, rules that are read again, outputs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from custody.errors import StorageError, UsageError
from custody.kit.lock import HeldError, hold
from custody.runtime.engine import Rules
from custody.runtime.suppressions import Suppressions
from custody.server.watchedfiles import answers_of, containers_of, rules_of
from custody.server.watching import FileWatch
from custody.services.eventinputs import FollowedInput, StreamInput
from custody.services.sensorlosses import SensorLosses
from custody.services.watchspec import Input, Watched
from custody.settings import Settings
from custody.settings.tables import Sensing
from custody.wiring.answering import Answering, answering
from custody.wiring.census import Census
from custody.wiring.clients import service_http
from custody.wiring.local import queue
from custody.wiring.runtime import Runtime
from custody.wiring.sensing import enforcing, sensors

if TYPE_CHECKING:
    from custody.wiring.drift import Drift

_LOG = logging.getLogger(__name__)
_BACKLOG = 64
_BUFFER = 1 << 22
_LAST_WORDS = 10.0
"""Seconds that alerts have to be sent in when it ends; what was not is sent by the next process."""


@dataclass(slots=True)
class WatchRun:
    """One that runs."""

    runtime: Runtime
    reading: list[asyncio.Task[None]] = field(default_factory=list)
    """Inputs and sensors: each ends when nothing more will come."""
    beside: list[asyncio.Task[None]] = field(default_factory=list)
    """What never ends."""
    listening: bool = False
    """Something waits for others to come."""
    rules: FileWatch[Rules] | None = None
    suppressions: Suppressions | None = None
    answers: list[FileWatch[Any]] = field(default_factory=list)
    """Files of suppressions and of responses."""


@contextlib.asynccontextmanager
async def watch_run(settings: Settings, watched: Watched, say: Callable[[str], None], *, once: bool = False,
                    again: bool = False, stream: TextIO | None = None) -> AsyncIterator[WatchRun]:
    """Up on entry; on exit what is folded is told and outputs are closed.

    `say` is told what people should know of going on. `once`: what is there, and no more; `again`: from files'
    beginnings. Raises UsageError, MalformedError, StorageError.
    """
    with _alone(settings.state()):
        async with contextlib.aclosing(await answering(settings, watched.stated)) as answers:
            for text in answers.notes:
                say(text)
            async with _running(settings, replace(watched, rules=answers.rules), answers, say, once=once, again=again,
                                stream=stream) as run:
                yield run


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Of two that note how far they read in one place, each would take what the other told for told by itself."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = hold(folder / "runtime.lock")
    except HeldError as held:
        raise UsageError(f"{folder}: a watch runs with this data directory, process {held.holder}",
                         hint="CUSTODY_DATA_DIR=DIR, one for each watch") from None
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror}") from None
    try:
        yield
    finally:
        os.close(handle)


@contextlib.asynccontextmanager
async def _running(settings: Settings, watched: Watched, answers: Answering, say: Callable[[str], None], *,
                   once: bool, again: bool, stream: TextIO | None) -> AsyncIterator[WatchRun]:
    posted = any(output.kind == "http" for output in watched.outputs)
    http = service_http(settings) if posted else None
    waiting = queue(settings) if posted else None
    servers: list[asyncio.Server] = []
    following: dict[asyncio.Task[None], FollowedInput] = {}
    if not watched.stated.drift and (watched.stated.opened or watched.stated.volumes):
        raise UsageError("runtime.opened, runtime.volumes: are of runtime.drift, which is off")
    if watched.stated.containers and not (watched.sensors or watched.stated.drift):
        raise UsageError("runtime.containers: is for what sensors see and for drift, and neither is on",
                         hint="--sensor NAME, or --drift; events of other tools say themselves which container it was")
    census = Census(settings, watched.stated.containers)
    census.containers.note(census.read())
    drift = _drift(settings, watched, census) if watched.stated.drift else None
    refusing = enforcing(settings.sensing or Sensing(), watched.sensors, census.containers,
                         drift.images if drift else None, drift.runtimes if drift else ())
    detectors = [*(drift.detectors if drift else ()), *((refusing,) if refusing else ())]
    runtime = Runtime(settings, watched, http=http, queue=waiting, stream=stream,
                      detectors=detectors, enrichers=drift.enrichers if drift else (),
                      suppressors=answers.suppressors, responders=answers.responders,
                      show_suppressed=watched.stated.show_suppressed)
    if drift is not None:
        drift.witnessing.losses = partial(_losses, runtime)
    marks, said = runtime.begin(time.monotonic, again=again)
    for text in said:
        say(text)
    watch, types = runtime.watch, runtime.engine.types
    used = sensors(watched.sensors, frozenset(types), _sensing(settings, watched), census.containers.fields,
                   refusing)
    counting = SensorLosses(used, runtime.losses)
    run = WatchRun(runtime, rules=rules_of(runtime), suppressions=answers.suppressions)
    try:
        for entry in watched.inputs:
            decoder = entry.format.made(entry.origin, types)
            if entry.kind == "file":
                _expect(entry, once=once)
                followed = FollowedInput(watch, runtime.follow(entry, once=once), decoder, entry.origin)
                if text := followed.begin(None if again else marks.get(entry.origin)):
                    say(text)
                task = asyncio.create_task(followed.run())
                run.reading.append(task)
                following[task] = followed
            elif entry.kind == "stdin":
                run.reading.append(asyncio.create_task(StreamInput(watch, decoder, entry.origin).run(await _stdin())))
            else:
                servers.append(await _listen(
                    entry.path, StreamInput(watch, decoder, entry.origin, lasting=True)))
        for sensor in used:
            watch.heard(sensor.name)
            run.reading.append(asyncio.create_task(sensor.run(watch.emitted)))
        if used:
            run.beside.append(asyncio.create_task(counting.run()))
        run.listening = bool(servers)
        run.beside.append(asyncio.create_task(watch.run()))
        run.beside += [asyncio.create_task(posts.run()) for posts in runtime.posts]
        if drift is not None:
            run.beside += [asyncio.create_task(work) for work in drift.work(watch.say)]
        if used or drift is not None:
            run.beside.append(asyncio.create_task(census.look()))
        if not once and run.rules is not None:
            run.beside.append(asyncio.create_task(run.rules.run()))
        if not once:
            run.answers = answers_of(runtime, answers)
            run.beside += [asyncio.create_task(files.run()) for files in run.answers]
            if census.files:
                run.beside.append(asyncio.create_task(containers_of(census).run()))
        yield run
    finally:
        for followed in following.values():
            followed.stop()
        if following:  # where nothing is told any more, what was read is read again by the next process
            await asyncio.wait(following, timeout=_LAST_WORDS)
        for task in (*run.reading, *run.beside):
            task.cancel()
        await asyncio.gather(*run.reading, *run.beside, return_exceptions=True)
        for server in servers:
            server.close()
        for sensor in used:
            sensor.close()
        counting.look()
        try:
            if drift is not None and once:
                await drift.finish(watch.say)
            await watch.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    for posts in runtime.posts:
                        while await posts.send():
                            pass
        finally:
            if drift is not None:
                await drift.close()
            if waiting is not None:
                waiting.close()
            if http is not None:
                await http.close()


def _sensing(settings: Settings, watched: Watched) -> Sensing | None:
    """With `opened`, also which libraries are opened to be read."""
    if not watched.stated.opened:
        return settings.sensing
    return msgspec.structs.replace(settings.sensing or Sensing(), all_reads=True)


def _drift(settings: Settings, watched: Watched, census: Census) -> Drift:
    """Of what inputs can tell, what each is sure to tell: Tetragon of what is executed, sensors of what they say."""
    from custody.runtime.opening import READS
    from custody.wiring.drift import Drift

    stated = watched.stated
    covers: set[str] = set()
    for sensor in sensors(watched.sensors, frozenset(), _sensing(settings, watched)):
        probe = sensor.probe()
        covers |= probe.covers
        if sensor.name == "ebpf" and probe.works and "openat" in probe.covers and stated.opened:
            covers.add(READS)
        sensor.close()
    if any(entry.name == "tetragon" for entry in watched.inputs):
        covers.add("execve")
    return Drift(settings, covers, census, opened=stated.opened, window=stated.learn, volumes=stated.volumes)


def _losses(runtime: Runtime) -> dict[str, int]:
    """Events that nobody judged, by kind and input."""
    counted = runtime.counted
    losses = {f"{kind} ({origin})": count for (origin, kind), count in counted.lost.items()}
    for kind, counts in (("malformed", counted.malformed), ("unjudged", counted.unjudged)):
        losses |= {f"{kind} ({origin})": count for origin, count in counts.items() if count}
    return losses


def _expect(entry: Input, *, once: bool) -> None:
    """A file that will come is waited for; with `once` it must be there."""
    try:
        mode = entry.path.stat().st_mode
    except FileNotFoundError:
        if once:
            raise UsageError(f"--input {entry.origin}: no such file") from None
        return
    except OSError as error:
        raise UsageError(f"--input {entry.origin}: {error.strerror}") from None
    if stat.S_ISDIR(mode) and not entry.format.whole:
        raise UsageError(f"--input {entry.origin}: it is a folder", hint="a file, or one input each")


async def _stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=_BUFFER)
    if stat.S_ISREG(os.fstat(0).st_mode):  # a loop does not wait for files
        reader.feed_data(await asyncio.to_thread(sys.stdin.buffer.read))
        reader.feed_eof()
        return reader
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader),
                                                       os.fdopen(os.dup(0), "rb"))
    return reader


async def _listen(path: Path, stream: StreamInput) -> asyncio.Server:
    """Whoever may write to the socket may tell events: its mode lets this user alone."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await stream.run(reader)

    with _mask(0o177):
        try:
            return await asyncio.start_unix_server(connected, path, backlog=_BACKLOG, limit=_BUFFER)
        except OSError as error:
            raise UsageError(f"--input unix:{path}: {error.strerror}") from None


@contextlib.contextmanager
def _mask(bits: int) -> Iterator[None]:
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)
