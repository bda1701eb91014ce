"""custody as Gatekeeper's external data provider: over mutual TLS, asked by custody's own client and by Gatekeeper."""

# ruff: noqa: E501 - documents in lines

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
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
from custody.policy.decide import decide
from custody.policy.evidenceview import view
from custody.policy.images import image as image_of
from custody.policy.load import PolicySet
from custody.policy.model import Context, Verdict
from custody.ports.http import secured
from custody.ports.lookup import Answered, ExternalData, Failed
from custody.server.platform import running
from custody.services.check import check
from custody.settings import Settings
from custody.settings.tables import EvidenceProvider, EvidenceSigner
from custody.wiring import gatherer, provider_lookup, registry_client, service_http
from tests import apiserver
from tests.demo.worlds import small_world
from tests.policy.gatekeeper.world import NOW
from tests.policy.gatekeeper.world import asked as request_of
from tests.policy.test_evidence_languages import ALL, IMAGE, known
from tests.policy.test_evidence_languages import pod as evidence_pod
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


@pytest.mark.parametrize(("field", "got"), [
    ("registries", None), ("registries", []), ("kinds", None), ("kinds", []), ("kinds", ["signature"])])
def test_a_constraint_says_which_registries_and_kinds(field: str, got: Any) -> None:
    provider, template, constraint = documents("https://custody.example", (Authority("gatekeeper").pem).decode())
    if got is None:
        del constraint["spec"]["parameters"][field]
    else:
        constraint["spec"]["parameters"][field] = got
    with pytest.raises(CustodyError, match=f"parameters.*{field}"):
        PolicySet.load([provider, template, constraint])


@pytest.mark.parametrize(("pod", "left_out", "reason"), [
    (IMAGE, ("registries",), f"{IMAGE}: its registry is none of "),
    (IMAGE, ("kinds",), "the constraint's parameters name no kinds of evidence"),
    (IMAGE, ("registries", "kinds"), f"{IMAGE}: its registry is none of ")])
def test_the_template_itself_allows_nothing_without_them(pod: str, left_out: tuple[str, ...], reason: str) -> None:
    provider, template, constraint = documents("https://custody.example", (Authority("gatekeeper").pem).decode())
    schema = template["spec"]["crd"]["spec"]["validation"]["openAPIV3Schema"]
    schema["required"] = []
    for name in left_out:
        del constraint["spec"]["parameters"][name]
    if len(left_out) == 2:
        del constraint["spec"]["parameters"]
    said = said_of(evidence_pod(pod), [provider, template, constraint])
    assert reason in said
    elsewhere = evidence_pod(IMAGE)
    elsewhere["spec"]["volumes"] = [{"name": "model", "image": {"reference": "mallory.example/model:1"}}]
    assert "mallory.example/model:1: its registry is none of " in " ".join(
        said_of(elsewhere, [provider, template, constraint]))


def said_of(pod: dict[str, Any], documents: list[dict[str, Any]]) -> list[str]:
    """Why it is denied, by a provider that has good evidence of every key."""
    policies = PolicySet.load(documents)
    reviewed, answers = request_of(pod), {}
    for _ in range(3):
        decision = decide(reviewed, {}, policies, Context(now=NOW), answers=answers)
        if not decision.asks.questions:
            break
        for question in decision.asks.questions:
            assert isinstance(question, ExternalData)
            answers[question] = Answered({"response": {"idempotent": True, "systemError": "", "items": [
                {"key": key, "value": view(image_of(key), known(*ALL.values()), NOW)} for key in question.keys]}})
    assert decision.verdict is Verdict.DENIED
    return [result.message for result in decision.results if result.denies]


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




# ── Gatekeeper itself ───────────────────────────────────────────────────────────────────────────────────────────────

PINNING = {"apiVersion": "mutations.gatekeeper.sh/v1", "kind": "Assign", "metadata": {"name": "pin-images"}, "spec": {
    "applyTo": [{"groups": [""], "versions": ["v1"], "kinds": ["Pod"]}], "match": {"scope": "Namespaced"},
    "location": "spec.containers[name: *].image",
    "parameters": {"assign": {"externalData": {"provider": "custody-digest", "dataSource": "ValueAtLocation", "failurePolicy": "Fail"}}}}}


