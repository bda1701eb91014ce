"""`sign --format legacy` and `sign -r`, and what cosign 2 and Kyverno say of what they wrote."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import ConflictError, NotFoundError, VerificationError
from custody.formats import cosign, oci
from custody.formats import reference as references
from custody.kit.digest import sha256
from custody.registry.client import RegistryClient
from custody.sign import referrers
from tests.conftest import peer
from tests.serving import served
from tests.sign.rekor1 import Rekor1
from tests.sign.site import PERSON, Site
from tests.sign.test_rekor import VALID

POLICY = """\
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: signed}
spec:
  webhookTimeoutSeconds: 30
  background: false
  rules:
  - name: by-key
    match: {any: [{resources: {kinds: [Pod]}}]}
    verifyImages:
    - imageReferences: ["127.0.0.1:*"]
      mutateDigest: false
      failureAction: Enforce
      attestors:
      - entries:
        - keys:
            publicKeys: |
%s
            rekor: {ignoreTlog: true}
            ctlog: {ignoreSCT: true}
"""


def tag_of(site: Site, image: str, kind: referrers._Kind = referrers._SIGNATURES) -> list[oci.Descriptor]:
    async def run() -> list[oci.Descriptor]:
        ref = references.parse(image)
        async with RegistryClient(StdlibHttp()) as client:
            return list(await referrers._layers(client, ref.tagged(cosign.tag(ref.digest or "", kind.suffix)), kind))

    return asyncio.run(run())


def test_legacy_by_key(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image, key, public = site.push("legacy"), str(site.folder / "cosign.key"), str(site.folder / "cosign.pub")
    assert site.custody("sign", "--key", key, "--format", "legacy", "-a", "env=prod", image) == 0
    said = capsys.readouterr().err
    assert "warning: --format legacy: is in no log: the log is of API version 2" in said
    layer, = tag_of(site, image)
    assert layer.media_type == cosign.SIMPLE_SIGNING
    assert set(layer.annotations) == {"dev.cosignproject.cosign/signature", "dev.sigstore.cosign/rfc3161timestamp"}
    assert site.custody("verify", "--key", public, "--insecure-ignore-tlog", "-a", "env=prod", image) == 0
    document = json.loads(capsys.readouterr().out)
    assert document[0]["critical"] == {
        "identity": {"docker-reference": image.partition("@")[0]},
        "image": {"docker-manifest-digest": image.partition("@")[2]}, "type": "cosign container image signature"}
    assert site.custody("verify", "--key", public, image) == 4
    assert "log entry: there is none" in capsys.readouterr().err
    assert site.custody("sign", "--key", key, "--format", "both", image) == 0
    assert len(tag_of(site, image)) == 2
    assert site.custody("verify", "--key", public, image) == 0  # by the bundle


@pytest.mark.parametrize(("arguments", "reason"), [
    (("--format", "legacy", "--tlog-upload=true"), "--tlog-upload=true: a signature of --format legacy cannot hold"),
    (("--format", "legacy", "--upload=false"), "--upload=false: a signature of --format legacy is kept nowhere else"),
    (("--format", "legacy", "--bundle", "b.json"), "--bundle: --format legacy makes none"),
    (("--format", "nonsense"), "'nonsense' is not one of 'bundle', 'legacy', 'both'"),
])
def test_what_legacy_cannot_do(site: Site, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...],
                               reason: str) -> None:
    assert site.custody("sign", "--key", str(site.folder / "cosign.key"), *arguments, site.push("cannot")) == 2
    assert reason in capsys.readouterr().err


def test_legacy_in_a_log_of_version_1(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    log, image = Rekor1(), site.push("legacy-logged")
    with served(log.app()) as url:
        root = json.loads((site.folder / "root.json").read_bytes())
        root["tlogs"].append(log.trusted(url, VALID).to_json())
        (site.folder / "root1.json").write_text(json.dumps(root))
        config = json.loads((site.folder / "config.json").read_bytes())
        config["rekorTlogUrls"] = [config["rekorTlogUrls"][0] | {"url": url, "majorApiVersion": 1}]
        (site.folder / "config1.json").write_text(json.dumps(config))
        trust = ("--trusted-root", str(site.folder / "root1.json"))
        assert site.custody("sign", "--identity-token", site.token(), "--format", "both", *trust, "--signing-config",
                            str(site.folder / "config1.json"), image) == 0
        log.promise = False
        other = site.push("legacy-unpromised")
        assert site.custody("sign", "--identity-token", site.token(), "--format", "legacy", *trust, "--signing-config",
                            str(site.folder / "config1.json"), other) == 2
    assert "log entry: has no signed entry timestamp" in capsys.readouterr().err
    layer, = tag_of(site, image)
    assert {"dev.sigstore.cosign/bundle", "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/chain"} < set(
        layer.annotations)
    assert site.custody("verify", *site.who(), *trust, image) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert site.custody("verify", *site.who("eve@example.com"), *trust, image) == 4
    assert tag_of(site, other) == []


def index_of(site: Site, name: str) -> tuple[str, list[str]]:
    """An index of two images, and an index in it that has one of them and a third: its reference, all digests."""
    images = [site.push(f"{name}", content) for content in (b"amd64", b"arm64", b"third")]

    async def store() -> tuple[str, list[str]]:
        ref = references.parse(f"{site.registry}/{name}:all")
        async with RegistryClient(StdlibHttp()) as client:
            held = [await client.resolve(references.parse(image)) for image in images]
            inner = await client.push_manifest(
                ref, json.dumps(oci.Index(oci.INDEX, (held[2], held[0])).to_json()).encode(), oci.INDEX)
            outer = await client.push_manifest(
                ref, json.dumps(oci.Index(oci.INDEX, (held[0], held[1], inner)).to_json()).encode(), oci.INDEX,
                tag="all")
            return f"{ref.name}@{outer.digest}", [*(item.digest for item in held), inner.digest, outer.digest]

    return asyncio.run(store())


def test_recursive(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image, digests = index_of(site, "many")
    key, public = str(site.folder / "cosign.key"), str(site.folder / "cosign.pub")
    name = image.partition("@")[0]
    assert site.custody("sign", "--key", key, image) == 0
    assert site.custody("verify", "--key", public, f"{name}@{digests[0]}") == 4
    capsys.readouterr()
    assert site.custody("sign", "-r", "--key", key, image) == 0
    signed = [line.partition(": signed")[0] for line in capsys.readouterr().err.splitlines() if ": signed" in line]
    assert sorted(signed) == sorted(f"{name}@{digest}" for digest in digests)  # each once
    assert signed[-1] == image
    assert signed.index(f"{name}@{digests[3]}") > max(signed.index(f"{name}@{digests[at]}") for at in (0, 2))
    for digest in digests:
        assert site.custody("verify", "--key", public, f"{name}@{digest}") == 0
    assert site.custody("sign", "-r", "--key", key, "--bundle", str(site.folder / "many.json"), image) == 2
    assert "--bundle: is one file, and -r signs 5 manifests" in capsys.readouterr().err


def test_recursive_with_a_manifest_that_is_not_there(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is signed then: half an image is none."""
    image, digests = index_of(site, "half")

    async def delete() -> None:
        async with RegistryClient(StdlibHttp()) as client:
            await client.delete_manifest(references.parse(image).at(digests[1]))

    asyncio.run(delete())
    assert site.custody("sign", "-r", "--key", str(site.folder / "cosign.key"), image) == 6
    assert digests[1] in capsys.readouterr().err
    assert site.custody("tree", image) == 0
    assert "nothing is known about it" in capsys.readouterr().out


