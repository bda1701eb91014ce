"""What was published against notation and its libraries, tried here: each advisory by its number."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from custody.adapters.http.stdlib import StdlibHttp
from custody.cli.run import run
from custody.errors import CustodyError, VerificationError
from custody.formats import notary, oci
from custody.kit.clock import system_clock
from custody.kit.digest import sha256
from custody.services.notarysignatures import verify_artifact
from custody.sign.notary.crl import ListCache
from custody.sign.notary.distinguishedname import parse_name
from custody.sign.notary.revocation import Answer, OnlineRevocations, State
from custody.sign.notary.stapled import Staples
from custody.sign.notary.verify import Verifier
from tests.serving import served
from tests.sign.authority import IMAGE, NOW
from tests.sign.notary.envelopes import MANIFEST, made
from tests.sign.notary.materials import directory_in, environment
from tests.sign.notary.revoking import authority
from tests.sign.notary.test_verification import Known, Stores, statement


class Flooded:
    """A place with far more signatures than anybody looks at."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked = 0

    async def signatures(self, subject: oci.Descriptor) -> list[oci.Descriptor]:
        assert subject.digest == IMAGE
        return [oci.Descriptor(oci.MANIFEST, sha256(str(at).encode()), 5) for at in range(self.count)]

    async def envelope(self, signature: oci.Descriptor) -> tuple[bytes, str]:
        assert signature.size == 5
        self.asked += 1
        return b"{}", notary.JWS

    async def staples(self, signature: oci.Descriptor) -> Staples:
        raise AssertionError(f"{signature.digest}: nobody asks what is stapled to what is broken")


def test_endless_signatures() -> None:
    """CVE-2023-33957, CVE-2023-33958: as many are looked at as were asked for, and no more."""
    place = Flooded(5_000)
    verifier = Verifier(Stores(), Known(), lambda: NOW)
    with pytest.raises(VerificationError, match="none of 7 signatures counts, and there are 5000"):
        asyncio.run(verify_artifact(place, oci.Descriptor(MANIFEST, IMAGE, 7), statement(), verifier, limit=7))
    assert place.asked == 7


def test_another_descriptor_than_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    """CVE-2023-33959: a registry answers with an image that somebody did sign, in place of the one that was named."""
    for name, value in environment(directory_in(tmp_path)).items():
        if name.startswith("NOTATION_"):
            monkeypatch.setenv(name, value)
    (tmp_path / "trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [{
        "name": "one", "registryScopes": ["*"], "signatureVerification": {"level": "audit"},
        "trustStores": ["ca:acme"], "trustedIdentities": ["*"]}]}))
    signed, named = sha256(b"signed"), sha256(b"named")

    async def answer(request: Request) -> Response:
        assert request.method in ("HEAD", "GET")
        return Response(b"signed", media_type=oci.MANIFEST, headers={"Docker-Content-Digest": signed})

    with served(Starlette(routes=[Route("/v2/app/manifests/{name}", answer)])) as url:
        assert run(["notation", "verify", f"{url.removeprefix('http://')}/app@{named}"]) == 4
    assert f"answered with {signed}, asked for {named}" in capsys.readouterr().err


def test_names_that_take_all_memory() -> None:
    """CVE-2023-25656: subjects are attackers' text; they are bounded, and read in time that grows with their length."""
    begun = time.process_time()
    for name in ("C=US,ST=WA,O=" + "a" * 10_000_000, "," * 8000, "\\" * 8000, "C=" * 4000,
                 "C=US,ST=WA,O=a" + "+a=b" * 2000, "C=US,ST=WA,O=" + "\\," * 4000 + "=#", " " * 8000):
        with pytest.raises(CustodyError):
            parse_name(name, "x")
    assert time.process_time() - begun < 2


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """CVE-2024-51491: that a list could not be kept takes nothing away from what it says."""
    (tmp_path / "crl").write_text("a file where the folder would be")
    told: list[str] = []

    async def asked(chain: tuple[object, ...]) -> list[Answer]:
        http = StdlibHttp()
        try:
            return await OnlineRevocations(http, system_clock, ListCache(tmp_path / "crl"), tell=told.append).answers(
                chain, None)  # type: ignore[arg-type]
        finally:
            await http.close()

    with authority() as ca:
        chain = ca.issued(lists=("a",))
        ca.lists["a"] = ca.revoked()
        assert [answer.state for answer in asyncio.run(asked(chain))] == [State.GOOD]
    assert any("not kept" in words for words in told)


def test_the_authority_of_time_was_revoked() -> None:
    """CVE-2024-56138: who stamped is asked for as who signed is, whatever the level says of signers."""
    policy = statement("audit", trustStores=["ca:acme", "tsa:time"],
                       override={"authenticTimestamp": "enforce", "revocation": "skip"})
    verifier = Verifier(Stores(), Known(State.REVOKED), lambda: NOW)
    outcome = asyncio.run(verifier.verify(made("jws", stamped=True), notary.JWS, policy, lambda _: notary.Target(
        MANIFEST, IMAGE, 7, {})))
    assert "timestamp authority: CN=x is revoked" in str(outcome.error)


def test_a_signature_that_was_good_once() -> None:
    """CVE-2024-23332: an old image with its old signature ends with the signature, where expiry is enforced."""
    data = made("jws", expiry=NOW + timedelta(hours=1))
    for level, refused in (("strict", True), ("permissive", False)):
        verifier = Verifier(Stores(), Known(), lambda: NOW + timedelta(hours=2))
        outcome = asyncio.run(verifier.verify(data, notary.JWS, statement(level), lambda _: notary.Target(
            MANIFEST, IMAGE, 7, {})))
        assert (outcome.error is not None) == refused
        assert "signature: expired at" in str(outcome.failures[0].error)
