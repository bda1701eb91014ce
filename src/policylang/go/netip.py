"""IP addresses and prefixes as Go's net/netip reads, prints and refuses them."""

from __future__ import annotations

from typing import NamedTuple

from policylang.errors import InputError
from policylang.go.numbers import quote

_HEX = frozenset("0123456789abcdefABCDEF")


class AddressError(InputError):
    """A text that is no address or prefix; the message is Go's."""

    code = "address"


class Address(NamedTuple):
    """`value` of 32 bits for version 4, of 128 for 6. Equal where Go's == says so: ::ffff:1.2.3.4 is not 1.2.3.4."""

    version: int
    value: int
    zone: str = ""

    @property
    def bits(self) -> int:
        return 32 if self.version == 4 else 128

    @property
    def is_4_in_6(self) -> bool:
        return self.version == 6 and self.value >> 32 == 0xFFFF

    @property
    def is_unspecified(self) -> bool:
        return self.value == 0 and not self.zone

    @property
    def is_loopback(self) -> bool:
        version, value, _ = self._plain()
        return value >> 24 == 127 if version == 4 else value == 1

    @property
    def is_multicast(self) -> bool:
        version, value, _ = self._plain()
        return value >> 28 == 0xE if version == 4 else value >> 120 == 0xFF

    @property
    def is_link_local_unicast(self) -> bool:
        version, value, _ = self._plain()
        return value >> 16 == 0xA9FE if version == 4 else value >> 118 == 0xFE80 >> 6

    @property
    def is_link_local_multicast(self) -> bool:
        version, value, _ = self._plain()
        return value >> 8 == 0xE00000 if version == 4 else value >> 112 & 0xFF0F == 0xFF02

    @property
    def is_global_unicast(self) -> bool:
        plain = self._plain()
        if plain.version == 4 and plain.value in (0, 0xFFFFFFFF):
            return False
        return not (plain.value == 0 or plain.is_loopback or plain.is_multicast or plain.is_link_local_unicast)

    def _plain(self) -> Address:
        return Address(4, self.value & 0xFFFFFFFF) if self.is_4_in_6 else self

    def __str__(self) -> str:
        if self.version == 4:
            return _dotted(self.value)
        if self.is_4_in_6:
            text = f"::ffff:{_dotted(self.value & 0xFFFFFFFF)}"
        else:
            text = _colons([self.value >> shift & 0xFFFF for shift in range(112, -1, -16)])
        return f"{text}%{self.zone}" if self.zone else text


class Prefix(NamedTuple):
    """`address` as it was written: `masked` clears what is right of `length`."""

    address: Address
    length: int

    @property
    def masked(self) -> Prefix:
        host = self.address.bits - self.length
        return Prefix(self.address._replace(value=self.address.value >> host << host), self.length)

    def contains(self, address: Address) -> bool:
        if address.version != self.address.version or address.zone:
            return False
        return (address.value ^ self.address.value) >> (address.bits - self.length) == 0

    def overlaps(self, prefix: Prefix) -> bool:
        if prefix.address.version != self.address.version:
            return False
        host = self.address.bits - min(self.length, prefix.length)
        return (self.address.value ^ prefix.address.value) >> host == 0

    def __str__(self) -> str:
        return f"{self.address}/{self.length}"


def _dotted(value: int) -> str:
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def _colons(groups: list[int]) -> str:
    """RFC 5952: the longest run of two or more zero groups, the first of equals, becomes `::`."""
    start = length = at = 0
    while at < 8:
        end = at
        while end < 8 and groups[end] == 0:
            end += 1
        if end - at > max(length, 1):
            start, length = at, end - at
        at = max(end, at + 1)
    if not length:
        return ":".join(format(group, "x") for group in groups)
    head = ":".join(format(group, "x") for group in groups[:start])
    return f"{head}::{':'.join(format(group, 'x') for group in groups[start + length:])}"


def parse_address(text: str) -> Address:
    for sign in text:
        if sign == ".":
            return Address(4, _octets(text, text))
        if sign == ":":
            return _version_6(text)
        if sign == "%":
            raise _refused(text, "missing IPv6 address")
    raise _refused(text, "unable to parse IP")


