"""JSON Web Tokens: reading, verifying and signing (RFC 7515, 7517, 7518, 7519)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from itertools import takewhile
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from policylang.go import pem
from policylang.rego.builtins.documents import read_json
from policylang.rego.builtins.encoding import decode64, decode64_url, lenient, utf8
from policylang.rego.builtins.operands import mapping, readable, string
from policylang.rego.declare import BuiltinError, Context, builtin
from policylang.rego.values import Value, compact, compare, order, pairs, to_json
from policylang.rego.values.numbers import KINDS

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
_CURVES: dict[str, type[ec.EllipticCurve]] = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}
_ALGORITHMS = frozenset({*(kind + size for kind in ("HS", "RS", "PS", "ES") for size in _HASHES), "EdDSA"})
_REGISTERED = _ALGORITHMS | {  # those that a JWK may name; keys for others than OPA's are passed over
    "none", "ES256K", "Ed25519", "RSA1_5", "RSA-OAEP", "RSA-OAEP-256", "RSA-OAEP-384", "RSA-OAEP-512", "dir",
    *(f"A{size}{mode}" for size in (128, 192, 256) for mode in ("KW", "GCMKW")),
    "ECDH-ES", *(f"ECDH-ES+A{size}KW" for size in (128, 192, 256)),
    *(f"PBES2-HS{2 * size}+A{size}KW" for size in (128, 192, 256))}
_PARAMETERS = frozenset({"alg", "kid", "typ", "cty", "crit"})


class _Key(NamedTuple):
    """`key`: bytes for HMAC, else one of cryptography's public keys. A JWK may name the algorithm and an id, and be
    `private`: such a one serves io.jwt.decode_verify, but not io.jwt.verify_*."""

    key: Any
    algorithm: str = ""
    id: str = ""
    private: bool = False


# --- tokens

def _sections(token: str) -> tuple[str, str, str]:
    if "." not in token:
        raise BuiltinError("encoded JWT had no period separators")
    parts = token.split(".")
    if len(parts) != 3:
        raise BuiltinError(f"encoded JWT must have 3 sections, found {len(parts)}")
    return parts[0], parts[1], parts[2]


def _decoded(part: str, section: str) -> bytes:
    try:
        return decode64_url(part)
    except BuiltinError as wrong:
        raise BuiltinError(f"JWT {section} had invalid encoding: {wrong}") from None


def _object(data: bytes) -> dict[str, Any]:
    try:
        claims = read_json(lenient(data))
    except BuiltinError as wrong:
        raise BuiltinError(f"invalid JSON: {wrong}") from None
    if type(claims) is not dict:
        raise BuiltinError("decoded JSON type was not an Object")
    return claims


def _read_header(part: str) -> dict[str, Any]:
    data = _decoded(part, "header")
    try:
        header = _object(data)
    except BuiltinError as wrong:
        raise BuiltinError(f"bad JWT header: {wrong}") from None
    if "enc" in header:
        raise BuiltinError("JWT is a JWE object, which is not supported")
    return header


def _parameters(header: dict[str, Any]) -> dict[str, Any]:
    """The header's known parameters, each of its kind."""
    for name in sorted(_PARAMETERS & header.keys()):
        if name != "crit":
            if type(header[name]) is not str:
                raise BuiltinError(f"{name}: must be a string")
        elif type(header[name]) is not list:
            raise BuiltinError("crit: must be a list")
        elif not _critical(header):
            raise BuiltinError("crit: must be a nonempty list")
    return header


def _critical(header: dict[str, Any]) -> list[str]:
    """The names before what is no name."""
    return list(takewhile(lambda name: type(name) is str, header.get("crit", [])))


@builtin("io.jwt.decode", "string", result="array<object[any: any], object[any: any], string>")
def decode(token: Value) -> list[Value]:
    """[header, payload, signature in hexadecimal]; of nested tokens the innermost. Nothing is verified."""
    shown = string(token, 1)
    while True:
        head, body, signature = _sections(shown)
        header = _read_header(head)
        data = _decoded(body, "payload")
        kind = header.get("cty", "")
        if type(kind) is not str:
            raise BuiltinError("cty: must be a string")
        if kind != "JWT":
            break
        shown = lenient(data).strip("\"'")
    return [header, _object(data), _decoded(signature, "signature").hex()]


