"""`custody sign`, `attest`, `sign-blob` … with keys of Vault and AWS KMS, over sockets, and how it fails."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from custody.cli import kept_keys
from custody.policy.counting import Counting
from custody.sign.keys import load_public_key
from tests.server.test_certificates import Authority
from tests.serving import served
from tests.sign.kms import ALICE, TOKEN, AwsKms, Transit, pem_of
from tests.sign.site import Site

BLOB = b"what is signed\n"
KINDS = ("ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "ed25519")


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Transit]:
    transit = Transit()
    with served(lambda url: transit) as url:
        monkeypatch.setenv("VAULT_ADDR", url)
        monkeypatch.setenv("VAULT_TOKEN", TOKEN)
        yield transit


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[AwsKms, str]]:
    """The service, and what a reference begins with that names it."""
    authority = Authority("servers")
    for name, data in zip(("server.crt", "server.key"), authority.leaf(), strict=True):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    for name, value in (("AWS_REGION", "eu-central-1"), ("AWS_ACCESS_KEY_ID", ALICE.key_id),
                        ("AWS_SECRET_ACCESS_KEY", ALICE.secret)):
        monkeypatch.setenv(name, value)
    service = AwsKms()
    with served(lambda url: service, certificate=tmp_path / "server.crt", key=tmp_path / "server.key") as url:
        yield service, f"awskms://{url.removeprefix('https://')}/"


@pytest.fixture
def blob(tmp_path: Path) -> str:
    (tmp_path / "blob").write_bytes(BLOB)
    return str(tmp_path / "blob")


def refused(capsys: pytest.CaptureFixture[str], *secrets: str) -> str:
    said = capsys.readouterr().err
    assert all(secret not in said for secret in (TOKEN, ALICE.secret, *secrets))
    return said


@pytest.mark.parametrize("form", ["bundle", "legacy"])
@pytest.mark.parametrize("kind", KINDS)
def test_images_by_a_key_of_vault(site: Site, vault: Transit, tmp_path: Path, kind: str, form: str) -> None:
    key = vault.add("release", kind)
    (tmp_path / "k.pub").write_bytes(pem_of(key))
    image = site.push(f"vault-{kind}-{form}")
    assert site.custody("sign", "--key", "hashivault://release", "--format", form, image) == 0
    assert vault.asked.count("GET /v1/transit/keys/release") == 1
    logless = ("--insecure-ignore-tlog",) if form == "legacy" else ()
    assert site.custody("verify", "--key", "hashivault://release", *logless, image) == 0
    assert site.custody("verify", "--key", str(tmp_path / "k.pub"), *logless, image) == 0
    vault.add("another", kind)
    assert site.custody("verify", "--key", "openbao://another", *logless, image) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_statements_and_files_by_a_key_of_vault(site: Site, vault: Transit, tmp_path: Path, blob: str, kind: str
                                                 ) -> None:
    vault.add("release", kind)
    predicate, bundle = tmp_path / "predicate.json", str(tmp_path / "bundle.json")
    predicate.write_text('{"a":1}')
    image = site.push(f"attested-{kind}")
    of = ("--key", "openbao://release")
    assert site.custody("attest", *of, "--predicate", str(predicate), "--type", "https://x/1", image) == 0
    assert site.custody("verify-attestation", *of, "--type", "https://x/1", image) == 0
    for config in ((), ("--signing-config", str(site.folder / "empty.json"))):
        logless = ("--insecure-ignore-tlog",) if config else ()
        assert site.custody("sign-blob", *of, *config, "--bundle", bundle, blob) == 0
        assert site.custody("verify-blob", *of, *logless, "--bundle", bundle, blob) == 0
        assert site.custody("verify-blob", *of, *logless, "--bundle", bundle, str(predicate)) == 4
        assert site.custody("attest-blob", *of, *config, "--predicate", str(predicate), "--type", "https://x/1",
                            "--bundle", bundle, blob) == 0
        assert site.custody("verify-blob-attestation", *of, *logless, "--type", "https://x/1", "--bundle", bundle,
                            blob) == 0


def test_the_version_signs_whose_key_was_read(site: Site, vault: Transit, blob: str, tmp_path: Path,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    vault.add("release")
    newest = vault.add("release")
    bundle = str(tmp_path / "b.json")
    assert site.custody("sign-blob", "--key", "hashivault://release", "--bundle", bundle, blob) == 0
    (tmp_path / "k.pub").write_bytes(pem_of(newest))
    assert site.custody("verify-blob", "--key", str(tmp_path / "k.pub"), "--bundle", bundle, blob) == 0
    capsys.readouterr()
    vault.lie = "vault:v1:" + base64.b64encode(b"of another version").decode()
    assert site.custody("sign-blob", "--key", "hashivault://release", "--bundle", bundle, blob) == 2
    assert "got 'one of version 1', expected version 2" in refused(capsys)


@pytest.mark.parametrize(("lie", "code", "words"), [
    ("vault:v1:" + base64.b64encode(b"no signature").decode(), 4, "is no signature of this key"),
    ("vault:v1:***", 2, "expected bytes in base64"), ("MEUC", 2, "expected vault:vVERSION:BASE64")])
def test_a_service_that_lies_makes_no_signature(site: Site, vault: Transit, capsys: pytest.CaptureFixture[str],
                                                lie: str, code: int, words: str) -> None:
    vault.add("release")
    vault.lie = lie
    image = site.push("lied")
    assert site.custody("sign", "--key", "hashivault://release", image) == code
    assert words in refused(capsys)
    assert site.custody("verify", "--key", "hashivault://release", image) == 4
    assert "no signature found" in refused(capsys)


def test_a_key_that_cannot_be_had(site: Site, vault: Transit, blob: str, tmp_path: Path,
                                  monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    line = ("sign-blob", "--bundle", str(tmp_path / "b.json"), blob, "--key")
    assert site.custody(*line, "hashivault://absent") == 6
    assert "hashivault://absent: there is no such key" in refused(capsys)
    assert site.custody(*line, "hashivault://a/b") == 2
    assert "expected hashivault://NAME" in refused(capsys)
    monkeypatch.setenv("VAULT_TOKEN", "s.wrong")
    assert site.custody(*line, "hashivault://release") == 5
    assert "hashivault://release: http" in (said := refused(capsys, "s.wrong"))
    assert "answered 403: permission denied" in said
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    assert site.custody(*line, "hashivault://release") == 6
    assert "hashivault://release: " in refused(capsys, "s.wrong")
    monkeypatch.delenv("VAULT_ADDR")
    assert site.custody(*line, "hashivault://release") == 2
    assert "VAULT_ADDR is not set" in refused(capsys)
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("spec", ["ECC_NIST_P256", "ECC_NIST_P384", "RSA_2048"])
def test_images_and_files_by_a_key_of_aws(site: Site, aws: tuple[AwsKms, str], tmp_path: Path, blob: str, spec: str
                                          ) -> None:
    service, host = aws
    key = service.add("alias/release", spec)
    (tmp_path / "k.pub").write_bytes(pem_of(key))
    image, name, bundle = site.push(f"aws-{spec.lower()}"), f"{host}alias/release", str(tmp_path / "b.json")
    assert site.custody("sign", "--key", name, image) == 0
    assert service.asked == ["GetPublicKey", "Sign"]
    assert site.custody("verify", "--key", name, image) == 0
    assert site.custody("verify", "--key", str(tmp_path / "k.pub"), image) == 0
    arn = service.aliases["alias/release"]
    assert site.custody("sign-blob", "--key", f"{host}{arn}", "--bundle", bundle, blob) == 0
    assert site.custody("verify-blob", "--key", str(tmp_path / "k.pub"), "--bundle", bundle, blob) == 0


def test_what_a_key_of_aws_does_not_do(site: Site, aws: tuple[AwsKms, str], blob: str, tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    service, host = aws
    service.add("alias/p384", "ECC_NIST_P384")
    service.add("alias/sealing", "RSA_2048", "ENCRYPT_DECRYPT")
    service.add("alias/release")
    line = ("sign-blob", "--bundle", str(tmp_path / "b.json"), blob, "--key")
    assert site.custody("sign", "--format", "legacy", "--key", f"{host}alias/p384", site.push("aws-legacy")) == 2
    assert "signs by ECDSA_SHA_384, and ECDSA_SHA_256 is asked for" in refused(capsys)
    assert site.custody(*line, f"{host}alias/sealing") == 2
    assert "is no key that signs" in refused(capsys)
    assert site.custody(*line, f"{host}alias/absent") == 6
    assert "alias/absent: there is no such key" in refused(capsys)
    service.lie = b"no signature"
    assert site.custody(*line, f"{host}alias/release") == 4
    assert "is no signature of this key" in refused(capsys)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    assert site.custody(*line, f"{host}alias/release") == 5
    assert "answered 400: The request signature does not match" in refused(capsys, "wrong-secret")
    assert not (tmp_path / "b.json").exists()


def test_the_profiles_of_aws(site: Site, aws: tuple[AwsKms, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                             capsys: pytest.CaptureFixture[str]) -> None:
    service, host = aws
    service.add("alias/release")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    line = ("public-key", "--key", f"{host}alias/release")
    assert site.custody(*line) == 2
    assert "AWS_REGION is not set" in refused(capsys)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[profile build]\nregion = eu-central-1\n")
    (tmp_path / ".aws" / "credentials").write_text(
        f"[build]\naws_access_key_id = {ALICE.key_id}\naws_secret_access_key = {ALICE.secret}\n")
    monkeypatch.setenv("AWS_PROFILE", "build")
    assert site.custody(*line) == 0
    assert capsys.readouterr().out.startswith("-----BEGIN PUBLIC KEY-----")
    monkeypatch.setenv("AWS_PROFILE", "absent")
    assert site.custody(*line) == 2
    assert "AWS_PROFILE: got 'absent'" in refused(capsys)


def test_public_key_and_the_key_that_is_made(site: Site, vault: Transit, aws: tuple[AwsKms, str], tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    service, host = aws
    for name in ("hashivault://made", f"{host}alias/made"):
        prefix = str(tmp_path / name[:6])
        assert site.custody("generate-key-pair", "--kms", name, "--output-key-prefix", prefix) == 0
        assert not Path(f"{prefix}.key").exists()
        capsys.readouterr()
        assert site.custody("public-key", "--key", name) == 0
        assert capsys.readouterr().out == Path(f"{prefix}.pub").read_text()
        assert site.custody("generate-key-pair", "--kms", name, "--output-key-prefix", prefix) == 2
        assert "exists" in refused(capsys)
        assert site.custody("generate-key-pair", "--kms", name, "--output-key-prefix", f"{prefix}2") == 0
        assert Path(f"{prefix}2.pub").read_bytes() == Path(f"{prefix}.pub").read_bytes()  # the same key
    assert [len(versions) for _, versions in vault.keys.values()] == [1]
    assert service.asked.count("CreateKey") == 1
    assert site.custody("generate-key-pair", "--kms", f"{host}1234abcd-12ab-34cd-56ef-000000000000",
                        "--output-key-prefix", str(tmp_path / "x")) == 2
    assert "expected awskms:///alias/NAME" in refused(capsys)
    assert site.custody("generate-key-pair", "--kms", "cosign.key", "--output-key-prefix", str(tmp_path / "x")) == 2
    assert "expected the name of a key at a service" in refused(capsys)
    assert site.custody("public-key", "--key", "hashivault://absent") == 6
    assert "there is no such key" in refused(capsys)


def test_exceptions_and_advisories_by_a_key_of_vault(site: Site, vault: Transit, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "k.pub").write_bytes(pem_of(vault.add("release", "ecdsa-p384")))
    exception = {"apiVersion": "kyverno.io/v2", "kind": "PolicyException", "metadata": {"name": "a", "namespace": "b"},
                 "spec": {}}
    (tmp_path / "exceptions.yaml").write_text("---\n".join(json.dumps(exception) + "\n" for _ in range(2)))
    assert site.custody("policy", "sign", "--key", "hashivault://release", "-o", "json",
                        str(tmp_path / "exceptions.yaml")) == 0
    assert vault.asked.count("GET /v1/transit/keys/release") == 1
    counting = Counting(keys=[load_public_key((tmp_path / "k.pub").read_bytes(), "k.pub")])
    assert [counting.fault(document) for document in json.loads(capsys.readouterr().out)] == ["", ""]
    assert "is not signed" in counting.fault(exception)
    (tmp_path / "advisory.json").write_text(json.dumps({
        "id": "A-1", "modified": "2026-01-01T00:00:00Z", "affected": [{
            "package": {"ecosystem": "PyPI", "name": "a"}, "versions": ["1"]}]}))
    archive = str(tmp_path / "a.adv")
    assert site.custody("db", "import", str(tmp_path / "advisory.json")) == 0
    assert site.custody("db", "export", "--key", "hashivault://release", archive) == 0
    assert site.custody("db", "import", "--key", "openbao://release", archive) == 0
    vault.add("another")
    capsys.readouterr()
    assert site.custody("db", "import", "--key", "hashivault://another", archive) == 4
    assert site.custody("db", "export", "--key", "hashivault://absent", archive) == 6
    assert "hashivault://absent: there is no such key" in refused(capsys)


def test_a_folder_for_an_air_gap(site: Site, vault: Transit, tmp_path: Path) -> None:
    vault.add("release")
    (tmp_path / "advisory.json").write_text(json.dumps({
        "id": "A-2", "modified": "2026-01-01T00:00:00Z", "affected": [{
            "package": {"ecosystem": "PyPI", "name": "a"}, "versions": ["1"]}]}))
    assert site.custody("db", "import", str(tmp_path / "advisory.json")) == 0
    folder, image = str(tmp_path / "gap"), site.push("gap")
    assert site.custody("save", "--dir", folder, "--airgap", "--advisories", "--key", "hashivault://release",
                        "--tlog-upload=false", image) == 0
    assert site.custody("db", "import", "--key", "hashivault://release", f"{folder}/airgap/advisories.custody") == 0
    assert site.custody("load", "--dir", folder, "--key", "hashivault://release", f"{site.registry}/far:1") == 0


def test_a_pin_is_in_no_error(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.custody("sign", "--key", "pkcs11:token=a;object=b?pin-value=1234-pin&x", "x") == 2
    assert "an attribute without '='" in refused(capsys, "1234-pin")


def test_who_is_at_no_terminal_is_not_asked_for_a_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert kept_keys.ask_pin("pkcs11:token=a;object=b") is None


def test_import_key_pair_replaces_where_it_may(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "hello")
    publics = []
    for name in ("first", "second"):
        key = ec.generate_private_key(ec.SECP256R1())
        (tmp_path / f"{name}.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        publics.append(pem_of(key))
    prefix = ("-o", str(tmp_path / "k"))
    assert site.custody("import-key-pair", "-k", str(tmp_path / "first.pem"), *prefix) == 0
    assert (tmp_path / "k.pub").read_bytes() == publics[0]
    assert site.custody("import-key-pair", "-k", str(tmp_path / "second.pem"), *prefix) == 2
    assert "exists" in refused(capsys)
    assert (tmp_path / "k.pub").read_bytes() == publics[0]
    assert site.custody("import-key-pair", "-k", str(tmp_path / "second.pem"), *prefix, "-y") == 0
    assert (tmp_path / "k.pub").read_bytes() == publics[1]
    assert (tmp_path / "k.key").stat().st_mode & 0o777 == 0o600
    capsys.readouterr()
    assert site.custody("public-key", "--key", str(tmp_path / "k.key")) == 0
    assert capsys.readouterr().out.encode() == publics[1]
