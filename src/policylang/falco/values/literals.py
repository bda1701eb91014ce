"""Right-hand sides: what the text of a rule means for the type of the field it is compared with.

ValueError with libsinsp's words (value_parser.cpp) where it means nothing.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from policylang.falco.values.fields import Type

_INTEGER = re.compile(r"[+-]?[0-9]+|0[xX][0-9a-fA-F]+")
_MASK = 1 << 64
_SHOWN = 80  # characters of a value in a message


class Address(NamedTuple):
    version: int
    number: int


class Network(NamedTuple):
    """`number` is already masked."""

    version: int
    number: int
    mask: int


def parsed(text: str, type_: Type, operator: str = "=") -> object:
    """str, int, bool, float, bytes, Address or Network."""
    if type_ in (Type.TEXT, Type.DYNAMIC):
        return text
    if type_ is Type.BOOL:
        if text in ("true", "false"):
            return text == "true"
        raise ValueError(f"filter error: unrecognized boolean value {text}")
    if type_ is Type.BYTES:
        return _hexadecimal(text) if operator in ("bcontains", "bstartswith") else text.encode()
    if type_ is Type.ADDRESS:
        return address(text)
    if type_ is Type.NETWORK:
        return network(text)
    if type_ is Type.DOUBLE:
        return _double(text)
    return _integer(text, type_)


def _clipped(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _integer(text: str, type_: Type) -> int:
    if _INTEGER.fullmatch(text) is None or len(text) > 32:
        raise ValueError(f"{_clipped(text)} is not a valid number")
    number = int(text, 16 if text[:2] in ("0x", "0X") else 10)
    if type_ is Type.UNSIGNED and -_MASK // 2 <= number < 0:
        return number + _MASK  # as sscanf does
    low, high = {Type.SIGNED: (-_MASK // 2, _MASK // 2), Type.PORT: (0, 1 << 16)}.get(type_, (0, _MASK))
    if not low <= number < high:
        raise ValueError(f"{_clipped(text)} is not a valid number")
    return number


def _double(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{_clipped(text)} is not a valid number") from None
    if number - number != 0:
        raise ValueError(f"{_clipped(text)} is not a valid number")
    return number


def _hexadecimal(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError("filter error: bcontains and bstartswith operator support hex strings only") from None


def address(text: str) -> Address:
    try:
        return Address(4, int(IPv4Address(text))) if "." in text and ":" not in text else Address(
            6, int(IPv6Address(text)))
    except ValueError:
        raise ValueError(f"unrecognized IP address {_clipped(text)}") from None


def network(text: str) -> Network:
    """`address/bits`; bits of the host are ignored, as 127.0.0.1/8 occurs in rule files."""
    head, slash, bits = text.partition("/")
    if not slash:
        raise ValueError(f"unrecognized IP network {_clipped(text)}")
    base = address(head)
    width = 32 if base.version == 4 else 128
    if not (bits.isascii() and bits.isdigit() and len(bits) <= 3 and int(bits) <= width):
        raise ValueError(f"invalid netmask {_clipped(bits)}")
    mask = (1 << width) - (1 << width - int(bits))
    return Network(base.version, base.number & mask, mask)
