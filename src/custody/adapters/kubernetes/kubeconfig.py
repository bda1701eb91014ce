"""An API server as the current context of a kubeconfig names it.

Fields: client-go's `v1.Config` (k8s.io/client-go/tools/clientcmd/api/v1). What would run a program or weaken TLS is
refused by its name.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from custody.adapters.kubernetes.access import Access, token_file
from custody.errors import MalformedError, UnsupportedError
from custody.kit.amount import amount
from custody.policy.load import read
from policylang.errors import Shape, Words

_REFUSED = {"exec": "custody runs no program for a credential", "auth-provider": "removed from Kubernetes",
            "username": "basic authentication is removed from Kubernetes", "as": "custody asks as itself",
            "insecure-skip-tls-verify": "an answer of who knows whom decides nothing",
            "proxy-url": "not obeyed by custody", "tls-server-name": "not obeyed by custody"}


def of_kubeconfig(file: Path) -> Access:
    """Raises UsageError, MalformedError, UnsupportedError."""
    return _Kubeconfig(file).access(read(file))


class _Kubeconfig:
    def __init__(self, file: Path) -> None:
        self._where = str(file)
        self._folder = file.parent

    def access(self, documents: list[Any]) -> Access:
        if len(documents) != 1 or not isinstance(documents[0], dict) or documents[0].get("kind") != "Config":
            raise MalformedError(self._where, got=Words(amount(len(documents), "document") if len(documents) != 1
                                 else f"kind {documents[0].get('kind')}" if isinstance(documents[0], dict)
                                 else str(Shape(documents[0]))), expected="one of kind Config")
        config = documents[0]
        context = self._named(config, "contexts", "context", config.get("current-context"))
        cluster = self._named(config, "clusters", "cluster", context.get("cluster"))
        user = self._named(config, "users", "user", context.get("user")) if context.get("user") else {}
        for part, name in ((cluster, "cluster"), (user, "user")):
            for field, reason in _REFUSED.items():
                if part.get(field):
                    raise UnsupportedError(f"{self._where}: {name}.{field}", reason)
        url = str(cluster.get("server") or "").rstrip("/")
        if not url.startswith("https://"):
            raise MalformedError(f"{self._where}: cluster.server", got=url, expected="https://host:port")
        return Access(self._where, url, self._tls(cluster, user), self._token(user))

    def _token(self, user: dict[str, Any]) -> Callable[[], str]:
        if user.get("tokenFile"):  # before `token`, as client-go has it
            return token_file(self._folder / str(user["tokenFile"]))
        text = str(user.get("token") or "")
        return lambda: text

    def _named(self, config: dict[str, Any], plural: str, field: str, name: Any) -> dict[str, Any]:
        listed = config.get(plural)
        for named in listed if isinstance(listed, list) else ():
            if isinstance(named, dict) and named.get("name") == name and isinstance(named.get(field), dict):
                settings: dict[str, Any] = named[field]
                return settings
        raise MalformedError(f"{self._where}: {plural}", got=f"no {name!r}", expected=f"the {field} that is chosen")

    def _file(self, part: dict[str, Any], field: str) -> bytes:
        path = self._folder / str(part[field])
        try:
            return path.read_bytes()
        except OSError as error:
            raise MalformedError(f"{self._where}: {field}", got=f"{path}: {error.strerror}",
                                 expected="a file that can be read") from None

    def _pem(self, part: dict[str, Any], field: str) -> bytes:
        """Of `field`-data, base64, or of the file that `field` names; b"" where there is neither."""
        if part.get(f"{field}-data"):
            try:
                return base64.b64decode(str(part[f"{field}-data"]), validate=True)
            except binascii.Error:
                raise MalformedError(f"{self._where}: {field}-data", got="other text", expected="base64") from None
        return self._file(part, field) if part.get(field) else b""

    def _tls(self, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
        authority = self._pem(cluster, "certificate-authority")
        certificate, key = self._pem(user, "client-certificate"), self._pem(user, "client-key")
        try:
            context = ssl.create_default_context(cadata=authority.decode()) if authority else (
                ssl.create_default_context())
            if certificate or key:
                with tempfile.TemporaryDirectory() as folder:  # ssl reads keys from files only; mode 0700
                    chain = Path(folder) / "client.pem"
                    descriptor = os.open(chain, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                    with os.fdopen(descriptor, "wb") as stream:
                        stream.write(certificate + b"\n" + key)
                    context.load_cert_chain(chain)
        except (ssl.SSLError, ValueError) as error:
            raise MalformedError(self._where, got=str(error), expected="certificates and a key in PEM") from None
        return context
