"""Private keys, with the members that Go's structures and JSON Web Keys (RFC 7517) have; pairs of both."""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from policylang.go import pem
from policylang.rego.builtins.certificates import b64, members, spki
from policylang.rego.builtins.encoding import decode64
from policylang.rego.builtins.operands import string
from policylang.rego.declare import BuiltinError, builtin
from policylang.rego.values import Value

_PRIVATE = frozenset({"RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY"})


def _loaded(data: bytes, *, der: bool = False) -> Any:
    try:
        return (serialization.load_der_private_key if der else serialization.load_pem_private_key)(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as wrong:
        raise BuiltinError(f"failed to parse private key: {wrong}") from None


def _private_keys(shown: str) -> list[Any]:
    """Of the PEM blocks in a text, which may be base64, those that are private keys; others are passed over."""
    try:
        data = decode64(shown)
    except BuiltinError:
        data = shown.encode("utf-8", "surrogateescape")
    return [_loaded(block.data, der=True) for block in pem.blocks(data) if block.kind in _PRIVATE]


@builtin("crypto.x509.parse_rsa_private_key", "string", result="object[string: any]")
def parse_rsa_private_key(value: Value) -> Value:
    """The first private key as a JSON Web Key; null of a text without one."""
    shown = string(value, 1, 3)
    if not shown:
        raise BuiltinError("input PEM data was empty")
    if not shown.startswith("-----BEGIN"):
        decode64(shown)
    keys = _private_keys(shown)
    return _web_key(keys[0]) if keys else None


def _web_key(key: Any) -> Value:
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        parts = {"n": numbers.public_numbers.n, "e": numbers.public_numbers.e, "d": numbers.d, "p": numbers.p,
                 "q": numbers.q, "dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}
        return {"kty": "RSA"} | {name: _b64url(part.to_bytes((part.bit_length() + 7) // 8, "big"))
                                 for name, part in parts.items()}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point, size = key.private_numbers(), (key.curve.key_size + 7) // 8
        curve = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}.get(key.curve.name, key.curve.name)
        parts = {"x": point.public_numbers.x, "y": point.public_numbers.y, "d": point.private_value}
        return {"kty": "EC", "crv": curve} | {name: _b64url(part.to_bytes(size, "big")) for name, part in parts.items()}
    if isinstance(key, ed25519.Ed25519PrivateKey):
        public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": _b64url(public), "d": _b64url(key.private_bytes_raw())}
    raise BuiltinError("unsupported kind of private key")


def _b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@builtin("crypto.parse_private_keys", "string", result="array[object[string: any]]")
def parse_private_keys(value: Value) -> Value:
    """Null of an empty text."""
    shown = string(value, 1, 3)
    return [_private_numbers(key) for key in _private_keys(shown)] if shown else None


def _private_numbers(key: Any) -> Value:
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        return {"N": numbers.public_numbers.n, "E": numbers.public_numbers.e, "D": numbers.d,
                "Primes": [numbers.p, numbers.q], "Precomputed": {
                    "Dp": numbers.dmp1, "Dq": numbers.dmq1, "Qinv": numbers.iqmp, "CRTValues": []}}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point = key.private_numbers()
        return {"Curve": {}, "X": point.public_numbers.x, "Y": point.public_numbers.y, "D": point.private_value}
    if isinstance(key, ed25519.Ed25519PrivateKey):
        public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return b64(key.private_bytes_raw() + public)
    raise BuiltinError("unsupported kind of private key")


@builtin("crypto.x509.parse_keypair", "string", "string", result="object[string: any]")
def parse_keypair(certificate: Value, key: Value) -> Value:
    shown, data = _pair(string(certificate, 1, 3), "CERTIFICATE"), _pair(string(key, 1, 3), "PRIVATE KEY")
    chain = _chosen(shown, "certificate", "CERTIFICATE", "\"CERTIFICATE\" PEM block")
    keys = _chosen(data, "key", "PRIVATE KEY", "PEM block with type ending in \"PRIVATE KEY\"")
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
    except ValueError:
        raise BuiltinError("x509: malformed certificate") from None
    try:
        private = _loaded(keys[0], der=True)
    except BuiltinError:
        raise BuiltinError("tls: failed to parse private key") from None
    public, signing = leaf.public_key(), private.public_key()
    if type(public) is not type(signing):
        raise BuiltinError("tls: private key type does not match public key type")
    if spki(public) != spki(signing):
        raise BuiltinError("tls: private key does not match public key")
    return {"Certificate": list(map(b64, chain)), "PrivateKey": _private_numbers(private),
            "Leaf": members(chain[0]), "OCSPStaple": None, "SignedCertificateTimestamps": None,
            "SupportedSignatureAlgorithms": None}


def _pair(shown: str, kind: str) -> bytes:
    """PEM, of what is PEM or base64 of PEM or of DER."""
    label = "-----BEGIN "
    data = shown.encode("utf-8", "surrogateescape") if shown.startswith(label) else decode64(shown)
    if data.startswith(label.encode()):
        return data
    return f"{label}{kind}-----\n".encode() + base64.encodebytes(data) + f"-----END {kind}-----\n".encode()


def _chosen(data: bytes, which: str, kind: str, expected: str) -> list[bytes]:
    """The PEM blocks of a kind; where there is none, in the words of Go's crypto/tls."""
    kinds = list(pem.blocks(data))
    chosen = [block.data for block in kinds if block.kind == kind or (which == "key" and
                                                                      block.kind.endswith(" " + kind))]
    if chosen:
        return chosen
    names = [block.kind for block in kinds]
    if not names:
        raise BuiltinError(f"tls: failed to find any PEM data in {which} input")
    if which == "key" and names == ["CERTIFICATE"]:
        raise BuiltinError("tls: found a certificate rather than a key in the PEM for the private key")
    if which == "certificate" and len(names) == 1 and names[0].endswith("PRIVATE KEY"):
        raise BuiltinError("tls: failed to find certificate PEM data in certificate input, but did find a private "
                           "key; PEM inputs may have been switched")
    raise BuiltinError(f"tls: failed to find {expected} in {which} input after skipping PEM blocks of the following "
                       f"types: [{' '.join(names)}]")
