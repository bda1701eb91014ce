"""OIDC identity tokens: a JWT that an issuer signed (OpenID Connect Core section 2, RFC 7519, RFC 8725).

    1. three parts, at most 16 KiB, no duplicate keys
    2. `alg` from a list of asymmetric ones: never `none`, never HS*, whatever keys the issuer has
    3. the key by `kid`, of the type and curve that `alg` needs
    4. the signature
    5. iss, aud, exp, nbf, iat
Nothing of the claims is believed before 4, except `iss`, which only chooses whose keys are asked.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, RSAPSSAlgorithm
from jwt.exceptions import InvalidKeyError

from custody.errors import AuthenticationError, MalformedError
from custody.formats.protojson import decode_any_base64
from custody.kit import strictjson
from custody.trust.keys import AnyPublicKey

MAX_TOKEN = 16 * 1024
_MAX_JWKS = 1024 * 1024
_LEEWAY = 60
"""Seconds that an issuer's clock may be ahead of ours; `exp` gets none."""

_RSA = {256: RSAAlgorithm.SHA256, 384: RSAAlgorithm.SHA384, 512: RSAAlgorithm.SHA512}
_ALGORITHMS: dict[str, Any] = {
    **{f"RS{bits}": RSAAlgorithm(digest) for bits, digest in _RSA.items()},
    **{f"PS{bits}": RSAPSSAlgorithm(digest) for bits, digest in _RSA.items()},
    "ES256": ECAlgorithm(ECAlgorithm.SHA256), "ES384": ECAlgorithm(ECAlgorithm.SHA384),
    "ES512": ECAlgorithm(ECAlgorithm.SHA512), "EdDSA": OKPAlgorithm()}
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One key of an issuer's JWK set (RFC 7517)."""

    key: AnyPublicKey
    kid: str | None
    alg: str | None


class KeySource(Protocol):
    """Where an issuer's keys come from: a file, or its discovery document."""

    async def keys(self, *, refresh: bool) -> tuple[VerificationKey, ...]:
        """`refresh` asks for keys newer than those that were found wanting. Raises NetworkError, MalformedError."""


class LocalKeys:
    """A JWK set from a file: for issuers that cannot be reached, and for our own."""

    def __init__(self, data: bytes, where: str = "JWK set") -> None:
        self._keys = parse_jwks(data, where)

    async def keys(self, *, refresh: bool) -> tuple[VerificationKey, ...]:  # noqa: ARG002 - a file has no newer keys
        return self._keys


def parse_jwks(data: bytes, where: str = "JWK set") -> tuple[VerificationKey, ...]:
    """The signing keys; entries for encryption or of unknown type are passed over (RFC 7517 section 5)."""
    document = strictjson.loads(data, where, max_size=_MAX_JWKS, max_depth=16)
    jwks = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(jwks, list) or len(jwks) > 100:
        raise MalformedError(f"{where}.keys", got=jwks, expected="a list of at most 100 JWKs")
    readers = {"RSA": _ALGORITHMS["RS256"], "EC": _ALGORITHMS["ES256"], "OKP": _ALGORITHMS["EdDSA"]}
    keys = []
    for position, jwk in enumerate(jwks):
        if not isinstance(jwk, dict) or str(jwk.get("kty")) not in readers or jwk.get("use", "sig") != "sig":
            continue
        try:
            key = readers[jwk["kty"]].from_jwk(jwk)
        except (InvalidKeyError, ValueError, TypeError, KeyError) as error:
            raise MalformedError(f"{where}.keys[{position}]", got=str(error), expected="a JWK (RFC 7517)") from None
        if isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)):
            kid, alg = (jwk.get(name) if isinstance(jwk.get(name), str) else None for name in ("kid", "alg"))
            keys.append(VerificationKey(key, kid, alg))
    return tuple(keys)


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it was read: nothing in it is verified."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes

    @property
    def issuer(self) -> str:
        return str(self.claims["iss"])


