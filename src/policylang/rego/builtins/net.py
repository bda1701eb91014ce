"""Networks in CIDR notation."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import NamedTuple

from policylang.rego.builtins.operands import string
from policylang.rego.declare import BuiltinError, Context, builtin
from policylang.rego.values import Boxed, Set, Value, unkey

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_CIDRS = "any<string, array[any<string, array[any]>], object[string: any<string, array[any]>], " \
         "set[any<string, array[any]>]>"


def _address(value: str) -> Address | None:
    """Go's net.ParseIP: no zones, and an IPv4 address in IPv6's notation is one of IPv4."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    if address.version == 6:
        if address.scope_id:
            return None
        return address.ipv4_mapped or address
    return address


def _network(value: str) -> Network | None:
    """Go's net.ParseCIDR: the network; host bits are dropped."""
    host, slash, length = value.partition("/")
    address = _address(host)
    if not slash or address is None or not (length.isascii() and length.isdigit()) or \
            len(length := length.lstrip("0") or "0") > 3:
        return None
    bits = int(length)
    if ":" in host and address.version == 4:
        bits -= 96
        if bits < 0:
            return ipaddress.ip_network(f"{ipaddress.ip_address(host)}/{int(length)}", strict=False)
    if bits > address.max_prefixlen:
        return None
    return ipaddress.ip_network((address, bits), strict=False)


def _read(value: str) -> Network:
    network = _network(value)
    if network is None:
        raise BuiltinError(f"invalid CIDR address: {value}")
    return network


def _either(value: str) -> Network:
    """A network, or an address as a network of one."""
    network = _network(value)
    if network is None:
        address = _address(value)
        if address is None:
            raise BuiltinError(f"not a valid textual representation of an IP address or CIDR: {value}")
        network = ipaddress.ip_network(address)
    return network


