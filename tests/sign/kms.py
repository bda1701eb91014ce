"""Key management services over a socket, which have real keys: Vault's transit engine and AWS KMS, as documented.

Both judge what they are asked as the services do. They can lie: `lie` is what they give in a signature's place.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.adapters.http.sigv4 import Identity, signed_headers
from custody.server.asgi import Receive, Scope, Send, read_body, respond_json
from custody.sign.keys import PrivateKey

TOKEN = "s.custody"
ALICE = Identity("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
ACCOUNT = "arn:aws:kms:eu-central-1:111122223333:"
_HASHES = {"sha2-256": hashes.SHA256(), "sha2-384": hashes.SHA384(), "sha2-512": hashes.SHA512()}
_VAULT_TYPES: dict[str, Any] = {
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048), "ed25519": ed25519.Ed25519PrivateKey.generate}
_AWS_SPECS: dict[str, tuple[Any, list[str]]] = {
    "ECC_NIST_P256": (_VAULT_TYPES["ecdsa-p256"], ["ECDSA_SHA_256"]),
    "ECC_NIST_P384": (_VAULT_TYPES["ecdsa-p384"], ["ECDSA_SHA_384"]),
    "RSA_2048": (_VAULT_TYPES["rsa-2048"], ["RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PSS_SHA_256"])}


def _pem(key: Any) -> str:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return base64.b64encode(key.public_key().public_bytes_raw()).decode()
    text: str = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return text


class Transit:
    """Vault: `keys/NAME`, `sign/NAME[/HASH]`, `verify/NAME[/HASH]` below /v1/transit."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[str, list[Any]]] = {}
        self.asked: list[str] = []
        self.lie: str | None = None

    def add(self, name: str, kind: str = "ecdsa-p256") -> Any:
        """The newest version of a key, which is rotated where it is there."""
        key = _VAULT_TYPES[kind]()
        self.keys.setdefault(name, (kind, []))[1].append(key)
        return key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive, 1 << 20)
        self.asked.append(f"{'GET' if scope['method'] == 'GET' else 'POST'} {scope['path']}")
        if dict(scope["headers"]).get(b"x-vault-token") != TOKEN.encode():
            await respond_json(send, 403, {"errors": ["permission denied"]})
            return
        verb, name, *rest = scope["path"].removeprefix("/v1/transit/").split("/")
        request = json.loads(body) if body else {}
        if verb == "keys" and scope["method"] != "GET":
            if name not in self.keys:
                self.add(name, request.get("type", "aes256-gcm96"))
        elif name not in self.keys:
            await respond_json(send, 404, {"errors": []})
            return
        kind, versions = self.keys[name]
        if verb == "keys":
            await respond_json(send, 200, {"data": {
                "name": name, "type": kind, "latest_version": len(versions), "supports_signing": True,
                "keys": {str(number): {"name": "ed25519" if kind == "ed25519" else kind, "public_key": _pem(key)}
                         for number, key in enumerate(versions, 1)}}})
            return
        given, algorithm = base64.b64decode(request["input"]), (rest or ["sha2-256"])[0]
        if verb == "sign":
            number = int(request.get("key_version") or 0) or len(versions)
            signature = _vault_signature(versions[number - 1], given, algorithm, request)
            await respond_json(send, 200, {"data": {
                "signature": self.lie or f"vault:v{number}:{base64.b64encode(signature).decode()}"}})
            return
        _, version, text = request["signature"].split(":")
        valid = _valid(versions[int(version[1:]) - 1].public_key(), base64.b64decode(text), given, algorithm)
        await respond_json(send, 200, {"data": {"valid": valid}})


def _vault_signature(key: Any, given: bytes, algorithm: str, request: dict[str, Any]) -> bytes:
    """As Vault signs: RSA by PSS where nothing else is said; Ed25519 the input itself, prehashed as Ed25519ph."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        if not request.get("prehashed"):
            return key.sign(given)
        assert algorithm == "sha2-512"
        return _ed25519ph(key, given)
    chosen: Any = Prehashed(_HASHES[algorithm]) if request.get("prehashed") else _HASHES[algorithm]
    if isinstance(key, rsa.RSAPrivateKey):
        assert request["signature_algorithm"] == "pkcs1v15"
        return key.sign(given, padding.PKCS1v15(), chosen)
    assert request.get("marshaling_algorithm", "asn1") == "asn1"
    signature: bytes = key.sign(given, ec.ECDSA(chosen))
    return signature


def _ed25519ph(key: ed25519.Ed25519PrivateKey, digest: bytes) -> bytes:
    """RFC 8032 section 5.1.6 with phflag 1, over a digest; by its own arithmetic modulo the group's order."""
    from nacl import bindings

    expanded = hashlib.sha512(key.private_bytes_raw()).digest()
    scalar, prefix = bytearray(expanded[:32]), expanded[32:]
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    domain = b"SigEd25519 no Ed25519 collisions" + bytes([1, 0])
    public = key.public_key().public_bytes_raw()
    nonce = bindings.crypto_core_ed25519_scalar_reduce(hashlib.sha512(domain + prefix + digest).digest())
    point = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce)
    challenge = bindings.crypto_core_ed25519_scalar_reduce(hashlib.sha512(domain + point + public + digest).digest())
    reduced = bindings.crypto_core_ed25519_scalar_reduce(bytes(scalar) + bytes(32))
    return point + bindings.crypto_core_ed25519_scalar_add(
        nonce, bindings.crypto_core_ed25519_scalar_mul(challenge, reduced))