class Registry:
    """A client whose tag somebody else writes whenever we have."""

    def __init__(self, *, others: int) -> None:
        self.others = others
        self.manifests: dict[str, bytes] = {}

    async def push_blob(self, ref: object, data: bytes) -> oci.Descriptor:
        return oci.Descriptor("application/octet-stream", sha256(data), len(data))

    async def manifest(self, ref: references.Reference) -> tuple[oci.Descriptor, bytes]:
        if ref.tag not in self.manifests:
            raise NotFoundError("no")
        data = self.manifests[str(ref.tag)]
        return oci.Descriptor(oci.MANIFEST, sha256(data), len(data)), data

    async def push_manifest(self, ref: object, data: bytes, media_type: str, tag: str) -> oci.Descriptor:
        self.others -= 1
        if self.others < 0:
            self.manifests[tag] = data
        return oci.Descriptor(media_type, sha256(data), len(data))


REF = references.parse("127.0.0.1:1/x@sha256:" + "0" * 64)


def push(client: Registry) -> oci.Descriptor:
    return asyncio.run(referrers.push_signature(client, REF, b"{}", {"a": "b"}))  # type: ignore[arg-type]


def test_a_tag_that_others_write_too() -> None:
    assert push(Registry(others=3)).size > 0
    with pytest.raises(ConflictError, match="others wrote it 5 times in between"):
        push(Registry(others=5))