def environment(folder: Path) -> dict[str, str]:
    """Of the script that boots a Gatekeeper beside the API server in a folder, with mutation and external data."""
    return {**os.environ, "PATH": f"{apiserver.PEERS}:{os.environ['PATH']}", "KUBECONFIG": str(folder / "kubeconfig"),
            "GATEKEEPER_PORT": str(apiserver.free_port()), "GATEKEEPER_FLAGS": "--enable-external-data", "MUTATION": "1"}


@contextlib.contextmanager
def gatekeeper(folder: Path) -> Iterator[Callable[..., Awaitable[subprocess.CompletedProcess[str]]]]:
    """What runs kubectl beside a real Gatekeeper, and `apply` its own script. Skips where a part is not installed."""
    try:
        for name in ("gatekeeper-controller", "jq", "curl"):
            apiserver.program(name)
        with apiserver.running(folder):
            script = apiserver.TOOLS / "gatekeeper-webhook"
            env = environment(folder)

            async def run(*command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
                return await asyncio.to_thread(lambda: subprocess.run(command, env=env, input=stdin, text=True,
                                                                      capture_output=True, timeout=240, check=False))

            async def act(verb: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
                if verb in ("start", "apply", "stop"):
                    return await run(str(script), verb, str(folder), *arguments)
                return await run("kubectl", verb, *arguments, stdin=stdin)

            try:
                yield act
            finally:
                subprocess.run([script, "stop", folder], env=env, capture_output=True, timeout=60, check=False)
    except apiserver.AbsentError as error:
        pytest.skip(str(error))


@pytest.mark.peer
def test_gatekeeper_asks_custody(tmp_path: Path) -> None:
    async def main(act: Callable[..., Awaitable[subprocess.CompletedProcess[str]]]) -> None:
        started = await act("start")
        assert started.returncode == 0, started.stderr
        async with small_world(tmp_path / "world") as (world, chain, _):
            bare = await world.variant(chain.image, "bare")
            good, unsigned = f"{world.name}@{chain.image.digest}", f"{world.name}@{bare.digest}"
            async with provided(world, tmp_path / "api" / "gatekeeper-ca.crt", seconds=2.5,
                                client_names=["gatekeeper-webhook-service.gatekeeper-system.svc"]) as (url, authorities):
                folder = tmp_path / "applied"
                folder.mkdir()
                written = documents(url, authorities)
                digest = {**written[0], "metadata": {"name": "custody-digest"},
                          "spec": {**written[0]["spec"], "url": f"{url}/digest"}}
                for at, document in enumerate([*written, digest, PINNING]):
                    (folder / f"{at}.yaml").write_text(yaml.safe_dump(document))
                applied = await act("apply", str(folder))
                assert applied.returncode == 0, applied.stderr

                async def create(image: str) -> subprocess.CompletedProcess[str]:
                    pod = world.pod(image)
                    del pod["spec"]["initContainers"]
                    return await act("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(pod))

                for _ in range(40):  # until its caches have the providers
                    allowed = await create(good)
                    if allowed.returncode == 0 and (await create(unsigned)).returncode:
                        break
                    await asyncio.sleep(0.5)
                assert allowed.returncode == 0, allowed.stderr
                denied = await create(unsigned)
                for kind in ("signatures", "sbom", "findings"):
                    assert f"[shop-evidence] {unsigned}: {kind} missing" in denied.stderr, denied.stderr
                elsewhere = await create("docker.io/library/nginx:1")
                assert elsewhere.returncode
                tagged = await create(f"{world.name}:1.0")
                assert tagged.returncode == 0, tagged.stderr
                assert json.loads(tagged.stdout)["spec"]["containers"][0]["image"] == good
            # A provider that is gone denies, by the template's own rule.
            away = await create(f"{world.name}@sha256:{'2' * 64}")
            assert away.returncode
            assert "external data" in away.stderr, away.stderr

    (tmp_path / "api").mkdir()
    with gatekeeper(tmp_path / "api") as act:
        asyncio.run(main(act))
