"""Fields of policies about where and how a registry is asked: in each test one of them decides, over a real registry.

The registry takes no request without a password (htpasswd).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from custody.adapters.http.stdlib import StdlibHttp
from custody.formats import oci, reference
from custody.kit.clock import system_clock
from custody.policy.load import PolicySet
from custody.policy.model import Decision
from custody.ports.lookup import Absent, Answer, Answered, ApiCall, Failed, Lookup, Question
from custody.registry.client import RegistryClient
from custody.registry.credentials import Credential
from custody.services.check import check
from custody.services.gather import Gatherer
from tests.access.site import htpasswd
from tests.apiserver import PEERS
from tests.policy.signing import layer, pem

KEY = ec.generate_private_key(ec.SECP256R1())
USER, PASSWORD = "ann", "correct horse"


class Shop(NamedTuple):
    host: str
    image: str
    """Signed beside itself."""
    elsewhere: str
    """Signed in the repository `signatures`."""
    folder: Path

    def at(self, host: str) -> str:
        """The image under another name of its host."""
        return self.image.replace(self.host, host)


class Secrets(Lookup):
    """Implements ports.lookup.Lookup: the cluster's Secrets, by `namespace/name`."""

    def __init__(self, **secrets: dict[str, str]) -> None:
        self.secrets = {name.replace("__", "/"): data for name, data in secrets.items()}
        self.asked: list[str] = []

    async def answer(self, question: Question) -> Answer:
        if not isinstance(question, ApiCall):
            return Failed("nobody")
        _, _, _, _, namespace, _, name = question.path.split("/")
        self.asked.append(f"{namespace}/{name}")
        data = self.secrets.get(f"{namespace}/{name}")
        return Absent() if data is None else Answered({"data": {
            key: base64.b64encode(text.encode()).decode() for key, text in data.items()}})


def logins(host: str, password: str = PASSWORD) -> dict[str, str]:
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    return {".dockerconfigjson": json.dumps({"auths": {host: {"auth": auth}}})}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    program = PEERS / "registry"
    if not program.exists():
        pytest.skip("peer registry is not installed")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "htpasswd").write_text(htpasswd(**{USER: PASSWORD}))
    (folder / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/store}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: ':{port}'}}\nauth: {{htpasswd: {{realm: custody, path: {folder}/htpasswd}}}}\n")
    with subprocess.Popen([str(program), "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            _wait(port)
            host = f"127.0.0.1:{port}"
            image, elsewhere = (asyncio.run(_pushed(f"{host}/app:{tag}", tag, place))
                                for tag, place in (("own", f"{host}/app"), ("other", f"{host}/signatures")))
            yield Shop(host, image, elsewhere, folder)
        finally:
            process.terminate()


def _wait(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the registry did not come up")


async def _pushed(name: str, content: str, place: str) -> str:
    """An image, and cosign's signature of it in the repository `place`."""
    ref = reference.parse(name)
    async with RegistryClient(StdlibHttp()) as bare:
        client = bare.knowing(lambda *_: Credential(USER, PASSWORD))
        config = await client.push_blob(ref, b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers",'
                                             b'"diff_ids":[]}}')
        data = await client.push_blob(ref, content.encode())
        manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, config.digest, config.size),
                                (oci.Descriptor(oci.LAYER_GZIP, data.digest, data.size),))
        pushed = await client.push_manifest(ref, json.dumps(manifest.to_json()).encode(), oci.MANIFEST, tag=ref.tag)
        signed, kept = layer(KEY, digest=pushed.digest), reference.parse(f"{place}:x")
        config = await client.push_blob(kept, b"{}")
        blob = await client.push_blob(kept, signed.data)
        body = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, config.digest, config.size), (
            oci.Descriptor(signed.media_type, blob.digest, blob.size, annotations=signed.annotations),))
        await client.push_manifest(kept, json.dumps(body.to_json()).encode(), oci.MANIFEST,
                                   tag=f"{pushed.digest.replace(':', '-')}.sig")
        return f"{ref.name}@{pushed.digest}"


def verify_images(**fields: Any) -> dict[str, Any]:
    keys = {"publicKeys": pem(KEY), "rekor": {"ignoreTlog": True}}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "verifyImages": [{
                "imageReferences": ["*"], "attestors": [{"entries": [{"keys": keys}]}], **fields}]}]}}


