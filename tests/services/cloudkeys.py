"""Google's Cloud KMS and Azure's Key Vault as their REST references describe them, with one key each, and whoever gives
tokens for them: accounts, clients, metadata servers."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.errors import NetworkError
from custody.kit.address import Reach
from tests.services.keyservices import Reply

TOKEN = "ya29.a-token"
RING = "projects/p/locations/global/keyRings/r"
NAME = f"{RING}/cryptoKeys/k"
_SIZES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}


def _b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Clouds:
    """Implements ports.http.Http. `machine`: whether a metadata server answers."""

    def __init__(self, *, machine: bool = False, account: Any = None) -> None:
        self.machine = machine
        self.account = account
        self.asked: list[str] = []
        self.versions: dict[int, tuple[str, Any]] = {}
        """Google's, by number: algorithm and key."""
        self.disabled: set[int] = set()
        self.vault: dict[str, Any] = {}
        """Azure's, by name."""

    async def close(self) -> None:
        return None

    async def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: Any = None,
                      reach: Reach | None = None) -> Any:
        said, parts = dict(headers or {}), urlsplit(url)
        self.asked.append(f"{method} {parts.netloc}{parts.path}")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.netloc in ("metadata.google.internal", "169.254.169.254"):
            return self._metadata(said, query)
        if parts.path.endswith("/token"):
            return self._tokens({name: values[0] for name, values in parse_qs(body.decode()).items()})
        if said.get("authorization") != f"Bearer {TOKEN}":
            return Reply(401, {"error": {"message": "invalid authentication credentials"}})
        request = json.loads(body) if body else {}
        if parts.netloc == "cloudkms.googleapis.com":
            return self._google(method, parts.path.removeprefix("/v1/"), query, request)
        assert parts.netloc == "mine.vault.azure.net"
        assert query == {"api-version": "7.4"}
        return self._azure(method, parts.path.removeprefix("/keys/").split("/"), request)

    def _metadata(self, headers: dict[str, str], query: dict[str, str]) -> Reply:
        if not self.machine:
            raise NetworkError("no route to host")
        if headers.get("metadata-flavor") != "Google":
            assert headers["metadata"] == "true"
            assert query["resource"] == "https://vault.azure.net"
        return Reply(200, {"access_token": TOKEN})

    def _tokens(self, form: dict[str, str]) -> Reply:
        if form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            claims = jwt.decode(form["assertion"], self.account.public_key(), ["RS256"],
                                audience="https://oauth2.googleapis.com/token", options={"verify_exp": False,
                                                                                        "verify_iat": False})
            assert claims["exp"] - claims["iat"] == 3600
            assert claims["scope"] == "https://www.googleapis.com/auth/cloudkms"
        elif form["grant_type"] == "refresh_token":
            assert form["client_id"] == "id"
            if form["refresh_token"] != "refresh":
                return Reply(400, {"error": "invalid_grant", "error_description": "Token has been revoked."})
        else:
            assert form["scope"] == "https://vault.azure.net/.default"
            if form.get("client_secret", form.get("client_assertion")) != "right":
                return Reply(401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid secret"})
        return Reply(200, {"access_token": TOKEN})

    def _google(self, method: str, path: str, query: dict[str, str], request: dict[str, Any]) -> Reply:
        if method == "POST" and path.endswith("/keyRings"):
            return Reply(409, {"error": {"message": f"{query['keyRingId']} is there"}})
        if method == "POST" and path.endswith("/cryptoKeys"):
            assert request["purpose"] == "ASYMMETRIC_SIGN"
            self.versions[1] = request["versionTemplate"]["algorithm"], ec.generate_private_key(ec.SECP256R1())
            return Reply(200, {"name": NAME})
        if not self.versions:
            return Reply(404, {"error": {"message": "CryptoKey not found."}})
        if path == f"{NAME}/cryptoKeyVersions":
            assert query["filter"] == "state=ENABLED"
            listed = sorted(set(self.versions) - self.disabled)
            at = int(query.get("pageToken", "0"))
            page = {"cryptoKeyVersions": [{"name": f"{NAME}/cryptoKeyVersions/{number}"}
                                          for number in listed[at:at + 1]]}
            return Reply(200, page | ({"nextPageToken": str(at + 1)} if at + 1 < len(listed) else {}))
        number, _, verb = path.removeprefix(f"{NAME}/cryptoKeyVersions/").replace(":", "/").partition("/")
        if int(number) not in self.versions:
            return Reply(404, {"error": {"message": "CryptoKeyVersion not found."}})
        algorithm, key = self.versions[int(number)]
        if verb == "publicKey":
            pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
            return Reply(200, {"pem": pem, "algorithm": algorithm})
        assert (method, verb) == ("POST", "asymmetricSign")
        if isinstance(key, ed25519.Ed25519PrivateKey):
            signature = key.sign(base64.b64decode(request["data"]))
        else:
            (name, digest), = request["digest"].items()
            chosen = Prehashed(_SIZES[name])
            given = base64.b64decode(digest)
            signature = key.sign(given, padding.PKCS1v15(), chosen) if isinstance(key, rsa.RSAPrivateKey) else \
                key.sign(given, ec.ECDSA(chosen))
        return Reply(200, {"signature": base64.b64encode(signature).decode()})

    def _azure(self, method: str, path: list[str], request: dict[str, Any]) -> Reply:
        name, *rest = path
        if rest == ["create"]:
            assert (request["kty"], request["crv"]) == ("EC", "P-256")
            self.vault[name] = ec.generate_private_key(ec.SECP256R1())
        if name not in self.vault:
            return Reply(404, {"error": {"code": "KeyNotFound", "message": "A key with that name was not found"}})
        key = self.vault[name]
        numbers = key.public_key().public_numbers()
        if rest[-1:] != ["sign"]:
            web: dict[str, Any] = {"kid": f"https://mine.vault.azure.net/keys/{name}/abc123"}
            if isinstance(key, rsa.RSAPrivateKey):
                web |= {"kty": "RSA-HSM", "n": _b64url(numbers.n.to_bytes(key.key_size // 8)), "e": "AQAB"}
            else:
                size = (key.curve.key_size + 7) // 8
                web |= {"kty": "EC", "crv": f"P-{key.curve.key_size}",
                        **{axis: _b64url(getattr(numbers, axis).to_bytes(size)) for axis in ("x", "y")}}
            return Reply(200, {"key": web})
        assert rest == ["abc123", "sign"]
        digest = base64.urlsafe_b64decode(request["value"] + "==")
        chosen = Prehashed({32: hashes.SHA256(), 48: hashes.SHA384(), 64: hashes.SHA512()}[len(digest)])
        assert request["alg"] == ("RS256" if isinstance(key, rsa.RSAPrivateKey) else f"ES{len(digest) * 8}")
        if isinstance(key, rsa.RSAPrivateKey):
            return Reply(200, {"value": _b64url(key.sign(digest, padding.PKCS1v15(), chosen))})
        size = (key.curve.key_size + 7) // 8
        r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(chosen)))
        return Reply(200, {"value": _b64url(r.to_bytes(size) + s.to_bytes(size))})
