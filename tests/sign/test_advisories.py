"""What was published against cosign, sigstore-go, -python and -js, and gitsign: each advisory, tried by its number.

Some are tried where the rest of their subject is; docs/advisories.md lists them all.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from custody.adapters.http.stdlib import StdlibHttp
from custody.cli.run import run
from custody.errors import Check, CustodyError, MalformedError, VerificationError
from custody.formats import bundle as bundles
from custody.formats import der, intoto, oci
from custody.formats.gitobject import parse_commit
from custody.formats.reference import parse
from custody.kit.digest import sha256
from custody.registry.client import RegistryClient
from custody.server.asgi import respond
from custody.sign.blob import artifact_of, check_attested, read_file_bundle
from custody.sign.gitsign import verify_object
from custody.sign.identity import Identity
from custody.sign.referrers import fetch_evidence
from custody.sign.verify import Trust, verify_evidence
from tests.serving import served
from tests.sign.authority import DAY, IDENTITY, IMAGE, ISSUER, NOW, OTHER, World, b64, certificate, evidence, new_key
from tests.sign.gitsigning import Gitsign, armored, later
from tests.sign.site import Site
from tests.sign.test_verify import PAST, ROOT, WORLD, entry, legacy, refused, replace_annotations
from tests.trust.tufmirror import Mirror, trust_files

BLOB = b"what is signed\n"
COMMIT = (b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor Ann <ann@example.com> 1780315200 +0000\n"
          b"committer Ann <ann@example.com> 1780315200 +0000\n\nA shop\n")


# cosign

def test_cve_2022_23649() -> None:
    """GHSA-ccxc-vr6p-4858: any valid Rekor bundle beside a signature that was never logged made it a logged one."""
    unlogged, logged = legacy(), legacy(subject=OTHER)
    bundle = "dev.sigstore.cosign/bundle"
    refused(replace_annotations(unlogged, {bundle: logged.annotations[bundle]}), Check.LOG,
            "it is about something else")


def test_cve_2022_35929(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """GHSA-vjxv-45g9-9296: an attestation of any type satisfied `verify-attestation --type`."""
    image, predicate = site.push("cve-2022-35929"), site.folder / "vuln.json"
    predicate.write_text("{}")
    assert site.custody("attest", "--identity-token", site.token(), "--predicate", str(predicate), "--type", "vuln",
                        image) == 0
    assert site.custody("verify-attestation", *site.who(), "--type", "vuln", image) == 0
    capsys.readouterr()
    assert site.custody("verify-attestation", *site.who(), "--type", "spdxjson", image) == 4
    assert "there are https://cosign.sigstore.dev/attestation/vuln/v1" in capsys.readouterr().err


@pytest.mark.parametrize("size", [1 << 30, 1 << 62])
def test_cve_2024_29902(size: int) -> None:
    """GHSA-88jx-383q-w4qc: an attachment as large as its descriptor says was read into memory. It is not fetched."""
    layer = oci.Descriptor(bundles.MEDIA_TYPE, sha256(b"large"), size)
    manifest = json.dumps(oci.Manifest(oci.MANIFEST, oci.EMPTY_DESCRIPTOR, (layer,),
                                       artifact_type=bundles.MEDIA_TYPE).to_json()).encode()
    gathered, asked = _fetched({sha256(manifest): manifest}, [
        oci.Descriptor(oci.MANIFEST, sha256(manifest), len(manifest), artifact_type=bundles.MEDIA_TYPE)])
    assert gathered.evidence == ()
    assert f"it has {size} bytes by its descriptor; custody reads at most" in gathered.rejected[0].reason
    assert not [path for path in asked if "/blobs/" in path]


def test_cve_2024_29903() -> None:
    """GHSA-95pr-fxf5-86gv: lists were made as long as an artifact said. More than are read is an error before that."""
    listed = [oci.Descriptor(oci.MANIFEST, sha256(b"%d" % at), 500, artifact_type=bundles.MEDIA_TYPE)
              for at in range(501)]
    with pytest.raises(VerificationError, match="custody reads at most 500"):
        _fetched({}, listed)


def _fetched(manifests: dict[str, bytes], listed: list[oci.Descriptor]) -> tuple[Any, list[str]]:
    """What is gathered of a registry that has these referrers, and the paths that it was asked for."""
    asked: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        asked.append(path)
        data = manifests.get(path.rpartition("/")[2])
        if "/referrers/" in path:
            await respond(send, 200, json.dumps(oci.Index(oci.INDEX, tuple(listed)).to_json()).encode(),
                          oci.INDEX.encode())
        elif data is not None:
            await respond(send, 200, data, oci.MANIFEST.encode())
        else:
            await respond(send, 404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')

    async def fetch(url: str) -> Any:
        async with RegistryClient(StdlibHttp()) as client:
            return await fetch_evidence(client, parse(f"{url.removeprefix('http://')}/app@{sha256(b'image')}"))

    with served(app) as url:
        return asyncio.run(fetch(url)), asked


@pytest.mark.parametrize(("statement", "reason"), [
    (b"not JSON", "expected one JSON document"), (b"null", "expected a JSON object"),
    (b"{}", "in-toto statement._type"),
    (b'{"_type":"https://in-toto.io/Statement/v1","subject":null,"predicateType":"a"}', "in-toto statement.subject")])
def test_cve_2026_39395(statement: bytes, reason: str) -> None:
    """GHSA-w6c6-c85g-mmv6: a payload that could not be read was `Verified OK`, with claims compared or without."""
    document = json.dumps(WORLD.keyless(statement=statement)).encode()
    for artifact in (artifact_of(BLOB), None):
        found, form = read_file_bundle(document, artifact_of(BLOB))
        with pytest.raises(VerificationError) as caught:
            check_attested(found, form, artifact, Trust(ROOT), NOW)
        assert reason in caught.value.message
        assert caught.value.check is Check.STATEMENT


def test_cve_2026_39395_of_another_type(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """GHSA-w6c6-c85g-mmv6: the predicate type of a new bundle was not compared."""
    files = {name: str(site.folder / name) for name in ("advisory.blob", "advisory.predicate", "advisory.json")}
    (site.folder / "advisory.blob").write_bytes(BLOB)
    (site.folder / "advisory.predicate").write_text("{}")
    assert site.custody("attest-blob", "--identity-token", site.token(), "--predicate", files["advisory.predicate"],
                        "--type", "vuln", "--bundle", files["advisory.json"], files["advisory.blob"]) == 0
    line = ("verify-blob-attestation", *site.who(), "--bundle", files["advisory.json"], "--type")
    assert site.custody(*line, "vuln", files["advisory.blob"]) == 0
    capsys.readouterr()
    assert site.custody(*line, "cyclonedx", files["advisory.blob"]) == 4
    assert "predicate type: got https://cosign.sigstore.dev/attestation/vuln/v1" in capsys.readouterr().err


# sigstore-go, timestamp-authority, sigstore

@pytest.mark.parametrize("what", ["entries", "timestamps", "subjects"])
def test_cve_2024_45395(what: str) -> None:
    """GHSA-cq38-jh5f-37mq: all of however many log entries, timestamps and subjects there were was verified."""
    document = WORLD.keyless()
    material = document["verificationMaterial"]
    if what == "entries":
        material["tlogEntries"] *= 33
        refused(document, Check.FORMAT, "tlogEntries: got '33 of them', expected a list of at most 32")
    elif what == "timestamps":
        material["timestampVerificationData"]["rfc3161Timestamps"] *= 33
        refused(document, Check.FORMAT, "rfc3161Timestamps: got '33 of them', expected a list of at most 32")
    else:
        subjects = [{"name": str(at), "digest": {"sha256": f"{at:064x}"}} for at in range(10_001)]
        many = json.dumps({"_type": "https://in-toto.io/Statement/v1", "predicateType": "a", "subject": subjects})
        refused(WORLD.keyless(statement=many.encode()), Check.STATEMENT,
                "subject: got '10001 of them', expected a list of at most 10000")


def test_cve_2026_49834() -> None:
    """GHSA-9vcr-p3rj-q5q6: entries of one log counted as the word of several. One is not there twice."""
    document = WORLD.keyless()
    entries = document["verificationMaterial"]["tlogEntries"]
    entries.append(copy.deepcopy(entries[0]))
    refused(document, Check.LOG, "log entry: one is there twice")


def test_cve_2026_54787() -> None:
    """GHSA-wqqc-jjcq-vfxm: a key was believed of times at which it was not valid. What expires here are keys of logs
    and authorities, at the time of the signature; a key that is given to a command has no end.
    """
    for part, check in (("ca", Check.CERTIFICATE), ("ct", Check.SCT), ("tsa", Check.TIME), ("log2", Check.LOG)):
        refused(WORLD.keyless(), check, "is trusted from", WORLD.trusted_root(**{part: PAST}))


def test_cve_2026_39984() -> None:
    """GHSA-xm5m-wgh2-rrg3: one certificate signed the timestamp, and another before it was asked whether it may."""
    intruder_key = new_key()
    intruder = certificate(intruder_key, (WORLD.tsa_root, WORLD.tsa_root_key), name="intruder", start=NOW - DAY,
                           end=NOW + DAY, usages=[Usage.CODE_SIGNING])
    world = World(root_key=WORLD.root_key, ca_key=WORLD.ca_key, ct_key=WORLD.ct_key, log2_key=WORLD.log2_key,
                  tsa_root_key=WORLD.tsa_root_key, tsa_key=intruder_key)
    document = WORLD.keyless()
    signature = base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"])
    answer = der.Reader(world.stamp(signature, certificate=intruder), "").enter(der.SEQUENCE)
    status, token = answer.element(), answer.enter(der.SEQUENCE)
    kind, signed = token.element(), token.enter(0xa0).enter(der.SEQUENCE)
    head, own, tail = [signed.element() for _ in range(3)], signed.content(0xa0), signed.element()
    for bag in ([own], [WORLD.tsa.public_bytes(Encoding.DER), own], [own, WORLD.tsa.public_bytes(Encoding.DER)]):
        body = der.element(der.SEQUENCE, *head, der.element(0xa0, *bag), tail)
        whole = der.element(der.SEQUENCE, status, der.element(der.SEQUENCE, kind, der.element(0xa0, body)))
        document["verificationMaterial"]["timestampVerificationData"] = {
            "rfc3161Timestamps": [{"signedTimestamp": b64(whole)}]}
        for chain in ((WORLD.tsa, WORLD.tsa_root), (WORLD.tsa_root,)):  # the authority's leaf is known, or it is not
            with pytest.raises(VerificationError) as caught:
                verify_evidence(evidence(document), Trust(WORLD.trusted_root(tsa_chain=chain)), NOW)
            assert caught.value.check is Check.TIME
            assert "timestamp: https://tsa.example: certificate verify error" in caught.value.message


def test_cve_2026_24137(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GHSA-fcv2-xgw5-pqxf: a target's name wrote outside of the cache. custody asks a mirror for the names that it
    knows itself, and writes to places of its own.
    """
    monkeypatch.chdir(tmp_path)
    mirror = Mirror(tmp_path / "mirror", trust_files(tmp_path / "services"))
    monkeypatch.setattr(mirror, "target", lambda name: mirror.folder / "targets" / (
        hashlib.sha256(mirror.files[name]).hexdigest() + "." + name.replace("/", "%2F")))
    mirror.files |= {"../../escaped.json": b"{}", "/tmp/escaped.json": b"{}", "a/trusted_root.json": b"{}"}
    mirror.publish()
    assert run(["initialize", "--mirror", str(mirror.folder), "--root", str(mirror.root)]) == 0
    (kept,) = Path(".custody", "trust").glob("mirror-*")
    assert {path.name for path in kept.rglob("*.json")} <= {
        "root.json", "timestamp.json", "snapshot.json", "targets.json", "1.root.json"}
    assert [path for path in tmp_path.rglob("*escaped*") if mirror.folder not in path.parents] == []
    assert Path(".custody", "trust", "trusted_root.json").read_bytes() == mirror.files["trusted_root.json"]


