"""JSON Web Tokens: reading, verifying and signing (RFC 7515, 7517, 7518, 7519)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from custody.languages.rego.builtins.documents import read_json
from custody.languages.rego.builtins.encoding import decode64
from custody.languages.rego.builtins.operands import OperandFault, mapping, string
from custody.languages.rego.declare import BuiltinError, Context, builtin
from custody.languages.rego.numbers import KINDS
from custody.languages.rego.values import Value, compact, compare, to_json

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
_CURVES: dict[str, type[ec.EllipticCurve]] = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}
_ALGORITHMS = frozenset({*(kind + size for kind in ("HS", "RS", "PS", "ES") for size in _HASHES), "EdDSA"})
Key = Any  # bytes for HMAC, else one of cryptography's keys


# --- tokens

def _bytes(part: str, what: str) -> bytes:
    try:
        return decode64(part.rstrip("="), url=True, padded=False)
    except BuiltinError as wrong:
        raise BuiltinError(f"JWT {what} had invalid encoding: {wrong}") from None


def _sections(token: str) -> tuple[str, str, str]:
    if "." not in token:
        raise BuiltinError("encoded JWT had no period separators")
    parts = token.split(".")
    if len(parts) != 3:
        raise BuiltinError(f"encoded JWT must have 3 sections, found {len(parts)}")
    return parts[0], parts[1], parts[2]


def _object(data: bytes) -> dict[str, Any]:
    found = read_json(data.decode("utf-8", "replace"))
    if type(found) is not dict:
        raise BuiltinError("JWT part is no JSON object")
    return found


@builtin("io.jwt.decode", "string", result="array<object[any: any], object[any: any], string>")
def decode(token: Value) -> list[Value]:
    """[header, payload, signature in hexadecimal]; of nested tokens the innermost. Nothing is verified."""
    shown = string(token, 1)
    while True:
        head, body, signature = _sections(shown)
        header = _object(_bytes(head, "header"))
        data = _bytes(body, "payload")
        if header.get("cty") not in ("JWT", "jwt"):
            break
        shown = data.decode("utf-8", "replace").strip('"')
    return [header, _object(data), _bytes(signature, "signature").hex()]


# --- keys

def _keys(shown: str) -> list[Key]:
    """Public keys: of one PEM certificate or public key, or of a JWK or a set of them."""
    if "-----BEGIN" in shown:
        return [_pem(shown)]
    try:
        found = read_json(shown)
        keys = [_jwk(each) for each in found.get("keys", [found])]
    except (BuiltinError, ValueError, TypeError, KeyError, UnsupportedAlgorithm) as wrong:
        raise BuiltinError(f"failed to parse a JWK key (set): {wrong}") from None
    return keys


def _pem(shown: str) -> Key:
    data = shown.strip().encode()
    end = data.find(b"-----END")
    if end < 0:
        raise BuiltinError("failed to find a PEM certificate or key")
    rest = data[data.find(b"-----", end + 8) + 5:]
    if rest.strip():
        raise BuiltinError("extra data after a PEM certificate block")
    try:
        if b"BEGIN CERTIFICATE" in data:
            return x509.load_pem_x509_certificate(data).public_key()
    except ValueError as wrong:
        raise BuiltinError(f"failed to parse a PEM certificate: {wrong}") from None
    try:
        return serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise BuiltinError("failed to extract a Key from the PEM certificate") from None


def _integer(text: str) -> int:
    return int.from_bytes(decode64(text, url=True, padded=False), "big")


def _jwk(found: dict[str, Any], private: bool = False) -> Key:
    kind = found.get("kty")
    if kind == "oct":
        return decode64(found["k"], url=True, padded=False)
    if kind == "RSA":
        public = rsa.RSAPublicNumbers(_integer(found["e"]), _integer(found["n"]))
        if not private:
            return public.public_key()
        p, q, d = (_integer(found[name]) for name in "pqd")
        return rsa.RSAPrivateNumbers(p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q),
                                     public).private_key()
    if kind == "EC":
        numbers = ec.EllipticCurvePublicNumbers(_integer(found["x"]), _integer(found["y"]), _CURVES[found["crv"]]())
        if not private:
            return numbers.public_key()
        return ec.EllipticCurvePrivateNumbers(_integer(found["d"]), numbers).private_key()
    if kind == "OKP" and found.get("crv") == "Ed25519":
        if private:
            return ed25519.Ed25519PrivateKey.from_private_bytes(decode64(found["d"], url=True, padded=False))
        return ed25519.Ed25519PublicKey.from_public_bytes(decode64(found["x"], url=True, padded=False))
    raise ValueError(f"unknown kty {kind}")


# --- signatures

def _right(algorithm: str, key: Key, data: bytes, signature: bytes) -> bool:
    kind, digest = algorithm[:2], _HASHES.get(algorithm[2:], hashes.SHA256)()
    try:
        if kind == "HS" and isinstance(key, bytes):
            return hmac.compare_digest(hmac.new(key, data, f"sha{algorithm[2:]}").digest(), signature)
        if kind == "RS" and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), digest)
        elif kind == "PS" and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PSS(padding.MGF1(digest), padding.PSS.AUTO), digest)
        elif kind == "ES" and isinstance(key, ec.EllipticCurvePublicKey):
            size = (key.curve.key_size + 7) // 8
            if len(signature) != 2 * size:
                return False
            r, s = (int.from_bytes(part, "big") for part in (signature[:size], signature[size:]))
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(digest))
        elif algorithm == "EdDSA" and isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _verifies(token: str, keys: list[Key], algorithm: str) -> bool:
    head, body, signature = _sections(token)
    _object(_bytes(head, "header"))
    data, signed = f"{head}.{body}".encode(), _bytes(signature, "signature")
    return any(_right(algorithm, key, data, signed) for key in keys)


def _verifier(name: str, algorithm: str) -> None:
    @builtin(f"io.jwt.verify_{name}", "string", "string", result="boolean")
    def verify(token: Value, key: Value) -> bool:
        shown, given = string(token, 1), string(key, 2)
        keys = [given.encode()] if algorithm.startswith("HS") else _keys(given)
        return _verifies(shown, keys, algorithm)


for _algorithm in sorted(_ALGORITHMS):
    _verifier(_algorithm.lower(), _algorithm)


# --- decode_verify

_KNOWN = frozenset({"cert", "secret", "alg", "iss", "aud", "time"})
_REFUSED: list[Value] = [False, {}, {}]


def _constraints(context: Context, given: dict[Any, Value]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _KNOWN:
            raise BuiltinError(f"unknown constraint: {name}")
        if name == "time":
            if type(value) not in KINDS:
                raise BuiltinError("time: must be a number")
        elif type(value) is not str:
            raise BuiltinError(f"{name}: must be a string")
        found[name] = value
    if "cert" in found and "secret" in found:
        raise BuiltinError("duplicate key constraints")
    if "cert" not in found and "secret" not in found:
        raise BuiltinError("no key constraint")
    if "alg" in found and found["alg"] not in _ALGORITHMS:
        raise BuiltinError(f"unknown JWS algorithm: {found['alg']}")
    found["keys"] = _keys(found["cert"]) if "cert" in found else [found["secret"].encode()]
    if "time" not in found:
        from custody.languages.rego.builtins.times import now_ns
        found["time"] = now_ns(context)
    return found


@builtin("io.jwt.decode_verify", "string", "object[string: any]",
         result="array<boolean, object[any: any], object[any: any]>", context=True, nondeterministic=True)
def decode_verify(context: Context, token: Value, constraints: Value) -> list[Value]:
    """[true, header, payload], or [false, {}, {}] where signature or claims do not hold."""
    shown = string(token, 1)
    want = _constraints(context, mapping(constraints, 2))
    while True:
        head, body, signature = _sections(shown)
        header = _object(_bytes(head, "header"))
        algorithm = header.get("alg")
        if (algorithm not in _ALGORITHMS or "crit" in header or ("alg" in want and want["alg"] != algorithm)
                or not any(_right(algorithm, key, f"{head}.{body}".encode(), _bytes(signature, "signature"))
                           for key in want["keys"])):
            return _REFUSED
        data = _bytes(body, "payload")
        if str(header.get("cty", "")).upper() != "JWT":
            break
        shown = data.decode("utf-8", "replace").strip('"')
    payload = _object(data)
    if "iss" in want and payload.get("iss") != want["iss"]:
        return _REFUSED
    if not _audience(payload, want.get("aud")):
        return _REFUSED
    now = float(want["time"]) / 1_000_000_000
    for name in ("exp", "nbf"):
        if name in payload:
            if type(payload[name]) not in KINDS:
                raise BuiltinError(f"{name} value must be a number")
            late = compare(now, payload[name]) >= 0
            if late is (name == "exp"):
                return _REFUSED
    return [True, header, payload]


def _audience(payload: dict[str, Any], wanted: str | None) -> bool:
    if "aud" not in payload:
        return wanted is None
    found = payload["aud"]
    return wanted is not None and wanted in (found if isinstance(found, list) else [found])


# --- signing

@builtin("io.jwt.encode_sign", "object[string: any]", "object[string: any]", "object[string: any]", result="string",
         nondeterministic=True)
def encode_sign(header: Value, payload: Value, key: Value) -> str:
    return _signed(compact(mapping(header, 1)), compact(mapping(payload, 2)), to_json(mapping(key, 3)))


@builtin("io.jwt.encode_sign_raw", "string", "string", "string", result="string", nondeterministic=True)
def encode_sign_raw(header: Value, payload: Value, key: Value) -> str:
    head, body, shown = string(header, 1), string(payload, 2), string(key, 3)
    try:
        found = json.loads(shown)
    except ValueError as wrong:
        raise BuiltinError(f"failed to parse JWK: {wrong}") from None
    return _signed(head, body, found)


def _signed(header: str, payload: str, key: Any) -> str:
    algorithm, kind = _header(header)
    if kind == "JWT":
        try:
            json.loads(payload)
        except ValueError:
            raise BuiltinError("type is JWT but payload is not JSON") from None
    if algorithm not in _ALGORITHMS:
        raise BuiltinError(f"unknown signature algorithm {algorithm}")
    try:
        secret = _jwk(key, private=True)
    except (BuiltinError, ValueError, TypeError, KeyError, AttributeError) as wrong:
        raise BuiltinError(f"failed to parse a JWK: {wrong}") from None
    data = f"{_encoded(header.encode())}.{_encoded(payload.encode())}"
    return f"{data}.{_encoded(_signature(algorithm, secret, data.encode()))}"


def _header(header: str) -> tuple[str, Any]:
    if not header:
        raise BuiltinError("missing or invalid 'alg' header: cannot parse JSON: cannot parse empty string")
    try:
        found = json.loads(header)
    except ValueError:
        found = None
    if not isinstance(found, dict) or "alg" not in found:
        raise BuiltinError("missing or invalid 'alg' header: jwsbb: header \"alg\" not found")
    return str(found["alg"]), found.get("typ")


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _signature(algorithm: str, key: Key, data: bytes) -> bytes:
    kind, digest = algorithm[:2], _HASHES.get(algorithm[2:], hashes.SHA256)()
    if kind == "HS" and isinstance(key, bytes):
        return hmac.new(key, data, getattr(hashlib, f"sha{algorithm[2:]}")).digest()
    if kind == "RS" and isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), digest)
    if kind == "PS" and isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH), digest)
    if kind == "ES" and isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.curve.key_size + 7) // 8
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if algorithm == "EdDSA" and isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    raise OperandFault(3, f"must be a key for {algorithm}")
