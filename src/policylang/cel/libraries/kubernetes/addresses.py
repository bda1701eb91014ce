"""kubernetes.net.ip and kubernetes.net.cidr: `ip("10.0.0.1")`, `cidr("10.0.0.0/8")`."""

from __future__ import annotations

from typing import ClassVar

from policylang.cel.cost.units import CONSTANT
from policylang.cel.libraries.kubernetes import prices
from policylang.cel.library import Library, Overload, function
from policylang.cel.types import BOOL, INT, STRING, Type, opaque
from policylang.cel.values.errors import CelError, without_error
from policylang.go.netip import Address, AddressError, Prefix, parse_address, parse_prefix
from policylang.go.numbers import quote

IP = opaque("net.IP")
CIDR = opaque("net.CIDR")


class Ip(Address):
    __slots__ = ()
    cel_type: ClassVar[Type] = IP

    @property
    def cel_size(self) -> int:
        """Bytes, which Kubernetes' cost counts."""
        return self.bits // 8


class Cidr(Prefix):
    __slots__ = ()
    cel_type: ClassVar[Type] = CIDR

    @property
    def cel_size(self) -> int:
        return -(-self.length // 8)


def read_address(text: str) -> Address:
    """An address without a zone."""
    try:
        address = parse_address(text)
    except AddressError as wrong:
        raise CelError(f"IP Address {quote(text)} parse error during conversion from string: {wrong.message}") from None
    if address.zone:
        raise CelError(f"IP address {quote(text)} with zone value is not allowed")
    return address


def _ip(text: str) -> Ip:
    address = read_address(text)
    if address.is_4_in_6:
        raise CelError(f"IPv4-mapped IPv6 address {quote(text)} is not allowed")
    return Ip(*address)


def _cidr(text: str) -> Cidr:
    said = "network address parse error during conversion from string: "
    try:
        prefix = parse_prefix(text)
    except AddressError as wrong:
        raise CelError(said + said + wrong.message) from None  # Kubernetes says it twice
    if prefix.address.is_4_in_6:
        raise CelError(f"{said}IPv4-mapped IPv6 address {quote(text)} is not allowed")
    return Cidr(*prefix)


def _contains_text(outer: Cidr, text: str) -> bool:
    """Kubernetes does not say what is wrong with the address."""
    try:
        return outer.contains(_ip(text))
    except CelError:
        raise CelError("no such overload") from None


def _contains_cidr(outer: Cidr, inner: Cidr) -> bool:
    return outer.overlaps(inner) and outer.length <= inner.length


def _of_ip(key: str, result: Type, name: str) -> Overload:
    return Overload(key, (IP,), result, lambda ip: getattr(ip, name), CONSTANT, member=True)


LIBRARIES = (
    Library("kubernetes.net.ip", types=(IP,), functions=(
        function("ip", Overload("string_to_ip", (STRING,), IP, _ip, prices.READ)),
        function("isIP", Overload("is_ip", (STRING,), BOOL, without_error(_ip), prices.READ)),
        function("ip.isCanonical",
                 Overload("ip_is_canonical", (STRING,), BOOL, lambda text: str(_ip(text)) == text, prices.READ_TWICE)),
        function("string", Overload("ip_to_string", (IP,), STRING, str, CONSTANT)),
        function("family", _of_ip("ip_family", INT, "version")),
        function("isUnspecified", _of_ip("ip_is_unspecified", BOOL, "is_unspecified")),
        function("isLoopback", _of_ip("ip_is_loopback", BOOL, "is_loopback")),
        function("isLinkLocalMulticast", _of_ip("ip_is_link_local_multicast", BOOL, "is_link_local_multicast")),
        function("isLinkLocalUnicast", _of_ip("ip_is_link_local_unicast", BOOL, "is_link_local_unicast")),
        function("isGlobalUnicast", _of_ip("ip_is_global_unicast", BOOL, "is_global_unicast")),
    )),
    Library("kubernetes.net.cidr", types=(CIDR, IP), functions=(
        function("cidr", Overload("string_to_cidr", (STRING,), CIDR, _cidr, prices.READ)),
        function("isCIDR", Overload("is_cidr", (STRING,), BOOL, without_error(_cidr), prices.READ)),
        function("string", Overload("cidr_to_string", (CIDR,), STRING, str, CONSTANT)),
        function("containsIP",
                 Overload("cidr_contains_ip_string", (CIDR, STRING), BOOL,
                          _contains_text, prices.HOLDS_IP_TEXT, member=True),
                 Overload("cidr_contains_ip_ip", (CIDR, IP), BOOL, lambda outer, ip: outer.contains(ip),
                          prices.HOLDS_IP, member=True)),
        function("containsCIDR",
                 Overload("cidr_contains_cidr_string", (CIDR, STRING), BOOL,
                          lambda outer, text: _contains_cidr(outer, _cidr(text)), prices.HOLDS_CIDR_TEXT, member=True),
                 Overload("cidr_contains_cidr", (CIDR, CIDR), BOOL, _contains_cidr, prices.HOLDS_CIDR, member=True)),
        function("ip", Overload("cidr_ip", (CIDR,), IP, lambda of: Ip(*of.address), CONSTANT, member=True)),
        function("prefixLength", Overload("cidr_prefix_length", (CIDR,), INT, lambda of: of.length, CONSTANT,
                                          member=True)),
        function("masked", Overload("cidr_masked", (CIDR,), CIDR, lambda of: Cidr(*of.masked), CONSTANT, member=True)),
    )),
)
