"""Implements ports.programs: a process in a session of its own, its streams read and written as they come."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence

from custody.errors import NetworkError, UsageError
from custody.ports.programs import Finished

_CHUNK = 64 * 1024


class SystemPrograms:
    def run(self, argv: Sequence[str], given: bytes, *, seconds: float, limit: int) -> Finished:
        end = time.monotonic() + seconds
        try:
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       start_new_session=True)
        except OSError as error:
            raise UsageError(f"{argv[0]}: {error.strerror}") from None
        try:
            output, errors = _exchange(process, argv, given, end, seconds, limit)
            return Finished(process.wait(max(0.0, end - time.monotonic())), output, errors)
        except subprocess.TimeoutExpired:
            raise _late(argv, seconds) from None
        finally:
            with contextlib.suppress(ProcessLookupError):  # the whole session has ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                assert stream is not None
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def _exchange(process: subprocess.Popen[bytes], argv: Sequence[str], given: bytes, end: float, seconds: float,
              limit: int) -> tuple[bytes, bytes]:
    """Everything that it writes, until it closes both streams."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    read: dict[int, list[bytes]] = {process.stdout.fileno(): [], process.stderr.fileno(): []}
    sizes = dict.fromkeys(read, 0)
    left = memoryview(given)
    with selectors.DefaultSelector() as selector:
        for descriptor in read:
            selector.register(descriptor, selectors.EVENT_READ)
        os.set_blocking(process.stdin.fileno(), False)
        selector.register(process.stdin.fileno(), selectors.EVENT_WRITE)
        while selector.get_map():
            ready = selector.select(max(0.0, end - time.monotonic()))
            if not ready:
                raise _late(argv, seconds)
            for key, _ in ready:
                descriptor = key.fd
                if descriptor not in read:
                    left = left[_written(descriptor, left):]
                    if not left:
                        selector.unregister(descriptor)
                        process.stdin.close()
                    continue
                chunk = os.read(descriptor, _CHUNK)
                if not chunk:
                    selector.unregister(descriptor)
                    continue
                read[descriptor].append(chunk)
                sizes[descriptor] += len(chunk)
                if sizes[descriptor] > limit:
                    raise NetworkError(f"{argv[0]} {' '.join(argv[1:])}: wrote more than {limit} bytes")
    return b"".join(read[process.stdout.fileno()]), b"".join(read[process.stderr.fileno()])


def _written(descriptor: int, data: memoryview) -> int:
    try:
        return os.write(descriptor, data[:_CHUNK])
    except BrokenPipeError:
        return len(data)  # it answers without reading to the end


def _late(argv: Sequence[str], seconds: float) -> NetworkError:
    return NetworkError(f"{argv[0]} {' '.join(argv[1:])}: not done within {seconds:g} s")
