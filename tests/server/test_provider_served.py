"""custody as Gatekeeper's external data provider: over mutual TLS, asked by custody's own client and by Gatekeeper."""

# ruff: noqa: E501 - documents in lines

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.http.providers import ClientFiles, ProviderClient
from custody.demo.world import GITHUB, SCANNER, World, examples
from custody.errors import CustodyError, UsageError
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.policy.model import Verdict
from custody.ports.http import secured
from custody.ports.lookup import Answered, ExternalData, Failed
from custody.server.platform import running
from custody.services.check import check
from custody.settings import EvidenceProvider, EvidenceSigner, Settings
from custody.wiring import gatherer, registry_client, service_http
from tests.demo.worlds import small_world
from tests.server.test_certificates import Authority, put

FOLDER = examples() / "gatekeeper-provider"
SIGNERS = {"signatures": [EvidenceSigner(issuer=GITHUB, subject="https://github.com/myorg/shop/.github/workflows/release.yml@refs/heads/main")],
           "sbom": [EvidenceSigner(issuer="https://scanner.custody.internal", subject=SCANNER)],
           "findings": [EvidenceSigner(issuer="https://scanner.custody.internal", subject=SCANNER)]}


def client_files(folder: Path, authority: Authority) -> ClientFiles:
    """Of whoever asks: `client_ca` is `ca.crt` beside them."""
    folder.mkdir(exist_ok=True)
    certificate, key = authority.leaf()
    put(folder / "tls.crt", certificate)
    put(folder / "tls.key", key)
    put(folder / "ca.crt", authority.pem)
    return ClientFiles(folder / "tls.crt", folder / "tls.key")


@contextlib.asynccontextmanager
async def provided(world: World, client_ca: Path, port: int = 0, **more: Any) -> AsyncIterator[tuple[str, str]]:
    """(URL, authorities in PEM) of a provider that reads the world's registry and trust root."""
    settings = world.settings.replace(
        external_data=EvidenceProvider(client_ca=str(client_ca), **{"signers": SIGNERS, "seconds": 10.0, **more}), mirrors=world.settings.mirrors,
        trusted_root=str(world.platform.data / "trust" / "trusted_root.json"), data_dir=str(world.folder / "provider-data"))
    async with running(settings, ("provider",), port=None, provider_port=port) as services:
        assert services.provider is not None
        yield services.provider, (world.folder / "provider-data" / "provider" / "ca.crt").read_text()


async def asked(url: str, authorities: str, files: ClientFiles | None, *keys: str) -> Any:
    http = AiohttpHttp()
    try:
        return await ProviderClient(partial(secured, http), files, keep=0).ask(
            ExternalData("custody", keys, url, 20, authorities))
    finally:
        await http.close()
        await asyncio.sleep(0.05)


def test_what_is_said_of_images_and_to_whom(tmp_path: Path) -> None:
    async def main() -> None:
        async with small_world(tmp_path / "world") as (world, chain, _):
            ours = client_files(tmp_path / "ours", Authority("gatekeeper"))
            strangers = client_files(tmp_path / "strangers", Authority("gatekeeper"))
            good = f"{world.name}@{chain.image.digest}"
            bare = await world.variant(chain.image, "bare")
            unsigned, tagged = f"{world.name}@{bare.digest}", f"{world.name}:1.0"
            missing = f"{world.name}@sha256:{'0' * 64}"
            async with provided(world, tmp_path / "ours" / "ca.crt") as (url, authorities):
                answer = await asked(f"{url}/evidence", authorities, ours, good, unsigned, missing, "Bad Name", tagged)
                assert isinstance(answer, Answered), answer
                items = {item["key"]: item for item in answer.value["response"]["items"]}
                assert answer.value["response"]["idempotent"] is True
                assert items[good]["value"]["states"] == dict.fromkeys(SIGNERS, "verified")
                assert items[good]["value"]["findings"][0]["counts"]["critical"] == 0
                assert items[tagged]["value"]["digest"] == chain.image.digest
                assert items[unsigned]["value"]["states"] == dict.fromkeys(SIGNERS, "missing")
                assert items[missing]["error"].startswith("missing: ")
                assert "Bad Name" in items["Bad Name"]["error"]
                pinned = await asked(f"{url}/digest", authorities, ours, tagged, missing)
                assert [item.get("value") for item in pinned.value["response"]["items"]] == [good, None]
                for files in (None, strangers):
                    refused = await asked(f"{url}/evidence", authorities, files, good)
                    assert isinstance(refused, Failed), refused
                assert "answered 404" in (await asked(f"{url}/other", authorities, ours, good)).reason
                assert "answered 400" in (await asked(f"{url}/evidence", authorities, ours, *map(str, range(101)))).reason
            async with provided(world, tmp_path / "ours" / "ca.crt", client_names=["localhost"]) as (url, authorities):
                assert isinstance(await asked(f"{url}/evidence", authorities, ours, good), Answered)
            async with provided(world, tmp_path / "ours" / "ca.crt", client_names=["gatekeeper"]) as (url, authorities):
                assert "answered 403" in (await asked(f"{url}/evidence", authorities, ours, good)).reason
            # Whose word counts is the operator's to say.
            async with provided(world, tmp_path / "ours" / "ca.crt", signers={"signatures": SIGNERS["sbom"]}) as (url, authorities):
                told = await asked(f"{url}/evidence", authorities, ours, good)
                [item] = told.value["response"]["items"]
                assert item["value"]["states"] == {"signatures": "failed"}
                assert "who does not count" in item["value"]["reasons"]["signatures"]
            async with provided(world, tmp_path / "ours" / "ca.crt", signers={}) as (url, authorities):
                [item] = (await asked(f"{url}/evidence", authorities, ours, good)).value["response"]["items"]
                assert item["value"]["states"] == dict.fromkeys(SIGNERS, "verified") | {"provenance": "missing"}
            # A registry that is away is an error of each key, and no "missing".
            world.settings.mirrors["away.example"] = "127.0.0.1:9"
            async with provided(world, tmp_path / "ours" / "ca.crt") as (url, authorities):
                both = await asked(f"{url}/evidence", authorities, ours, "away.example/a:1", good)
                [away, there] = both.value["response"]["items"]
                assert away["error"].startswith("unverifiable: "), away
                assert "value" in there

    asyncio.run(main())


