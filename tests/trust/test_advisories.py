"""What was published against Rekor, Fulcio and the timestamp authority: each advisory, tried at custody's services.

docs/advisories.md lists them with those against clients.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import generate_latest

from custody.adapters.http.jwks import DiscoveredKeys
from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import NetworkError
from custody.server.asgi import respond
from custody.server.metrics import Metrics
from custody.sign.keys import generate_key
from tests.serving import served
from tests.trust.client import call
from tests.trust.stack import Stack, serving

ENTRIES = "/api/v2/log/entries"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("advisories")) as made:
        yield made


# Rekor

KINDS: dict[str, dict[str, Any]] = {
    "CVE-2023-30551 jar": {"kind": "jar", "apiVersion": "0.0.1", "spec": {"archive": {"content": "UEsDBA=="}}},
    "CVE-2023-30551 apk": {"kind": "alpine", "apiVersion": "0.0.1", "spec": {"package": {"content": "H4sIAA=="}}},
    "CVE-2023-33199": {"kind": "intoto", "apiVersion": "0.0.2", "spec": {"content": {"envelope": {}}}},
    "CVE-2026-23831": {"kind": "cose", "apiVersion": "0.0.1", "spec": {"message": ""}},
    "CVE-2026-48702": {"kind": "alpine", "apiVersion": "0.0.1", "spec": {"package": {"url": "http://127.0.0.1:1/x"}}}}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_that_the_log_does_not_parse(stack: Stack, name: str) -> None:
    """CVE-2023-30551, CVE-2023-33199, CVE-2026-23831, CVE-2026-48702: archives, envelopes and messages that took memory
    or ended in a panic where the log read them. This one reads digests, signatures and keys alone.
    """
    size = stack.log.log.size
    for path in (ENTRIES, "/api/v1/log/entries"):
        reply = call(stack.endpoints.log, "POST", path, KINDS[name])
        assert reply.status in (400, 404), name
    reply = call(stack.endpoints.log, "POST", ENTRIES, KINDS[name])
    assert "invalid type, must be hashedrekord" in reply.message
    assert stack.log.log.size == size


def test_cve_2026_24117(stack: Stack) -> None:
    """GHSA-4c4x-jm2x-pf9j: the log fetched a public key from wherever a search named one. This one searches nothing."""
    asked: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await respond(send, 200, b"key")

    with served(inner) as url:
        search = {"publicKey": {"format": "x509", "url": f"{url}/key"}}
        for path in ("/api/v1/index/retrieve", "/api/v2/index/retrieve", ENTRIES):
            assert call(stack.endpoints.log, "POST", path, search).status in (400, 404)
    assert asked == []


# Fulcio

def _token(issuer: str) -> str:
    parts = ({"alg": "RS256", "kid": "k"}, {"iss": issuer, "sub": "x", "aud": "sigstore"})
    coded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return ".".join((*coded, "c2ln"))


@pytest.mark.parametrize("suffix", ["", "/x", "#.oidc.eks.example.com/id", "?.oidc.eks.example.com/id"])
def test_cve_2026_22772(stack: Stack, suffix: str) -> None:
    """GHSA-59jp-pj84-45mr: a pattern for issuers fitted an address inside, which was then asked for its keys. Issuers
    are compared whole, before anybody is asked.
    """
    asked: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await respond(send, 200, b"{}")

    with served(inner) as url:
        reply = call(stack.endpoints.ca, "POST", "/api/v2/signingCert", {"publicKeyRequest": {
            "publicKey": {"algorithm": "ECDSA", "content": generate_key().public.pem.decode()},
            "proofOfPossession": "AAAA"}}, {"Authorization": f"Bearer {_token(url + suffix)}"})
        assert reply.status == 400
        assert "is not a trusted issuer" in reply.message
    assert asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_cve_2026_49478(status: int) -> None:
    """GHSA-f5mr-q85p-6hh6: the keys were those of whoever an issuer's discovery document was redirected to."""
    asked: list[str] = []

    async def intruder(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await respond(send, 200, b'{"keys":[]}')

    with served(intruder) as other:
        async def issuer(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": status, "headers": [
                (b"location", f"{other}/.well-known/openid-configuration".encode()), (b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

        async def ask(url: str) -> None:
            http = StdlibHttp()
            try:
                await DiscoveredKeys(http, url).keys(refresh=False)
            finally:
                await http.close()

        with served(issuer) as url, pytest.raises(NetworkError, match=f"got status {status}, expected 200"):
            asyncio.run(ask(url))
    assert asked == []


# timestamp-authority

@pytest.mark.parametrize("body", [
    b"\x30\x84\x7f\xff\xff\xff" + b"\x02\x01\x01",  # says that it has 2 GiB
    b"\x30\x82\x40\x00" + b"\x06\x82\x3f\xfc" + b"\xff" * 0x3ffc,  # an object identifier of 16 KiB
    b"\x30\x80" * 4000])
def test_cve_2025_66564(stack: Stack, body: bytes) -> None:
    """GHSA-4qg8-fj49-pxjh: an object identifier in a request took memory by the square of its length."""
    reply = call(stack.endpoints.tsa, "POST", "/api/v1/timestamp", body,
                 {"Content-Type": "application/timestamp-query"})
    assert reply.status == 400
    assert "expected a DER TimeStampReq" in reply.message or "too large" in reply.message


def test_cve_2026_49835() -> None:
    """GHSA-9c54-x2g4-v92j: each path and method that anybody asked for made a metric of its own."""
    metrics = Metrics()
    for method in ("GET", "POST"):
        metrics.ended("tsa", method, 200, 0.1, 1, 1)
    series = []
    for attempt in range(2):
        for at in range(500):
            metrics.ended("tsa", f"METHOD{attempt}-{at}", 405, 0.1, 1, 1)
        series.append(generate_latest(metrics.registry).count(b"custody_http_requests_total{"))
    assert series == [3, 3]
