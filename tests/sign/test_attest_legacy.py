"""`attest --format legacy`: cosign 2's tag sha256-<hex>.att, and what cosign 2 and 3 and Kyverno say of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.adapters.http.stdlib import StdlibHttp
from custody.formats import cosign, dsse, intoto, oci
from custody.formats import reference as references
from custody.kit.digest import sha256
from custody.registry.client import RegistryClient
from custody.sign import referrers
from tests.conftest import peer
from tests.serving import served
from tests.sign.rekor1 import Rekor1
from tests.sign.site import PERSON, Site
from tests.sign.test_legacy import _files, tag_of
from tests.sign.test_rekor import VALID

KIND = "https://example.com/reviewed/v1"
UNLOGGED = {"dev.cosignproject.cosign/signature", "dev.sigstore.cosign/rfc3161timestamp", "predicateType"}
POLICY = """\
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: attested}
spec:
  webhookTimeoutSeconds: 30
  background: false
  rules:
  - name: reviewed
    match: {any: [{resources: {kinds: [Pod]}}]}
    verifyImages:
    - imageReferences: ["127.0.0.1:*"]
      mutateDigest: false
      failureAction: Enforce
      attestations:
      - type: https://example.com/reviewed/v1
        conditions: [{all: [{key: "{{ by }}", operator: Equals, value: alice}]}]
        attestors:
        - entries:
          - keys:
              publicKeys: |
%s
              rekor: {ignoreTlog: true}
              ctlog: {ignoreSCT: true}
