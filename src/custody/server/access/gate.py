"""The gate before the registry's paths: who asks, for which repository and action, and whether a rule allows it.

    1. who: credentials that are wrong are 401, whatever is asked
    2. /v2/ itself, where clients learn whether to log in: 401 to those who did not say who they are
    3. what: the repository by the registry's own pattern, the action by the method
    4. a mount takes from another repository: without pull there it becomes an upload
Status and codes: OCI distribution-spec v1.1, section Error Codes; challenges: RFC 9110 section 11, RFC 6750 section 3.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable
from urllib.parse import parse_qsl, urlencode

from custody.errors import AuthenticationError, CustodyError, NetworkError
from custody.server.access.callers import Callers
from custody.server.access.htpasswd import BusyError
from custody.server.access.rules import Action, Caller, Rules
from custody.server.asgi import REFUSAL, App, Headers, Receive, Scope, Send, header, respond_json
from custody.server.routes import ROUTE

_LOG = logging.getLogger(__name__)
_BASIC = b'Basic realm="custody", charset="UTF-8"'
_VERSION = (b"docker-distribution-api-version", b"registry/2.0")


class Gate:
    """An ASGI application before another, which sees only what is allowed.

    In the scope `custody.identity` is who and `custody.identity.by` who says so; `custody.refusal` is why not, where a
    credential or a wish was refused. That a client was asked to log in is no refusal: all of them begin so.
    """

    def __init__(self, app: App, callers: Callers, rules: Rules) -> None:
        self._app = app
        self._callers = callers
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # 1.
        try:
            caller = await self._callers.caller(scope)
        except AuthenticationError as error:
            scope[REFUSAL] = error.message
            await self._unknown(scope, send, error.message)
            return
        except BusyError as error:
            scope[REFUSAL] = error.message
            await _refuse(send, 429, "TOOMANYREQUESTS", error.message, [(b"retry-after", b"1")])
            return
        except NetworkError as error:
            scope[REFUSAL] = f"the token's issuer cannot be asked: {error.message}"
            await _refuse(send, 503, "UNKNOWN", f"the token's issuer cannot be asked: {error.message}",
                          [(b"retry-after", b"10")])
            return
        except CustodyError as error:  # the file of passwords is broken, which is nothing to tell everybody
            _LOG.error("%s", error.message)
            await _refuse(send, 503, "UNKNOWN", "who is asking cannot be found out now")
            return
        if caller is not None:
            scope["custody.identity"], scope["custody.identity.by"] = str(caller), caller.by
        # 2.
        path, method = scope["path"], scope["method"]
        if path in ("/v2", "/v2/"):
            await (self._app(scope, receive, send) if caller else self._unknown(scope, send, "log in"))
            return
        # 3.
        match = ROUTE.match(path)
        if match is None and path != "/v2/_catalog":
            await (_refuse(send, 404, "NAME_UNKNOWN", "no such path") if caller else
                   self._unknown(scope, send, "log in"))
            return
        repository = match["name"] if match else ""
        action = _action(method, match)
        if not self._rules.allows(caller, action, repository):
            await self._deny(scope, send, caller, action, repository)
            return
        # 4.
        if match is not None and match["upload"] == "" and method == "POST":
            scope = self._without_foreign_mounts(scope, caller)
        await self._app(scope, receive, send)

    def _without_foreign_mounts(self, scope: Scope, caller: Caller | None) -> Scope:
        """The request, as an upload's where the blob would come from where this caller may not pull."""
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        sources = [value for name, value in query if name == "from"]
        if not any(name == "mount" for name, _ in query) or (
                sources and all(self._rules.allows(caller, "pull", source) for source in sources)):
            return scope
        kept = [(name, value) for name, value in query if name not in ("mount", "from")]
        return {**scope, "query_string": urlencode(kept).encode()}

    def _deny(self, scope: Scope, send: Send, caller: Caller | None, action: str, repository: str) -> Awaitable[None]:
        if caller is None:
            return self._unknown(scope, send, f"{action} needs a login")
        wish = "list all repositories" if action == "catalog" else f"{action} {repository}"
        scope[REFUSAL] = f"no rule lets {caller} {wish}"
        return _refuse(send, 403, "DENIED", f"{caller} may not {wish}")

    async def _unknown(self, scope: Scope, send: Send, message: str) -> None:
        """401 with the ways in; where only certificates count there is no challenge to give, and it is 403."""
        if self._callers.passwords is None and self._callers.tokens is None:
            await _refuse(send, 403, "DENIED", f"{message}: a client certificate is expected")
            return
        challenges = [(b"www-authenticate", _BASIC)]
        if header(scope, b"authorization")[:7].lower() == "bearer ":
            challenges.insert(0, (b"www-authenticate", b'Bearer error="invalid_token"'))
        await _refuse(send, 401, "UNAUTHORIZED", message, challenges)


def _action(method: str, match: re.Match[str] | None) -> Action:
    if match is None:
        return "catalog"
    if match["upload"] is not None:
        return "push"
    if method in ("GET", "HEAD"):
        return "pull"
    return "delete" if method == "DELETE" else "push"


async def _refuse(send: Send, status: int, code: str, message: str, headers: Headers = ()) -> None:
    await respond_json(send, status, {"errors": [{"code": code, "message": message, "detail": None}]},
                       [_VERSION, *headers])
