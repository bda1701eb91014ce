"""Base64, hexadecimal, URLs, and digests in hexadecimal."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from functools import partial
from urllib.parse import quote_plus

from policylang.go.numbers import quote
from policylang.go.urls import Url, UrlError, parse
from policylang.rego.builtins.operands import OperandFault, mapping, readable, string
from policylang.rego.declare import BuiltinError, OperandError, builtin
from policylang.rego.values import Set, Value, key, ordered

_STANDARD = re.compile(rb"[A-Za-z0-9+/]*", re.ASCII)
_URL = re.compile(rb"[A-Za-z0-9_-]*", re.ASCII)


def utf8(value: Value, position: int) -> bytes:
    return string(value, position).encode("utf-8", "surrogateescape")


def lenient(data: bytes) -> str:
    """Bytes as a string: one that is no UTF-8 is a character of U+DC80 to U+DCFF, which `values.printable` shows."""
    return data.decode("utf-8", "surrogateescape")


# --- base64

def decode64(value: str, url: bool = False, padded: bool = True) -> bytes:
    """Go's encoding/base64: line ends are skipped; its error names the first byte that is wrong."""
    data = value.encode("utf-8", "surrogateescape").replace(b"\r", b"").replace(b"\n", b"")
    alphabet = _URL if url else _STANDARD
    match = alphabet.match(data)
    length = match.end() if match else 0
    if padded:
        wrong = _padding(data, length)
        if wrong is not None:
            raise BuiltinError(f"illegal base64 data at input byte {wrong}")
    elif length != len(data):
        raise BuiltinError(f"illegal base64 data at input byte {length}")
    elif length % 4 == 1:
        raise BuiltinError(f"illegal base64 data at input byte {length - 1}")
    body = data[:length]
    decode = base64.urlsafe_b64decode if url else base64.b64decode
    return decode(body + b"=" * (-len(body) % 4))


def _padding(data: bytes, length: int) -> int | None:
    """Where padded base64 is wrong; None where it is right."""
    rest, over = data[length:], length % 4
    if not rest:
        return None if over == 0 else length - over
    if rest[:1] != b"=":
        return length
    if over < 2:
        return length
    if over == 2:
        if len(rest) < 2:
            return len(data)
        if rest[1:2] != b"=":
            return length + 1
    used = 2 if over == 2 else 1
    return None if len(rest) == used else length + used


@builtin("base64.is_valid", "string", result="boolean")
def base64_is_valid(value: Value) -> bool:
    return readable(value, decode64)


def decode64_url(value: str) -> bytes:
    """Base64url with or without its padding."""
    padding = -len(value) % 4
    if not value.endswith("=") and padding:
        if padding == 3:
            raise BuiltinError(f"illegal base64url string: {value}")
        value += "=" * padding
    return decode64(value, url=True)


