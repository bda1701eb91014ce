"""Who we are at a registry: Docker's and Podman's credential files (docker/cli config.json; containers-auth.json(5)).

Read in this order, the first that knows the host wins: `DOCKER_AUTH_CONFIG` (the file's content itself), the
`config.json` in `DOCKER_CONFIG`, `REGISTRY_AUTH_FILE`, `~/.docker/config.json`, `containers/auth.json` in
`XDG_RUNTIME_DIR` (without it `/run/containers/UID/auth.json`) and in `XDG_CONFIG_HOME` or `~/.config`. In each: a
helper named for the host (`credHelpers`), the default helper (`credsStore`, asked for every host), the entries of
`auths`, the most specific namespace first.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custody.errors import AuthenticationError, MalformedError
from custody.formats.reference import DOCKER_HUB, parse_host
from custody.kit import strictjson
from policylang.errors import Shape

_HUB_SERVER = "https://index.docker.io/v1/"
"""What Docker calls its Hub in files and to helpers."""
_MAX_FILE = 1 << 20
_HELPER = re.compile(r"[^/\\\x00-\x20\x7f]+")
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Credential:
    """A name and password, an identity (refresh) token, or a token that the registry itself takes."""

    username: str = ""
    secret: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def basic(self) -> str:
        """The value of an Authorization header."""
        pair = f"{self.username or '<token>'}:{self.secret or self.identity_token}"
        return "Basic " + base64.b64encode(pair.encode()).decode()


Ask = Callable[[str, str], tuple[str, str] | None]
"""`helper.ask_helper`: a helper's name and a server to user name and secret."""


def find_credential(host: str, repository: str = "", environ: Mapping[str, str] = os.environ,
                    ask: Ask | None = None) -> Credential | None:
    """The credential for a repository at the host that is asked, or None; may run a helper program for seconds.

    Raises AuthenticationError or MalformedError for a file or helper that is broken, naming it.
    """
    from custody.registry.helper import ask_helper

    host = parse_host(host)
    for where, document in _documents(environ):
        credential = credential_of(where, document, host, repository, ask or ask_helper)
        if credential:
            return credential
    return None