def parse_token(text: str) -> Token:
    """Steps 1 and 2. Raises MalformedError, AuthenticationError."""
    if len(text) > MAX_TOKEN:
        raise MalformedError("identity token", got=f"{len(text)} bytes", expected=f"at most {MAX_TOKEN} bytes")
    parts = text.split(".")
    if len(parts) != 3:
        raise MalformedError("identity token", got=f"{len(parts)} part(s)", expected="header.claims.signature")
    header, claims = (strictjson.loads(decode_any_base64(part, where), where, max_depth=16)
                      for part, where in ((parts[0], "identity token header"), (parts[1], "identity token claims")))
    if not isinstance(header, dict) or not isinstance(claims, dict) or not isinstance(claims.get("iss"), str):
        raise MalformedError("identity token", got="no claim iss", expected="JSON objects with an issuer")
    if not isinstance(header.get("alg"), str) or header["alg"] not in _ALGORITHMS:
        raise AuthenticationError(f"identity token alg: got {header.get('alg')!r}, expected one of "
                                  f"{', '.join(_ALGORITHMS)}")
    if "crit" in header:
        raise AuthenticationError(f"identity token crit: {header['crit']!r} is not understood")
    signature = decode_any_base64(parts[2], "identity token signature")
    return Token(header, claims, f"{parts[0]}.{parts[1]}".encode(), signature)


async def verify_token(token: Token, source: KeySource, audience: str, now: datetime) -> None:
    """Steps 3 to 5; the caller chose `source` and `audience` by the token's `iss`. Raises AuthenticationError."""
    key = _choose(token, await source.keys(refresh=False))
    if key is None:
        key = _choose(token, await source.keys(refresh=True))
    if key is None:
        raise AuthenticationError(f"identity token kid: {token.header.get('kid')!r} is none of the issuer's keys")
    _check_key(token.header["alg"], key)
    if not await asyncio.to_thread(_ALGORITHMS[token.header["alg"]].verify, token.signed, key.key, token.signature):
        raise AuthenticationError("identity token: the signature does not verify with the issuer's key")
    aud = token.claims.get("aud")
    if audience not in (aud if isinstance(aud, list) else [aud]):
        raise AuthenticationError(f"identity token aud: got {aud!r}, expected {audience!r}")
    moment = now.timestamp()
    times = {name: token.claims.get(name) for name in ("exp", "nbf", "iat")}
    for name, value in times.items():
        if value is None and name != "exp":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e11:
            raise AuthenticationError(f"identity token {name}: got {value!r}, expected seconds since 1970")
    if moment >= times["exp"]:  # type: ignore[operator]
        raise AuthenticationError(f"identity token exp: expired {int(moment - times['exp'])} s ago")  # type: ignore[operator]
    for name in ("nbf", "iat"):
        if (value := times[name]) is not None and moment + _LEEWAY < value:
            raise AuthenticationError(f"identity token {name}: not valid for another {int(value - moment)} s")


def sign_token(claims: Mapping[str, Any], key: ec.EllipticCurvePrivateKey, kid: str) -> str:
    """A JWT of alg ES256 with a P-256 key."""
    parts = [base64.urlsafe_b64encode(json.dumps(part, separators=(",", ":")).encode()).rstrip(b"=")
             for part in ({"alg": "ES256", "typ": "JWT", "kid": kid}, claims)]
    signed = b".".join(parts)
    signature = base64.urlsafe_b64encode(_ALGORITHMS["ES256"].sign(signed, key)).rstrip(b"=")
    return (signed + b"." + signature).decode()


def _choose(token: Token, keys: tuple[VerificationKey, ...]) -> VerificationKey | None:
    kid = token.header.get("kid")
    if kid is None:
        return keys[0] if len(keys) == 1 else None
    return next((key for key in keys if key.kid == kid), None)


def _check_key(alg: str, key: VerificationKey) -> None:
    if key.alg is not None and key.alg != alg:
        raise AuthenticationError(f"identity token alg: got {alg}, the issuer's key is for {key.alg}")
    if isinstance(key.key, rsa.RSAPublicKey):
        fits = alg[:2] in ("RS", "PS") and key.key.key_size >= 2048
    elif isinstance(key.key, ec.EllipticCurvePublicKey):
        fits = _CURVES.get(alg) == key.key.curve.name
    else:
        fits = alg == "EdDSA"
    if not fits:
        raise AuthenticationError(f"identity token alg: {alg} does not fit the issuer's key, or the key is weak")
