"""Networks that an IP address may be in, and from which of them another server may send us into which.

A server on the Internet that says "ask 169.254.169.254 instead" (a redirect, a token service) would use us to reach
what it cannot. So it may only send us to its own network, or to the public one.
"""

from __future__ import annotations

import enum
import ipaddress


class Network(enum.Enum):
    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"


Reach = frozenset[Network]
"""The networks in which a connection may end."""

_REACH: dict[Network, Reach] = {
    Network.PUBLIC: frozenset({Network.PUBLIC}),
    Network.PRIVATE: frozenset({Network.PUBLIC, Network.PRIVATE}),
    Network.LOOPBACK: frozenset({Network.PUBLIC, Network.PRIVATE, Network.LOOPBACK}),
    Network.LINK_LOCAL: frozenset({Network.PUBLIC, Network.LINK_LOCAL}),
}
_METADATA = frozenset({"fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"})
"""Where clouds answer questions about the machine, outside the link-local range: AWS (IPv6), Alibaba, Azure, Oracle."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def reach_from(network: Network) -> Reach:
    """Where a server in `network` may send us."""
    return _REACH[network]


def network_of(address: str) -> Network | None:
    """The network of a literal address such as `10.0.0.1`, `::1` or `fe80::1%eth0`; None where it is not one.

    IPv4 addresses inside IPv6 ones (mapped, NAT64, 6to4) count as what they lead to.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = inner or ip
    if ip.is_link_local or str(ip) in _METADATA:
        return Network.LINK_LOCAL
    if ip.is_loopback or ip.is_unspecified:
        return Network.LOOPBACK
    return Network.PUBLIC if ip.is_global and not ip.is_multicast else Network.PRIVATE


def out_of_reach(host: str, address: str) -> str:
    """The words for an address that is in no network of a Reach."""
    network = network_of(address)
    return (f"{host} is at {address} ({network.value if network else 'no'} address): a server of another network "
            "may not send us there")