def image_policy(**fields: Any) -> dict[str, Any]:
    key = {"key": {"data": pem(KEY)}, "ctlog": {"insecureIgnoreTlog": True, "insecureIgnoreSCT": True}}
    head = {"apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy", "metadata": {"name": "p"}}
    return {**head, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                                                "resources": ["pods"]}]},
        "attestors": [{"name": "key", "cosign": {**key, **fields.pop("attestor", {})}}],
        "validations": [{"expression": "images.containers.map(image, verifyImageSignatures(image, [attestors.key]))"
                                       ".all(count, count > 0)", "message": "not signed"}], **fields}}


def allowed(*arguments: Any, **more: Any) -> bool:
    """Says why not."""
    decision = decided(*arguments, **more)
    if not decision.allowed:
        print(reason(decision))
    return decision.allowed


def decided(policy: dict[str, Any], image: str, lookup: Any = None, **spec: Any) -> Decision:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team"},
           "spec": {"containers": [{"name": "c", "image": image}], **spec}}

    async def judge() -> Decision:
        async with RegistryClient(StdlibHttp()) as client:
            gatherer = Gatherer(client, None, system_clock)
            return (await check(pod, PolicySet([policy]), gatherer, system_clock, lookup=lookup or Secrets())).decision

    return asyncio.run(judge())


