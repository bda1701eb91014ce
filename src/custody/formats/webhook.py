"""Signed notifications: the headers of Standard Webhooks 1.0.0 (HMAC-SHA256, `v1`), by which a receiver knows a body.

https://github.com/standard-webhooks/standard-webhooks, "Signature scheme"; the signed text is `id.timestamp.body`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from custody.errors import MalformedError, VerificationError

TOLERANCE = 300
"""Seconds that a message may be old, or from the future, by the receiver's clock."""
_PREFIX = "whsec_"


def secret(text: str) -> bytes:
    """The key of `whsec_` and base64 of 24 to 64 bytes. Raises MalformedError, which does not repeat it."""
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(_PREFIX) or not 24 <= len(key) <= 64:
        raise MalformedError("secret", got=f"{len(text)} characters", expected="whsec_ and base64 of 24 to 64 bytes",
                             hint="echo whsec_$(openssl rand -base64 32)")
    return key


def headers(key: bytes, name: str, timestamp: int, body: bytes) -> dict[str, str]:
    """`name` is the message's identifier, the same each time it is sent; `timestamp` when it is, in seconds."""
    return {"webhook-id": name, "webhook-timestamp": str(timestamp),
            "webhook-signature": "v1," + _signature(key, name, str(timestamp), body)}


def verify(key: bytes, given: Mapping[str, str], body: bytes, now: float) -> str:
    """The identifier of a message that is genuine and recent. Raises VerificationError."""
    name, timestamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not name or not timestamp.isdecimal() or len(timestamp) > 12:
        raise VerificationError("webhook: got no webhook-id and webhook-timestamp")
    if abs(now - int(timestamp)) > TOLERANCE:
        raise VerificationError(f"webhook: got a message of {timestamp}, expected one of the last {TOLERANCE} seconds")
    own = _signature(key, name, timestamp, body).encode()
    signatures = [signature.partition(",") for signature in given.get("webhook-signature", "").split()]
    if not any(version == "v1" and hmac.compare_digest(value.encode(), own) for version, _, value in signatures):
        raise VerificationError("webhook: no signature is of this secret and these bytes")
    return name


def _signature(key: bytes, name: str, timestamp: str, body: bytes) -> str:
    signed = f"{name}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