# --- keys

def _keys(shown: str) -> list[_Key]:
    """Public keys: of one PEM certificate or public key, or of a JWK or a set of them."""
    data = utf8(shown, 2)
    if (block := next(pem.blocks(data), None)) is not None:
        if block.end < len(data):
            raise BuiltinError("extra data after a PEM certificate block")
        return [_Key(_pem(block))]
    try:
        given = read_json(shown)
        if type(given) is not dict:
            raise BuiltinError("it is no object")
        sets = given.get("keys", [given])
        strange = [jwk["alg"] for jwk in sets if jwk.get("alg", "none") not in _REGISTERED]
        if strange:
            raise BuiltinError(f"jwk.ParseKey: invalid algorithm: {strange[0]}")
        keys = [_Key(_jwk(jwk), str(jwk.get("alg", "")), str(jwk.get("kid", "")),
                     "d" in jwk and jwk.get("kty") != "oct") for jwk in sets]
    except (BuiltinError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm) as wrong:
        raise BuiltinError(f"failed to parse a JWK key (set): {wrong}") from None
    return [key for key in keys if not key.algorithm or key.algorithm in _ALGORITHMS]


def _pem(block: pem.Block) -> Any:
    try:
        if block.kind == "CERTIFICATE":
            return x509.load_der_x509_certificate(block.data).public_key()
        if block.kind == "PUBLIC KEY":
            return serialization.load_der_public_key(block.data)
    except (ValueError, UnsupportedAlgorithm) as wrong:
        shown = "certificate" if block.kind == "CERTIFICATE" else "public key"
        raise BuiltinError(f"failed to parse a PEM {shown}: {wrong}") from None
    raise BuiltinError("failed to extract a Key from the PEM certificate")


def _integer(text: str) -> int:
    return int.from_bytes(decode64(text, url=True, padded=False), "big")


def _jwk(jwk: dict[str, Any], private: bool = False) -> Any:
    kind = jwk.get("kty")
    if kind == "oct":
        return decode64(jwk["k"], url=True, padded=False)
    if kind == "RSA":
        public = rsa.RSAPublicNumbers(_integer(jwk["e"]), _integer(jwk["n"]))
        for name in ("d", "p", "q", "dp", "dq", "qi"):
            if name in jwk:
                _integer(jwk[name])
        if not private:
            return public.public_key()
        p, q, d = (_integer(jwk[name]) for name in "pqd")
        more = (("dp", rsa.rsa_crt_dmp1, (d, p)), ("dq", rsa.rsa_crt_dmq1, (d, q)), ("qi", rsa.rsa_crt_iqmp, (p, q)))
        dp, dq, qi = (_integer(jwk[name]) if name in jwk else compute(*given) for name, compute, given in more)
        return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, public).private_key()
    if kind == "EC":
        curve = _CURVES[jwk["crv"]]()
        for name in ("x", "y", "d"):
            size = len(decode64(jwk[name], url=True, padded=False)) if name in jwk else 0
            if name in jwk and size != (curve.key_size + 7) // 8:
                raise ValueError(f"key validation failed: {name} has {size} bytes")
        numbers = ec.EllipticCurvePublicNumbers(_integer(jwk["x"]), _integer(jwk["y"]), curve)
        if not private:
            return numbers.public_key()
        return ec.EllipticCurvePrivateNumbers(_integer(jwk["d"]), numbers).private_key()
    if kind == "OKP" and jwk.get("crv") == "Ed25519":
        public_key = ed25519.Ed25519PublicKey.from_public_bytes(decode64(jwk["x"], url=True, padded=False))
        if "d" not in jwk:
            return public_key
        key = ed25519.Ed25519PrivateKey.from_private_bytes(decode64(jwk["d"], url=True, padded=False))
        return key if private else public_key
    raise ValueError(f"unknown kty {kind}")


# --- signatures