"""


def layers(site: Site, image: str) -> list[oci.Descriptor]:
    return tag_of(site, image, referrers._ATTESTATIONS)


def blob(image: str, layer: oci.Descriptor) -> bytes:
    async def run() -> bytes:
        async with RegistryClient(StdlibHttp()) as client:
            return await client.blob(references.parse(image), layer, max_size=1 << 20)

    return asyncio.run(run())


def attest(site: Site, image: str, *more: str, key: str = "cosign", by: str = "alice", kind: str = KIND) -> int:
    (site.folder / f"{by}.json").write_text(json.dumps({"by": by}))
    return site.custody("attest", "--key", str(site.folder / f"{key}.key"), "--type", kind, "--predicate",
                        str(site.folder / f"{by}.json"), *more, image)


def test_by_key(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image, public = site.push("att"), str(site.folder / "cosign.pub")
    assert attest(site, image, "--format", "legacy") == 0
    said = capsys.readouterr()
    assert "warning: --format legacy: is in no log: the log is of API version 2" in said.err
    assert "attested in sha256-" in said.err
    layer, = layers(site, image)
    assert layer.media_type == dsse.MEDIA_TYPE
    assert set(layer.annotations) == UNLOGGED
    assert layer.annotations["dev.cosignproject.cosign/signature"] == ""  # it is in the envelope
    assert layer.annotations["predicateType"] == KIND
    envelope = dsse.parse_envelope(blob(image, layer))
    statement = intoto.parse_statement(envelope.payload)
    assert (statement.predicate, statement.predicate_type) == ({"by": "alice"}, KIND)
    assert statement.subject_of(image.partition("@")[2])
    verify = ("verify-attestation", "--key", public, "--type", KIND)
    assert site.custody(*verify, "--insecure-ignore-tlog", image) == 0
    assert json.loads(capsys.readouterr().out) == envelope.to_json()
    assert site.custody(*verify, image) == 4
    assert "log entry: there is none" in capsys.readouterr().err
    assert attest(site, image, "--format", "both") == 0
    assert len(layers(site, image)) == 2
    assert site.custody(*verify, image) == 0  # by the bundle


def test_the_timestamp_is_over_the_envelope(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """One over the signature, as a bundle has it, is none of a layer."""
    image = site.push("att-stamp")
    assert attest(site, image, "--format", "both", "--no-upload") == 0
    bundle, _ = capsys.readouterr().out.splitlines()
    stamp = json.loads(bundle)["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"][0]
    envelope = json.dumps(json.loads(bundle)["dsseEnvelope"]).encode()

    async def push() -> None:
        async with RegistryClient(StdlibHttp()) as client:
            await referrers.push_attestation(client, references.parse(image), envelope, {
                "dev.cosignproject.cosign/signature": "", cosign.PREDICATE_TYPE: KIND,
                cosign.TIMESTAMP: json.dumps({"SignedRFC3161Timestamp": stamp["signedTimestamp"]})})

    asyncio.run(push())
    assert site.custody("verify-attestation", "--key", str(site.folder / "cosign.pub"), "--type", KIND,
                        "--trusted-root", str(site.folder / "root.json"), "--insecure-ignore-tlog", image) == 4
    assert "timestamp: " in capsys.readouterr().err


def test_replace(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """The signer's own of the type alone: neither another's, nor another type, nor a bundle."""
    image = site.push("att-replace")
    _files(site, "other", ec.generate_private_key(ec.SECP256R1()))
    assert attest(site, image, "--format", "both") == 0
    assert attest(site, image, "--format", "legacy", key="other", by="bob") == 0
    assert attest(site, image, "--formats", "v2", kind=f"{KIND}/other") == 0
    kept = layers(site, image)[1:]
    assert attest(site, image, "--format", "legacy", "--replace") == 0
    assert "removed 1 older attestation\n" in capsys.readouterr().err
    now = layers(site, image)
    assert now[:2] == kept
    assert len(now) == 3
    assert site.custody("download", "attestation", image) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert attest(site, image, "--replace") == 0  # a bundle: those of the tag stay
    assert layers(site, image) == now


@pytest.mark.parametrize(("arguments", "reason"), [
    (("--format", "legacy", "--tlog-upload=true"), "--tlog-upload=true: an attestation of --format legacy cannot hold"),
    (("--format", "legacy", "--bundle", "b.json"), "--bundle: --format legacy makes none"),
    (("--formats", "v2", "--bundle", "b.json"), "--bundle: --formats v2 makes none"),
    (("--formats", "v2,notation"), "--formats: got 'notation', expected v2 and v3 with commas between them"),
    (("--formats", "v2", "--format", "both"), "--format and --formats: give one"),
    (("--format", "both", "--new-bundle-format=false"), "--format and --new-bundle-format: give one"),
    (("--no-upload", "--pq", "pq.key"), "--pq: --no-upload has no place for a second half"),
    (("--no-upload", "--replace"), "--no-upload and --replace: give one"),
    (("--statement", "s.json"), "--predicate and --statement: give one of them"),
])
def test_what_it_cannot_do(site: Site, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...],
                           reason: str) -> None:
    image = site.push("att-cannot")
    assert attest(site, image, *arguments) == 2
    assert reason in capsys.readouterr().err
    assert layers(site, image) == []


def test_new_bundle_format(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image = site.push("att-new")
    assert attest(site, image, "--new-bundle-format=false") == 0
    assert len(layers(site, image)) == 1
    assert attest(site, image, "--new-bundle-format") == 0
    assert len(layers(site, image)) == 1
    assert site.custody("sign", "--new-bundle-format=false", "--key", str(site.folder / "cosign.key"), image) == 0
    assert len(tag_of(site, image)) == 1


def test_statement(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image, other = site.push("att-statement"), site.push("att-other", b"other")
    payload = intoto.statement(image.partition("@")[2], KIND, {"by": "carol"}).to_bytes() + b"\n"
    (site.folder / "statement.json").write_bytes(payload)
    given = ("--key", str(site.folder / "cosign.key"), "--statement", str(site.folder / "statement.json"))
    assert site.custody("attest", *given, "--type", KIND, image) == 2
    assert "--type: a statement says itself of which type its predicate is" in capsys.readouterr().err
    assert site.custody("attest", *given, other) == 2
    assert f"--statement: has no subject {other.partition('@')[2]}" in capsys.readouterr().err
    assert site.custody("attest", *given, "--format", "both", "--bundle", str(site.folder / "said.json"), image) == 0
    layer, = layers(site, image)
    assert dsse.parse_envelope(blob(image, layer)).payload == payload  # to the byte
    assert b"dsseEnvelope" in (site.folder / "said.json").read_bytes()
    capsys.readouterr()
    assert site.custody("verify-attestation", "--key", str(site.folder / "cosign.pub"), "--type", KIND, image) == 0


def test_no_upload(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    image = site.push("att-kept")
    assert attest(site, image, "--format", "legacy", "--no-upload") == 0
    said = capsys.readouterr()
    envelope = dsse.parse_envelope(said.out.encode())
    assert intoto.parse_statement(envelope.payload).predicate == {"by": "alice"}
    assert ".att" not in said.err.replace("attested", "")
    assert layers(site, image) == []
    assert site.custody("tree", image) == 0
    assert "nothing is known about it" in capsys.readouterr().out


def test_local_image(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, folder = site.push("att-local"), str(tmp_path / "saved")
    assert attest(site, image) == 0
    assert site.custody("sign", "--key", str(site.folder / "cosign.key"), image) == 0
    assert site.custody("save", "--dir", folder, image) == 0
    by = ("--key", str(site.folder / "cosign.pub"), "--max-workers", "1", "--local-image")
    assert site.custody("verify", *by, folder) == 0
    assert site.custody("verify-attestation", "--type", KIND, *by, folder) == 0
    capsys.readouterr()
    for given, reason in ((image, "is no folder"), (f"oci:{folder}", "--local-image: got oci:")):
        assert site.custody("verify", *by, given) == 2
        assert reason in capsys.readouterr().err
    assert site.custody("verify", *by[:2], "--max-workers", "0", image) == 2
    assert "0 is not in the range x>=1" in capsys.readouterr().err


def logged(site: Site, log: Rekor1, url: str) -> tuple[str, ...]:
    root = json.loads((site.folder / "root.json").read_bytes())
    root["tlogs"].append(log.trusted(url, VALID).to_json())
    (site.folder / "root1.json").write_text(json.dumps(root))
    config = json.loads((site.folder / "config.json").read_bytes())
    config["rekorTlogUrls"] = [config["rekorTlogUrls"][0] | {"url": url, "majorApiVersion": 1}]
    (site.folder / "config1.json").write_text(json.dumps(config))
    return ("--trusted-root", str(site.folder / "root1.json"), "--signing-config", str(site.folder / "config1.json"))


def keyless(site: Site, image: str, *more: str) -> int:
    (site.folder / "alice.json").write_text('{"by": "alice"}')
    return site.custody("attest", "--identity-token", site.token(), "--type", KIND, "--predicate",
                        str(site.folder / "alice.json"), "--format", "legacy", *more, image)


def test_in_a_log_of_version_1(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    log, image, other = Rekor1(), site.push("att-logged"), site.push("att-unpromised", b"other")
    with served(log.app()) as url:
        where = logged(site, log, url)
        assert keyless(site, image, *where) == 0
        log.promise = False
        assert keyless(site, other, *where) == 2
    assert "log entry: has no signed entry timestamp" in capsys.readouterr().err
    layer, = layers(site, image)
    assert set(layer.annotations) == UNLOGGED | {"dev.sigstore.cosign/bundle", "dev.sigstore.cosign/certificate",
                                                 "dev.sigstore.cosign/chain"}
    entry = json.loads(log.bodies[0])
    assert entry["kind"] == "dsse"
    assert f"sha256:{entry['spec']['envelopeHash']['value']}" == layer.digest == sha256(blob(image, layer))
    verify = ("verify-attestation", "--type", KIND, *where[:2])
    assert site.custody(*verify, *site.who(), image) == 0
    assert site.custody(*verify, *site.who("eve@example.com"), image) == 4
    assert "identity: got 'dev@example.com'" in capsys.readouterr().err
    assert layers(site, other) == []


@pytest.mark.peer
@pytest.mark.parametrize("program", ["cosign-v2", "cosign-v3"])
@pytest.mark.parametrize(("name", "make"), [
    ("p256", lambda: ec.generate_private_key(ec.SECP256R1())),
    ("p384", lambda: ec.generate_private_key(ec.SECP384R1())),
    ("rsa", lambda: rsa.generate_private_key(65537, 2048)), ("ed25519", ed25519.Ed25519PrivateKey.generate)])
def test_cosign_verifies_it_by_key(site: Site, name: str, make: Callable[[], Any], program: str) -> None:
    _files(site, name, make())
    image = site.push(f"att-{program}-{name}")
    assert attest(site, image, "--format", "legacy", key=name) == 0
    common = (program, "verify-attestation", "--allow-http-registry", "--insecure-ignore-tlog")
    answer = site.cosign(*common, "--key", f"{name}.pub", "--type", KIND, image)
    assert answer.returncode == 0, answer.stderr
    assert dsse.parse_envelope(answer.stdout.encode()).payload == dsse.parse_envelope(
        blob(image, layers(site, image)[0])).payload
    assert "none of the attestations matched the predicate type" in site.cosign(
        *common, "--key", f"{name}.pub", "--type", "vuln", image).stderr
    assert "accepted signatures do not match threshold" in site.cosign(
        *common, "--key", "cosign.pub", "--type", KIND, image).stderr


@pytest.mark.peer
def test_beside_those_of_cosign_2(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Either appends to what the other has put into the tag, and replaces what the other signed by the same key."""
    image = site.push("att-beside")
    (site.folder / "cosign2.json").write_text('{"by": "cosign 2"}')

    def theirs(*more: str) -> None:
        answer = site.cosign("cosign-v2", "attest", "--allow-http-registry", "--tlog-upload=false", "-y", "--key",
                             "cosign.key", "--type", KIND, "--predicate", "cosign2.json", *more, image)
        assert answer.returncode == 0, answer.stderr

    theirs()
    assert attest(site, image, "--format", "legacy") == 0
    assert len(layers(site, image)) == 2
    answer = site.cosign("cosign-v2", "verify-attestation", "--allow-http-registry", "--insecure-ignore-tlog", "--key",
                         "cosign.pub", "--type", KIND, image)
    assert sorted(intoto.parse_statement(dsse.parse_envelope(line.encode()).payload).predicate["by"]
                  for line in answer.stdout.splitlines()) == ["alice", "cosign 2"]
    assert attest(site, image, "--format", "legacy", "--replace") == 0
    assert "removed 2 older attestations" in capsys.readouterr().err
    assert len(layers(site, image)) == 1
    theirs("--replace")
    assert len(layers(site, image)) == 1
    theirs()
    assert len(layers(site, image)) == 2


