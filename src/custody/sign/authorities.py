"""Clients of the services that signing needs: certificate authority, timestamp authority, transparency log.

None of their answers is believed here: the signer verifies the finished bundle against the trusted root.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, overload

from cryptography.hazmat.primitives.asymmetric import rsa

from custody.errors import (
    AuthenticationError,
    ConflictError,
    MalformedError,
    NetworkError,
    UsageError,
)
from custody.formats import cosign
from custody.formats.protojson import Message, decode_any_base64, encode_base64
from custody.kit import strictjson
from custody.kit.clock import ClockError
from custody.ports.http import Http
from custody.sign.keys import PrivateKey
from custody.trust.roots import Service

MAX_ANSWER = 4 * 1024 * 1024
_MAX_TOKEN = 64 * 1024


def choose(services: Sequence[Service], kind: str, versions: Sequence[int], now: datetime) -> Service:
    """The first service that is valid now, of the highest API version that custody speaks.

    Raises UsageError, and ClockError where the clock stands before all of them.
    """
    valid = [service for service in services if service.valid.contains(now)]
    for version in sorted(versions, reverse=True):
        for service in valid:
            if service.major_api_version == version:
                return service
    later = [(service.valid.start, service) for service in services if service.major_api_version in versions
             and service.valid.start is not None and service.valid.start > now]
    if later:
        _, first = min(later, key=lambda pair: pair[0])
        raise ClockError(f"signing config: {kind}", now, f"{first.url} is valid from {first.valid}")
    seen = ", ".join(f"{service.url} (API version {service.major_api_version})" for service in services) or "none"
    raise UsageError(f"signing config: no {kind} that is valid now and of API version "
                     f"{' or '.join(map(str, versions))}; it names {seen}")


def token_principal(token: str) -> str:
    """What the CA wants a proof over: the token's verified email address, else its subject. Not verified here."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _MAX_TOKEN:
        raise MalformedError("identity token", got=f"{len(parts)} parts", expected="a JWT of three parts")
    payload = decode_any_base64(parts[1], "identity token")
    claims = Message(strictjson.loads(payload, "identity token", max_size=_MAX_TOKEN, max_depth=16), "identity token")
    return claims.text("email", "") or claims.text("sub")


async def request_certificate(http: Http, url: str, token: str, key: PrivateKey) -> tuple[bytes, ...]:
    """A certificate for the token's subject: DER, leaf first (Fulcio API v2, signingCert with proof of possession)."""
    body = {"publicKeyRequest": {
        "publicKey": {"algorithm": "RSA_PSS" if isinstance(key.key, rsa.RSAPrivateKey) else "ECDSA",
                      "content": key.public.pem.decode()},
        "proofOfPossession": encode_base64(key.sign(token_principal(token).encode()))}}
    root = await post_json(http, url.rstrip("/") + "/api/v2/signingCert", body, "certificate authority",
                            {"Authorization": f"Bearer {token}"})
    pems = root.message("signedCertificateEmbeddedSct").message("chain").raw("certificates")
    if not isinstance(pems, list) or not pems or not all(isinstance(pem, str) for pem in pems):
        raise MalformedError("certificate authority", got=pems, expected="a list of PEM certificates")
    return cosign.pem_certificates("".join(pems), "certificate authority")


async def request_timestamp(http: Http, url: str, signature: bytes, hash_name: str = "sha512") -> bytes:
    """DER TimeStampResp over a signature (RFC 3161), asked for with a nonce and the authority's certificate.

    `hash_name` is what of the signature the authority sees: sha256, sha384 or sha512.
    """
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response

    builder = TimestampRequestBuilder().data(signature).hash_algorithm(HashAlgorithm[hash_name.upper()])
    request = builder.nonce(nonce=True).cert_request(cert_request=True).build()
    answer = await _post(http, url, request.as_bytes(), "timestamp authority",
                         {"Content-Type": "application/timestamp-query"})
    assert isinstance(answer, bytes)  # no refusal is accepted
    try:
        nonce = decode_timestamp_response(answer).tst_info.nonce
    except ValueError:
        raise MalformedError("timestamp authority", got=answer[:64], expected="a DER TimeStampResp") from None
    if nonce != request.nonce:
        raise MalformedError("timestamp authority: nonce", got=nonce, expected=str(request.nonce))
    return answer


class Refusal(NamedTuple):
    """An answer that its asker knows what to do with."""

    status: int
    headers: Mapping[str, str]
    words: str
    """What an error would say."""


@overload
async def post_json(http: Http, url: str, body: Mapping[str, Any], service: str,
                    headers: Mapping[str, str] | None = None) -> Message: ...
@overload
async def post_json(http: Http, url: str, body: Mapping[str, Any], service: str,
                    headers: Mapping[str, str] | None = None, *, accept: tuple[int, ...]) -> Message | Refusal: ...
async def post_json(http: Http, url: str, body: Mapping[str, Any], service: str,
                    headers: Mapping[str, str] | None = None, *, accept: tuple[int, ...] = ()) -> Message | Refusal:
    """The answer's JSON object, or the refusal where its status is one of `accept`. Raises NetworkError and others."""
    answer = await _post(http, url, json.dumps(body).encode(), service,
                         {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}, accept)
    if isinstance(answer, Refusal):
        return answer
    return Message(strictjson.loads(answer, service, max_size=MAX_ANSWER, max_depth=32), service)


async def _post(http: Http, url: str, body: bytes, service: str, headers: Mapping[str, str],
                accept: tuple[int, ...] = ()) -> bytes | Refusal:
    async with await http.request("POST", url, headers=headers, body=body) as answer:
        data = await answer.read(MAX_ANSWER)
        status, answered = answer.status, answer.headers
    if status in (200, 201):
        return data
    try:
        words = str(json.loads(data)["message"])[:500]
    except (ValueError, KeyError, TypeError, RecursionError):
        words = data[:200].decode("utf-8", "replace")
    text = f"{service} {url}: answered {status}: {words}"
    if status in accept:
        return Refusal(status, answered, text)
    if status == 409:
        raise ConflictError(text)
    if status in (400, 401, 403) and "Authorization" in headers:
        raise AuthenticationError(text, hint="is the identity token fresh, and meant for this authority?")
    raise NetworkError(text)
