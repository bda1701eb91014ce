"""Sockets of the kernel's netlink, and their messages (netlink(7))."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator

from custody.errors import StorageError

HEADER = struct.Struct("=IHHII")
REQUEST, ACKNOWLEDGE = 1, 4
ERROR, DONE = 2, 3
_SO_RCVBUFFORCE = 33
_BUFFER = 64 << 20
_LARGEST = 1 << 16
_ANSWERS = 10_000


def listening(protocol: int, group: int) -> socket.socket:
    """A socket that hears a multicast group and does not wait. Raises OSError."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    try:
        made.bind((0, group))
        try:
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        except OSError:  # no CAP_NET_ADMIN here: what the limits allow
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    except OSError:
        made.close()
        raise
    return made


def message(kind: int, flags: int, body: bytes, sequence: int = 1) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, flags, sequence, 0) + body


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, body) of each message of a packet; what is cut at its end is left."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, at)
        if length < HEADER.size or at + length > len(data):
            return
        yield kind, data[at + HEADER.size:at + length]
        at += (length + 3) & ~3


def received(peer: socket.socket) -> bytes | None:
    """The next packet of the kernel; None where none is there. OverflowError: some were lost before it."""
    try:
        data, sender = peer.recvfrom(_LARGEST)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno == errno.ENOBUFS:
            raise OverflowError("netlink: the queue was full") from None
        raise StorageError(f"netlink: {error.strerror}") from None
    return data if sender[0] == 0 else b""  # other processes may write to a multicast group


def drained(peer: socket.socket, most: int, lost: Callable[[str], None], take: Callable[[bytes], None]) -> int:
    """Give what is there to `take`, `most` packets; `lost` is told the kind of what was. How many came. Raises
    StorageError where the socket fails."""
    for number in range(most):
        try:
            data = received(peer)
        except OverflowError:
            lost("queue-overflow")
            continue
        if data is None:
            return number
        take(data)
    return most


def asked(protocol: int, kind: int, body: bytes, *, listed: bool = False) -> list[tuple[int, bytes]]:
    """What the kernel answers; of a list (`listed`) up to its end, else up to the acknowledgement. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as peer:
        peer.settimeout(5)
        peer.bind((0, 0))
        peer.send(message(kind, REQUEST | ACKNOWLEDGE, body))
        answers: list[tuple[int, bytes]] = []
        while len(answers) < _ANSWERS:
            for answer, part in messages(peer.recv(_LARGEST)):
                if answer == ERROR:
                    (failed,) = struct.unpack_from("=i", part)
                    if failed:
                        raise OSError(-failed, os.strerror(-failed), "netlink")
                    if not listed:
                        return answers
                elif answer == DONE:
                    return answers
                else:
                    answers.append((answer, part))
        return answers
