"""cel-go's network library: as Kubernetes' ip and cidr, but an IPv4 address written as IPv6 is that IPv4 address."""

from __future__ import annotations

from policylang.cel.libraries.kubernetes.addresses import LIBRARIES, Ip, read_address
from policylang.cel.library import Function, Library
from policylang.cel.values.errors import CelError
from policylang.go.numbers import quote

_LOW = (1 << 32) - 1


def _ip(text: str) -> Ip:
    address = read_address(text)
    if not address.is_4_in_6:
        return Ip(*address)
    if "." in text:
        raise CelError(f"IPv4-mapped IPv6 address {quote(text)} is not allowed")
    return Ip(4, address.value & _LOW)


def _with_parser(library: Library) -> Library:
    functions = tuple(Function(function.name, tuple(
        overload._replace(call=_ip) if overload.id == "string_to_ip" else overload for overload in function.overloads))
        for function in library.functions)
    return library._replace(functions=functions)


_PARTS = tuple(map(_with_parser, LIBRARIES))
LIBRARY = Library("cel.lib.ext.network", functions=tuple(function for part in _PARTS for function in part.functions),
                  types=tuple(dict.fromkeys(of for part in _PARTS for of in part.types)))
