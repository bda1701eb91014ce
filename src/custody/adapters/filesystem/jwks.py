"""The keys of an OIDC issuer in a file that another process writes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from custody.errors import AuthenticationError, UsageError
from custody.trust.token import VerificationKey, parse_jwks


class StoredKeys:
    """Implements trust.token.KeySource over a JWK set, read again when the file is another or changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int, int] | None = None
        self._keys: tuple[VerificationKey, ...] = ()

    async def keys(self, *, refresh: bool) -> tuple[VerificationKey, ...]:  # noqa: ARG002 - each look is at the file
        """Raises AuthenticationError where there is no file yet, MalformedError."""
        await asyncio.to_thread(self._look)
        return self._keys

    def _look(self) -> None:
        try:
            stat = self._path.stat()
            seen = (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen != self._seen:
                self._keys = parse_jwks(self._path.read_bytes(), str(self._path))
                self._seen = seen
        except FileNotFoundError:
            raise AuthenticationError(f"{self._path}: no such file: no key of this issuer is known",
                                      hint="the oidc role, or `custody trust token`, writes it") from None
        except OSError as error:
            raise UsageError(f"{self._path}: {error.strerror}") from None