def _within(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and outer.prefixlen <= inner.prefixlen and (
        inner.network_address in outer)


@builtin("net.cidr_contains", "string", "string", result="boolean")
def cidr_contains(outer: Value, inner: Value) -> bool:
    """`inner` is a network or an address."""
    return _within(_read(string(outer, 1)), _either(string(inner, 1)))


@builtin("net.cidr_overlap", "string", "string", result="boolean")
def cidr_overlap(outer: Value, inner: Value) -> bool:
    return _within(_read(string(outer, 1)), _either(string(inner, 1)))


@builtin("net.cidr_intersects", "string", "string", result="boolean")
def cidr_intersects(left: Value, right: Value) -> bool:
    first, second = _read(string(left, 1)), _read(string(right, 1))  # OPA counts so
    return first.version == second.version and first.overlaps(second)


@builtin("net.cidr_is_valid", "string", result="boolean")
def cidr_is_valid(value: Value) -> bool:
    return type(value) is str and _network(value) is not None


@builtin("net.cidr_expand", "string", result="set[string]", context=True)
def cidr_expand(context: Context, value: Value) -> Set:
    network = _read(string(value, 1))
    context.meter.fit(network.num_addresses)
    context.meter.spend(network.num_addresses)
    return Set({shown: shown for shown in map(str, network)})


def _listed(value: Value, position: int) -> Iterator[tuple[Value, str]]:
    """(key, CIDR): a key is an array's index, an object's key, else the member itself."""
    kind = type(value)
    if kind is str:
        yield value, value
    elif kind is list:
        for at, member in enumerate(value):
            yield at, _cidr(member, position)
    elif kind is Set:
        for member in value.ordered():
            yield member, _cidr(member, position)
    elif kind is dict:
        for name, member in value.items():
            yield unkey(name), _cidr(member, position)
    # OPA finds nothing in what is none of these


def _cidr(value: Value, position: int) -> str:
    if type(value) is list and value:
        value = value[0]
    if type(value) is not str:
        raise BuiltinError(f"operand {position}: element must be string or non-empty array")
    return value


@builtin("net.cidr_contains_matches", _CIDRS, _CIDRS, result="set[array<any, any>]", context=True)
def cidr_contains_matches(context: Context, outer: Value, inner: Value) -> Set:
    """[key, key] of each network in `outer` with each network or address in `inner` that it contains."""
    wide: list[tuple[Value, Network]] = []
    narrow: list[tuple[Value, Network]] | None = None
    for name, cidr in _listed(outer, 1):
        if narrow is None:  # OPA goes through pairs: what is wrong with the first of them is said first
            narrow = []
            for inner_name, small in _listed(inner, 2):
                if not wide:
                    wide.append((name, _read(cidr)))
                narrow.append((inner_name, _either(small)))
        elif narrow:
            wide.append((name, _read(cidr)))
    narrow = narrow or []
    context.meter.spend(len(wide) * len(narrow))
    matches = [[name, inner_name] for name, network in wide for inner_name, small in narrow if _within(network, small)]
    return Set({Boxed(match): match for match in matches})


@builtin("net.cidr_merge", "any<array[any<string>], set[string]>", result="set[string]", context=True)
def cidr_merge(context: Context, value: Value) -> Set:
    """The fewest networks that cover the same addresses."""
    if type(value) not in (list, Set):
        raise BuiltinError("operand must be an array")
    context.meter.spend(len(value))
    ranges = sorted((_range(cidr) for cidr in (value.ordered() if type(value) is Set else value)),
                    key=lambda block: (block.last, block.first))
    merged: list[_Range] = []
    for block in reversed(ranges):
        while merged and _before(merged[-1].first) <= block.last:
            above = merged.pop()
            if len(block.last) + len(above.last) > 2 * _SIZE and not (
                    above.first <= block.first and len(above.last) == _SIZE):
                raise BuiltinError("networks of IPv4 in the notation of IPv6 cannot be merged")  # here OPA panics
            block = _Range(min(block.first, above.first), above.last, None)
        merged.append(block)
    shown = [name for block in merged for name in ([block.shown] if block.shown else _cover(block))]
    return Set({name: name for name in shown})


class _Range(NamedTuple):
    """Addresses as OPA orders them: of 16 bytes, those of IPv4 after ::ffff:; in the notation of IPv6 these are one
    prefix longer, so that they touch no others. `shown`: the network, where it was not merged."""

    first: bytes
    last: bytes
    shown: str | None


_SIZE = 16
_MAPPED = b"\0" * 10 + b"\xff\xff"


def _range(value: Value) -> _Range:
    if type(value) is not str:
        raise BuiltinError("element must be string")
    network, shown = _network(value), None
    if network is None:
        address = _address(value)
        if address is None:
            raise BuiltinError(f"invalid CIDR address: {value}")
        if address.version == 6:
            raise BuiltinError("IPv6 invalid: needs prefix length")
        network, shown = ipaddress.ip_network((address, _class(address)), strict=False), f"{address}/{_class(address)}"
    first, last = network.network_address.packed, network.broadcast_address.packed
    if network.version == 4:
        first, last = _MAPPED + first, _MAPPED + last
        if ":" in value and shown is None:
            host = bytes(below ^ above for below, above in zip(first, last, strict=True))
            first, last = _MAPPED + first, bytes(
                byte | mask for byte, mask in zip(_MAPPED + first, host + b"\0" * 12, strict=True))
    return _Range(first, last, shown or str(network))


def _before(first: bytes) -> bytes:
    """The address before it; 0.0.0.0 and :: have none, and are their own."""
    if first in (_MAPPED + b"\0" * 4, b"\0" * 16):
        return first
    return (int.from_bytes(first, "big") - 1).to_bytes(len(first), "big")


def _cover(block: _Range) -> list[str]:
    first, last = (ipaddress.IPv6Address(address[-16:]) for address in (block.first, block.last))
    four = first.ipv4_mapped, last.ipv4_mapped
    if four[0] is not None and four[1] is not None:
        return list(map(str, ipaddress.summarize_address_range(four[0], four[1])))
    return list(map(str, ipaddress.summarize_address_range(first, max(first, last))))


def _class(address: Address) -> int:
    """The length of an IPv4 address's default mask."""
    first = int(address) >> 24
    return 8 if first < 128 else 16 if first < 192 else 24
