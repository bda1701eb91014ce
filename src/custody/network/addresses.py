"""Addresses of both families as one set: IPv4's are their numbers, IPv6's stand above them."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from custody.errors import MalformedError
from custody.network.intervals import Intervals

_V6 = 1 << 128
V4 = Intervals([(0, (1 << 32) - 1)])
V6 = Intervals([(_V6, 2 * _V6 - 1)])
EVERYWHERE = V4 | V6
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def number(address: str, where: str = "address") -> int:
    """By which a set of addresses knows one. Raises MalformedError; also for an IPv4 address inside of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise MalformedError(where, got=address, expected="an IPv4 or IPv6 address") from None
    if isinstance(parsed, ipaddress.IPv4Address):
        return int(parsed)
    if parsed.scope_id or parsed.ipv4_mapped is not None:
        raise MalformedError(where, got=address, expected="an address without a zone, and IPv4 as such")
    return _V6 + int(parsed)


def network(cidr: str, where: str = "cidr", *, bare: bool = False) -> Network:
    """`10.0.0.0/8`; bits beyond the mask are left out, as Go's ParseCIDR does. `bare`: an address is one too.

    Raises MalformedError.
    """
    head, slash, tail = cidr.partition("/")
    try:
        if not (slash or bare) or (slash and not (tail.isdecimal() and tail.isascii() and str(int(tail)) == tail)):
            raise ValueError  # netmasks are no prefix lengths
        parsed = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        raise MalformedError(where, got=cidr, expected="an address block such as 10.0.0.0/8 or fd00::/8") from None
    if isinstance(parsed, ipaddress.IPv6Network) and ("." in head or "%" in head):
        raise MalformedError(where, got=cidr, expected="a block of IPv4 or of IPv6, without a zone")
    return parsed


def host_bits(cidr: str) -> bool:
    """Whether a block has bits beyond its mask, such as 10.0.0.1/8: it is read as 10.0.0.0/8."""
    try:
        ipaddress.ip_network(cidr)
    except ValueError:
        return True
    return False


@lru_cache(4096)
def block(chosen: Network) -> Intervals:
    base = 0 if isinstance(chosen, ipaddress.IPv4Network) else _V6
    return Intervals([(base + int(chosen.network_address), base + int(chosen.broadcast_address))])


def address_text(address: int) -> str:
    return str(ipaddress.IPv6Address(address - _V6) if address >= _V6 else ipaddress.IPv4Address(address))


def texts(chosen: Intervals, most: int = 8) -> list[str]:
    """As blocks; more than `most` end with how many more ranges there are. Ranges that are no block stay ranges."""
    words: list[str] = []
    for first, last in chosen:
        if len(words) >= most:
            words.append(f"and {len(chosen.pairs) - most} more ranges")
            break
        size = last - first + 1
        base = _V6 if first >= _V6 else 0
        bits = 128 if base else 32
        if size & (size - 1) == 0 and (first - base) % size == 0:
            words.append(f"{address_text(first)}/{bits - size.bit_length() + 1}" if size > 1 else address_text(first))
        else:
            words.append(f"{address_text(first)}-{address_text(last)}")
    return words
