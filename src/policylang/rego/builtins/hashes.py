"""Digests and keyed digests, in hexadecimal."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from policylang.rego.builtins.operands import string
from policylang.rego.declare import builtin
from policylang.rego.values import Value


def utf8(value: Value, position: int) -> bytes:
    return string(value, position).encode("utf-8", "surrogateescape")


def _digest(name: str) -> Callable[[Value], str]:
    def digest(value: Value) -> str:
        return hashlib.new(name, utf8(value, 1), usedforsecurity=False).hexdigest()
    return builtin(f"crypto.{name}", "string", result="string")(digest)


def _keyed(name: str) -> Callable[[Value, Value], str]:
    def keyed(value: Value, key: Value) -> str:
        return hmac.new(utf8(key, 2), utf8(value, 1), name).hexdigest()
    return builtin(f"crypto.hmac.{name}", "string", "string", result="string")(keyed)


for _name in ("md5", "sha1", "sha256"):
    _digest(_name)
for _name in ("md5", "sha1", "sha256", "sha512"):
    _keyed(_name)


@builtin("crypto.hmac.equal", "string", "string", result="boolean")
def same(left: Value, right: Value) -> bool:
    return hmac.compare_digest(utf8(left, 1), utf8(right, 2))
