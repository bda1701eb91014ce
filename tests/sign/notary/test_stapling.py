"""Answers about revoked certificates that were had before an air gap: they count behind it, and override nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import ocsp
from starlette.applications import Starlette

from custody.adapters.http.stdlib import StdlibHttp
from custody.cli.run import run
from custody.evidence.model import EvidenceSet
from custody.formats import oci, revocationanswers
from custody.formats.reference import Reference, parse
from custody.formats.revocationanswers import ARTIFACT_TYPE, MAX_ANSWERS, MAX_DOCUMENT, Exchange, write
from custody.kit.clock import system_clock
from custody.kit.digest import sha256
from custody.registry.client import RegistryClient
from custody.server import tsa as tsa_server
from custody.services.notaryplaces import registry_staples
from custody.settings import Settings
from custody.sign.notary.directory import Directory
from custody.sign.notary.ocsp import request
from custody.sign.notary.stapled import Staples
from custody.trust.tsa import TimestampAuthority
from custody.wiring import gatherer, registry_client, service_http
from tests.conftest import ROOT, peer
from tests.serving import registry_on, served
from tests.sign.notary.materials import directory_in, environment, key_of, list_key, push_image, trust
from tests.sign.notary.revoking import REASONS, STRANGE_KEY, Authority, authority

REVOKED, UNKNOWN = ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
HOUR = timedelta(hours=1)
FAR = """\
import sys
from custody.cli.run import run
sys.exit(run(sys.argv[1:]))
"""
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: notarized}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  validations:
    - expression: object.spec.containers.all(c, evidence(c.image).signatures.exists(s, has(s.signer.certificate)))
      message: somebody must have signed every image.
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: notarized}
spec: {policyName: notarized, validationActions: [Deny]}
"""


class World:
    """An authority, a registry, and one image in it that a certificate of the authority signed."""

    def __init__(self, ca: Authority, directory: Directory, image: str) -> None:
        self.ca, self.directory, self.image = ca, directory, image

    def signed(self, **named: Any) -> None:
        """By a leaf that names these responders and lists, of which all say that it is good."""
        chain = self.ca.issued(**named)
        list_key(self.directory, "mine", key_of("EC-256"), chain, default=True)
        trust(self.directory, "ca", "acme", chain[-1])
        assert run(["notation", "sign", self.image]) == 0
        for path in named.get("responders", ()):
            self.ca.responses[path] = self.ca.response()
        for path in named.get("lists", ()):
            self.ca.lists[path] = self.ca.revoked()

    def down(self) -> None:
        """Nobody answers any more, and no list is kept."""
        self.ca.responses = dict.fromkeys(self.ca.responses, 503)
        self.ca.lists = dict.fromkeys(self.ca.lists, 503)
        shutil.rmtree(self.directory.revocation_lists, ignore_errors=True)

    def staple(self) -> int:
        return run(["notation", "staple", self.image])

    def verify(self, *flags: str) -> int:
        return run(["notation", "verify", *flags, self.image])

    def signature(self) -> oci.Descriptor:
        (listed,) = [listed for listed in self.referrers(self.image) if listed.artifact_type != ARTIFACT_TYPE]
        return listed

    def staples(self) -> list[oci.Descriptor]:
        return [listed for listed in self.referrers(str(parse(self.image).at(self.signature().digest)))
                if listed.artifact_type == ARTIFACT_TYPE]

    def referrers(self, name: str) -> list[oci.Descriptor]:
        async def ask() -> list[oci.Descriptor]:
            async with RegistryClient(StdlibHttp()) as client:
                return await client.referrers(parse(name))

        return asyncio.run(ask())

    def put(self, document: bytes, **changes: Any) -> None:
        """Staple a document by hand, as anybody who may push can; `changes` are of its manifest."""
        signature, ref = self.signature(), parse(self.image)

        async def push() -> None:
            async with RegistryClient(StdlibHttp()) as client:
                blob = await client.push_blob(ref, document)
                await client.push_blob(ref, oci.EMPTY_BLOB)
                said: dict[str, Any] = {"subject": signature, "layers": (oci.Descriptor(
                    ARTIFACT_TYPE, blob.digest, blob.size),), **changes}
                manifest = oci.Manifest(oci.MANIFEST, oci.EMPTY_DESCRIPTOR, said["layers"], subject=said["subject"],
                                        artifact_type=ARTIFACT_TYPE, annotations=said.get("annotations", {}))
                await client.push_manifest(ref, json.dumps(manifest.to_json()).encode(), oci.MANIFEST)

        asyncio.run(push())

    def asked(self, answer: bytes) -> Exchange:
        """An answer of the first responder."""
        assert self.ca.leaf is not None
        return Exchange("POST", f"{self.ca.url}/ocsp/a", request(self.ca.leaf, self.ca.root), answer)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    directory = directory_in(tmp_path / "notation")
    for name, value in environment(directory).items():
        if name.startswith("NOTATION_"):
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    directory.config.mkdir(parents=True)
    policy(directory)
    with authority() as ca, registry_on(tmp_path / "registry") as (host, _):
        yield World(ca, directory, asyncio.run(push_image(host, "app")))


