"""Layers read by several processes at once: threads of one process wait for each other wherever Python itself works.

They are forked, so that nothing is imported or opened twice. Each takes the largest layer that nobody has begun, and
what it finds comes back as the cache would keep it. What a process could not read, for whatever reason, is left to
whoever asked, who reads it again and says why not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

import msgspec

from custody.errors import CustodyError
from custody.sbom.layerfacts import LayerFacts
from custody.sbom.layers import Accounts
from custody.sbom.proof.sums import Made, Sums, spooled

_MOST = 4
_WORTH = 8 << 20
"""Compressed bytes for which it pays to fork."""
_JOB, _HEAD = struct.Struct("<H"), struct.Struct("<BI")
_PROGRESS, _FACTS = 0, 1
_COPIED = 1 << 20
Read = Callable[[int, Callable[[int], None] | None], LayerFacts]
"""Reads the layer of that place, and tells how many compressed bytes it has read meanwhile."""


_Sent = tuple[int, tuple[int, ...], LayerFacts, Made | None]


@dataclass(slots=True)
class _Result:
    """What a process found in one layer."""

    place: int
    spent: tuple[int, ...]
    facts: LayerFacts
    made: Made | None
    files: dict[str, BinaryIO] = field(default_factory=dict)
    """Those that state what is installed, which come behind the rest."""

    def close(self) -> None:
        for file in self.files.values():
            file.close()


def worthwhile(sizes: Sequence[int]) -> int:
    """How many processes to read layers of so many compressed bytes with; 1 where one does as well."""
    if sys.platform != "linux" or not sizes or sum(sizes) - max(sizes) < _WORTH:
        return 1
    return min(_MOST, len(os.sched_getaffinity(0)), len(sizes))


def read(places: Sequence[int], processes: int, work: Read, accounts: Accounts,
         progress: Callable[[int], None] | None = None,
         watchers: Sequence[Sums] | None = None) -> dict[int, LayerFacts]:
    """The layers of those `places` that could be read, within what the image may take, in about this order.

    This process is one of the `processes`. `accounts` are charged with what all of them took; where that is more than
    one image may, or no process can be made, none is read. `watchers` see the bytes of their layers, whoever reads
    them.
    """
    begun = accounts.spent()
    children: list[_Child] = []
    try:
        results = _all(places, processes, work, accounts, progress, watchers, children)
    except OSError:  # no process, no pipe: whoever asked has threads
        results = None
    told = [result for child in children for result in child.results]
    if results is None or accounts.full or not all(accounts.charge(result.spent) for result in told):
        accounts.give_back(begun)
        for result in told:
            result.close()
        return {}
    for result in told:
        results[result.place] = result.facts
        if watchers and result.made:
            watchers[result.place].restore(result.made, result.files)
    return results


def _all(places: Sequence[int], processes: int, work: Read, accounts: Accounts,
         progress: Callable[[int], None] | None, watchers: Sequence[Sums] | None,
         children: list[_Child]) -> dict[int, LayerFacts]:
    """What this process read; what the others did is in `children`, none of which is left."""
    results: dict[int, LayerFacts] = {}
    with _jobs(places) as jobs, _turn() as large, _turn() as window, accounts.between(large, window):
        try:
            for _ in range(processes - 1):
                children.append(_Child(jobs, work, accounts, watchers))  # noqa: PERF401 - of a failure, those before it
            collecting = [threading.Thread(target=child.collect, args=(progress,), daemon=True) for child in children]
            for thread in collecting:
                thread.start()
            for place in jobs:
                before = accounts.spent()
                try:
                    results[place] = work(place, progress)
                except CustodyError:
                    accounts.give_back(before)
                    break  # whoever asked reads the rest, and says what is wrong with the lowest of them
            for thread in collecting:
                thread.join()
        finally:
            for child in children:
                child.end()
    return results


@contextmanager
def _jobs(places: Sequence[int]) -> Iterator[_Jobs]:
    source, sink = os.pipe()
    try:
        os.write(sink, b"".join(map(_JOB.pack, places)))  # less than a pipe holds: an image has hundreds at most
        os.close(sink)
        yield _Jobs(source)
    finally:
        os.close(source)


class _Jobs:
    """The places that nobody has begun, which several processes take from one pipe."""

    def __init__(self, source: int) -> None:
        self._source = source

    def __iter__(self) -> Iterator[int]:
        while job := os.read(self._source, _JOB.size):
            yield _JOB.unpack(job)[0]


class _Child:
    """A process that reads layers, seen from the one that forked it."""

    def __init__(self, jobs: _Jobs, work: Read, accounts: Accounts, watchers: Sequence[Sums] | None) -> None:
        self.results: list[_Result] = []
        self._source, sink = os.pipe()
        try:
            self._process = os.fork()
        except OSError:
            os.close(self._source)
            os.close(sink)
            raise
        if self._process:
            os.close(sink)
            return
        try:  # in the child, which leaves nothing of its parent's to be ended twice
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent sees it, and ends its children
            _work(jobs, sink, work, accounts, watchers)
        finally:
            os._exit(0)

    def collect(self, progress: Callable[[int], None] | None) -> None:
        """Until it has no more to say, or nothing can be kept of it: what is missing is read again."""
        with contextlib.suppress(OSError), open(self._source, "rb", closefd=False) as stream:
            while len(head := stream.read(_HEAD.size)) == _HEAD.size:
                kind, size = _HEAD.unpack(head)
                if kind == _PROGRESS:
                    if progress:
                        progress(size)
                elif len(body := stream.read(size)) == size and (result := _received(body, stream)):
                    self.results.append(result)

    def end(self) -> None:
        os.kill(self._process, signal.SIGKILL)  # it has said all, or nobody wants to know any more
        os.waitpid(self._process, 0)
        os.close(self._source)


def _received(body: bytes, stream: BinaryIO) -> _Result | None:
    """None where its process ended before it had said all."""
    result = _Result(*msgspec.msgpack.decode(body, type=_Sent))
    for path, size in result.made[2].items() if result.made else ():
        result.files[path] = file = spooled()
        while size and (piece := stream.read(min(size, _COPIED))):
            size -= file.write(piece)
        file.seek(0)
        if size:
            result.close()
            return None
    return result


def _work(jobs: _Jobs, sink: int, work: Read, accounts: Accounts, watchers: Sequence[Sums] | None) -> None:
    """What a child does: it says nothing of a layer that it cannot read, or for which there is no room."""
    with open(sink, "wb") as stream:
        def told(size: int) -> None:
            stream.write(_HEAD.pack(_PROGRESS, size))
            stream.flush()

        for place in jobs:
            before = accounts.spent()
            try:
                facts = work(place, told)
            except (CustodyError, MemoryError):
                return
            if accounts.full:
                return
            spent = tuple(now - then for now, then in zip(accounts.spent(), before, strict=True))
            made = watchers[place].settle() if watchers else None
            body = msgspec.msgpack.encode((place, spent, facts, made))
            stream.write(_HEAD.pack(_FACTS, len(body)) + body)
            for file in watchers[place].stating.values() if watchers else ():
                file.seek(0)
                shutil.copyfileobj(file, stream, _COPIED)
            stream.flush()


@contextmanager
def _turn() -> Iterator[_Turn]:
    file = os.memfd_create("turn")
    try:
        yield _Turn(file)
    finally:
        os.close(file)


class _Turn:
    """Held by one process at a time, as often as it likes; of one that dies the system takes it away."""

    def __init__(self, file: int) -> None:
        """`file`: an open one, of which nothing is read; its locks are a process's (fcntl(2), "record locking")."""
        self._file = file
        self._times = 0

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> None:
        if not self._times:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
        self._times += 1

    def release(self) -> None:
        self._times -= 1
        if not self._times:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
