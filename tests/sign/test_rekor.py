"""Logs of both API versions as a signer meets them, and one that has the entry already."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import ConflictError, CustodyError, NetworkError, VerificationError
from custody.evidence.model import Verified
from custody.formats import intoto
from custody.formats.bundle import parse_bundle
from custody.sign.keys import PrivateKey, generate_key
from custody.sign.signer import Signer
from custody.trust.roots import Service, SigningConfig, TrustedRoot, Validity
from tests.serving import served
from tests.sign.authority import IMAGE
from tests.sign.rekor1 import Rekor1
from tests.trust.stack import serving

VALID = Validity(datetime.now(UTC) - timedelta(days=1), None)
STATEMENT = intoto.statement(IMAGE, intoto.COSIGN_SIGN, {})


@pytest.fixture(scope="module")
def same() -> PrivateKey:
    """A key whose signatures of one message are equal, so that a log has seen them."""
    return PrivateKey(rsa.generate_private_key(65537, 2048))


@pytest.fixture
def log() -> Iterator[tuple[Rekor1, str]]:
    made = Rekor1()
    with served(made.app()) as url:
        yield made, url


def sign(made: Rekor1, url: str, key: PrivateKey, *, payload: bytes | None = None) -> tuple[object, Verified]:
    async def run() -> tuple[object, Verified]:
        http = StdlibHttp()
        try:
            signer = Signer(http=http, config=SigningConfig(rekor=(Service(url, 1, VALID, "test"),)),
                            root=TrustedRoot((made.trusted(url, VALID),)), key=key)
            return await (signer.sign(STATEMENT, IMAGE) if payload is None else signer.sign_payload(payload, IMAGE))
        finally:
            await http.close()

    return asyncio.run(run())


def test_version_1(log: tuple[Rekor1, str]) -> None:
    data, verified = sign(*log, generate_key())
    assert verified.log is not None
    assert verified.signed_at is not None
    entry, = parse_bundle(data).entries  # type: ignore[arg-type]
    assert (entry.kind, entry.version) == ("dsse", "0.0.1")


def test_an_entry_that_is_there_is_taken(log: tuple[Rekor1, str], same: PrivateKey) -> None:
    made, url = log
    sign(made, url, generate_key())
    made.forget = True
    with pytest.raises(NetworkError, match="answered 500: lost"):
        sign(made, url, same)  # the log kept it, and the signer was not told
    made.forget = False
    _, verified = sign(made, url, same)
    assert verified.log is not None
    assert (verified.log.index, len(made.bodies)) == (1, 2)


@pytest.mark.parametrize(("location", "wrong", "kind", "reason"), [
    (None, 0, VerificationError, "log entry: its .* is not the one of this signature, it is about something else"),
    ("/api/v1/log/entries/not-hex", None, ConflictError, "answered 409: an equivalent entry already exists"),
    ("https://elsewhere.example/api/v1/log/entries/" + "0" * 64, None, NetworkError, "got status 404, expected the"),
])
def test_an_entry_that_is_said_to_be_there(log: tuple[Rekor1, str], same: PrivateKey, location: str | None,
                                           wrong: int | None, kind: type[CustodyError], reason: str) -> None:
    made, url = log
    sign(made, url, generate_key())
    sign(made, url, same)
    made.location, made.wrong = location, wrong
    with pytest.raises(kind, match=reason):
        sign(made, url, same)


def test_version_2(tmp_path: Path, same: PrivateKey) -> None:
    """custody's own log answers an entry that it has with the entry; rekor-tiles with 409 and X-Log-Index."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    index = {"x-log-index": "0"}

    async def conflict(_: Request) -> Response:
        return JSONResponse({"code": 6, "message": "an equivalent entry already exists in the transparency log"}, 409,
                            index)

    async def run(root: TrustedRoot, url: str) -> Verified:
        http = StdlibHttp()
        try:
            signer = Signer(http=http, config=SigningConfig(rekor=(Service(url, 2, VALID, "test"),)), root=root,
                            key=same)
            return (await signer.sign(STATEMENT, IMAGE))[1]
        finally:
            await http.close()

    with serving(tmp_path) as stack:
        root = stack.material.trusted_root(stack.endpoints)
        base = stack.endpoints.log
        first = asyncio.run(run(root, base))
        assert first.log is not None
        assert asyncio.run(run(root, base)).log == first.log
        routes = [Route("/api/v2/log/entries", conflict, methods=["POST"]), *stack.routes]
        with served(Starlette(routes=routes)) as url:
            assert asyncio.run(run(root, url)).log == first.log
            asyncio.run(_other(root, base))
            index["x-log-index"] = "1"
            with pytest.raises(NetworkError, match="answered 409 and index 1, where another entry is"):
                asyncio.run(run(root, url))
            index["x-log-index"] = "7000"
            with pytest.raises(VerificationError, match="entry 7000 is not in a log of 2 entries"):
                asyncio.run(run(root, url))
            index.clear()
            with pytest.raises(ConflictError, match="answered 409: an equivalent entry already exists"):
                asyncio.run(run(root, url))


async def _other(root: TrustedRoot, url: str) -> None:
    http = StdlibHttp()
    try:
        await Signer(http=http, config=SigningConfig(rekor=(Service(url, 2, VALID, "test"),)), root=root,
                     key=generate_key()).sign(STATEMENT, IMAGE)
    finally:
        await http.close()