def policy(directory: Directory, **changes: Any) -> None:
    (directory.config / "trustpolicy.json").write_text(json.dumps({"version": "1.0", "trustPolicies": [{
        "name": "one", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:acme"], "trustedIdentities": ["*"], **changes}]}))


def by_changes(world: World) -> None:
    world.signed(lists=("a",))
    world.ca.lists |= {"a": world.ca.revoked(newer="b"), "b": world.ca.revoked(number=2, delta_of=1)}


def fallen_back(world: World) -> None:
    world.signed(responders=("a",), lists=("a",))
    world.ca.responses["a"] = 503


WAYS: dict[str, tuple[Callable[[World], None], int, str]] = {
    "a responder": (lambda world: world.signed(responders=("a",)), 1, "OCSP"),
    "a list": (lambda world: world.signed(lists=("a",)), 1, "CRL"),
    "two lists": (lambda world: world.signed(lists=("a", "b")), 2, "CRL"),
    "a list and its changes": (by_changes, 2, "CRL"),
    "a list, since the responder is silent": (fallen_back, 1, "CRL")}


@pytest.mark.parametrize("way", WAYS)
def test_what_was_had_before_counts_where_nobody_answers(way: str, world: World, capsys: pytest.CaptureFixture[str]
                                                         ) -> None:
    make, count, method = WAYS[way]
    make(world)
    answering = dict(world.ca.lists), dict(world.ca.responses)
    world.down()
    assert world.verify() == 4
    assert "revocation unavailable" in capsys.readouterr().err
    world.ca.lists, world.ca.responses = answering
    assert world.staple() == 0
    said = capsys.readouterr().out
    assert f"Successfully stapled {count} answer" in said
    assert "good until 20" in said
    world.down()
    capsys.readouterr()
    assert world.verify("-v") == 0
    told = capsys.readouterr().err
    assert "good as stapled, answered at 20" in told
    assert f"by {method}; now: " in told
    assert "status 503" in told
    assert world.verify("--explain", "-o", "json") == 0
    assert "good as stapled, answered at 20" in capsys.readouterr().out
    # Where somebody answers, what is stapled is not looked at.
    world.ca.lists, world.ca.responses = answering
    assert world.verify("-v") == 0
    assert "as stapled" not in capsys.readouterr().err


def test_what_is_said_now_counts_first(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.signed(responders=("a",))
    assert world.staple() == 0
    world.ca.responses["a"] = world.ca.response(REVOKED, reason=REASONS.key_compromise)
    assert world.verify() == 4
    assert "is revoked" in capsys.readouterr().err
    world.ca.responses["a"] = world.ca.response(UNKNOWN)
    assert world.verify() == 4
    assert "is unknown to its responder" in capsys.readouterr().err


def test_a_responder_that_does_not_know_it_is_an_answer(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.signed(responders=("a",), lists=("a",))
    assert world.staple() == 0
    world.down()
    world.ca.responses["a"] = world.ca.response(UNKNOWN)
    assert world.verify() == 4
    assert "is unknown to its responder" in capsys.readouterr().err


def test_the_second_of_two_lists_says_it_is_revoked_now(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """That the first one is away, as somebody on the way may bring about, hides nothing of the second."""
    world.signed(lists=("a", "b"))
    assert world.staple() == 0
    world.down()
    world.ca.lists["b"] = world.ca.revoked((REASONS.key_compromise, None))
    assert world.verify() == 4
    assert "is revoked" in capsys.readouterr().err


def test_what_is_stapled_says_it_was_revoked(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside a good one too, which is newer by whoever stored it."""
    world.signed(responders=("a",))
    world.put(write([world.asked(world.ca.response(REVOKED))]),
              annotations={"org.opencontainers.image.created": "2020-01-01T00:00:00Z"})
    world.put(write([world.asked(world.ca.response())]),
              annotations={"org.opencontainers.image.created": "2040-01-01T00:00:00Z"})
    world.down()
    assert world.verify() == 4
    assert "is revoked" in capsys.readouterr().err


def document(count: int = 1, **changes: object) -> Callable[[World], bytes]:
    def make(world: World) -> bytes:
        entry = {"method": "POST", "url": f"{world.ca.url}/ocsp/a", "request": "AA==", "answer": "AA==", **changes}
        return json.dumps({"answers": [entry] * count}).encode()

    return make


def answered(**changes: object) -> Callable[[World], bytes]:
    return lambda world: write([world.asked(world.ca.response(**changes))])  # type: ignore[arg-type]


def of_another(world: World) -> bytes:
    """A right answer of the same responder, about somebody else who was asked about in the same words."""
    mine = world.ca.leaf
    other = world.ca.issued(responders=("a",))[0]
    world.ca.leaf = mine
    return write([world.asked(world.ca.response(certificate=other))])


def asked_of_another(world: World) -> bytes:
    mine = world.ca.leaf
    world.ca.issued(responders=("a",))
    exchange = world.asked(world.ca.response())
    world.ca.leaf = mine
    return write([exchange])


BAD: dict[str, tuple[Callable[[World], bytes], str]] = {
    "too old": (answered(until=-timedelta(minutes=1)), "as stapled: {ca}/ocsp/a: the answer is too old"),
    "no end": (answered(until=None), "good until no time"),
    "of the future": (answered(age=-HOUR), "the answer is of the future"),
    "a stranger's": (answered(key=STRANGE_KEY), "the answer is not signed by the issuer's responder"),
    "about another certificate": (of_another, "the answer is of another certificate"),
    "asked about another": (asked_of_another, "nothing is stapled that answers this"),
    "nothing": (lambda _: b'{"answers": []}', "nothing is stapled that answers this"),
    "no answer": (document(), "nothing is stapled that answers this"),
    "no JSON": (lambda _: b"answers", "expected one JSON document"),
    "a key twice": (lambda _: b'{"answers": [], "answers": []}', "twice in one object"),
    "a field that is not known": (document(trusted=True), "answers[0].trusted: a field that custody does not know"),
    "another method": (document(method="PUT"), "answers[0].method: got 'PUT', expected GET or POST"),
    "no base64": (document(answer="!"), "answers[0].answer"),
    "too many": (document(MAX_ANSWERS + 1), f"answers: got '{MAX_ANSWERS + 1} of them', expected a list of at most "
                 f"{MAX_ANSWERS}")}


@pytest.mark.parametrize("name", BAD)
def test_bad_staples(name: str, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    make, words = BAD[name]
    world.signed(responders=("a",))
    world.put(make(world))
    world.down()
    assert world.verify() == 4
    said = capsys.readouterr().err
    assert "revocation unavailable" in said
    assert words.replace("{ca}", world.ca.url) in said, said


@pytest.mark.parametrize(("media_types", "words"), [
    (["text/plain"], "layers: got ['text/plain'], expected one"), ([], "layers: got [], expected one"),
    ([ARTIFACT_TYPE, ARTIFACT_TYPE], f"layers: got ['{ARTIFACT_TYPE}', '{ARTIFACT_TYPE}'], expected one")])
def test_bad_manifests(media_types: list[str], words: str, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.signed(responders=("a",))
    data = answered()(world)
    world.put(data, layers=tuple(oci.Descriptor(kind, sha256(data), len(data)) for kind in media_types))
    world.down()
    assert world.verify() == 4
    assert words in capsys.readouterr().err


class Confused(RegistryClient):
    """Lists what refers to one manifest for every other too."""

    def __init__(self, listed: list[oci.Descriptor]) -> None:
        super().__init__(StdlibHttp())
        self._listed = listed

    async def referrers(self, ref: Reference, artifact_type: str | None = None, *, apart: bool = False
                        ) -> list[oci.Descriptor]:
        assert (ref.digest, artifact_type, apart) == (sha256(b"another"), ARTIFACT_TYPE, False)
        return self._listed


def test_what_is_stapled_to_another_signature(world: World) -> None:
    world.signed(responders=("a",))
    assert world.staple() == 0

    listed, signature = world.staples(), world.signature()

    async def read() -> Staples:
        async with Confused(listed) as client:
            return await registry_staples(client, parse(world.image).at(sha256(b"another")))

    staples = asyncio.run(read())
    assert staples.documents == ()
    assert f"subject: got '{signature.digest}', expected {sha256(b'another')}" in staples.broken[0]


def test_a_huge_one(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.signed(responders=("a",))
    data = answered()(world) + b" " * MAX_DOCUMENT
    world.put(data)
    world.down()
    assert world.verify() == 4
    assert f"layers[0].size: got {len(data)}, expected at most {MAX_DOCUMENT}" in capsys.readouterr().err


def test_many(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever may push can crowd the right one out, which is no way to make anything count."""
    world.signed(responders=("a",))
    assert world.staple() == 0
    for year in range(2040, 2044):
        world.put(b'{"answers": []}' + b" " * (year % 10),
                  annotations={"org.opencontainers.image.created": f"{year}-01-01T00:00:00Z"})
    world.down()
    assert world.verify() == 4
    assert "5 artifacts are stapled, of which the 4 newest by their own word were read" in capsys.readouterr().err


def test_how_old_it_may_be(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.signed(responders=("a",))
    assert world.staple() == 0
    world.down()
    assert world.verify("--max-staple-age", "2h") == 0
    assert world.verify("--max-staple-age", "30m") == 4
    assert "longer ago than the 0.5 h that are allowed" in capsys.readouterr().err
    Path("custody.toml").write_text("max_staple_age = 0.5\n")
    assert world.verify() == 4
    assert "longer ago than the 0.5 h that are allowed" in capsys.readouterr().err
    assert world.verify("--max-staple-age", "2h") == 0
    for text, words in (("0s", "expected more than nothing"), ("soon", "expected a duration such as 12h"),
                        ("-1h", "expected whole seconds")):
        assert world.verify(f"--max-staple-age={text}") == 2
        assert words in capsys.readouterr().err


def test_asked_again_it_takes_the_place_of_the_older(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.signed(responders=("a",))
    assert world.staple() == 0
    (first,) = world.staples()
    world.ca.responses["a"] = world.ca.response(age=timedelta(minutes=1))
    assert world.staple() == 0
    (second,) = world.staples()
    assert first.digest != second.digest
    # What nobody can be asked of, or is revoked, leaves what is there.
    for answer, words in ((503, "revocation unavailable"), (world.ca.response(REVOKED), "is revoked")):
        world.ca.responses["a"] = answer
        assert world.staple() == 4
        assert words in capsys.readouterr().err
        assert world.staples() == [second]


def test_nobody_is_asked_for_those_who_are_not_trusted(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.signed(responders=("a",))
    policy(world.directory, trustedIdentities=["x509.subject: C=US, ST=WA, O=other"])
    assert world.staple() == 4
    assert "no trusted identity" in capsys.readouterr().err
    assert world.ca.asked == []
    policy(world.directory, signatureVerification={"level": "skip"}, trustStores=[], trustedIdentities=[])
    assert world.staple() == 2
    assert "skips verification" in capsys.readouterr().err
    # A policy that only logs revocation, or does not look at it, does not make what is stapled any less.
    policy(world.directory, signatureVerification={"level": "strict", "override": {"revocation": "skip"}})
    assert world.staple() == 0
    assert world.ca.asked == ["/ocsp/a"]


def test_nobody_to_ask(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.signed()
    assert world.staple() == 0
    assert "its certificates name nobody to ask" in capsys.readouterr().out
    assert world.staples() == []


def test_more_than_is_stapled(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
                              ) -> None:
    world.signed(responders=("a",))
    monkeypatch.setattr(revocationanswers, "MAX_DOCUMENT", 100)
    assert world.staple() == 4
    assert "revocation answers: got '1 in " in capsys.readouterr().err
    assert world.staples() == []


def test_the_timestamp_authority_too(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a signature whose certificate expires one day, whose policy asks for timestamps only then."""
    stamping = world.ca.issued(responders=("t",), kind="EC-384", stamping=True)
    world.ca.responses["t"] = world.ca.response()
    trust(world.directory, "tsa", "acme", stamping[-1])
    Path("tsa.pem").write_bytes((world.directory.trust_store("tsa", "acme") / "0.pem").read_bytes())
    policy(world.directory, trustStores=["ca:acme", "tsa:acme"])
    with served(Starlette(routes=tsa_server.routes(TimestampAuthority(
            key_of("EC-384"), stamping, system_clock)))) as url:
        chain = world.ca.issued(responders=("a",))
        world.ca.responses["a"] = world.ca.response()
        list_key(world.directory, "mine", key_of("EC-256"), chain, default=True)
        trust(world.directory, "ca", "acme", chain[-1])
        assert run(["notation", "sign", "--timestamp-url", f"{url}/api/v1/timestamp", "--timestamp-root-cert",
                    "tsa.pem", world.image]) == 0
    assert world.staple() == 0
    assert "stapled 2 answers" in capsys.readouterr().out
    world.down()
    assert world.verify("--explain") == 0
    assert capsys.readouterr().out.count("good as stapled, answered at 20") == 2
    world.put(b"{}")  # and without: a policy that asks for timestamps always asks of their authority
    asyncio.run(_deleted(world))
    assert world.verify() == 4
    assert "timestamp authority: " in capsys.readouterr().err


async def _deleted(world: World) -> None:
    async with RegistryClient(StdlibHttp()) as client:
        ref = parse(world.image)
        signature = next(listed for listed in await client.referrers(ref) if listed.artifact_type != ARTIFACT_TYPE)
        for staple in await client.referrers(ref.at(signature.digest), ARTIFACT_TYPE):
            await client.delete_manifest(ref.at(staple.digest))


def gathered(world: World, **changes: Any) -> EvidenceSet:
    settings = Settings(notation=str(world.directory.config), keep_evidence=0, **changes)

    async def gather() -> EvidenceSet:
        async with registry_client(settings, service_http(settings)) as client:
            return (await gatherer(settings, client, system_clock).gather([world.image]))[world.image]

    return asyncio.run(gather())


def test_as_evidence(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.signed(responders=("a",))
    world.down()
    assert "revocation unavailable" in gathered(world).rejected[0].reason
    world.ca.responses["a"] = world.ca.response()
    assert world.staple() == 0
    world.down()
    with caplog.at_level("INFO"):
        assert len(gathered(world).verified) == 1
    assert "good as stapled, answered at 20" in caplog.text
    assert "longer ago than" in gathered(world, max_staple_age=0.5).rejected[0].reason
    world.ca.responses["a"] = world.ca.response(REVOKED)
    assert "is revoked" in gathered(world).rejected[0].reason


def test_in_a_layout(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.signed(responders=("a",))
    assert run(["copy", "-r", world.image, "oci:carried"]) == 0
    named = ["--oci-layout", "--scope", "local/app", f"carried@{parse(world.image).digest}"]
    blobs = len(os.listdir("carried/blobs/sha256"))
    assert run(["notation", "staple", *named]) == 0
    added = len(os.listdir("carried/blobs/sha256")) - blobs
    assert added == 2 + (not Path("carried/blobs/sha256", sha256(b"{}")[7:]).exists())
    world.ca.responses["a"] = world.ca.response(age=timedelta(minutes=1))
    assert run(["notation", "staple", *named]) == 0
    assert len(os.listdir("carried/blobs/sha256")) == blobs + added  # the older one is gone
    world.down()
    capsys.readouterr()
    assert run(["--offline", "notation", "verify", "-v", *named]) == 0
    assert "good as stapled" in capsys.readouterr().err
    for path in Path("carried/blobs/sha256").iterdir():
        if b'"answers"' in path.read_bytes():
            path.write_bytes(path.read_bytes().replace(b"POST", b"post"))
    assert run(["--offline", "notation", "verify", *named]) == 4
    assert "stapled sha256:" in capsys.readouterr().err


def far(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command where there is no network interface."""
    alone = ["unshare", "--user", "--map-root-user", "--net", "--"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True,
                                                         check=False).returncode:
        pytest.skip("unshare --net does not work here")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([*alone, sys.executable, "-c", FAR, *arguments], env=env, timeout=60, capture_output=True,
                          text=True, check=False)


def test_beyond_an_air_gap(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`save --airgap` carries it, and no interface is needed to verify, check, or show what was carried."""
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    world.signed(responders=("a",), lists=("a",))
    assert run(["generate-key-pair"]) == 0
    save = ["save", "--airgap", "--key", "cosign.key", "--dir"]
    image = world.image.replace("@", ":v1@")
    assert run([*save, "bare", image]) == 0
    assert world.staple() == 0
    assert run([*save, "carried", image]) == 0
    shutil.rmtree(world.directory.revocation_lists, ignore_errors=True)
    Path("custody.toml").write_text(f'notation = "{world.directory.config}"\n')
    Path("policy.yaml").write_text(POLICY)
    digest = parse(world.image).digest
    for folder, code in (("carried", 0), ("bare", 4)):
        done = far("notation", "verify", "-v", "--oci-layout", "--scope", "local/app", f"{folder}@{digest}")
        assert done.returncode == code, done.stderr
        assert ("good as stapled, answered at 20" in done.stderr) == (code == 0)
        assert ("revocation unavailable" in done.stderr) == (code == 4)
        done = far("check", "--policy", "policy.yaml", "--airgap-key", "cosign.pub", f"oci:{folder}")
        assert done.returncode == (0 if code == 0 else 3), done.stdout + done.stderr
        done = far("tree", f"oci:{folder}")
        assert done.returncode == 0, done.stderr
        assert ("✓ https://sigstore.dev/cosign/sign/v1" in done.stdout) == (code == 0), done.stdout


def test_a_folder_asks_all_the_same_who_was_revoked(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.signed(responders=("a",))
    assert world.staple() == 0
    assert run(["copy", "-r", world.image, "oci:carried"]) == 0
    Path("custody.toml").write_text(f'notation = "{world.directory.config}"\n')
    Path("policy.yaml").write_text(POLICY)
    asked = ["check", "--policy", "policy.yaml", "oci:carried"]
    assert run(asked) == 0
    world.ca.responses["a"] = world.ca.response(REVOKED)
    capsys.readouterr()
    assert run(asked) == 3
    assert "is revoked" in capsys.readouterr().out
    assert run(["tree", "oci:carried"]) == 0
    assert "is revoked" in capsys.readouterr().out


@pytest.mark.peer
def test_notation_goes_on_verifying(world: World) -> None:
    world.signed(responders=("a",))
    assert world.staple() == 0
    (staple,) = world.staples()

    def theirs(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([peer("notation"), *arguments, "--insecure-registry", world.image], capture_output=True,
                              text=True, check=False, timeout=60)

    verified = theirs("verify")
    assert verified.returncode == 0, verified.stderr
    listed = theirs("list").stdout
    assert world.signature().digest in listed
    assert staple.digest not in listed
    world.down()
    assert theirs("verify").returncode != 0
    assert world.verify() == 0
