"""Syslog: RFC 3164 to a Unix socket as syslog(3) does, RFC 5424 over UDP (RFC 5426) and TCP (RFC 6587, counted)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from custody.errors import NetworkError, UsageError
from custody.ports.alerting import Line, Place

_FACILITY = 10 << 3
"""authpriv, as Falco's messages are of: security."""
_DATAGRAM = 8192
"""Bytes of one message that every receiver takes (RFC 5425 says 2048 at least, 8192 should be)."""
_SECONDS = 5.0


class Syslog:
    """Implements ports.alerting.AlertOutput. A message that is longer than a datagram may be is cut."""

    def __init__(self, address: str, *, text: bool = True) -> None:
        """`address`: a path such as /dev/log, `udp://HOST:PORT` or `tcp://HOST:PORT`. Raises UsageError."""
        parts = urlsplit(address)
        if address.startswith("/"):
            self._kind, self._to = "unix", address
        elif parts.scheme in ("udp", "tcp") and parts.hostname and not parts.path.strip("/"):
            try:
                self._kind, self._host, self._port = parts.scheme, parts.hostname, parts.port or 514
            except ValueError:
                raise UsageError(f"--output syslog:{address}: no such port") from None
        else:
            raise UsageError(f"--output syslog:{address}: expected a path, udp://HOST:PORT or tcp://HOST:PORT")
        self._address, self._text = address, text
        self._socket: socket.socket | None = None
        self._hostname = socket.gethostname()

    @property
    def name(self) -> str:
        return f"syslog:{self._address}"

    def write(self, lines: Sequence[Line]) -> None:
        try:
            with_again = self._socket is not None
            try:
                self._send(lines)
            except OSError:
                self.close()
                if not with_again:  # a connection that stood may have been closed since: once more, on a new one
                    raise
                self._send(lines)
        except OSError as error:
            self.close()
            raise NetworkError(f"{self.name}: {error.strerror or error}") from None

    def place(self) -> Place | None:
        return None

    def recover(self, place: Place | None) -> str:  # noqa: ARG002 - what was sent is sent
        return ""

    def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _send(self, lines: Sequence[Line]) -> None:
        connected = self._socket or self._connect()
        for line in lines:
            message = self._message(line)
            if self._kind == "tcp":
                connected.sendall(b"%d %b" % (len(message), message))
            else:
                connected.send(message[:_DATAGRAM])

    def _connect(self) -> socket.socket:
        if self._kind == "unix":
            connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            connected.settimeout(_SECONDS)
            try:
                connected.connect(self._to)
            except OSError:
                connected.close()
                raise
        elif self._kind == "udp":
            family, kind, protocol, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
            connected = socket.socket(family, kind, protocol)
            connected.connect(address)
        else:
            connected = socket.create_connection((self._host, self._port), timeout=_SECONDS)
        self._socket = connected
        return connected

    def _message(self, line: Line) -> bytes:
        body = line.text.encode("utf-8", "replace") if self._text else line.json
        priority = _FACILITY + line.priority
        if self._kind == "unix":
            return b"<%d>custody[%d]: %b" % (priority, os.getpid(), body)
        head = f"<{priority}>1 {_stamp(line.time)} {self._hostname or '-'} custody {os.getpid()} alert - "
        return head.encode() + b"\xef\xbb\xbf" + body


def _stamp(time: int) -> str:
    """RFC 5424's TIMESTAMP; its NILVALUE where there is none, or one that no calendar has: an event says what it likes.
    """
    seconds, rest = divmod(time, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06}Z" if time else "-"
    except (ValueError, OverflowError, OSError):
        return "-"
