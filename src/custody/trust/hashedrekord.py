"""The one kind of entry that a Rekor v2 log takes: hashedrekord 0.0.2 (rekor-tiles api/proto, sigstore_rekor.proto).

A request is read as leniently as protobuf's JSON mapping allows (camelCase or snake_case, enums by name or number,
either base64 alphabet), an unknown field is refused, and the signature is verified before anything is logged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from custody.errors import MalformedError, UnsupportedError, VerificationError
from custody.formats.protojson import Message, camel_case, decode_any_base64, encode_base64
from custody.kit import strictjson
from custody.kit.canonical import canonical
from custody.trust.keys import AnyPublicKey, describe_key, key_details, verifies

MAX_REQUEST = 4 * 1024 * 1024
_SHA2: dict[str, hashes.HashAlgorithm] = {
    "SHA2_256": hashes.SHA256(), "SHA2_384": hashes.SHA384(), "SHA2_512": hashes.SHA512()}
_DETAILS = {  # PublicKeyDetails (sigstore_common.proto): name → number, hash of the artifact
    "PKIX_ECDSA_P256_SHA_256": (5, "SHA2_256"), "PKIX_ECDSA_P384_SHA_384": (12, "SHA2_384"),
    "PKIX_ECDSA_P521_SHA_512": (13, "SHA2_512"), "PKIX_ED25519_PH": (8, "SHA2_512"),
    "PKIX_RSA_PKCS1V15_2048_SHA256": (9, "SHA2_256"), "PKIX_RSA_PKCS1V15_3072_SHA256": (10, "SHA2_256"),
    "PKIX_RSA_PKCS1V15_4096_SHA256": (11, "SHA2_256"), "PKIX_RSA_PSS_2048_SHA256": (16, "SHA2_256"),
    "PKIX_RSA_PSS_3072_SHA256": (17, "SHA2_256"), "PKIX_RSA_PSS_4096_SHA256": (18, "SHA2_256")}
_NUMBERS = {number: name for name, (number, _) in _DETAILS.items()}


@dataclass(frozen=True, slots=True)
class HashedRekord:
    """A signature over a digest, and who can verify it."""

    digest: bytes
    signature: bytes
    key_details: str
    certificate: bytes | None
    """DER; or else:"""
    public_key: bytes | None
    """DER SubjectPublicKeyInfo."""

    def canonical_body(self) -> bytes:
        """The entry as it is hashed into the tree (RFC 8785); verifiers rebuild it byte for byte."""
        return canonical({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": {
            "data": {"algorithm": _DETAILS[self.key_details][1], "digest": encode_base64(self.digest)},
            "signature": self._signature()}}})

    def to_request(self) -> dict[str, Any]:
        """The create-entry request that asks for this entry."""
        return {"hashedRekordRequestV002": {"digest": encode_base64(self.digest), "signature": self._signature()}}

    def _signature(self) -> dict[str, Any]:
        verifier = ({"x509Certificate": {"rawBytes": encode_base64(self.certificate)}} if self.certificate
                    else {"publicKey": {"rawBytes": encode_base64(self.public_key or b"")}})
        return {"content": encode_base64(self.signature), "verifier": {**verifier, "keyDetails": self.key_details}}

    def verify(self) -> None:
        """Raises VerificationError unless the key made the signature over the digest; MalformedError for a bad key."""
        where = "hashedRekordRequestV002.signature.verifier"
        algorithm = _SHA2[_DETAILS[self.key_details][1]]
        if len(self.digest) != algorithm.digest_size:
            raise VerificationError(f"hashedRekordRequestV002.digest: got {len(self.digest)} bytes, expected "
                                    f"{algorithm.digest_size} for {self.key_details}")
        try:
            key = (x509.load_der_x509_certificate(self.certificate).public_key() if self.certificate
                   else load_der_public_key(self.public_key or b""))
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise MalformedError(where, got=str(error), expected="a certificate or key in DER, not PEM") from None
        if not _fits(key, self.key_details):
            raise VerificationError(f"{where}: keyDetails says {self.key_details}, the key is {describe_key(key)}")
        scheme = (padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH) if "_PSS_" in self.key_details
                  else padding.PKCS1v15())
        if not verifies(key, self.signature, self.digest, Prehashed(algorithm), scheme):
            raise VerificationError("hashedRekordRequestV002.signature.content: the signature does not verify over "
                                    f"the digest with the given {describe_key(key)} key")


def parse_request(data: bytes) -> HashedRekord:
    """Read a create-entry request. Raises MalformedError, UnsupportedError; does not verify."""
    root = Message(camel_case(strictjson.loads(data, "request", max_size=MAX_REQUEST, max_depth=16)), "request")
    if not root.has("hashedRekordRequestV002"):
        raise UnsupportedError("request", "invalid type, must be hashedrekord",
                               hint="send hashedRekordRequestV002; a DSSE envelope is logged by the hash of its PAE")
    request = root.message("hashedRekordRequestV002")
    root.done()
    signature = request.message("signature")
    verifier = signature.message("verifier")
    details = verifier.raw("keyDetails")
    name = _NUMBERS.get(details, details) if isinstance(details, int) else details
    if not isinstance(name, str) or name not in _DETAILS:
        raise UnsupportedError(f"{verifier.where}.keyDetails", f"got {name!r}, expected one of {', '.join(_DETAILS)}")
    holders = [verifier.message(field) if verifier.has(field) else None for field in ("x509Certificate", "publicKey")]
    certificate, key = ((_data(holder, "rawBytes") if holder else None) for holder in holders)
    if (certificate is None) == (key is None):
        raise MalformedError(verifier.where, got="both or neither", expected="one of x509Certificate and publicKey")
    result = HashedRekord(_data(request, "digest"), _data(signature, "content"), name, certificate, key)
    for message in (request, signature, verifier, *holders):
        if message is not None:
            message.done()
    return result


def _fits(key: object, details: str) -> TypeGuard[AnyPublicKey]:
    if isinstance(key, rsa.RSAPublicKey) and key.public_numbers().e != 65537:
        return False
    return key_details(key) == details.replace("_PSS_", "_PKCS1V15_")


def _data(message: Message, name: str) -> bytes:
    data = decode_any_base64(message.raw(name), f"{message.where}.{name}")
    if not data:
        raise MalformedError(f"{message.where}.{name}", got="", expected="base64")
    return data
