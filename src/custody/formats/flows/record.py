"""What one line of a flow log says, whoever wrote it."""

from __future__ import annotations

import enum
import ipaddress
from functools import lru_cache

import msgspec

from custody.errors import MalformedError

PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}
"""By their numbers at the IANA, as policies name them."""
_EPHEMERAL = 32768
"""Linux takes the ports of clients from 32768 on (ip_local_port_range)."""


class Verdict(enum.StrEnum):
    """What became of it, as the recorder saw it."""

    ALLOWED = "allowed"
    DENIED = "denied"
    """By a policy or a firewall."""
    UNANSWERED = "unanswered"
    """It was begun, and nothing came back as far as the recorder saw: it may have been cut on the way."""


class Kind(enum.StrEnum):
    """What a side of a connection is, where the recorder says so."""

    UNKNOWN = "unknown"
    POD = "pod"
    NODE = "node"
    OUTSIDE = "outside"
    """Of no pod and no node of the cluster."""
    ELSEWHERE = "elsewhere"
    """A pod of another cluster."""


class Side(msgspec.Struct, gc=False):
    """One of the two ends. Empty is what the recorder does not say."""

    address: str = ""
    """Canonical: IPv6 in its short form."""
    namespace: str = ""
    pod: str = ""
    """Its name, whole."""
    prefix: str = ""
    """What the names of all pods begin with that one record speaks of: `web-755cdc7957-` of Calico's `web-…-*`."""
    workload: str = ""
    """`Deployment/web`, where the recorder knows it."""
    labels: tuple[str, ...] = ()
    """`key=value`, of the pod; of Cilium without what Cilium adds."""
    namespace_labels: tuple[str, ...] = ()
    """`key=value`, of its namespace."""
    kind: Kind = Kind.UNKNOWN
    names: tuple[str, ...] = ()
    """DNS names that the address had."""


class Flow(msgspec.Struct, gc=False):
    """A connection, or many alike, from who began it to who listens."""

    source: Side
    destination: Side
    protocol: str
    """TCP, UDP, SCTP, ICMP, ICMPv6, or `protocol 47`."""
    port: int
    """Of the destination; 0 where there is none."""
    verdict: Verdict
    count: int = 1
    """Connections, records or packets, as the form counts; 0 of one that an earlier line counts."""
    first: int = 0
    """Seconds since 1970 by the recorder's clock; 0 where it does not say."""
    last: int = 0
    observer: str = ""
    """At which side it was seen: `source`, `destination`, or empty."""
    guessed: bool = False
    """Who began it is concluded from the ports."""
    answered: bool | None = None
    """Whether the other side is seen to have answered; None where the recorder does not tell."""


class Passed(msgspec.Struct, frozen=True):
    """A line that is right and tells of no connection to judge."""

    reason: str
    """One of few: lines are counted by it."""
    lost: int = 0
    """Events that the recorder says it could not see."""


REPLY = Passed("the reply of a connection that another line tells of")
UNCLEAR = Passed("who began it cannot be told: no flags, and both ports are a server's or both a client's")


def _is_dotted(text: str) -> bool:
    """Whether it is an IPv4 address as everybody writes it: ipaddress takes five times as long to say so."""
    parts = text.split(".")
    return len(parts) == 4 and text.isascii() and all(
        part.isdigit() and len(part) <= 3 and int(part) <= 255 and (part[0] != "0" or part == "0") for part in parts)


@lru_cache(65536)
def address(text: str) -> str:
    """Canonical. Raises MalformedError."""
    if _is_dotted(text):
        return text
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])  # of a link-local address, the interface
    except ValueError:
        raise MalformedError("address", got=text[:60], expected="an IPv4 or IPv6 address") from None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(parsed)


def protocol_of(number: int) -> str:
    """Raises MalformedError."""
    if not 0 <= number <= 255:
        raise MalformedError("protocol", got=number, expected="0 to 255")
    return PROTOCOLS.get(number) or f"protocol {number}"


def begun_by_source(source: int, destination: int) -> bool | None:
    """Whether the sender of a packet began the connection, by its ports alone; None where they do not say."""
    if (source >= _EPHEMERAL) == (destination >= _EPHEMERAL):
        return None
    return source >= _EPHEMERAL


@lru_cache(8192)
def _second(text: str) -> int | None:
    from datetime import UTC, datetime

    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def seconds(text: str, where: str) -> int:
    """Of a time as RFC 3339 has it, cut to a second. Raises MalformedError."""
    usual = len(text) > 19 and text[10] == "T" and (text[19:] == "Z" or (
        text[19] == "." and text[-1] == "Z" and text[20:-1].isdigit() and text.isascii()))
    if usual and (whole := _second(text[:19])) is not None:
        return max(whole, 0)
    from custody.kit.clock import parse_rfc3339

    return max(int(parse_rfc3339(text, where).timestamp()), 0)
