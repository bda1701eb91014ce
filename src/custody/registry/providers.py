"""Whose logins a policy may name beside Secrets: those of clouds, by Docker's credential helpers, and of GitHub.

A helper (`docker-credential-ecr-login`, `-gcr`, `-acr-env`) is the cloud's own program, and is asked for the cloud's
own hosts alone; it must be installed beside custody.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from custody.registry.credentials import Ask, Credential
from custody.registry.helper import ask_helper

_HELPERS: Mapping[str, tuple[str, re.Pattern[str]]] = {
    "amazon": ("ecr-login", re.compile(r"\d{12}\.dkr[.-]ecr(?:-fips)?\.[a-z0-9-]+\.(?:amazonaws\.com(?:\.cn)?|on\.aws)|"
                                       r"public\.ecr\.aws")),
    "azure": ("acr-env", re.compile(r"[a-z0-9-]+\.azurecr\.(?:io|cn|de|us)")),
    "google": ("gcr", re.compile(r"(?:[a-z]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev")),
}


def provided(providers: Iterable[str], host: str, environ: Mapping[str, str] = os.environ, ask: Ask = ask_helper
             ) -> Credential | None:
    """The first login for a registry's host. Raises AuthenticationError for a helper that is broken or not there."""
    for name in providers:
        if name == "github":
            if host == "ghcr.io" and (token := environ.get("GITHUB_TOKEN")):
                return Credential(environ.get("GITHUB_ACTOR") or "unset", token)
            continue
        helper, hosts = _HELPERS[name]
        login = ask(helper, host) if hosts.fullmatch(host) else None
        if login is not None:
            username, secret = login
            return Credential(identity_token=secret) if username == "<token>" else Credential(username, secret)
    return None
