"""Ports of TCP, UDP and SCTP as one set: protocol n's port p is the number n * 65536 + p. Port 0 is none."""

from __future__ import annotations

import re
from typing import Literal, get_args

from custody.errors import MalformedError
from custody.network.intervals import Intervals

Protocol = Literal["TCP", "UDP", "SCTP"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
LAST = 65535
_SPAN = LAST + 1
_TYPED = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?(?:/(?P<protocol>[A-Za-z]{3,4}))?\Z")


def ports(protocol: Protocol, first: int = 1, last: int | None = None) -> Intervals:
    """`first` to `last`, both inside; all ports of the protocol with no bounds, one port with one."""
    base = PROTOCOLS.index(protocol) * _SPAN
    return Intervals([(base + first, base + (last if last is not None else LAST if first == 1 else first))])


def port(protocol: Protocol, number: int) -> Intervals:
    return ports(protocol, number, number)


def key(protocol: Protocol, number: int) -> int:
    """The number by which a set of ports knows one."""
    return PROTOCOLS.index(protocol) * _SPAN + number


def split(number: int) -> tuple[Protocol, int]:
    """The protocol and port of such a number."""
    return PROTOCOLS[number // _SPAN], number % _SPAN


ALL = Intervals([(at * _SPAN + 1, at * _SPAN + LAST) for at in range(len(PROTOCOLS))])


def is_number(word: str) -> bool:
    """Whether a text in a document is a port's number, as Go reads one: ASCII digits."""
    return word.isascii() and word.isdecimal() and len(word) <= 5


def text(chosen: Intervals) -> str:
    """`all`, `none`, or what a person would write: `80,8000-8100/TCP all/UDP`."""
    if chosen == ALL:
        return "all"
    words = []
    for protocol in PROTOCOLS:
        inside = chosen & ports(protocol)
        if inside == ports(protocol):
            words.append(f"all/{protocol}")
        elif inside:
            base = PROTOCOLS.index(protocol) * _SPAN
            words.append(",".join(str(first - base) if first == last else f"{first - base}-{last - base}"
                                  for first, last in inside) + f"/{protocol}")
    return " ".join(words) or "none"


def listed(chosen: Intervals) -> list[dict[str, object]]:
    """The same for programs: `{"protocol", "first", "last"}` each."""
    rows: list[dict[str, object]] = []
    for protocol in PROTOCOLS:
        base = PROTOCOLS.index(protocol) * _SPAN
        rows += [{"protocol": protocol, "first": first - base, "last": last - base}
                 for first, last in chosen & ports(protocol)]
    return rows


def typed(word: str, where: str = "--port") -> Intervals:
    """What a person typed: `443`, `443/TCP`, `8000-8100/udp`; TCP where no protocol is named. Raises MalformedError."""
    match = _TYPED.match(word)
    protocol = (match["protocol"] or "TCP").upper() if match else ""
    if match is None or protocol not in PROTOCOLS:
        raise MalformedError(where, got=word, expected="a port such as 443/TCP, or 8000-8100/UDP",
                             hint="protocols are TCP, UDP and SCTP")
    first, last = int(match["first"]), int(match["last"] or match["first"])
    if not 1 <= first <= last <= LAST:
        raise MalformedError(where, got=word, expected=f"ports from 1 to {LAST}, the lower one first")
    return ports(protocol_named(protocol), first, last)


def protocol_named(name: str) -> Protocol:
    """The protocol of that name, which is one of PROTOCOLS."""
    return PROTOCOLS[PROTOCOLS.index(name)]