@pytest.mark.peer
@pytest.mark.parametrize("program", ["cosign-v2", "cosign-v3"])
def test_cosign_verifies_its_log_entry(site: Site, program: str) -> None:
    """With the log's promise and without asking it, since nobody listens there any more."""
    log, image = Rekor1(), site.push(f"att-logged-{program}")
    with served(log.app()) as url:
        assert keyless(site, image, *logged(site, log, url)) == 0
    root = site.stack.material.trusted_root(site.stack.endpoints)
    (site.folder / "ca-all.pem").write_bytes(
        b"".join(map(cosign.certificate_pem, root.certificate_authorities[0].chain[::-1])))
    (site.folder / "log1.pub").write_bytes(
        log.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (site.folder / "log2.pub").write_bytes(
        Rekor1().key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def verify(public: str, email: str = PERSON) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [peer(program), "verify-attestation", "--allow-http-registry", "--insecure-ignore-sct", "--type", KIND,
             *site.who(email), image], capture_output=True, text=True, timeout=60, check=False, cwd=site.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(site.folder), "SIGSTORE_ROOT_FILE": "ca-all.pem",
                 "SIGSTORE_REKOR_PUBLIC_KEY": public, "SIGSTORE_NO_CACHE": "1"})

    answer = verify("log1.pub")
    assert answer.returncode == 0, answer.stderr
    assert "none of the expected identities matched" in verify("log1.pub", "eve@example.com").stderr
    assert "rekor log public key not found" in verify("log2.pub").stderr