def parse_prefix(text: str) -> Prefix:
    def refused(message: str) -> AddressError:
        return AddressError(f"netip.ParsePrefix({quote(text)}): {message}")

    head, slash, length = text.rpartition("/")
    if not slash:
        raise refused("no '/'")
    try:
        address = parse_address(head)
    except AddressError as wrong:
        raise refused(wrong.message) from None
    if address.zone:
        raise refused("IPv6 zones cannot be present in a prefix")
    good = length.isascii() and length.isdigit() and not (len(length) > 1 and length[0] == "0")
    if not good or len(length) > 19 or int(length) >= 1 << 63:
        raise refused(f"bad bits after slash: {quote(length)}")
    if int(length) > address.bits:
        raise refused("prefix length out of range")
    return Prefix(address, int(length))


def _refused(text: str, message: str, at: str = "") -> AddressError:
    return AddressError(f"ParseAddr({quote(text)}): {message}" + (f" (at {quote(at)})" if at else ""))


def _octets(whole: str, text: str) -> int:
    """The four numbers of `text`, a part of `whole`, as one of 32 bits."""
    fields: list[int] = []
    value = digits = 0
    for at, sign in enumerate(text):
        if "0" <= sign <= "9":
            if digits == 1 and value == 0:
                raise _refused(whole, "IPv4 field has octet with leading zero")
            value, digits = value * 10 + int(sign), digits + 1
            if value > 255:
                raise _refused(whole, "IPv4 field has value >255")
        elif sign == ".":
            if at in (0, len(text) - 1) or text[at - 1] == ".":
                raise _refused(whole, "IPv4 field must have at least one digit", text[at:])
            if len(fields) == 3:
                raise _refused(whole, "IPv4 address too long")
            fields.append(value)
            value = digits = 0
        else:
            raise _refused(whole, "unexpected character", text[at:])
    if len(fields) < 3:
        raise _refused(whole, "IPv4 address too short")
    return fields[0] << 24 | fields[1] << 16 | fields[2] << 8 | value


def _version_6(whole: str) -> Address:
    rest, percent, zone = whole.partition("%")
    if percent and not zone:
        raise _refused(whole, "zone must be a non-empty string")
    groups: list[int] = []
    gap = -1
    if rest.startswith("::"):
        gap, rest = 0, rest[2:]
        if not rest:
            return Address(6, 0, zone)
    while len(groups) < 8:
        size = 0
        while size < len(rest) and rest[size] in _HEX:
            size += 1
            if size > 4:
                raise _refused(whole, "each group must have 4 or less digits", rest)
        if not size:
            raise _refused(whole, "each colon-separated field must have at least one digit", rest)
        if size < len(rest) and rest[size] == ".":
            if gap < 0 and len(groups) != 6:
                raise _refused(whole, "embedded IPv4 address must replace the final 2 fields of the address", rest)
            if len(groups) > 6:
                raise _refused(whole, "too many hex fields to fit an embedded IPv4 at the end of the address", rest)
            low = _octets(whole, rest)
            groups += (low >> 16, low & 0xFFFF)
            rest = ""
            break
        groups.append(int(rest[:size], 16))
        rest = rest[size:]
        if not rest:
            break
        if rest[0] != ":":
            raise _refused(whole, "unexpected character, want colon", rest)
        if len(rest) == 1:
            raise _refused(whole, "colon must be followed by more characters", rest)
        rest = rest[1:]
        if rest[0] == ":":
            if gap >= 0:
                raise _refused(whole, "multiple :: in address", rest)
            gap, rest = len(groups), rest[1:]
            if not rest:
                break
    if rest:
        raise _refused(whole, "trailing garbage after address", rest)
    if len(groups) < 8:
        if gap < 0:
            raise _refused(whole, "address string too short")
        groups[gap:gap] = [0] * (8 - len(groups))
    elif gap >= 0:
        raise _refused(whole, "the :: must expand to at least one field of zeros")
    value = 0
    for group in groups:
        value = value << 16 | group
    return Address(6, value, zone)
