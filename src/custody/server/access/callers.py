"""Who is asking: what of a request says so, and whom it is shown to.

`Basic` is a user of the htpasswd file. Clients that log in with user and password only (docker, podman) give a token as
the password of the user `oauth2accesstoken` or `<token>`. Credentials that are wrong are never passed over for others.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from custody.errors import AuthenticationError, MalformedError
from custody.server.access import mtls
from custody.server.access.bearer import Tokens
from custody.server.access.htpasswd import PasswordFile
from custody.server.access.rules import HTPASSWD, Caller
from custody.server.asgi import Scope
from custody.server.connections import peer_of
from custody.trust.token import MAX_TOKEN

TOKEN_USERS = ("oauth2accesstoken", "<token>")
_MAX_HEADER = 2 * MAX_TOKEN


@dataclass(frozen=True, slots=True)
class Callers:
    """The ways that the settings name; None where they do not."""

    passwords: PasswordFile | None
    tokens: Tokens | None

    async def caller(self, scope: Scope) -> Caller | None:
        """None where the request says nothing of it.

        Raises AuthenticationError, BusyError, NetworkError; UsageError where the file of passwords is broken.
        """
        values = [value for name, value in scope["headers"] if name == b"authorization"]
        if not values:
            return mtls.caller_of(scope)
        if len(values) > 1:
            raise AuthenticationError(f"Authorization: got {len(values)} headers, expected one")
        if len(values[0]) > _MAX_HEADER:
            raise AuthenticationError(f"Authorization: got {len(values[0])} bytes, expected at most {_MAX_HEADER}")
        scheme, _, rest = values[0].partition(b" ")
        match scheme.lower():
            case b"basic":
                return await self._basic(rest.strip(), scope)
            case b"bearer":
                return await self._token(rest.strip().decode("latin-1"))
        raise AuthenticationError("Authorization: got another scheme, expected Basic or Bearer")

    async def _basic(self, encoded: bytes, scope: Scope) -> Caller:
        try:
            user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise AuthenticationError("Authorization: got Basic and no base64 of user:password") from None
        if not colon:
            raise AuthenticationError("Authorization: got Basic without a colon, expected user:password")
        if user in TOKEN_USERS and self.tokens is not None:
            return await self._token(password)
        if self.passwords is None:
            raise AuthenticationError("passwords are not taken here; log in with an identity token as the password of "
                                      f"{TOKEN_USERS[0]}" if self.tokens else "passwords are not taken here")
        await self.passwords.verify(user, password, peer_of(scope.get("client")))
        return Caller(HTPASSWD, (user,))

    async def _token(self, text: str) -> Caller:
        if self.tokens is None:
            raise AuthenticationError("tokens are not taken here")
        try:
            return await self.tokens.caller(text)
        except MalformedError as error:
            raise AuthenticationError(error.message) from None
