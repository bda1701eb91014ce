"""Credential helpers: programs `docker-credential-NAME` that know a login (docker/docker-credential-helpers).

The registry's host goes in, `{"Username": …, "Secret": …}` comes out. A helper is other people's code that may hang:
it gets ten seconds, 64 KiB, and is ended with everything that it started.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time

from custody.errors import AuthenticationError, MalformedError
from custody.kit import strictjson

DEADLINE = 10.0
_MAX_OUTPUT = 64 * 1024
_NOT_FOUND = "credentials not found in native keychain"
"""The words that docker's own client takes for "there is no login"."""


def ask_helper(name: str, server: str) -> tuple[str, str] | None:
    """User name and secret for `server`, or None where the helper says that it has none.

    Blocks for ten seconds at most. Raises AuthenticationError, without a word that may be secret.
    """
    program = f"docker-credential-{name}"
    status, output = _run(program, server.encode())
    if status != 0:
        words = output.decode(errors="replace").strip()
        if _NOT_FOUND in words:
            return None
        shown = "".join(char if char.isprintable() else " " for char in words[:200])
        raise AuthenticationError(f"{program} for {server}: ended with {status}: {shown or 'no words'}")
    try:
        answer = strictjson.loads(output, program)
    except MalformedError:
        answer = None  # its bytes may be secrets: they are not shown
    if not isinstance(answer, dict) or not all(isinstance(answer.get(key, ""), str) for key in ("Username", "Secret")):
        raise AuthenticationError(f"{program} for {server}: got something else than an object with Username and Secret")
    username, secret = answer.get("Username", ""), answer.get("Secret", "")
    return (username, secret) if username or secret else None


def _run(program: str, question: bytes) -> tuple[int, bytes]:
    end = time.monotonic() + DEADLINE
    try:
        process = subprocess.Popen([program, "get"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        raise AuthenticationError(f"{program}: {error.strerror}",
                                  hint="the credential file names it in credHelpers or credsStore") from None
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        try:
            process.stdin.write(question)  # shorter than a pipe holds
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
            chunk = os.read(descriptor, _MAX_OUTPUT)
            if not chunk:
                return b"".join(parts)
            parts.append(chunk)
            size += len(chunk)
            if size > _MAX_OUTPUT:
                raise AuthenticationError(f"{program}: got more than {_MAX_OUTPUT} bytes")


def _late(program: str) -> AuthenticationError:
    return AuthenticationError(f"{program}: not answered within {DEADLINE:g} s")
