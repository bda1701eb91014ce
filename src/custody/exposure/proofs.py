"""Second facts about what looks like a secret: checksums of tokens, keys that parse, text that nobody would type."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import zlib
from collections import Counter

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PLACEHOLDERS = ("example", "placeholder", "changeme", "change_me", "change-me", "dummy", "sample", "redacted",
                 "your", "xxxx", "****", "insert", "replace", "secret_here", "notreal", "not_real", "fake",
                 "1234567890", "abcdef0123", "todo", "foobar", "...", "<", "${", "{{", "$(", "%(")
_NOBODYS = re.compile(r"(?:^|\.)(?:example(?:\.[a-z]+)?|test|invalid|localhost|domain\.(?:com|tld)|host(?:name)?|server"
                      r"|site\.com|foo\.com|bar\.com)\Z|^127\.|^0\.0\.0\.0\Z|^1\.2\.3\.4\Z")
_OPENSSH = b"openssh-key-v1\0"


def checksummed(token: str) -> bool:
    """GitHub's and npm's: after the prefix, random characters and six of a CRC-32 in base 62 of those.

    https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/
    """
    body = token.rpartition("_")[2]
    value, sum_ = zlib.crc32(body[:-6].encode()), ""
    while value:
        value, digit = divmod(value, 62)
        sum_ = _DIGITS[digit] + sum_
    return body[-6:] == sum_.rjust(6, "0")


def entropy(text: str) -> float:
    """Bits a character (Shannon)."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values()) if size else 0.0


def random(text: str) -> bool:
    """Whether it has the variety of generated text: digits among letters, and few characters often."""
    return (not placeholder(text) and any(map(str.isdigit, text)) and any(map(str.isalpha, text))
            and entropy(text) >= min(3.5, math.log2(len(text)) * 0.75))


def varied(text: str) -> bool:
    """Whether it is no placeholder and no repetition; for tokens whose prefix says what they are."""
    return not placeholder(text) and entropy(text) >= 2.8


def placeholder(text: str) -> bool:
    plain = text.casefold()
    return any(word in plain for word in _PLACEHOLDERS)


def jwt(token: str) -> bool:
    """Whether the first two parts are JSON objects with `alg`, and claims (RFC 7519)."""
    parts = token.split(".")
    if len(parts) != 3 or not parts[2]:
        return False
    decoded = [_object(part) for part in parts[:2]]
    return decoded[0] is not None and isinstance(decoded[0].get("alg"), str) and bool(decoded[1]) and (
        str(decoded[0]["alg"]).lower() != "none")


def _object(part: str) -> dict[str, object] | None:
    try:
        value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def private_key(block: str) -> bool:
    """Whether the PEM block holds DER of a sequence, an OpenSSH key, or an encrypted one (RFC 7468, RFC 1421)."""
    lines = block.replace("\\r", "").replace("\\n", "\n").replace('"', "").splitlines()
    body = "".join(line.strip() for line in lines if ":" not in line and "-----" not in line)
    try:
        data = base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error):
        return False
    if data.startswith(_OPENSSH):
        return len(data) > 100
    if any(line.strip().startswith("Proc-Type:") for line in lines):
        return len(data) >= 64
    return _sequence(data)


def _sequence(data: bytes) -> bool:
    """A DER SEQUENCE that is as long as the data (X.690 section 8.1.3); its contents are not looked at."""
    if len(data) < 32 or data[0] != 0x30:
        return False
    if data[1] < 0x80:
        return len(data) == data[1] + 2
    size = data[1] & 0x7F
    return size in (1, 2) and len(data) == int.from_bytes(data[2:2 + size], "big") + 2 + size


def basic_auth(text: str) -> bool:
    """Whether it is base64 of `user:password` (RFC 7617)."""
    try:
        user, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (ValueError, UnicodeDecodeError):
        return False
    return bool(user and colon and password) and not placeholder(password)


def url_password(text: str) -> bool:
    """Whether `password@host` is one, of a host that may be somebody's (RFC 2606 keeps names for examples)."""
    secret, _, host = text.rpartition("@")
    name = host.casefold().rstrip(".")
    return password(secret) and not _NOBODYS.search(name)


def password(text: str) -> bool:
    """Whether somebody may have meant it: no variable, no placeholder, more than one character."""
    return len(text) >= 6 and len(set(text)) > 3 and not placeholder(text) and text.casefold() not in (
        "password", "passwd", "secret", "string", "required", "optional", "undefined", "default", "anonymous")
