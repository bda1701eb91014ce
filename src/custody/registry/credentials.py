"""Who we are at a registry: Docker's and Podman's credential files, and their helper programs.

Order as in the field: a helper named for the host, then the default helper, then the entry in the file
(docker/cli config.json; containers-auth.json(5)).
"""

from __future__ import annotations

import base64
import binascii
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custody.errors import AuthenticationError
from custody.kit import strictjson


@dataclass(frozen=True, slots=True)
class Credential:
    """A name and password, or an identity token where `username` is empty."""

    username: str
    secret: str

    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.secret}".encode()).decode()


def find_credential(registry: str) -> Credential | None:
    for path in _files():
        if not path.is_file():
            continue
        document = strictjson.loads(path.read_bytes(), str(path), max_size=1 << 20)
        found = _from_file(document if isinstance(document, dict) else {}, registry)
        if found:
            return found
    return None


def _files() -> list[Path]:
    home = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return [home, *([Path(runtime) / "containers" / "auth.json"] if runtime else [])]


def _from_file(document: dict[str, Any], registry: str) -> Credential | None:
    keys = [registry, f"https://{registry}"]
    if registry == "docker.io":
        keys.append("https://index.docker.io/v1/")
    helpers = document.get("credHelpers") or {}
    auths = document.get("auths") or {}
    for key in keys:
        if helper := helpers.get(key) or (document.get("credsStore") if key in auths else None):
            return _ask_helper(str(helper), key)
        entry = auths.get(key)
        if not isinstance(entry, dict):
            continue
        if token := entry.get("identitytoken"):
            return Credential("", str(token))
        if entry.get("auth"):
            try:
                name, _, secret = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise AuthenticationError(f"credentials of {key}: `auth` is not base64 of name:password") from None
            return Credential(name, secret)
        if entry.get("username"):
            return Credential(str(entry["username"]), str(entry.get("password", "")))
    return None


def _ask_helper(name: str, server: str) -> Credential | None:
    try:
        done = subprocess.run([f"docker-credential-{name}", "get"], input=server.encode(), capture_output=True,
                              timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AuthenticationError(f"docker-credential-{name}: {error}") from None
    if done.returncode != 0:
        return None
    answer = strictjson.loads(done.stdout, f"docker-credential-{name}", max_size=1 << 20)
    username = str(answer.get("Username", ""))
    return Credential("" if username == "<token>" else username, str(answer.get("Secret", "")))
