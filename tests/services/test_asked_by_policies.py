"""What policies ask beside evidence: image data of registries, and other servers that the settings name."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json

import msgspec
import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.http.lookup import HttpLookup
from custody.errors import NetworkError
from custody.evidence.model import EvidenceSet
from custody.formats import intoto, oci
from custody.kit.digest import sha256
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import (
    Absent,
    Answer,
    Answered,
    Authority,
    BlobEvidence,
    ConfigMap,
    Failed,
    HttpCall,
    ImageData,
    ImageEvidence,
    ImageLayers,
)
from custody.registry.client import RegistryClient
from custody.server.asgi import Receive, Scope, Send, respond
from custody.services.evidencelookup import EvidenceLookup
from custody.services.gather import Gatherer
from custody.trust.roots import TrustedRoot
from custody.wiring.admission import admission
from tests.policy.manifestsigning import annotations
from tests.services.registries import FakeRegistry
from tests.services.test_gather import ROOT, signed
from tests.serving import served
from tests.sign.authority import IMAGE as SIGNED
from tests.sign.authority import NOW, World, new_key

CONFIG = {"architecture": "amd64", "os": "linux", "config": {"User": "root"}, "rootfs": {"type": "layers",
                                                                                         "diff_ids": []}}


def data_of(registry: FakeRegistry, name: str) -> Answer:
    async def main(host: str) -> Answer:
        async with RegistryClient(AiohttpHttp()) as client:
            lookup = EvidenceLookup(Gatherer(client, None, lambda: NOW))
            return await lookup.answer(ImageData(f"{host}/{name}"))

    with served(registry) as url:
        return asyncio.run(main(url.removeprefix("http://")))


def imaged() -> FakeRegistry:
    registry = FakeRegistry()
    config = json.dumps(CONFIG).encode()
    registry.held[sha256(config)] = (config, "application/octet-stream")
    body = oci.Manifest(oci.MANIFEST, oci.Descriptor(min(oci.CONFIG_TYPES), sha256(config), len(config)), ())
    registry.held["v1"] = (json.dumps(body.to_json()).encode(), oci.MANIFEST)
    registry.held[sha256(registry.held["v1"][0])] = registry.held["v1"]
    return registry


def test_an_images_manifest_and_config() -> None:
    answer = data_of(imaged(), "app:v1")
    assert isinstance(answer, Answered)
    value = answer.value
    assert value["configData"] == CONFIG
    assert value["manifest"]["config"]["digest"] == sha256(json.dumps(CONFIG).encode())
    assert (value["repository"], value["identifier"], value["manifestList"]) == ("app", "v1", None)
    assert "@sha256:" in value["resolvedImage"]


def test_an_image_that_is_not_there_is_absent_and_a_name_that_is_none_has_failed() -> None:
    assert data_of(imaged(), "app:v2") == Absent()
    assert isinstance(data_of(imaged(), "App::"), Failed)


async def echoing(scope: Scope, receive: Receive, send: Send) -> None:
    """The path and whether there was a body."""
    body = (await receive()).get("body", b"")
    if scope["path"] == "/away":
        await respond(send, 302, b"", b"text/plain", [(b"location", b"http://169.254.169.254/")])
    elif scope["path"] == "/big":
        await respond(send, 200, b"x" * (3 << 20), b"text/plain")
    else:
        await respond(send, 200, json.dumps([scope["method"], body.decode()]).encode(), b"application/json")


def called(path: str, *, hosts: bool = True, method: str = "GET", body: str = "", bundle: str = "",
           user: str = "") -> Answer:
    async def main(host: str) -> Answer:
        http = AiohttpHttp()
        try:
            lookup = HttpLookup(http, [host] if hosts else ["other.example"])
            return await lookup.answer(HttpCall(method, f"http://{user}{host}{path}", (), body, bundle))
        finally:
            await http.close()

    with served(echoing) as url:
        return asyncio.run(main(url.removeprefix("http://")))


def test_a_host_that_is_named_is_asked() -> None:
    answer = called("/x", method="POST", body='{"a":1}')
    assert isinstance(answer, Answered)
    assert (answer.value["status"], json.loads(answer.value["body"])) == (200, ["POST", '{"a":1}'])


@pytest.mark.parametrize(("answer", "reason"), [
    (lambda: called("/x", hosts=False), "policies may not ask this host"),
    (lambda: called("/x", user="one@"), "policies may not ask this host"),
    (lambda: called("/x", bundle="pem"), "caBundle"), (lambda: called("/big"), "more than 2097152 bytes"),
], ids=["another host", "a user in it", "authorities of its own", "too much"])
def test_what_is_not_asked_has_failed(answer: object, reason: str) -> None:
    said = answer()  # type: ignore[operator]
    assert isinstance(said, Failed)
    assert reason in said.reason


def test_a_redirect_is_not_followed() -> None:
    answer = called("/away")
    assert isinstance(answer, Answered)
    assert answer.value["status"] == 302


def test_headers_that_say_where_a_request_goes_and_ends_are_custody_s() -> None:
    sent: list[dict[str, str]] = []

    class Recorded:
        async def request(self, *_: object, headers: dict[str, str], **__: object) -> None:
            sent.append(headers)
            raise NetworkError("nobody is there")

    headers = (("Host", "inner"), ("content-length", "5"), ("Transfer-Encoding", "chunked"), ("Connection", "upgrade"),
               (" host ", "inner"), ("Upgrade", "x"), ("X-Token", "t"), ("Content-Type", "text/plain"))
    lookup = HttpLookup(Recorded(), ["a"])  # type: ignore[arg-type]
    asyncio.run(lookup.answer(HttpCall("POST", "http://a/", headers, "{}")))
    assert sent == [{"accept": "application/json", "content-type": "text/plain", "x-token": "t"}]


def test_other_questions_go_to_whoever_is_beyond() -> None:
    lookup = HttpLookup(AiohttpHttp(), [])
    assert isinstance(asyncio.run(lookup.answer(ConfigMap("a", "b"))), Failed)


@pytest.mark.parametrize("replaced", [False, True])
def test_evidence_is_judged_by_the_trust_root_of_the_moment(replaced: bool) -> None:
    """A webhook whose trust root is another one by now believes nobody of the old one, whatever form a policy has."""
    async def main(host: str) -> EvidenceSet:
        async with RegistryClient(AiohttpHttp()) as client:
            webhook = admission(PolicySet([]), Gatherer(client, ROOT, lambda: NOW), lambda: NOW)
            webhook.swap(Snapshot(PolicySet([]), World().trusted_root() if replaced else None))
            question = ImageEvidence(f"{host}/app@{SIGNED}", Authority(), (intoto.COSIGN_SIGN,))
            answer = await webhook._judging._lookup.answer(question)
            assert isinstance(answer, Answered)
            return msgspec.convert(answer.value, EvidenceSet)

    with served(signed()) as url:
        about = asyncio.run(main(url.removeprefix("http://")))
    assert (len(about.verified), len(about.rejected)) == ((0, 1) if replaced else (1, 0))


def files_of(registry: FakeRegistry, name: str) -> Answer:
    async def main(host: str) -> Answer:
        async with RegistryClient(AiohttpHttp()) as client:
            lookup = EvidenceLookup(Gatherer(client, None, lambda: NOW))
            return await lookup.answer(ImageLayers(f"{host}/{name}", Authority()))

    with served(registry) as url:
        return asyncio.run(main(url.removeprefix("http://")))


def test_the_files_in_an_image() -> None:
    registry = imaged()
    data = b"kind: ConfigMap\n"
    registry.held[sha256(data)] = (data, "application/octet-stream")
    config = json.dumps(CONFIG).encode()
    body = oci.Manifest(oci.MANIFEST, oci.Descriptor(min(oci.CONFIG_TYPES), sha256(config), len(config)),
                        (oci.Descriptor("text/plain", sha256(data), len(data)),))
    written = json.dumps(body.to_json()).encode()
    registry.held["m1"] = registry.held[sha256(written)] = (written, oci.MANIFEST)
    assert files_of(registry, "app:m1") == Answered({"digest": sha256(written),
                                                     "layers": [base64.b64encode(data).decode()]})
    assert files_of(registry, "app:m2") == Absent()
    assert isinstance(files_of(registry, "App::"), Failed)
    large = oci.Manifest(oci.MANIFEST, body.config, (oci.Descriptor("text/plain", sha256(data), 5 << 20),))
    registry.held["m3"] = (json.dumps(large.to_json()).encode(), oci.MANIFEST)
    registry.held[sha256(registry.held["m3"][0])] = registry.held["m3"]
    answer = files_of(registry, "app:m3")
    assert isinstance(answer, Failed)
    assert "its layers have more than" in answer.reason


def test_a_signature_of_bytes_is_judged_by_the_services_root() -> None:
    world, key = World(), new_key()
    said = annotations(b"kind: ConfigMap\n", key, certificate=world.leaf(key), world=world)
    certificate, bundle = (gzip.decompress(base64.b64decode(said[f"cosign.sigstore.dev/{part}"])).decode()
                           for part in ("certificate", "bundle"))
    asked = BlobEvidence(base64.b64encode(b"kind: ConfigMap\n").decode(), said["cosign.sigstore.dev/signature"],
                         certificate, bundle, Authority())

    async def ask(root: TrustedRoot | None) -> EvidenceSet:
        async with RegistryClient(AiohttpHttp()) as client:
            answer = await EvidenceLookup(Gatherer(client, root, lambda: NOW)).answer(asked)
            assert isinstance(answer, Answered)
            return msgspec.convert(answer.value, EvidenceSet)

    assert len(asyncio.run(ask(world.trusted_root())).verified) == 1
    for root in (None, World().trusted_root()):
        judged = asyncio.run(ask(root))
        assert not judged.verified
        assert judged.rejected[0].reason