def _holds(algorithm: str, key: Any, data: bytes, signature: bytes, *, exact: bool = False) -> bool:
    """`exact`: signatures have the sizes of RFC 7518, as io.jwt.decode_verify wants; verify_* are lenient."""
    kind, digest = algorithm[:2], _HASHES.get(algorithm[2:], hashes.SHA256)()
    try:
        if kind == "HS" and isinstance(key, bytes):
            return hmac.compare_digest(hmac.new(key, data, f"sha{algorithm[2:]}").digest(), signature)
        if kind == "RS" and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), digest)
        elif kind == "PS" and isinstance(key, rsa.RSAPublicKey):
            salt = padding.PSS.DIGEST_LENGTH if exact else padding.PSS.AUTO
            key.verify(signature, data, padding.PSS(padding.MGF1(digest), salt), digest)
        elif kind == "ES" and isinstance(key, ec.EllipticCurvePublicKey):
            half = len(signature) // 2
            if exact and len(signature) != 2 * ((key.curve.key_size + 7) // 8):
                return False
            r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(digest))
        elif algorithm == "EdDSA" and isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _of_any(keys: list[_Key], algorithm: str, header: dict[str, Any], data: bytes, signature: bytes, *,
            exact: bool = False) -> bool:
    """By the key that the header names, or any of a suiting algorithm."""
    named = next((key for key in keys if header.get("kid") and key.id == header["kid"]), None)
    if named is not None:
        return (exact or not named.private) and _holds(algorithm, named.key, data, signature, exact=exact)
    return any(_holds(algorithm, key.key, data, signature, exact=exact) for key in keys
               if (exact or not key.private) and (not key.algorithm or key.algorithm == header.get("alg", "")))


def _verifier(name: str, algorithm: str) -> None:
    @builtin(f"io.jwt.verify_{name}", "string", "string", result="boolean")
    def verify(token: Value, key: Value) -> bool:
        if algorithm.startswith("HS"):
            shown, secret = string(token, 1), string(key, 2)
            head, body, signature = _sections(shown)
            return _holds(algorithm, utf8(secret, 2), utf8(f"{head}.{body}", 1), decode64_url(signature))
        head, body, signature = _sections(string(token, 1))
        keys, signed = _keys(string(key, 2)), decode64_url(signature)
        header = _parameters(_read_header(head))
        return _of_any(keys, algorithm, header, utf8(f"{head}.{body}", 1), signed)


for _algorithm in sorted(_ALGORITHMS):
    _verifier(_algorithm.lower(), _algorithm)


# --- decode_verify

_KNOWN = frozenset({"cert", "secret", "alg", "iss", "aud", "time"})
_REFUSED: list[Value] = [False, {}, {}]


def _constraints(context: Context, given: dict[Any, Value]) -> dict[str, Any]:
    want: dict[str, Any] = {}
    for name, value in sorted(pairs(given), key=lambda pair: order(pair[0])):
        if name not in _KNOWN:
            raise BuiltinError(f"unknown token validation constraint: {name}")
        if name == "time":
            if type(value) not in KINDS:
                raise BuiltinError("token time constraint: must be a number")
            if value < 0:
                raise BuiltinError("token time constraint: must not be negative")
        elif type(value) is not str:
            raise BuiltinError(f"{name} constraint: must be a string")
        want[name] = _keys(value) if name == "cert" else value
    if "cert" in want and want.get("secret"):
        raise BuiltinError("duplicate key constraints")
    if "cert" not in want and not want.get("secret"):
        raise BuiltinError("no key constraint")
    if "cert" not in want:
        want["cert"] = [_Key(utf8(want["secret"], 2))]
    if "time" not in want:
        from policylang.rego.builtins.times import now_ns
        want["time"] = now_ns(context)
    return want


@builtin("io.jwt.decode_verify", "string", "object[string: any]",
         result="array<boolean, object[any: any], object[any: any]>", context=True, nondeterministic=True)