def documents(url: str, authorities: str) -> list[dict[str, Any]]:
    """The ready-made ones, at this provider."""
    provider = yaml.safe_load((FOLDER / "provider.yaml").read_text())
    provider["spec"] |= {"url": f"{url}/evidence", "caBundle": base64.b64encode(authorities.encode()).decode()}
    return [provider, *(yaml.safe_load((FOLDER / name).read_text()) for name in ("template.yaml", "constraint.yaml"))]


def test_the_ready_made_template_in_custody_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with small_world(tmp_path / "world") as (world, chain, _):
            ours = client_files(tmp_path / "ours", Authority("gatekeeper"))
            bare = await world.variant(chain.image, "bare")
            settings = Settings(data_dir=str(tmp_path / "asking"), provider_certificate=str(ours.certificate),
                                provider_key=str(ours.key), provider_cache=0)
            from custody.wiring import provider_lookup

            http = service_http(settings)
            async with provided(world, tmp_path / "ours" / "ca.crt") as (url, authorities):
                policies = PolicySet.load(documents(url, authorities))
                source = gatherer(settings, registry_client(settings, http))
                said = {}
                for image in (f"{world.name}@{chain.image.digest}", f"{world.name}@{bare.digest}", "docker.io/library/nginx:1"):
                    checked = await check(world.pod(image), policies, source, system_clock,
                                          lookup=provider_lookup(settings, http))
                    said[image.rpartition("/")[2][:4]] = (checked.decision.verdict, [
                        result.message for result in checked.decision.results])
            gone = await check(world.pod(f"{world.name}@{chain.image.digest}"), policies, source, system_clock,
                               lookup=provider_lookup(settings, http))
            await http.close()
            assert gone.decision.verdict is Verdict.DENIED
            assert "custody did not answer" in gone.decision.results[0].message
            assert said["shop"][0] is Verdict.DENIED
            assert {message.partition(": ")[2] for message in said["shop"][1]} == {
                "findings missing", "sbom missing", "signatures missing"}
            assert said["ngin"] == (Verdict.DENIED, ["docker.io/library/nginx:1: its registry is none of ghcr.io/myorg/"])

    asyncio.run(main())


def test_the_role_needs_to_know_whom_it_serves(tmp_path: Path) -> None:
    async def start(settings: Settings) -> None:
        async with running(settings, ("provider",), port=None):
            pass

    with pytest.raises(UsageError, match="external_data: got nothing"):
        asyncio.run(start(Settings(data_dir=str(tmp_path))))
    with pytest.raises(CustodyError, match="No such file"):
        asyncio.run(start(Settings(data_dir=str(tmp_path), external_data=EvidenceProvider(client_ca=str(tmp_path / "ca.crt")))))
    (tmp_path / "ca.crt").write_bytes(Authority("a").pem)
    wrong = EvidenceProvider(client_ca=str(tmp_path / "ca.crt"), signers={"signature": [EvidenceSigner(key="sha256:" + "1" * 64)]})
    with pytest.raises(CustodyError, match="got 'signature'"):
        asyncio.run(start(Settings(data_dir=str(tmp_path), external_data=wrong)))


