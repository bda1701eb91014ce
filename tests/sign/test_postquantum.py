"""A second half by ML-DSA-65: beside ECDSA for all that verify today, and asked for where both are asked for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa

from custody.adapters.http.stdlib import StdlibHttp
from custody.errors import UnsupportedError
from custody.formats import reference as references
from custody.registry.client import RegistryClient
from custody.sign.keys import (
    check_digest_signature,
    encrypt_key,
    generate_post_quantum_key,
    load_private_key,
    load_public_key,
    signed,
)
from custody.trust.keys import describe_key, key_details
from tests.sign.site import Site


@pytest.fixture(scope="module")
def keys(site: Site) -> tuple[str, str]:
    """The names of a private and a public key."""
    assert site.custody("generate-key-pair", "--pq", "--output-key-prefix", str(site.folder / "pq")) == 0
    return str(site.folder / "pq.key"), str(site.folder / "pq.pub")


def remove(image: str, printed: str) -> None:
    """One manifest, as `sign` prints it, as whoever may delete would."""
    async def delete() -> None:
        async with RegistryClient(StdlibHttp()) as client:
            await client.delete_manifest(references.parse(image).at(printed.partition("@")[2]))

    asyncio.run(delete())


def test_keys_and_signatures() -> None:
    key = generate_post_quantum_key()
    again = load_private_key(encrypt_key(key, b"pw"), b"pw", "pq.key")
    public = load_public_key(again.public.pem, "pq.pub")
    assert public.der == key.public.der
    assert (describe_key(public.key), key_details(public.key)) == ("ML-DSA-65", None)
    signature = again.sign(b"message", prehash=True, hash_name="sha256")
    assert signed(public.key, signature, b"message")
    assert not signed(public.key, signature, b"another")
    assert not signed(public.key, signature[:-1], b"message")
    assert not signed(generate_post_quantum_key().public.key, signature, b"message")
    with pytest.raises(UnsupportedError, match="needs the artifact's bytes"):
        check_digest_signature(public.key, signature, bytes(32), "signature", "sha512")
    with pytest.raises(UnsupportedError, match="the key is none of P-256"):
        load_public_key(_larger(), "larger.pub")


def _larger() -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = mldsa.MLDSA87PrivateKey.generate().public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_both_halves(site: Site, keys: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    image, (private, public) = site.push("both"), keys
    capsys.readouterr()
    assert site.custody("sign", "--identity-token", site.token(), "--pq", private, "-a", "k=v", image) == 0
    second, first = capsys.readouterr().out.splitlines()
    assert site.custody("verify", *site.who(), image) == 0
    assert site.custody("verify", *site.who(), "--pq-key", public, "-a", "k=v", image) == 0
    assert site.custody("verify", "--key", public, "--insecure-ignore-tlog", image) == 0
    assert site.custody("verify", *site.who("evil@example.com"), "--pq-key", public, image) == 4
    capsys.readouterr()
    remove(image, second)
    assert site.custody("verify", *site.who(), image) == 0
    assert site.custody("verify", *site.who(), "--pq-key", public, image) == 4
    assert "no signature has its second half: the same by the ML-DSA-65 key of --pq-key is not there" in (
        capsys.readouterr().err)
    again = site.push("first-half", b"another")
    assert site.custody("sign", "--identity-token", site.token(), "--pq", private, again) == 0
    second, first = capsys.readouterr().out.splitlines()
    remove(again, first)
    assert site.custody("verify", *site.who(), "--pq-key", public, again) == 4
    assert "no signature that counts" in capsys.readouterr().err


def test_halves_must_say_the_same(site: Site, keys: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    image, (private, public) = site.push("apart"), keys
    ours = ("--key", str(site.folder / "cosign.key"), "--signing-config", str(site.folder / "empty.json"))
    check = ("verify", "--key", str(site.folder / "cosign.pub"), "--insecure-ignore-tlog", "--pq-key", public)
    assert site.custody("sign", *ours, "-a", "stage=test", "--pq", private, image) == 0
    assert site.custody("sign", *ours, "-a", "stage=prod", image) == 0  # whoever has the elliptic key
    capsys.readouterr()
    assert site.custody(*check, "-a", "stage=test", image) == 0
    assert site.custody(*check, "-a", "stage=prod", image) == 4
    assert "the same by the ML-DSA-65 key of --pq-key says otherwise" in capsys.readouterr().err
    stranger = str(site.folder / "stranger")
    assert site.custody("generate-key-pair", "--pq", "--output-key-prefix", stranger) == 0
    assert site.custody("verify", "--key", str(site.folder / "cosign.pub"), "--insecure-ignore-tlog", "--pq-key",
                        f"{stranger}.pub", image) == 4


def test_attestations(site: Site, keys: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    image, (private, public) = site.push("attested"), keys
    predicate = site.folder / "pq.json"
    predicate.write_text('{"a":1}')
    attest = ("attest", "--identity-token", site.token(), "--predicate", str(predicate), "--type", "custom")
    check = ("verify-attestation", *site.who(), "--type", "custom", "--pq-key", public, image)
    assert site.custody(*attest, image) == 0
    assert site.custody(*check) == 4
    predicate.write_text('{"a":2}')
    assert site.custody(*attest, "--pq", private, image) == 0
    capsys.readouterr()
    assert site.custody(*check) == 0
    (line,) = capsys.readouterr().out.splitlines()  # the older one has no second half
    assert json.loads(line)["payloadType"] == "application/vnd.in-toto+json"
    assert site.custody(*attest, "--pq", private, "--replace", image) == 0
    capsys.readouterr()
    assert site.custody(*check) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(("words", "reason"), [
    (("sign", "--pq", "{ec}", "{image}"), "--pq: got a key of ECDSA secp256r1, expected ML-DSA-65"),
    (("sign", "--pq", "{pq}", "--formats", "notation", "{image}"), "--pq: --formats notation has no place"),
    (("sign", "--pq", "{pq}", "--upload=false", "--bundle", "b.json", "{image}"), "--pq: --upload=false has no place"),
    (("verify", "--key", "{ecpub}", "--pq-key", "{ecpub}", "{image}"), "--pq-key: got a key of ECDSA secp256r1"),
    (("verify", "--key", "{ecpub}", "--pq-key", "{pq}", "{image}"), "is a private key"),
    (("generate-key-pair", "--pq", "--kms", "hashivault://x"), "--kms and --pq: give one")])
def test_what_is_refused(site: Site, keys: tuple[str, str], capsys: pytest.CaptureFixture[str], words: tuple[str, ...],
                         reason: str) -> None:
    names = {"ec": str(site.folder / "cosign.key"), "ecpub": str(site.folder / "cosign.pub"), "pq": keys[0],
             "image": site.push("refused")}
    token = ("--identity-token", site.token()) if words[0] == "sign" and "notation" not in words else ()
    assert site.custody(words[0], *token, *(word.format(**names) for word in words[1:])) == 2
    assert reason in capsys.readouterr().err


POLICY = """
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{name: both}}
spec:
  validationFailureAction: Enforce
  rules:
  - name: both
    match: {{any: [{{resources: {{kinds: [Pod]}}}}]}}
    verifyImages:
    - imageReferences: ["*"]
      type: SigstoreBundle
      attestors:
      - entries: [{{keys: {{publicKeys: {ec}, rekor: {{ignoreTlog: true}}, ctlog: {{ignoreSCT: true}}}}}}]
      - entries: [{{keys: {{publicKeys: {pq}, rekor: {{ignoreTlog: true}}, ctlog: {{ignoreSCT: true}}}}}}]
