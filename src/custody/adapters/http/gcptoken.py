"""Access tokens for Google's services, as its own libraries come by them (Application Default Credentials).

In this order: `GOOGLE_OAUTH_ACCESS_TOKEN`, which is taken as it is; the file that `GOOGLE_APPLICATION_CREDENTIALS`
names; the file that `gcloud auth application-default login` leaves; the machine's metadata server.
(cloud.google.com/docs/authentication/application-default-credentials; developers.google.com/identity/protocols/oauth2.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from custody.adapters.http.jsonservice import Reply, ask, ask_machine, check, mapping
from custody.errors import MalformedError, NetworkError, UnsupportedError, UsageError
from custody.kit import strictjson
from custody.kit.clock import Clock
from custody.kit.members import text
from custody.ports.http import Http

_METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
_TOKENS = "https://oauth2.googleapis.com/token"
_SCOPE = "https://www.googleapis.com/auth/cloudkms"
_FORM = {"content-type": "application/x-www-form-urlencoded"}
_MAX_FILE = 64 * 1024
_MAX_TEXT = 16 * 1024
_HINT = "set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login"


class GoogleToken:
    """A token is asked for once. It is never part of an error."""

    def __init__(self, http: Http, direct: Callable[[], Http] | None, environ: Mapping[str, str], clock: Clock) -> None:
        self._http = http
        self._direct = direct
        self._environ = environ
        self._clock = clock
        self._token: str | None = None

    async def get(self) -> str:
        """Raises UsageError where nothing says who asks, UnsupportedError for a kind of credentials that is not
        understood, AuthenticationError, NetworkError, MalformedError."""
        if self._token is None:
            self._token = self._environ.get("GOOGLE_OAUTH_ACCESS_TOKEN") or await self._asked()
        return self._token

    async def _asked(self) -> str:
        path = self._file()
        if path is None:
            try:
                reply = await ask_machine("gcpkms", self._http, self._direct, _METADATA, {"metadata-flavor": "Google"})
            except NetworkError:
                raise UsageError("gcpkms: nothing says who asks Google: no credentials file, and no metadata server "
                                 "answers", hint=_HINT) from None
            return _access_token(reply)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(f"GOOGLE_APPLICATION_CREDENTIALS: {path}: {error.strerror}") from None
        stated = mapping(strictjson.loads(data, str(path), max_size=_MAX_FILE, max_depth=8), str(path))
        kind = stated.get("type")
        if kind == "service_account":
            url, form = self._assertion(stated, str(path))
        elif kind == "authorized_user":
            url = _TOKENS
            form = {"grant_type": "refresh_token",
                    **{name: text(stated, name, str(path), _MAX_TEXT)
                       for name in ("client_id", "client_secret", "refresh_token")}}
        else:
            raise UnsupportedError(f"{path}.type", f"got {str(kind)[:60]!r}, expected service_account or "
                                   "authorized_user", hint="GOOGLE_OAUTH_ACCESS_TOKEN takes a token as it is")
        return _access_token(await ask("gcpkms", self._http, "POST", url, _FORM, urlencode(form).encode()))

    def _file(self) -> Path | None:
        if named := self._environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
            return Path(named)
        folder = self._environ.get("CLOUDSDK_CONFIG") or (
            f"{self._environ['HOME']}/.config/gcloud" if self._environ.get("HOME") else "")
        path = Path(folder) / "application_default_credentials.json"
        return path if folder and path.is_file() else None

    def _assertion(self, account: dict[str, Any], where: str) -> tuple[str, dict[str, str]]:
        """A service account signs for itself (RFC 7523)."""
        import jwt

        email, key = (text(account, name, where, _MAX_TEXT) for name in ("client_email", "private_key"))
        url = account.get("token_uri") or _TOKENS
        if not isinstance(url, str) or not url.startswith("https://"):
            raise MalformedError(f"{where}.token_uri", got=url, expected="an https:// URL")
        now = int(self._clock().timestamp())
        claims = {"iss": email, "scope": _SCOPE, "aud": url, "iat": now, "exp": now + 3600}
        headers = {"kid": account["private_key_id"]} if isinstance(account.get("private_key_id"), str) else None
        try:
            assertion = jwt.encode(claims, key, algorithm="RS256", headers=headers)
        except (ValueError, TypeError, jwt.PyJWTError):
            raise MalformedError(f"{where}.private_key", got="no key", expected="an RSA key in PEM") from None
        return url, {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}


def _access_token(reply: Reply) -> str:
    reason = reply.document.get("error_description") or reply.document.get("error")
    check(reply, reason if isinstance(reason, str) else "", denied=reply.status == 400)
    return text(reply.document, "access_token", reply.where, _MAX_TEXT)
