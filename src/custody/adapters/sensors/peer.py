"""The two ends of a socket, as a record has them (layout.PEER)."""

from __future__ import annotations

import socket
from typing import Any

End = tuple[str, int] | None
_ANY = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on
_KINDS: dict[int, str] = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6", socket.AF_UNIX: "unix"}
_TRANSPORTS = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp", 255: "raw"}
_BY_TYPE = {1: "tcp", 2: "udp", 3: "raw"}


class Peer:
    """A socket: both its ends, as the kernel has them and as the call gave them."""

    __slots__ = ("connected", "family", "given", "local", "protocol", "remote", "type")

    def __init__(self, values: tuple[Any, ...]) -> None:
        family, local_port, remote_port, self.type, self.protocol, state, r4, l4, r6, l6, sockaddr = values
        self.given = _sockaddr(sockaddr)
        self.family = family or (self.given[0] if self.given else 0)
        self.connected = state == 1  # TCP_ESTABLISHED, for UDP too
        remote_number = int.from_bytes(remote_port, "big")
        self.local: tuple[str, int] | None = None
        self.remote: tuple[str, int] | None = None
        if family == socket.AF_INET:
            self.local = socket.inet_ntoa(l4), local_port
            self.remote = (socket.inet_ntoa(r4), remote_number) if remote_number else None
        elif family == socket.AF_INET6:
            self.local = _unmapped(l6), local_port
            self.remote = (_unmapped(r6), remote_number) if remote_number else None

    def far(self) -> tuple[str, int] | None:
        if self.given and self.given[1] is not None:
            return self.given[1]
        return self.remote


    def kind(self) -> str | None:
        return _KINDS.get(self.family)

    def transport(self) -> str | None:
        if self.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        return _TRANSPORTS.get(self.protocol, _BY_TYPE.get(self.type))

    def ends(self, event: str) -> tuple[End, End]:
        """Client's and server's: whoever accepts or listens is the server."""
        if self.family not in (socket.AF_INET, socket.AF_INET6):
            return None, None
        if event in ("accept", "accept4", "recvfrom", "recvmsg"):
            return self.far(), self.local
        if event == "listen":
            return None, self.local
        # Nobody chose an address for this end: which one it is depends on the route.
        return None if self.local is None or self.local[0] in _ANY else self.local, self.far()


def _unmapped(address: bytes) -> str:
    """IPv4 through a socket of IPv6 is IPv4."""
    return socket.inet_ntoa(address[12:]) if address[:12] == b"\0" * 10 + b"\xff\xff" else socket.inet_ntop(
        socket.AF_INET6, address)


def _sockaddr(data: bytes) -> tuple[int, tuple[str, int] | None] | None:
    family = int.from_bytes(data[:2], "little" if data[1:2] == b"\0" else "big")
    if family == socket.AF_INET:
        return family, (socket.inet_ntoa(data[4:8]), int.from_bytes(data[2:4], "big"))
    if family == socket.AF_INET6:
        return family, (_unmapped(data[8:24]), int.from_bytes(data[2:4], "big"))
    return (family, None) if family else None