"""


def test_a_policy_that_asks_for_both(site: Site, keys: tuple[str, str], tmp_path: Path,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    private, public = keys
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.format(ec=json.dumps((site.folder / "cosign.pub").read_text()),
                                    pq=json.dumps(Path(public).read_text())))
    ours = ("--key", str(site.folder / "cosign.key"), "--signing-config", str(site.folder / "empty.json"))
    both, half = site.push("policy-both"), site.push("policy-half", b"half")
    assert site.custody("sign", *ours, "--pq", private, both) == 0
    assert site.custody("sign", *ours, half) == 0
    assert site.custody("check", both, "--policy", str(policy)) == 0
    capsys.readouterr()
    assert site.custody("check", half, "--policy", str(policy)) == 3


@pytest.mark.peer
def test_cosign_is_undisturbed(site: Site, keys: tuple[str, str]) -> None:
    predicate = site.folder / "cosign-pq.json"
    predicate.write_text('{"a":1}')
    keyless, keyed = site.push("cosign-keyless"), site.push("cosign-keyed", b"keyed")
    assert site.custody("sign", "--identity-token", site.token(), "--pq", keys[0], keyless) == 0
    assert site.custody("attest", "--identity-token", site.token(), "--pq", keys[0], "--predicate", str(predicate),
                        "--type", "vuln", keyless) == 0
    assert site.custody("sign", "--key", str(site.folder / "cosign.key"), "--pq", keys[0], keyed) == 0
    common = ("--allow-http-registry", "--trusted-root", "root.json")
    for words in (("verify", *site.who(), keyless), ("verify-attestation", *site.who(), "--type", "vuln", keyless),
                  ("verify", "--key", "cosign.pub", keyed)):
        done = site.cosign("cosign-v3", words[0], *common, *words[1:])
        assert done.returncode == 0, done.stderr
    done = site.cosign("cosign-v3", "verify", *common, *site.who("evil@example.com"), keyless)
    assert done.returncode != 0

