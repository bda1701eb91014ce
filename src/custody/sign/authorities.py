"""Clients of the services that signing needs: certificate authority, timestamp authority, transparency log.

None of their answers is believed here: the signer verifies the finished bundle against the trusted root.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from custody.errors import (
    AuthenticationError,
    ConflictError,
    MalformedError,
    NetworkError,
    UnsupportedError,
    UsageError,
)
from custody.formats import cosign
from custody.formats.bundle import LogEntry, read_log_entry
from custody.formats.protojson import Message, decode_any_base64, encode_base64
from custody.kit import strictjson
from custody.ports.http import Http
from custody.sign.keys import PrivateKey, PublicKey
from custody.trust.hashedrekord import HashedRekord
from custody.trust.keys import hash_of, key_details
from custody.trust.roots import Service

_MAX_ANSWER = 4 * 1024 * 1024
_MAX_TOKEN = 64 * 1024


def choose(services: Sequence[Service], kind: str, versions: Sequence[int], now: datetime) -> Service:
    """The first service that is valid now, of the highest API version that custody speaks. Raises UsageError."""
    valid = [service for service in services if service.valid.contains(now)]
    for version in sorted(versions, reverse=True):
        for service in valid:
            if service.major_api_version == version:
                return service
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
        "publicKey": {"algorithm": "ECDSA", "content": key.public.pem.decode()},
        "proofOfPossession": encode_base64(key.sign(token_principal(token).encode()))}}
    root = await _post_json(http, url.rstrip("/") + "/api/v2/signingCert", body, "certificate authority",
                            {"Authorization": f"Bearer {token}"})
    pems = root.message("signedCertificateEmbeddedSct").message("chain").raw("certificates")
    if not isinstance(pems, list) or not pems or not all(isinstance(pem, str) for pem in pems):
        raise MalformedError("certificate authority", got=pems, expected="a list of PEM certificates")
    return cosign.pem_certificates("".join(pems), "certificate authority")


async def request_timestamp(http: Http, url: str, signature: bytes) -> bytes:
    """DER TimeStampResp over a signature (RFC 3161), asked for with a nonce and the authority's certificate."""
    from rfc3161_client import TimestampRequestBuilder, decode_timestamp_response

    request = TimestampRequestBuilder().data(signature).nonce(nonce=True).cert_request(cert_request=True).build()
    answer = await _post(http, url, request.as_bytes(), "timestamp authority",
                         {"Content-Type": "application/timestamp-query"})
    try:
        nonce = decode_timestamp_response(answer).tst_info.nonce
    except ValueError:
        raise MalformedError("timestamp authority", got=answer[:64], expected="a DER TimeStampResp") from None
    if nonce != request.nonce:
        raise MalformedError("timestamp authority: nonce", got=nonce, expected=str(request.nonce))
    return answer


async def request_log_entry(http: Http, url: str, message: bytes, signature: bytes, key: PublicKey,
                            certificate: bytes | None) -> LogEntry:
    """Record a signature (Rekor API v2, hashedrekord 0.0.2); returns when the log has a checkpoint over it."""
    details = key_details(key.key)
    if details is None:
        raise UnsupportedError("key", "logs take RSA keys of 2048, 3072 and 4096 bits only")
    digest = hashlib.new(hash_of(key.key).name, message).digest()
    entry = HashedRekord(digest, signature, details, certificate, None if certificate else key.der)
    return read_log_entry(await _post_json(http, url.rstrip("/") + "/api/v2/log/entries", entry.to_request(),
                                           "transparency log", {}))


async def _post_json(http: Http, url: str, body: Mapping[str, Any], what: str, headers: Mapping[str, str]) -> Message:
    answer = await _post(http, url, json.dumps(body).encode(), what, {"Content-Type": "application/json", **headers})
    return Message(strictjson.loads(answer, what, max_size=_MAX_ANSWER, max_depth=32), what)


async def _post(http: Http, url: str, body: bytes, what: str, headers: Mapping[str, str]) -> bytes:
    async with await http.request("POST", url, headers=headers, body=body) as answer:
        data = await answer.read(_MAX_ANSWER)
        status = answer.status
    if status in (200, 201):
        return data
    try:
        words = str(json.loads(data)["message"])[:500]
    except (ValueError, KeyError, TypeError):
        words = data[:200].decode("utf-8", "replace")
    text = f"{what} {url}: answered {status}: {words}"
    if status == 409:
        raise ConflictError(text)
    if status in (400, 401, 403) and "Authorization" in headers:
        raise AuthenticationError(text, hint="is the identity token fresh, and meant for this authority?")
    raise NetworkError(text)