def test_a_tag_that_holds_something_else() -> None:
    client = Registry(others=0)
    empty = oci.EMPTY_DESCRIPTOR
    client.manifests[cosign.tag(REF.digest or "", ".sig")] = json.dumps(
        oci.Manifest(oci.MANIFEST, empty, (empty,)).to_json()).encode()
    with pytest.raises(VerificationError, match="holds something else than signatures, and is not replaced"):
        push(client)


def _files(site: Site, name: str, key: Any) -> None:
    (site.folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (site.folder / f"{name}.pub").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.peer
@pytest.mark.parametrize(("name", "make"), [
    ("p256", lambda: ec.generate_private_key(ec.SECP256R1())),
    ("p384", lambda: ec.generate_private_key(ec.SECP384R1())),
    ("rsa", lambda: rsa.generate_private_key(65537, 2048)), ("ed25519", ed25519.Ed25519PrivateKey.generate)])
def test_cosign_2_verifies_legacy_by_key(site: Site, name: str, make: Callable[[], Any]) -> None:
    _files(site, name, make())
    image = site.push(f"legacy-{name}")
    key = str(site.folder / f"{name}.key")
    assert site.custody("sign", "--format", "legacy", "--key", key, "-a", "k=v", image) == 0
    common = ("cosign-v2", "verify", "--allow-http-registry", "--insecure-ignore-tlog", "--key", f"{name}.pub")
    answer = site.cosign(*common, "-a", "k=v", image)
    assert answer.returncode == 0, answer.stderr
    assert site.cosign(*common, "-a", "k=w", image).returncode != 0
    answer = site.cosign("cosign-v3", *common[1:], "-a", "k=v", image)
    assert answer.returncode == 0, answer.stderr
    assert site.custody("verify", "--key", str(site.folder / f"{name}.pub"), "--insecure-ignore-tlog", image) == 0


@pytest.mark.peer
def test_cosign_2_verifies_legacy_keyless(site: Site, tmp_path: Path) -> None:
    from custody.formats.cosign import certificate_pem

    image = site.push("legacy-keyless")
    assert site.custody("sign", "--format", "legacy", "--identity-token", site.token(), image) == 0
    material = site.stack.material
    tsa = site.folder / "tsa.pem"
    root = material.trusted_root(site.stack.endpoints)
    tsa.write_bytes(b"".join(certificate_pem(der) for der in root.timestamp_authorities[0].chain))
    (site.folder / "ca.pem").write_bytes(certificate_pem(root.certificate_authorities[0].chain[-1]))
    (site.folder / "inter.pem").write_bytes(b"".join(map(certificate_pem, root.certificate_authorities[0].chain[:-1])))

    def verify(email: str) -> subprocess.CompletedProcess[str]:
        return site.cosign("cosign-v2", "verify", "--allow-http-registry", "--insecure-ignore-tlog",
                           "--insecure-ignore-sct", "--use-signed-timestamps", "--timestamp-certificate-chain",
                           str(tsa), "--ca-roots", "ca.pem", "--ca-intermediates", "inter.pem", *site.who(email), image)

    answer = verify(PERSON)
    assert answer.returncode == 0, answer.stderr
    assert verify("eve@example.com").returncode != 0


@pytest.mark.peer
def test_kyverno_takes_legacy_by_key_and_no_bundle(site: Site, tmp_path: Path) -> None:
    """A policy of each type judges an image that was signed in each of the three ways."""
    kyverno = peer("kyverno")
    public = "\n".join(" " * 14 + line for line in (site.folder / "cosign.pub").read_text().splitlines())
    pods = []
    for form in ("legacy", "both", "bundle"):
        image = site.push(f"kyverno-{form}")
        assert site.custody("sign", "--format", form, "--key", str(site.folder / "cosign.key"), image) == 0
        pods.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": form},
                     "spec": {"containers": [{"name": "c", "image": image}]}})
    (tmp_path / "pods.yaml").write_text("---\n".join(json.dumps(pod) + "\n" for pod in pods))
    for kind, admitted in (("", ["both", "legacy"]), ("      type: SigstoreBundle\n", [])):
        policy = (POLICY % public).replace("      mutateDigest", f"{kind}      mutateDigest")
        (tmp_path / "policy.yaml").write_text(policy)
        answer = subprocess.run([kyverno, "apply", "policy.yaml", "--resource", "pods.yaml", "--registry",
                                 "--policy-report"], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                                check=False)
        report = yaml.safe_load(answer.stdout[answer.stdout.index("apiVersion: "):])
        outcomes = {result["resources"][0]["name"]: result["result"] for result in report["results"]}
        assert outcomes == {form: "pass" if form in admitted else "fail" for form in ("legacy", "both", "bundle")}, kind


