"""All connections of a process, in the order in which they last began a request: who goes where there are too many.

A process has so many files and no more. Above the limit the connection that has been silent for longest is dropped: of
the peer that holds more than its share, if one does. Whoever asks is new in that order, so he is served, however many
others are open. A connection whose request is being answered is only dropped where nothing else is left, and only one
of a peer above its share.
"""

from __future__ import annotations

import resource
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

_SHARE = 0.25  # of the files that this process may open: a connection that gets a blob has three
_MOST = 10_000
_PEER = 0.5  # of all connections, where others want some

Drop = Callable[[bool], bool]


class Connections:
    """All connections of a process's listeners, the one that was silent for longest first."""

    def __init__(self, limit: int | None = None, per_peer: int | None = None) -> None:
        """`per_peer`: what one peer may hold at any time; half of all, where others want some, if none is given."""
        self.limit = limit if limit is not None else min(int(_files() * _SHARE), _MOST)
        self.per_peer = per_peer
        self._drops: OrderedDict[object, Drop] = OrderedDict()
        self._peers: dict[object, str] = {}
        self._held: dict[str, OrderedDict[object, None]] = {}
        self._heaviest = ""
        """The last peer that was seen above its share: one at most can be."""

    def __len__(self) -> int:
        return len(self._drops)

    def add(self, key: object, drop: Drop, peer: str = "") -> None:
        """`drop` closes the connection, or says False where it is answering and was not told to all the same; `peer` is
        whose it is."""
        self._drops[key] = drop
        self._peers[key] = peer
        held = self._held.setdefault(peer, OrderedDict())
        held[key] = None
        if len(held) > self.limit * _PEER:
            self._heaviest = peer
        if self.per_peer is not None and len(held) > self.per_peer:
            self._drop_of(peer)
        elif len(self._drops) > self.limit:
            self.drop_one()

    def heard(self, key: object) -> None:
        if key in self._drops:
            self._drops.move_to_end(key)
            self._held[self._peers[key]].move_to_end(key)

    def remove(self, key: object) -> None:
        if self._drops.pop(key, None) is None:
            return
        peer = self._peers.pop(key)
        held = self._held[peer]
        del held[key]
        if not held:
            del self._held[peer]

    def drop_one(self) -> None:
        """Drop the first that may be dropped, of the peer above its share if there is one.

        Where all are being answered, which a client makes last as long as it likes, that peer loses the one whose
        request is oldest.
        """
        above = len(self._held.get(self._heaviest, ())) > self.limit * _PEER
        if above and self._drop_of(self._heaviest):
            return
        for key, drop in list(self._drops.items()):
            if drop(False):
                self.remove(key)
                return
        if above:
            self._drop_of(self._heaviest, answering=True)

    def _drop_of(self, peer: str, *, answering: bool = False) -> bool:
        for key in list(self._held[peer]):
            if self._drops[key](answering):
                self.remove(key)
                return True
        return False


def peer_of(address: object) -> str:
    """Whose connection it is: an IPv4 address, or the /64 of an IPv6 address, which one customer has as a whole."""
    host = str(address[0]) if isinstance(address, tuple) and address else ""
    try:
        parsed = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped) if parsed.ipv4_mapped else parsed.exploded[:19]
    return host


def _files() -> int:
    """How many files this process may open, after asking for as many as it is allowed to ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft == resource.RLIM_INFINITY:
        return soft if soft != resource.RLIM_INFINITY else _MOST * 2
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
