"""Layers read by several processes at once: threads of one process wait for each other wherever Python itself works.

They are forked, so that nothing is imported or opened twice. Each takes the largest layer that nobody has begun, and
what it finds comes back as the cache would keep it. What a process could not read, for whatever reason, is left to
whoever asked, who reads it again and says why not.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from custody.errors import CustodyError
from custody.sbom.layerfacts import LayerFacts
from custody.sbom.layers import Accounts

_MOST = 4
_WORTH = 8 << 20
"""Compressed bytes for which it pays to fork."""
_JOB, _HEAD = struct.Struct("<H"), struct.Struct("<BI")
_PROGRESS, _FACTS = 0, 1
_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(tuple[int, tuple[int, ...], LayerFacts])
Read = Callable[[int, Callable[[int], None] | None], LayerFacts]
"""Reads the layer of that place, and tells how many compressed bytes it has read meanwhile."""


def worthwhile(sizes: Sequence[int]) -> int:
    """How many processes to read layers of so many compressed bytes with; 1 where one does as well."""
    if sys.platform != "linux" or not sizes or sum(sizes) - max(sizes) < _WORTH:
        return 1
    return min(_MOST, len(os.sched_getaffinity(0)), len(sizes))


def read(places: Sequence[int], processes: int, work: Read, accounts: Accounts,
         progress: Callable[[int], None] | None = None) -> dict[int, LayerFacts]:
    """The layers of those `places` that could be read, within what the image may take, in about this order.

    This process is one of the `processes`. `accounts` are charged with what all of them took; where that is more than
    one image may, none is read, since what is left out of which layer must not depend on who was faster.
    """
    results: dict[int, LayerFacts] = {}
    jobs, begun = _Jobs(places), accounts.spent()
    with _turn() as large, _turn() as window, accounts.between(large, window):
        children = [_Child(jobs, work, accounts) for _ in range(processes - 1)]
        try:
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
            jobs.close()
            for child in children:
                child.end()
    told = [result for child in children for result in child.results]
    if accounts.full or not all(accounts.charge(spent) for _, spent, _ in told):
        accounts.give_back(begun)
        return {}
    return results | {place: facts for place, _, facts in told}


class _Jobs:
    """The places that nobody has begun, which several processes take from one pipe."""

    def __init__(self, places: Sequence[int]) -> None:
        self._source, sink = os.pipe()
        os.write(sink, b"".join(map(_JOB.pack, places)))  # less than a pipe holds: an image has hundreds at most
        os.close(sink)

    def __iter__(self) -> Iterator[int]:
        while job := os.read(self._source, _JOB.size):
            yield _JOB.unpack(job)[0]

    def close(self) -> None:
        os.close(self._source)


class _Child:
    """A process that reads layers, seen from the one that forked it."""

    def __init__(self, jobs: _Jobs, work: Read, accounts: Accounts) -> None:
        self.results: list[tuple[int, tuple[int, ...], LayerFacts]] = []
        self._source, sink = os.pipe()
        self._process = os.fork()
        if self._process:
            os.close(sink)
            return
        try:  # in the child, which leaves nothing of its parent's to be ended twice
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent sees it, and ends its children
            _work(jobs, sink, work, accounts)
        finally:
            os._exit(0)

    def collect(self, progress: Callable[[int], None] | None) -> None:
        """Until it has no more to say."""
        with open(self._source, "rb", closefd=False) as stream:
            while len(head := stream.read(_HEAD.size)) == _HEAD.size:
                kind, size = _HEAD.unpack(head)
                if kind == _PROGRESS:
                    if progress:
                        progress(size)
                elif len(body := stream.read(size)) == size:
                    self.results.append(_DECODER.decode(body))

    def end(self) -> None:
        os.kill(self._process, signal.SIGKILL)  # it has said all, or nobody wants to know any more
        os.waitpid(self._process, 0)
        os.close(self._source)


def _work(jobs: _Jobs, sink: int, work: Read, accounts: Accounts) -> None:
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
            body = _ENCODER.encode((place, spent, facts))
            stream.write(_HEAD.pack(_FACTS, len(body)) + body)
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