def _documents(environ: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    if inline := environ.get("DOCKER_AUTH_CONFIG"):
        yield "DOCKER_AUTH_CONFIG", _document("DOCKER_AUTH_CONFIG", inline.encode())
    home = Path(environ.get("HOME") or Path.home())
    files = [Path(environ["DOCKER_CONFIG"]) / "config.json"] if environ.get("DOCKER_CONFIG") else []
    if environ.get("REGISTRY_AUTH_FILE"):
        files.append(Path(environ["REGISTRY_AUTH_FILE"]))
    if not environ.get("DOCKER_CONFIG"):
        files.append(home / ".docker" / "config.json")
    runtime = environ.get("XDG_RUNTIME_DIR")
    files.append((Path(runtime, "containers") if runtime else Path(f"/run/containers/{os.getuid()}")) / "auth.json")
    files.append(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json")
    for path in files:
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise AuthenticationError(f"credentials in {path}: {error.strerror}") from None
        yield str(path), _document(str(path), data)


def _document(where: str, data: bytes) -> dict[str, Any]:
    document = strictjson.loads(data, where, max_size=_MAX_FILE)
    if not isinstance(document, dict):
        raise MalformedError(where, got=Shape(document), expected="an object with auths")
    return document


def credential_in(documents: Mapping[str, str], host: str, repository: str = "") -> Credential | None:
    """The first login in JSON texts by where they are from (a Secret's `.dockerconfigjson`); their `auths` alone count.

    Helpers are programs, and whoever writes such a text does not choose what runs here. Raises AuthenticationError or
    MalformedError.
    """
    host = parse_host(host)
    for where, text in documents.items():
        auths = {"auths": _document(where, text.encode()).get("auths")}
        if (credential := credential_of(where, auths, host, repository, lambda *_: None)) is not None:
            return credential
    return None


def credential_of(where: str, document: dict[str, Any], host: str, repository: str, ask: Ask) -> Credential | None:
    """The login in a document of Docker's format. Raises AuthenticationError, MalformedError."""
    host = parse_host(host)
    auths, helpers = (_table(where, document, key) for key in ("auths", "credHelpers"))
    spelled = _matching(auths, host, repository)
    server = _HUB_SERVER if host == DOCKER_HUB else host
    for key in _matching(helpers, host, repository):
        return _from_helper(ask, _helper(where, helpers[key]), server if _place(key)[1] == "" else key)
    if store := document.get("credsStore"):
        # A store may have kept the login under the spelling of the file, which holds empty entries then.
        for name in dict.fromkeys([server, *spelled]):
            credential = _from_helper(ask, _helper(where, store), name)
            if credential:
                return credential
    for key in spelled:
        credential = _from_entry(f"{where}: auths[{key!r}]", auths[key])
        if credential:
            return credential
    return None


def _from_helper(ask: Ask, helper: str, server: str) -> Credential | None:
    login = ask(helper, server)
    if login is None:
        return None
    username, secret = login
    return Credential(identity_token=secret) if username == "<token>" else Credential(username, secret)


def _table(where: str, document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    if value is not None and not isinstance(value, dict):
        raise MalformedError(f"{where}: {key}", got=Shape(value), expected="an object by registry")
    return value or {}


def _helper(where: str, value: object) -> str:
    if not isinstance(value, str) or not _HELPER.fullmatch(value):
        # An object in its place may hold a login.
        shown = value if isinstance(value, str) else Shape(value)
        raise MalformedError(f"{where}: helper", got=shown, expected="NAME of a program docker-credential-NAME")
    return value


def _matching(table: Mapping[str, Any], host: str, repository: str) -> list[str]:
    """The keys that are for this host and repository, the most specific first."""
    keys = [(place[1], key) for key in table if (place := _place(key))[0] == host and _covers(place[1], repository)]
    return [key for _, key in sorted(keys, key=lambda pair: -len(pair[0]))]


def _covers(namespace: str, repository: str) -> bool:
    return not namespace or repository == namespace or repository.startswith(f"{namespace}/")


def _place(key: str) -> tuple[str, str]:
    """Host and namespace of a key: `ghcr.io`, `https://ghcr.io/v2/`, `quay.io/org/repo`. The host is "" for others."""
    rest = key.partition("://")[2] if key.startswith(("https://", "http://")) else key
    head, _, path = rest.rstrip("/").partition("/")
    try:
        return parse_host(head), "" if path in ("v1", "v2") else path
    except MalformedError:
        return "", ""  # a key that names no host is for nobody


def _from_entry(where: str, entry: object) -> Credential | None:
    if not isinstance(entry, dict):
        raise MalformedError(where, got=Shape(entry), expected="an object with auth")
    for key in ("auth", "username", "password", "identitytoken", "registrytoken"):
        if not isinstance(entry.get(key) or "", str):
            raise MalformedError(f"{where}.{key}", got=Shape(entry[key]), expected="text")
    if entry.get("registrytoken") and not _TOKEN.fullmatch(entry["registrytoken"]):
        raise MalformedError(f"{where}.registrytoken", got="text with spaces, line ends or what is not ASCII",
                             expected="a token as it stands in a header")
    username, secret = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth"):
        try:
            pair = base64.b64decode(entry["auth"], validate=True).decode()
        except (binascii.Error, ValueError):
            raise AuthenticationError(f"credentials in {where}: `auth` is not base64 of name:password") from None
        username, colon, secret = pair.partition(":")
        if not colon:
            raise AuthenticationError(f"credentials in {where}: `auth` is not base64 of name:password")
        secret = secret.strip("\0")
    credential = Credential(username, secret, entry.get("identitytoken") or "", entry.get("registrytoken") or "")
    return credential if credential != Credential() else None
