"""Keys of the transit engine of Vault and OpenBao: `hashivault://NAME`, `openbao://NAME`.

Where the service is and who asks it is said by the environment, as its own command has it: `VAULT_ADDR`, `VAULT_TOKEN`,
`VAULT_NAMESPACE`, or the same with `BAO_`; `TRANSIT_SECRET_ENGINE_PATH` is the engine's path where it is not `transit`.
(developer.hashicorp.com/vault/api-docs/secret/transit: read key, create key, sign data.)
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.adapters.http.jsonservice import Reply, ask, check, decoded, mapping
from custody.errors import MalformedError, UsageError
from custody.ports.http import Http
from policylang.errors import Shape

REFERENCE = re.compile(r"(?:hashivault|openbao)://(\w(?:[\w.-]*\w)?)", re.ASCII)
_SIGNATURE = re.compile(r"vault:v([0-9]{1,9}):(.+)")
_HASHES = {"sha256": "sha2-256", "sha384": "sha2-384", "sha512": "sha2-512"}
DEFAULT_TYPE = "ecdsa-p256"
"""Of a key that is made, as cosign makes it."""


class _Place(NamedTuple):
    """The URL of the engine, and the headers that say who asks."""

    engine: str
    headers: dict[str, str]


class VaultKey:
    """Implements ports.keyservice.KeyService."""

    def __init__(self, http: Http, environ: Mapping[str, str], name: str, read_token: Callable[[], str] = lambda: ""
                 ) -> None:
        """`read_token` reads the file where Vault's own command keeps a token. Raises MalformedError."""
        matched = REFERENCE.fullmatch(name)
        if matched is None:
            raise MalformedError("key", got=name, expected="hashivault://NAME or openbao://NAME")
        self.name = name
        self._key = matched[1]
        self._http = http
        self._environ = environ
        self._read_token = read_token
        self._version: int | None = None

    async def public_key(self) -> str | None:
        place = self._place()
        url = f"{place.engine}/keys/{self._key}"
        reply = await ask(self.name, self._http, "GET", url, place.headers)
        if reply.status == 404:
            return None
        _check(reply)
        data = mapping(reply.document.get("data"), f"{reply.where}: data")
        latest = data.get("latest_version")
        version = mapping(mapping(data.get("keys"), "data.keys").get(str(latest)), f"data.keys.{latest}")
        public = version.get("public_key")
        if not isinstance(public, str) or not public:
            raise MalformedError(f"{reply.where}: public_key", got=Shape(public), expected="text: a key that signs")
        self._version = latest if isinstance(latest, int) else None
        if version.get("name") != "ed25519":
            return public
        try:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
        except ValueError:
            raise MalformedError(f"{reply.where}: public_key", got=public[:60], expected="32 bytes in base64") from None
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    async def sign(self, message: bytes, hash_name: str) -> bytes:
        place = self._place()
        # The version whose public key was read, not whatever is the latest by now.
        request: dict[str, Any] = {"key_version": self._version or 0, "prehashed": bool(hash_name),
                                   "signature_algorithm": "pkcs1v15", "marshaling_algorithm": "asn1"}
        given = hashlib.new(hash_name, message).digest() if hash_name else message
        request["input"] = base64.b64encode(given).decode()
        url = f"{place.engine}/sign/{self._key}" + (f"/{_HASHES[hash_name]}" if hash_name else "")
        reply = await ask(self.name, self._http, "POST", url, place.headers, json.dumps(request).encode())
        _check(reply)
        signature = mapping(reply.document.get("data"), f"{reply.where}: data").get("signature")
        parts = _SIGNATURE.fullmatch(signature) if isinstance(signature, str) else None
        if parts is None:
            raise MalformedError(f"{reply.where}: data.signature", got=Shape(signature),
                                 expected="vault:vVERSION:BASE64")
        if self._version not in (None, int(parts[1])):
            raise MalformedError(f"{reply.where}: data.signature", got=f"one of version {int(parts[1])}",
                                 expected=f"version {self._version}, whose public key was read")
        return decoded(parts[2], f"{reply.where}: data.signature")

    async def create(self) -> str:
        place = self._place()
        url = f"{place.engine}/keys/{self._key}"
        reply = await ask(self.name, self._http, "POST", url, place.headers,
                          json.dumps({"type": DEFAULT_TYPE}).encode())
        _check(reply)
        pem = await self.public_key()
        if pem is None:
            raise MalformedError(reply.where, got="no key", expected="the key that was made")
        return pem

    def _place(self) -> _Place:
        environ = self._environ
        address = environ.get("VAULT_ADDR") or environ.get("BAO_ADDR")
        token = environ.get("VAULT_TOKEN") or environ.get("BAO_TOKEN") or self._read_token().strip()
        if not address or not token:
            raise UsageError(f"{self.name}: {'VAULT_ADDR' if not address else 'VAULT_TOKEN'} is not set")
        headers = {"x-vault-token": token, "x-vault-request": "true"}
        if namespace := environ.get("VAULT_NAMESPACE") or environ.get("BAO_NAMESPACE"):
            headers["x-vault-namespace"] = namespace
        engine = (environ.get("TRANSIT_SECRET_ENGINE_PATH") or "transit").strip("/")
        return _Place(f"{address.rstrip('/')}/v1/{engine}", headers)


def _check(reply: Reply) -> None:
    check(reply, reply.document.get("errors"))
