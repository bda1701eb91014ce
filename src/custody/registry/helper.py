"""Credential helpers: programs `docker-credential-NAME` that know a login (docker/docker-credential-helpers).

The registry's host goes in, `{"Username": …, "Secret": …}` comes out. A helper is other people's code that may hang:
it gets ten seconds, 64 KiB, and is ended with everything that it started.
"""

from __future__ import annotations

from custody.errors import AuthenticationError, MalformedError
from custody.kit import strictjson
from custody.kit.program import ask

_NOT_FOUND = "credentials not found in native keychain"
"""The words that docker's own client takes for "there is no login"."""


def ask_helper(name: str, server: str) -> tuple[str, str] | None:
    """User name and secret for `server`, or None where the helper says that it has none.

    Blocks for ten seconds at most. Raises AuthenticationError, without a word that may be secret.
    """
    program = f"docker-credential-{name}"
    status, output = ask([program, "get"], server.encode(),
                         hint="the credential file names it in credHelpers or credsStore")
    if status != 0:
        words = output.decode(errors="replace").strip()
        if _NOT_FOUND in words:
            return None
        shown = "".join(char if char.isprintable() else " " for char in words[:200])
        raise AuthenticationError(f"{program} for {server}: ended with {status}: {shown or 'no words'}")
    try:
        answer = strictjson.loads(output, program)
    except MalformedError:
        answer = None  # its bytes may be secrets: they are not shown
    if not isinstance(answer, dict) or not all(isinstance(answer.get(key, ""), str) for key in ("Username", "Secret")):
        raise AuthenticationError(f"{program} for {server}: got something else than an object with Username and Secret")
    username, secret = answer.get("Username", ""), answer.get("Secret", "")
    return (username, secret) if username or secret else None