# sigstore-python, sigstore-js, sigstore-java

@pytest.mark.parametrize("media_type", ["application/vnd.dev.sigstore.bundle+json;version=0.2", bundles.MEDIA_TYPE])
def test_cve_2024_55655_and_cve_2026_48816(media_type: str) -> None:
    """GHSA-hhfg-fwrw-87w7, GHSA-xgjw-pm74-86q4: a time that nobody signed made certificates valid."""
    for moment in ("1780315200", "1"):
        document = WORLD.keyless(kind="dsse")
        document["mediaType"] = media_type
        entry(document).pop("inclusionPromise")
        entry(document)["integratedTime"] = moment
        refused(document, Check.TIME, "time: nothing attests when the signature was made")


def test_cve_2026_24408(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """GHSA-hm8f-75xx-w2vr: the answer to another's login in the browser was taken. custody opens none: without a token
    it says so.
    """
    for name in ("SIGSTORE_ID_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "BUILDKITE", "CI"):
        monkeypatch.delenv(name, raising=False)
    assert site.custody("sign", "--oidc-disable-ambient-providers", site.push("cve-2026-24408")) != 0
    assert "--identity-token" in capsys.readouterr().err


def test_cve_2026_48815() -> None:
    """GHSA-52v5-jr5w-gjxr: extensions that a certificate had to have were not looked at."""
    signer = verify_evidence(evidence(WORLD.keyless()), Trust(ROOT), NOW).signer
    for name, value in (("githubWorkflowRepository", "acme/app"),
                        ("sourceRepositoryURI", "https://github.com/acme/app")):
        assert Identity(IDENTITY, issuer=ISSUER, claims={name: value}).mismatch(signer) is None
        assert f"{name}: got" in str(Identity(IDENTITY, issuer=ISSUER, claims={name: "x"}).mismatch(signer))
    absent = Identity(IDENTITY, issuer=ISSUER, claims={"runnerEnvironment": "x"})
    assert "runnerEnvironment" in str(absent.mismatch(signer))


@pytest.mark.parametrize("letter", ["\u016a", "\u026a", "\U0001f16a"])
def test_cve_2026_48758(letter: str) -> None:
    """Of the payload type only the low byte of each character was signed. These have that of `j`."""
    document = WORLD.keyless()
    document["dsseEnvelope"]["payloadType"] = intoto.PAYLOAD_TYPE.replace("j", letter)
    refused(document, Check.SIGNATURE, "the signature is not this key's")


def test_cve_2024_54140() -> None:
    """A checkpoint that the log did not sign ended an inclusion proof."""
    document = WORLD.keyless()
    proof = entry(document)["inclusionProof"]
    forged = World().log2.sign(3, base64.b64decode(proof["rootHash"])).decode().splitlines()
    genuine = proof["checkpoint"]["envelope"].splitlines()
    key_id = base64.b64decode(genuine[-1].split()[-1])[:4]
    forged[-1] = f"{forged[-1].rpartition(' ')[0]} {b64(key_id + base64.b64decode(forged[-1].split()[-1])[4:])}"
    proof["checkpoint"]["envelope"] = "\n".join(forged) + "\n"
    refused(document, Check.LOG, "checkpoint: not signed by the log's key")


# gitsign

GOOD = Gitsign(WORLD)


def _of_git(armor: str, payload: bytes = COMMIT, root: Any = None) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        verify_object(payload, armor, Trust(root or WORLD.trusted_root()), later(24 * 60))
    return caught.value


def test_cve_2023_47122() -> None:
    """GHSA-xvrc-2wvh-49vc: the log's key was asked of the log. Only the trusted root names one, and nobody is asked."""
    assert "is not in the trusted root" in _of_git(GOOD.sign(COMMIT), root=World().trusted_root()).message


def test_cve_2024_51746() -> None:
    """GHSA-8pmp-678w-c8xx: an entry by the same key, but of another object, was taken."""
    error = _of_git(replace(GOOD, entry_of=b"another commit", body=True).sign(COMMIT))
    assert error.check is Check.LOG
    assert "its digest is not the one of this signature" in error.message


def test_cve_2026_44309() -> None:
    """GHSA-7rmh-48mx-2vwc: of two trees in a commit git and the verifier read one each. The bytes are verified as they
    are, and no such commit is one.
    """
    twice = b"tree " + b"1" * 40 + b"\n" + COMMIT
    assert _of_git(GOOD.sign(COMMIT), twice).check is Check.SUBJECT
    with pytest.raises(MalformedError):
        parse_commit(hashlib.sha1(twice).hexdigest(), twice)


def test_cve_2026_44310() -> None:
    """GHSA-7c37-gx6w-8vc5: a signature without certificates ended in exit code 0."""
    outer = der.Reader(GOOD.der(COMMIT), "").enter(der.SEQUENCE)
    kind, signed = outer.element(), outer.enter(0xa0).enter(der.SEQUENCE)
    head, _, tail = [signed.element() for _ in range(3)], signed.element(0xa0), signed.element()
    for certificates in (b"", der.element(0xa0)):
        body = der.element(der.SEQUENCE, *head, certificates, tail)
        error = _of_git(armored(der.element(der.SEQUENCE, kind, der.element(0xa0, body))))
        assert "got '0 certificates, none of this issuer and serial number'" in error.message


def test_the_world_is_right_where_nothing_is_changed() -> None:
    """What all of these change is accepted as it is."""
    assert verify_evidence(evidence(WORLD.keyless()), Trust(ROOT), NOW).subject == IMAGE
    assert verify_object(COMMIT, GOOD.sign(COMMIT), Trust(WORLD.trusted_root()), later(24 * 60)).signed_at == NOW
    assert issubclass(MalformedError, CustodyError)
