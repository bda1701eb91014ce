"""Logins at registries as `notation` looks for them and keeps them: its own config.json first, then Docker's.

A file that names credential helpers (`credsStore`, `credHelpers`) or holds `auths` is the one that counts. Logins are
kept by helpers alone, never as text in a file. (oras-go `registry/remote/credentials`; notation `internal/auth`.)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custody.errors import AuthenticationError, UsageError
from custody.formats.reference import DOCKER_HUB
from custody.kit import strictjson
from custody.kit.members import mapping
from custody.kit.program import ask as ask_program
from custody.registry.credentials import Ask, Credential, credential_of, find_credential
from custody.sign.notary.directory import Directory, read_document, write_document

_KEYS = ("credsStore", "credHelpers", "auths")
_NATIVE = "pass", "secretservice"
"""Helpers of this system that are taken where no file names one (the first where `pass` itself is there)."""
_HUB_SERVER = "https://index.docker.io/v1/"
HINT = "https://notaryproject.dev/docs/how-to/registry-authentication/"


def find_login(directory: Directory, host: str, repository: str, ask: Ask) -> Credential | None:
    """The login for a repository of a host, or None; may run a helper for seconds.

    Raises MalformedError, AuthenticationError for a file or helper that is broken.
    """
    document = _document(directory.config_file)
    if _counts(document):
        return credential_of(str(directory.config_file), document, host, repository, ask)
    return find_credential(host, repository, ask=ask)


@dataclass(frozen=True, slots=True)
class Keeper:
    """Where logins are kept: a helper, or no helper and a file, whose `auths` are read and never written."""

    path: Path
    document: dict[str, Any]
    native: str | None = None

    def helper(self, server: str) -> str | None:
        """The helper for a server. Raises UsageError for a name that is none."""
        helpers = self.document.get("credHelpers")
        name = (helpers.get(server) if isinstance(helpers, dict) else None) or self.document.get(
            "credsStore") or self.native
        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise UsageError(f"{self.path}: got the helper {name!r}, expected NAME of a program "
                             "docker-credential-NAME")
        return name

    def keep(self, host: str, credential: Credential) -> bool:
        """False where no helper is there to keep it. Blocks; raises AuthenticationError where a helper fails."""
        server = server_of(host)
        helper = self.helper(server)
        if helper is None:
            return False
        said = {"ServerURL": server, "Username": "<token>" if credential.identity_token else credential.username,
                "Secret": credential.identity_token or credential.secret}
        _ask(helper, "store", json.dumps(said).encode(), server)
        return True

    def forget(self, host: str) -> None:
        """Raises AuthenticationError where a helper fails, UsageError where the file cannot be written."""
        server = server_of(host)
        helper = self.helper(server)
        if helper is not None:
            _ask(helper, "erase", server.encode(), server)
            return
        auths = self.document.get("auths")
        if isinstance(auths, dict) and server in auths:
            left = {**self.document, "auths": {name: entry for name, entry in auths.items() if name != server}}
            write_document(self.path, json.dumps(left, indent=4, ensure_ascii=False).encode() + b"\n")


def keeper(directory: Directory, environment: Mapping[str, str]) -> Keeper:
    """notation's file where it says anything of logins, else Docker's, else a helper of this system, if any.

    Raises MalformedError.
    """
    docker = Path(environment.get("DOCKER_CONFIG") or Path(environment.get("HOME", "")) / ".docker") / "config.json"
    for path in (directory.config_file, docker):
        document = _document(path)
        if _counts(document):
            return Keeper(path, document)
    native = _NATIVE[0] if shutil.which("pass", path=environment.get("PATH")) else _NATIVE[1]
    program = shutil.which(f"docker-credential-{native}", path=environment.get("PATH"))
    return Keeper(directory.config_file, _document(directory.config_file), native if program else None)


def server_of(host: str) -> str:
    """What files and helpers call a registry."""
    return _HUB_SERVER if host == DOCKER_HUB else host


def _ask(helper: str, action: str, question: bytes, server: str) -> None:
    program = f"docker-credential-{helper}"
    status, _ = ask_program([program, action], question)
    if status != 0:  # what it says may hold what is secret
        raise AuthenticationError(f"{program} {action} for {server}: ended with {status}")


def _document(path: Path) -> dict[str, Any]:
    data = read_document(path)
    return {} if data is None else mapping(strictjson.loads(data, str(path)), str(path))


def _counts(document: Mapping[str, Any]) -> bool:
    return any(document.get(key) for key in _KEYS)
