"""Keys of Azure's Key Vault: `azurekms://HOST/NAME[/VERSION]`, HOST being `NAME.vault.azure.net`.

Azure's tokens go to its own hosts alone. (learn.microsoft.com/rest/api/keyvault/keys: get key, sign, create key.)
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.adapters.http.azuretoken import AzureToken
from custody.adapters.http.jsonservice import Reply, ask, check, mapping
from custody.errors import MalformedError, UnsupportedError
from custody.kit.members import text_of
from custody.ports.http import Http
from policylang.errors import Shape

REFERENCE = re.compile(r"azurekms://([A-Za-z0-9-]+\.([a-z.]+))/([A-Za-z0-9-]{1,127})(?:/([a-z0-9]*))?")
_CLOUDS = ("vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net", "managedhsm.azure.net",
           "managedhsm.azure.cn", "managedhsm.usgovcloudapi.net")
_VERSION = "api-version=7.4"
_CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_ALGORITHMS = {("EC", "sha256"): "ES256", ("EC", "sha384"): "ES384", ("EC", "sha512"): "ES512",
               ("RSA", "sha256"): "RS256"}


class AzureKey:
    """Implements ports.keyservice.KeyService."""

    def __init__(self, http: Http, name: str, token: AzureToken) -> None:
        """Raises MalformedError."""
        matched = REFERENCE.fullmatch(name)
        if matched is None or matched[2] not in _CLOUDS:
            raise MalformedError("key", got=name, expected="azurekms://VAULT.vault.azure.net/NAME, with /VERSION or "
                                 "without, or the same at a host of another of Azure's clouds")
        self.name = name
        self._http = http
        self._token = token
        self._resource = f"https://{matched[2]}"
        self._key = f"https://{matched[1].lower()}/keys/{matched[3]}"
        self._version = matched[4] or ""
        self._kind = ""

    async def public_key(self) -> str | None:
        url = self._key + (f"/{self._version}" if self._version else "")
        reply = await self._ask("GET", url)
        if reply.status == 404:
            return None
        _check(reply)
        key = mapping(reply.document.get("key"), f"{reply.where}: key")
        self._version = text_of(key, "kid").removeprefix(f"{self._key}/")
        if not re.fullmatch("[a-z0-9]+", self._version):
            raise MalformedError(f"{reply.where}: key.kid", got=text_of(key, "kid")[:200],
                                 expected=f"{self._key}/VERSION")
        self._kind = text_of(key, "kty").removesuffix("-HSM")
        public = _public_key(key, self._kind, f"{reply.where}: key")
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    async def sign(self, message: bytes, hash_name: str) -> bytes:
        algorithm = _ALGORITHMS.get((self._kind, hash_name))
        if algorithm is None:
            raise UnsupportedError(self.name, f"is a key of type {self._kind or 'none'}, which signs no "
                                   f"{hash_name or 'message itself'}")
        digest = hashlib.new(hash_name, message).digest()
        url = f"{self._key}/{self._version}/sign"
        reply = await self._ask("POST", url, {"alg": algorithm, "value": _encoded(digest)})
        _check(reply)
        signature = _decoded(reply.document.get("value"), f"{reply.where}: value")
        if self._kind == "RSA":
            return signature
        half = len(signature) // 2  # RFC 7518 section 3.4: r and s, of one length
        return encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))

    async def create(self) -> str:
        if (pem := await self.public_key()) is not None:
            return pem
        url = f"{self._key}/create"
        reply = await self._ask("POST", url, {"kty": "EC", "crv": "P-256", "key_ops": ["sign", "verify"]})
        _check(reply)
        pem = await self.public_key()
        if pem is None:
            raise MalformedError(self.name, got="no key", expected="the key that was made")
        return pem

    async def _ask(self, method: str, url: str, request: dict[str, Any] | None = None) -> Reply:
        headers = {"authorization": f"Bearer {await self._token.get(self._resource)}"}
        body = None
        if request is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(request).encode()
        return await ask(self.name, self._http, method, f"{url}?{_VERSION}", headers, body)


def _public_key(key: dict[str, Any], kind: str, where: str) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """Of a JSON web key (RFC 7518 section 6)."""
    try:
        if kind == "RSA":
            n, e = (int.from_bytes(_decoded(key.get(name), f"{where}.{name}")) for name in ("n", "e"))
            return rsa.RSAPublicNumbers(e, n).public_key()
        curve = _CURVES.get(text_of(key, "crv"))
        if kind != "EC" or curve is None:
            raise UnsupportedError(where, f"a key of type {text_of(key, 'kty')!r} {text_of(key, 'crv')}".rstrip())
        x, y = (int.from_bytes(_decoded(key.get(name), f"{where}.{name}")) for name in ("x", "y"))
        return ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
    except ValueError:
        raise MalformedError(where, got="numbers that make no key", expected="a public key") from None


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(value: Any, where: str) -> bytes:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]+", value) and len(value) % 4 != 1:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    raise MalformedError(where, got=Shape(value), expected="bytes in base64url")


def _check(reply: Reply) -> None:
    error = reply.document.get("error")
    check(reply, error.get("message") if isinstance(error, dict) else "")
