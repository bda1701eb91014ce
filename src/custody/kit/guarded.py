"""Bytes with a digest in front: a disk that changes one of them is noticed. Whoever writes to it may say anything."""

from __future__ import annotations

import hashlib

_SIZE = 16


def guard(data: bytes) -> bytes:
    return _digest(data) + data


def unguard(guarded: bytes) -> bytes | None:
    """None where they are not what was guarded."""
    data = guarded[_SIZE:]
    return data if _digest(data) == guarded[:_SIZE] else None


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_SIZE).digest()
