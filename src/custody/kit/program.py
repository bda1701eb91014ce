"""Other people's programs that know a secret: asked once, and ended with everything that they started."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence

from custody.errors import AuthenticationError

DEADLINE = 10.0
MAX_OUTPUT = 64 * 1024


def ask(argv: Sequence[str], question: bytes = b"", *, hint: str | None = None) -> tuple[int, bytes]:
    """Exit status and standard output. Blocks for ten seconds at most; raises AuthenticationError, naming the program.

    `question` is shorter than a pipe holds. Standard error goes nowhere: it may hold what is secret.
    """
    end = time.monotonic() + DEADLINE
    program = argv[0]
    try:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   start_new_session=True)
    except OSError as error:
        raise AuthenticationError(f"{program}: {error.strerror}", hint=hint) from None
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        try:
            process.stdin.write(question)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it answers without reading
        output = _read(process.stdout.fileno(), program, end)
        return process.wait(max(0.0, end - time.monotonic())), output
    except subprocess.TimeoutExpired:
        raise _late(program) from None
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # the whole group has ended
        process.wait()
        process.stdout.close()


def _read(descriptor: int, program: str, end: float) -> bytes:
    """Everything until the end of the pipe, which a grandchild may hold open for ever."""
    parts: list[bytes] = []
    size = 0
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, end - time.monotonic())):
                raise _late(program)
            chunk = os.read(descriptor, MAX_OUTPUT)
            if not chunk:
                return b"".join(parts)
            parts.append(chunk)
            size += len(chunk)
            if size > MAX_OUTPUT:
                raise AuthenticationError(f"{program}: got more than {MAX_OUTPUT} bytes")


def _late(program: str) -> AuthenticationError:
    return AuthenticationError(f"{program}: not answered within {DEADLINE:g} s")