def decode_verify(context: Context, token: Value, constraints: Value) -> list[Value]:
    """[true, header, payload], or [false, {}, {}] where signature or claims do not hold."""
    want = _constraints(context, mapping(constraints, 2))
    shown = string(token, 1)
    while True:
        head, body, signature = _sections(shown)
        header = _parameters(_read_header(head))
        algorithm = header.get("alg", "")
        if not algorithm or any(name in header and name not in _PARAMETERS for name in _critical(header)):
            return _REFUSED
        if want.get("alg") and want["alg"] != algorithm:
            return _REFUSED
        signed = decode64_url(signature)
        if algorithm not in _ALGORITHMS or not _of_any(want["cert"], algorithm, header, utf8(f"{head}.{body}", 1),
                                                       signed, exact=True):
            return _REFUSED
        data = _decoded(body, "payload")
        if header.get("cty", "").upper() != "JWT":
            break
        shown = lenient(data)
    payload = _object(data)
    if want.get("iss"):
        if type(payload.get("iss", "")) is not str:
            raise BuiltinError("iss: must be a string")
        if payload.get("iss") != want["iss"]:
            return _REFUSED
    if not _audience(payload, want.get("aud", "")):
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


def _audience(payload: dict[str, Any], expected: str) -> bool:
    if "aud" not in payload:
        return not expected
    audience = payload["aud"]
    return expected in audience if type(audience) is list else type(audience) is str and audience == expected


# --- signing

@builtin("io.jwt.encode_sign", "object[string: any]", "object[string: any]", "object[string: any]", result="string",
         nondeterministic=True)
def encode_sign(header: Value, payload: Value, key: Value) -> str:
    return _signed(compact(header), compact(payload), to_json(key))


@builtin("io.jwt.encode_sign_raw", "string", "string", "string", result="string", nondeterministic=True)
def encode_sign_raw(header: Value, payload: Value, key: Value) -> str:
    head, body, shown = string(header, 1), string(payload, 2), string(key, 3)
    try:
        jwk = json.loads(shown)
    except ValueError as wrong:
        raise BuiltinError(f"failed to parse JWK: {wrong}") from None
    return _signed(head, body, jwk)


def _signed(header: str, payload: str, key: Any) -> str:
    try:
        if isinstance(key, dict) and "keys" in key:
            if key["keys"] == []:
                raise BuiltinError("no keys found in JWK set")
            key = key["keys"][0]
        if key.get("alg", "none") not in _REGISTERED:
            raise ValueError(f"invalid algorithm: {key['alg']}")
        secret = _jwk(key, key.get("kty") != "oct" and "d" in key)
    except BuiltinError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, UnsupportedAlgorithm) as wrong:
        raise BuiltinError(f"jwk.Parse: failed to parse sole key: {wrong}") from None
    algorithm, kind = _header(header)
    if algorithm not in _ALGORITHMS:
        raise BuiltinError(f"unknown JWS algorithm: {algorithm}")
    if kind in ("JWT", None) and not readable(payload, read_json):
        raise BuiltinError("type is JWT but payload is not JSON")
    data = f"{_encoded(utf8(header, 1))}.{_encoded(utf8(payload, 2))}"
    return f"{data}.{_encoded(_signature(algorithm, secret, data.encode()))}"


def _header(header: str) -> tuple[str, str | None]:
    """The algorithm and the type, where that is a text."""
    if not header:
        raise BuiltinError("missing or invalid 'alg' header: cannot parse JSON: cannot parse empty string")
    try:
        claims = json.loads(header)
    except ValueError:
        claims = None
    if not isinstance(claims, dict) or not isinstance(claims.get("alg"), str):
        raise BuiltinError("missing or invalid 'alg' header: jwsbb: header \"alg\" not found")
    kind = claims.get("typ")
    return claims["alg"], kind if isinstance(kind, str) else None


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _signature(algorithm: str, key: Any, data: bytes) -> bytes:
    kind, digest = algorithm[:2], _HASHES.get(algorithm[2:], hashes.SHA256)()
    if kind == "HS" and isinstance(key, (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey)):
        key = _raw(key)  # to Go these keys are bytes
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
    raise BuiltinError(f"jwsbb.Sign: invalid key type for {algorithm}")


def _raw(key: ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey) -> bytes:
    """Go's ed25519.PrivateKey, the seed and the public key, or ed25519.PublicKey."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key.public_bytes_raw()
    return key.private_bytes_raw() + key.public_key().public_bytes_raw()