def reason(decision: Decision) -> str:
    assert not decision.allowed
    return next(result.message for result in decision.results if result.denies)


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine has no login of its own."""
    for name in ("DOCKER_AUTH_CONFIG", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_secrets_of_image_registry_credentials(shop: Shop) -> None:
    auths = json.loads(logins(shop.host)[".dockerconfigjson"])["auths"]
    known = Secrets(kyverno__regcred=logins(shop.host), team__own=logins(shop.host),
                    kyverno__wrong=logins(shop.host, "wrong"), kyverno__empty={},
                    kyverno__first={".dockercfg": json.dumps(auths)})
    assert "credentials" in reason(decided(verify_images(), shop.image, known))
    for secret, words in (("regcred", ""), ("team/own", ""), ("first", ""), ("wrong", "answered 401"),
                          ("own", "kyverno/own"), ("empty", "kyverno/empty")):
        decision = decided(verify_images(imageRegistryCredentials={"secrets": [secret]}), shop.image, known)
        assert decision.allowed if not words else words in reason(decision), secret


def test_a_login_is_sent_to_its_own_registry_alone(shop: Shop) -> None:
    known = Secrets(kyverno__regcred=logins("ghcr.io"))
    policy = verify_images(imageRegistryCredentials={"secrets": ["regcred"]})
    assert "credentials" in reason(decided(policy, shop.image, known))


def test_secrets_that_the_pod_is_pulled_with(shop: Shop) -> None:
    known = Secrets(team__pull=logins(shop.host), other__pull2=logins(shop.host), team__wrong=logins(shop.host, "x"))

    def of(*names: str) -> Decision:
        return decided(verify_images(), shop.image, known, imagePullSecrets=[{"name": name} for name in names])

    assert of("pull").allowed
    assert of("absent", "pull").allowed
    for names in (("absent",), ("pull2",), ("../other/secrets/pull2",), ()):
        assert "credentials" in reason(of(*names)), names
    assert re.search("answered 401|credentials are refused", reason(of("wrong")))  # asked twice at a time
    assert all(asked.startswith("team/") for asked in known.asked)


def test_what_the_pod_is_pulled_with_pins_what_was_verified(shop: Shop) -> None:
    known = Secrets(team__pull=logins(shop.host))
    tagged = f"{shop.host}/app:own"
    decision = decided(verify_images(), tagged, known, imagePullSecrets=[{"name": "pull"}])
    assert decision.allowed
    assert [operation["value"] for operation in decision.patch] == [f"{tagged}{shop.image[shop.image.index('@'):]}"]


def test_certificates_and_another_key_are_judged_with_the_pods_logins_too(shop: Shop) -> None:
    known = Secrets(team__pull=logins(shop.host))
    stranger = {"publicKeys": pem(ec.generate_private_key(ec.SECP256R1())), "rekor": {"ignoreTlog": True}}
    policy = verify_images(attestors=[{"entries": [{"keys": stranger}]}])
    assert "no signatures" in reason(decided(policy, shop.image, known, imagePullSecrets=[{"name": "pull"}]))


def test_credentials_of_image_validating_policies(shop: Shop) -> None:
    known = Secrets(kyverno__regcred=logins(shop.host))
    assert allowed(image_policy(credentials={"secrets": ["regcred"]}), shop.image, known)
    assert not decided(image_policy(), shop.image, known).allowed
    assert not decided(image_policy(), shop.image, Secrets(team__pull=logins(shop.host)),
                       imagePullSecrets=[{"name": "pull"}]).allowed  # as in Kyverno, which asks them for the other kind


def test_providers_default_is_what_this_machine_knows(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = verify_images(imageRegistryCredentials={"providers": ["default"]})
    assert not decided(policy, shop.image).allowed
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", logins(shop.host)[".dockerconfigjson"])
    assert allowed(policy, shop.image)
    assert allowed(image_policy(credentials={"providers": ["default"]}), shop.image)


def test_repository_is_where_signatures_are(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", logins(shop.host)[".dockerconfigjson"])
    place = f"{shop.host}/signatures"
    assert "no signatures found" in reason(decided(verify_images(), shop.elsewhere))
    assert allowed(verify_images(repository=place), shop.elsewhere)
    assert "no signatures found" in reason(decided(verify_images(repository=place), shop.image))
    entry = {"keys": {"publicKeys": pem(KEY), "rekor": {"ignoreTlog": True}}, "repository": place}
    assert allowed(verify_images(attestors=[{"entries": [entry]}]), shop.elsewhere)
    assert allowed(image_policy(attestor={"source": {"repository": place}}), shop.elsewhere)
    assert not decided(image_policy(), shop.elsewhere).allowed


def test_allow_insecure_registry(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is not this machine's own name for itself is asked by TLS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))  # nothing is sent
        except OSError:
            pytest.skip("this machine has no address beside 127.0.0.1")
        own = probe.getsockname()[0]
    host = shop.host.replace("127.0.0.1", own)
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", logins(host)[".dockerconfigjson"])
    credentials = {"allowInsecureRegistry": True}
    assert "TLS" in reason(decided(verify_images(), shop.at(host))) or "SSL" in reason(
        decided(verify_images(), shop.at(host)))
    assert allowed(verify_images(imageRegistryCredentials=credentials), shop.at(host))
    assert allowed(image_policy(credentials=credentials), shop.at(host))
    assert not decided(image_policy(), shop.at(host)).allowed


def test_cosign_oci_1_1(shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """cosign keeps the signature as an artifact that refers to the image, and not under the tag."""
    if not (PEERS / "cosign-v3").exists():
        pytest.skip("peer cosign-v3 is not installed")
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", logins(shop.host)[".dockerconfigjson"])
    image = asyncio.run(_pushed(f"{shop.host}/artifact:1", "artifact", f"{shop.host}/nowhere"))
    (tmp_path / "config.json").write_text(logins(shop.host)[".dockerconfigjson"])
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path), "COSIGN_PASSWORD": "x",
           "COSIGN_EXPERIMENTAL": "1", "SIGSTORE_NO_CACHE": "1"}

    def cosign(*arguments: str) -> None:
        done = subprocess.run([str(PEERS / "cosign-v3"), *arguments], cwd=tmp_path, env=env, capture_output=True,
                              text=True, timeout=120)
        assert done.returncode == 0, done.stderr

    cosign("generate-key-pair")
    cosign("sign", "--key", "cosign.key", "--tlog-upload=false", "--use-signing-config=false",
           "--new-bundle-format=false", "--registry-referrers-mode=oci-1-1", "-y", image)
    keys = {"publicKeys": (tmp_path / "cosign.pub").read_text(), "rekor": {"ignoreTlog": True}}
    attestors = [{"entries": [{"keys": keys}]}]
    assert "no signatures found" in reason(decided(verify_images(attestors=attestors), image))
    assert allowed(verify_images(attestors=attestors, cosignOCI11=True), image)