def _valid(key: Any, signature: bytes, digest: bytes, algorithm: str) -> bool:
    chosen = Prehashed(_HASHES[algorithm])
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, digest, padding.PKCS1v15(), chosen)
        else:
            key.verify(signature, digest, ec.ECDSA(chosen))
    except InvalidSignature:
        return False
    return True


class AwsKms:
    """TrentService: GetPublicKey, DescribeKey, Sign, CreateKey, CreateAlias; requests are checked by their SigV4."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[str, Any, str]] = {}
        self.aliases: dict[str, str] = {}
        self.asked: list[str] = []
        self.lie: bytes | None = None

    def add(self, alias: str, spec: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY") -> Any:
        key = _AWS_SPECS[spec][0]()
        number = f"{ACCOUNT}key/1234abcd-12ab-34cd-56ef-{len(self.keys):012d}"
        self.keys[number] = spec, key, usage
        if alias:
            self.aliases[alias] = number
        return key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive, 1 << 20)
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        action = headers["x-amz-target"].removeprefix("TrentService.")
        self.asked.append(action)
        if (refused := _refused(headers, body)) is not None:
            await respond_json(send, 400, {"__type": refused, "message": "The request signature does not match"})
            return
        request = json.loads(body)
        try:
            answer = getattr(self, f"_{action}")(request)
        except KeyError as absent:
            await respond_json(send, 400, {"__type": "NotFoundException", "message": f"{absent} is not found"})
        except ValueError as error:
            await respond_json(send, 400, {"__type": str(error), "message": "of this key"})
        else:
            await respond_json(send, 200, answer)

    def _key(self, request: dict[str, Any]) -> tuple[str, str, Any, str]:
        name = request["KeyId"]
        arn = self.aliases[name] if name.startswith("alias/") else name
        return arn, *self.keys[arn]

    def _GetPublicKey(self, request: dict[str, Any]) -> Any:  # noqa: N802 - the action's own name
        arn, spec, key, usage = self._key(request)
        der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        answer = {"KeyId": arn, "KeySpec": spec, "KeyUsage": usage, "PublicKey": base64.b64encode(der).decode()}
        return answer | ({"SigningAlgorithms": _AWS_SPECS[spec][1]} if usage == "SIGN_VERIFY" else
                         {"EncryptionAlgorithms": ["RSAES_OAEP_SHA_256"]})

    def _DescribeKey(self, request: dict[str, Any]) -> Any:  # noqa: N802
        arn, spec, _, usage = self._key(request)
        return {"KeyMetadata": {"KeyId": arn.rpartition("/")[2], "Arn": arn, "KeySpec": spec, "KeyUsage": usage,
                                "CustomerMasterKeySpec": spec, "SigningAlgorithms": _AWS_SPECS[spec][1]}}

    def _Sign(self, request: dict[str, Any]) -> Any:  # noqa: N802
        arn, spec, key, _ = self._key(request)
        algorithm = request["SigningAlgorithm"]
        if algorithm not in _AWS_SPECS[spec][1]:
            raise ValueError("ValidationException")
        assert request["MessageType"] == "DIGEST"
        digest = base64.b64decode(request["Message"])
        chosen = Prehashed({32: hashes.SHA256(), 48: hashes.SHA384()}[len(digest)])
        signature = key.sign(digest, padding.PKCS1v15(), chosen) if spec == "RSA_2048" else key.sign(
            digest, ec.ECDSA(chosen))
        return {"KeyId": arn, "SigningAlgorithm": algorithm,
                "Signature": base64.b64encode(signature if self.lie is None else self.lie).decode()}

    def _CreateKey(self, request: dict[str, Any]) -> Any:  # noqa: N802
        assert request["KeyUsage"] == "SIGN_VERIFY"
        self.add("", request.get("KeySpec") or request["CustomerMasterKeySpec"])
        arn = list(self.keys)[-1]
        return {"KeyMetadata": {"KeyId": arn, "Arn": arn}}

    def _CreateAlias(self, request: dict[str, Any]) -> Any:  # noqa: N802
        if request["AliasName"] in self.aliases:
            raise ValueError("AlreadyExistsException")
        self.aliases[request["AliasName"]] = request["TargetKeyId"]
        return {}


def _refused(headers: dict[str, str], body: bytes) -> str | None:
    """What AWS says to a request that nobody it knows has signed."""
    said = headers["authorization"]
    if f"Credential={ALICE.key_id}/" not in said:
        return "UnrecognizedClientException"
    names = said.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    moment = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    signed = {name: headers[name] for name in names if name not in ("host", "x-amz-date", "x-amz-security-token")}
    who = ALICE._replace(token=headers.get("x-amz-security-token", ""))
    own = signed_headers("POST", f"https://{headers['host']}/", signed, body, who, said.split("/")[2], "kms", moment)
    return None if own["authorization"].partition("Signature=")[2] == said.partition("Signature=")[2] else \
        "InvalidSignatureException"


def pem_of(key: Any) -> bytes:
    return PrivateKey(key).public.pem