@pytest.mark.peer
@pytest.mark.parametrize("program", ["cosign-v2", "cosign-v3"])
def test_signatures_that_cosign_keeps_as_artifacts_of_oci_1_1(
        site: Site, capsys: pytest.CaptureFixture[str], program: str) -> None:
    image, other = site.push(f"artifact-{program}", program.encode()), site.push(f"artifact-{program}", b"other")
    new = ("--use-signing-config=false",) if program == "cosign-v3" else ()
    environment = {"PATH": os.environ["PATH"], "HOME": str(site.folder), "COSIGN_PASSWORD": "hello",
                   "SIGSTORE_NO_CACHE": "1", "COSIGN_EXPERIMENTAL": "1"}
    done = subprocess.run(
        [peer(program), "sign", "-y", "--allow-http-registry", "--key", "cosign.key", "--tlog-upload=false", *new,
         "--new-bundle-format=false", "--registry-referrers-mode=oci-1-1", "-a", "env=prod", image],
        capture_output=True, text=True, env=environment, cwd=site.folder, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert tag_of(site, image) == []
    verify = ("verify", "--key", str(site.folder / "cosign.pub"), "--insecure-ignore-tlog")
    assert site.custody(*verify, "-a", "env=prod", image) == 0
    assert site.custody(*verify, "-a", "env=test", image) == 4
    assert site.custody(*verify, other) == 4
    assert site.custody("generate-key-pair", "--output-key-prefix", str(site.folder / f"stranger-{program}")) == 0
    capsys.readouterr()
    assert site.custody("verify", "--key", str(site.folder / f"stranger-{program}.pub"), "--insecure-ignore-tlog",
                        image) == 4
    assert "layer 0: signature: the signature is not this key's" in capsys.readouterr().err


def test_generate(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """What is signed, to the byte, without a newline; no name of a tag."""
    image = site.push("generate")
    name, _, digest = image.partition("@")
    assert site.custody("generate", "-a", "z=1", "-a", "a=<&>", f"{name}:1") == 0
    assert capsys.readouterr().out == (
        f'{{"critical":{{"identity":{{"docker-reference":"{name}"}},"image":{{"docker-manifest-digest":"{digest}"}},'
        '"type":"cosign container image signature"},"optional":{"a":"\\u003c\\u0026\\u003e","z":"1"}}')
    assert site.custody("generate", "-a", "novalue", image) == 2
    assert "annotation" in capsys.readouterr().err
    assert site.custody("generate", f"{name}:none") == 6
    assert f"{name}:none" in capsys.readouterr().err


@pytest.mark.peer
@pytest.mark.parametrize("program", ["cosign-v2", "cosign-v3"])
def test_generate_as_cosign(site: Site, program: str, capsys: pytest.CaptureFixture[str]) -> None:
    image = site.push(f"generate-{program}")
    for given in ((), ("-a", "z=1", "-a", "a=<b>&\u2028 \u00e9\u20ac\U0001f600")):
        answer = site.cosign(program, "generate", "--allow-http-registry", *given, image)
        assert answer.returncode == 0, answer.stderr
        assert site.custody("generate", *given, image) == 0
        assert capsys.readouterr().out == answer.stdout
