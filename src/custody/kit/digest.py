"""Content digests as OCI writes them: `algorithm:hex` (image-spec descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re

from custody.errors import MalformedError

_SHAPE = re.compile(r"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z")
ALGORITHMS = "sha256:<64 hex digits>, sha384:<96 hex digits> or sha512:<128 hex digits>"
"""The algorithms of the field: the two that image-spec registers, and SHA-384, which Go's clients take as well."""


def sha256(data: bytes) -> str:
    """The digest of bytes, as `sha256:` and 64 lower-case hexadecimal digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compute(data: bytes, algorithm: str) -> str:
    """The digest of bytes by `sha256`, `sha384` or `sha512`."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def is_digest(text: str) -> bool:
    return _SHAPE.match(text) is not None


def parse(text: object, where: str = "digest") -> str:
    """The digest itself if it is well formed. Raises MalformedError."""
    if not isinstance(text, str) or not is_digest(text):
        raise MalformedError(where, got=text, expected=ALGORITHMS)
    return text


def hasher(digest: str) -> hashlib._Hash:
    """A new hash object of the digest's algorithm; compare `matches` when all bytes went in."""
    return hashlib.new(parse(digest).partition(":")[0])


def matches(state: hashlib._Hash, digest: str) -> bool:
    return f"{state.name}:{state.hexdigest()}" == digest
