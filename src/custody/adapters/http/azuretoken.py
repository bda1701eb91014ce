"""Access tokens for Azure's key vaults, as Azure's own libraries come by them.

In this order: a client with its secret (`AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET`), a workload's
identity (`AZURE_FEDERATED_TOKEN_FILE` in the secret's place), the machine's managed identity (of `AZURE_CLIENT_ID`,
where it has several). (learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow;
…/entra/identity/managed-identities-azure-resources/how-to-use-vm-token.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlencode

from custody.adapters.http.jsonservice import Reply, ask, ask_machine, check
from custody.errors import NetworkError, UsageError
from custody.kit.members import text
from custody.ports.http import Http

_MACHINE = "http://169.254.169.254/metadata/identity/oauth2/token"
_LOGIN = "https://login.microsoftonline.com"
_FORM = {"content-type": "application/x-www-form-urlencoded"}
_TENANT = re.compile(r"[A-Za-z0-9.-]+")
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_MAX_TEXT = 64 * 1024
_HINT = "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"


class AzureToken:
    """A token is asked for once. It is never part of an error."""

    def __init__(self, http: Http, direct: Callable[[], Http] | None, environ: Mapping[str, str]) -> None:
        self._http = http
        self._direct = direct
        self._environ = environ
        self._tokens: dict[str, str] = {}

    async def get(self, resource: str) -> str:
        """`resource`: whom it is for. Raises UsageError where nothing says who asks, AuthenticationError, NetworkError,
        MalformedError."""
        if resource not in self._tokens:
            self._tokens[resource] = await self._asked(resource)
        return self._tokens[resource]

    async def _asked(self, resource: str) -> str:
        tenant, client = (self._environ.get(f"AZURE_{name}") for name in ("TENANT_ID", "CLIENT_ID"))
        proof = self._proof()
        if proof is None:
            query = {"api-version": "2018-02-01", "resource": resource, **({"client_id": client} if client else {})}
            try:
                reply = await ask_machine("azurekms", self._http, self._direct, f"{_MACHINE}?{urlencode(query)}",
                                          {"metadata": "true"})
            except NetworkError:
                raise UsageError("azurekms: nothing says who asks Azure: no client is named, and no metadata server "
                                 "answers", hint=_HINT) from None
            return _access_token(reply)
        for name, value in (("AZURE_TENANT_ID", tenant), ("AZURE_CLIENT_ID", client)):
            if not value:
                raise UsageError(f"azurekms: {name} is not set", hint=_HINT)
        if tenant is None or not _TENANT.fullmatch(tenant):
            raise UsageError("AZURE_TENANT_ID: got what is neither an id nor a domain")
        login = (self._environ.get("AZURE_AUTHORITY_HOST") or _LOGIN).rstrip("/")
        if not login.startswith("https://"):
            raise UsageError(f"AZURE_AUTHORITY_HOST: got {login!r}, expected an https:// URL")
        url = f"{login}/{tenant}/oauth2/v2.0/token"
        form = {"grant_type": "client_credentials", "client_id": client, "scope": f"{resource}/.default", **proof}
        return _access_token(await ask("azurekms", self._http, "POST", url, _FORM, urlencode(form).encode()))

    def _proof(self) -> dict[str, str] | None:
        if secret := self._environ.get("AZURE_CLIENT_SECRET"):
            return {"client_secret": secret}
        path = self._environ.get("AZURE_FEDERATED_TOKEN_FILE")
        if not path:
            return None
        try:
            assertion = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"AZURE_FEDERATED_TOKEN_FILE: {path}: {type(error).__name__}") from None
        return {"client_assertion_type": _ASSERTION, "client_assertion": assertion}


def _access_token(reply: Reply) -> str:
    reason = reply.document.get("error_description") or reply.document.get("error")
    check(reply, reason if isinstance(reason, str) else "", denied=reply.status == 400)
    return text(reply.document, "access_token", reply.where, _MAX_TEXT)
