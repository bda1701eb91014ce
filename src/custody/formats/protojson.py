"""Reading messages in protobuf's JSON mapping, as Sigstore's documents use it (protobuf.dev, "ProtoJSON format").

A field that is null counts as absent; 64-bit integers may be text; bytes are standard base64 with padding. A field
that no reader asked for is refused by name when the message is `done`.
"""

from __future__ import annotations

import binascii
import re
from typing import Any

from custody.errors import MalformedError, UnsupportedError

_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,19})\Z")


def decode_base64(text: object, where: str) -> bytes:
    """Raises MalformedError for anything but padded standard base64; line ends in it are ignored, as in Go."""
    if not isinstance(text, str):
        raise MalformedError(where, got=text, expected="base64 text")
    try:
        return binascii.a2b_base64(text.replace("\n", "").replace("\r", "").encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise MalformedError(where, got=text, expected="standard base64 (RFC 4648 section 4)") from None


def decode_any_base64(text: object, where: str) -> bytes:
    """Either alphabet, with or without padding. Raises MalformedError."""
    try:
        if not isinstance(text, str):
            raise ValueError
        standard = text.translate({0x2D: "+", 0x5F: "/"}).rstrip("=")
        return binascii.a2b_base64(standard + "=" * (-len(standard) % 4), strict_mode=True)
    except ValueError:
        raise MalformedError(where, got=text, expected="base64url or base64") from None


def encode_base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def camel_case(value: Any) -> Any:
    """snake_case field names as camelCase, which a server reads too; a field under both names is given twice."""
    if not isinstance(value, dict):
        return value
    result = {re.sub(r"_([a-z])", lambda match: match[1].upper(), key): camel_case(item) for key, item in value.items()}
    if len(result) != len(value):
        raise MalformedError("request", got="a field under both of its names", expected="each field once")
    return result


class Message:
    """One JSON object and the path to it, for error messages."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise MalformedError(where, got=value, expected="a JSON object")
        self._value = value
        self._asked: set[str] = set()
        self.where = where

    def raw(self, name: str) -> Any:
        self._asked.add(name)
        return self._value.get(name)

    @property
    def names(self) -> list[str]:
        return list(self._value)

    def has(self, name: str) -> bool:
        return self.raw(name) is not None

    def missing(self, name: str, expected: str) -> MalformedError:
        return MalformedError(f"{self.where}.{name}", got="nothing", expected=expected)

    def text(self, name: str, default: str | None = None, *, limit: int = 1 << 20) -> str:
        value = self.raw(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or len(value) > limit:
            raise MalformedError(f"{self.where}.{name}", got=value, expected=f"text of at most {limit} characters")
        return value

    def data(self, name: str, default: bytes | None = None) -> bytes:
        value = self.raw(name)
        return default if value is None and default is not None else decode_base64(value, f"{self.where}.{name}")

    def hex(self, name: str) -> bytes:
        text = self.text(name)
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise MalformedError(f"{self.where}.{name}", got=text, expected="hexadecimal") from None

    def integer(self, name: str, default: int | None = None) -> int:
        value = self.raw(name)
        if value is None and default is not None:
            return default
        number = int(value) if isinstance(value, str) and _INTEGER.match(value) else value
        if not isinstance(number, int) or isinstance(number, bool) or abs(number) >= 1 << 63:
            raise MalformedError(f"{self.where}.{name}", got=value, expected="a 64-bit integer")
        return number

    def message(self, name: str) -> Message:
        return Message(self.raw(name), f"{self.where}.{name}")

    def optional(self, name: str) -> Message | None:
        return self.message(name) if self.has(name) else None

    def messages(self, name: str, limit: int) -> list[Message]:
        value = self.raw(name)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > limit:
            got = f"{len(value)} of them" if isinstance(value, list) else value
            raise MalformedError(f"{self.where}.{name}", got=got, expected=f"a list of at most {limit}")
        return [Message(item, f"{self.where}.{name}[{position}]") for position, item in enumerate(value)]

    def done(self) -> None:
        """Raises UnsupportedError for a field that was not asked for."""
        for name, value in self._value.items():
            if name not in self._asked and value is not None:
                raise UnsupportedError(f"{self.where}.{name}", "a field that custody does not know")