@pytest.mark.peer
def test_kyverno_reads_it_by_key(site: Site, tmp_path: Path) -> None:
    """What the predicate says counts, and a bundle does not, as with signatures."""
    kyverno = peer("kyverno")
    public = "\n".join(" " * 16 + line for line in (site.folder / "cosign.pub").read_text().splitlines())
    (tmp_path / "policy.yaml").write_text(POLICY % public)
    pods = []
    for name, form, by in (("good", "legacy", "alice"), ("beside", "both", "alice"), ("bob", "legacy", "bob"),
                           ("bundle", "bundle", "alice")):
        image = site.push(f"kyverno-att-{name}")
        assert attest(site, image, "--format", form, by=by) == 0
        pods.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                     "spec": {"containers": [{"name": "c", "image": image}]}})
    (tmp_path / "pods.yaml").write_text("---\n".join(json.dumps(pod) + "\n" for pod in pods))
    answer = subprocess.run([kyverno, "apply", "policy.yaml", "--resource", "pods.yaml", "--registry",
                             "--policy-report"], cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)
    report = yaml.safe_load(answer.stdout[answer.stdout.index("apiVersion: "):])
    outcomes = {result["resources"][0]["name"]: result["result"] for result in report["results"]}
    assert outcomes == {"good": "pass", "beside": "pass", "bob": "fail", "bundle": "fail"}, answer.stdout