@builtin("hex.decode", "string", result="string")
def hex_decode(value: Value) -> str:
    data = utf8(value, 1)
    for byte in data[:len(data) // 2 * 2]:
        if chr(byte) not in "0123456789abcdefABCDEF":
            raise BuiltinError(_bad_hex(byte))
    if len(data) % 2:
        last = data[-1]
        bad = chr(last) not in "0123456789abcdefABCDEF"
        raise BuiltinError(_bad_hex(last) if bad else "encoding/hex: odd length hex string")
    return lenient(bytes.fromhex(data.decode()))


def _bad_hex(byte: int) -> str:
    return f"encoding/hex: invalid byte: U+{byte:04X} {quote(chr(byte), mark=chr(39))}"


# --- URLs

def _escaped(value: str) -> str:
    return quote_plus(value, safe="-_.~", errors="surrogateescape")


def _unescaped(value: str) -> str:
    for escape in re.finditer("%(.{0,2})", value, re.DOTALL):
        if not re.fullmatch("[0-9a-fA-F]{2}", escape[1]):
            raise BuiltinError(f"invalid URL escape {quote(escape[0])}")
    data = re.sub(rb"%(..)", lambda match: bytes.fromhex(match[1].decode()),
                  value.replace("+", " ").encode("utf-8", "surrogateescape"))
    return lenient(data)


@builtin("urlquery.encode_object", "object[string: any<string, array[string], set[string]>]", result="string")
def urlquery_encode_object(value: Value) -> str:
    pairs: list[str] = []
    parameters = mapping(value, 1)
    for name in ordered(parameters):
        parameter = parameters[key(name)]
        if type(name) is not str:
            raise OperandError(1, name, "string")
        if type(parameter) is str:
            values = [parameter]
        elif type(parameter) in (list, Set):
            values = parameter if type(parameter) is list else parameter.ordered()
        else:
            raise OperandFault(1, "values must be string, array[string], or set[string]")
        for member in values:
            if type(member) is not str:
                raise OperandFault(1, "values must be string, array[string], or set[string]")
            pairs.append(f"{_escaped(name)}={_escaped(member)}")
    return "&".join(pairs)


@builtin("urlquery.decode_object", "string", result="object[string: array[string]]")
def urlquery_decode_object(value: Value) -> dict[str, list[str]]:
    made: dict[str, list[str]] = {}
    for pair in string(value, 1).split("&"):
        if ";" in pair:
            raise BuiltinError("invalid semicolon separator in query")
        if pair:
            name, _, member = pair.partition("=")
            made.setdefault(_unescaped(name), []).append(_unescaped(member))
    return made


def _url(value: str) -> Url:
    try:
        return parse(value)
    except UrlError as wrong:
        raise BuiltinError(wrong.message) from None


@builtin("uri.is_valid", "string", result="boolean")
def uri_is_valid(value: Value) -> bool:
    return readable(value, _url) and value != ""


@builtin("uri.parse", "string", result="object[string: string]")
def uri_parse(value: Value) -> dict[str, str]:
    """The parts that are there."""
    url = _url(string(value, 1))
    parts = {"scheme": url.scheme, "hostname": url.hostname, "port": url.port, "path": url.path,
             "raw_path": url.raw_path or url.path, "raw_query": url.query, "fragment": url.fragment}
    return {name: part for name, part in parts.items() if part}


# --- digests

def _digest(name: str, data: bytes) -> str:
    return hashlib.new(name, data, usedforsecurity=False).hexdigest()


def _keyed(name: str) -> Callable[[Value, Value], str]:
    def keyed(value: Value, key: Value) -> str:
        return hmac.new(utf8(key, 2), utf8(value, 1), name).hexdigest()
    return builtin(f"crypto.hmac.{name}", "string", "string", result="string")(keyed)


for _name in ("md5", "sha1", "sha256", "sha512"):
    _keyed(_name)


@builtin("crypto.hmac.equal", "string", "string", result="boolean")
def same(left: Value, right: Value) -> bool:
    return hmac.compare_digest(utf8(left, 1), utf8(right, 2))


# --- what takes one text and gives another

def _of_bytes(name: str, function: Callable[[bytes], str]) -> None:
    builtin(name, "string", result="string")(lambda value: function(utf8(value, 1)))


def _of_text(name: str, function: Callable[[str], str]) -> None:
    builtin(name, "string", result="string")(lambda value: function(string(value, 1)))


_of_bytes("base64.encode", lambda data: base64.b64encode(data).decode())
_of_bytes("base64url.encode", lambda data: base64.urlsafe_b64encode(data).decode())
_of_bytes("base64url.encode_no_pad", lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="))
_of_bytes("hex.encode", bytes.hex)
_of_text("base64.decode", lambda text: lenient(decode64(text)))
_of_text("base64url.decode", lambda text: lenient(decode64_url(text)))
_of_text("urlquery.encode", _escaped)
_of_text("urlquery.decode", _unescaped)
for _name in ("md5", "sha1", "sha256"):
    _of_bytes(f"crypto.{_name}", partial(_digest, _name))
