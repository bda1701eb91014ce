"""The peers judge: cosign 3 and sigstore-python sign against the services and verify with the exported trust root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.trust.checkpoint import LogPrivateKey
from tests.conftest import peer
from tests.trust.stack import GITHUB, Stack, serving

pytestmark = pytest.mark.peer


class Place:
    """A served stack, its exported files and something to sign."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.stack, self.directory = stack, directory
        root = stack.material.trusted_root(stack.endpoints).to_json()
        config = stack.material.signing_config(stack.endpoints).to_json()
        self.root, self.config, self.both = (directory / name for name in ("root.json", "config.json", "both.json"))
        self.root.write_bytes(root)
        self.config.write_bytes(config)
        self.both.write_text(json.dumps({"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
                                         "trustedRoot": json.loads(root), "signingConfig": json.loads(config)}))
        self.blob = directory / "blob"
        self.blob.write_bytes(b"what is signed\n")

    def token(self, text: str) -> Path:
        path = self.directory / "token"
        path.write_text(text)
        return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("peers")
    with serving(directory / "data") as stack:
        made = Place(stack, directory)
        # cosign leaves out fields that are zero, and sigstore-python refuses a bundle without logIndex or hashes:
        # of no Rekor v2 log can it read cosign's bundle of entry 0. So entry 0 is one that nobody reads.
        cosign_sign(made, stack.people.mint_email("first@example.com"), directory / "first.json")
        yield made


def run(*arguments: object, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    full = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp"), "COSIGN_YES": "true",
            **(environ or {})}
    return subprocess.run([str(item) for item in arguments], capture_output=True, text=True, timeout=60, env=full,
                          check=False)


def cosign_sign(place: Place, token: str, bundle: Path, *more: str) -> None:
    done = run(peer("cosign-v3"), "sign-blob", "-y", "--signing-config", place.config, "--trusted-root", place.root,
               "--identity-token", place.token(token), "--bundle", bundle, *more, place.blob)
    assert done.returncode == 0, done.stderr


def cosign_verify(place: Place, bundle: Path, identity: str, issuer: str) -> subprocess.CompletedProcess[str]:
    return run(peer("cosign-v3"), "verify-blob", "--trusted-root", place.root, "--certificate-identity", identity,
               "--certificate-oidc-issuer", issuer, "--bundle", bundle, place.blob)


def python_verify(place: Place, bundle: Path, identity: str, issuer: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "sigstore", "--trust-config", place.both, "verify", "identity", "--bundle", bundle,
               "--cert-identity", identity, "--cert-oidc-issuer", issuer, place.blob)


def test_cosign_signs_for_a_person_and_both_verify(place: Place) -> None:
    bundle = place.directory / "person.json"
    cosign_sign(place, place.stack.people.mint_email("dev@example.com"), bundle)
    issuer = place.stack.people.url
    assert cosign_verify(place, bundle, "dev@example.com", issuer).returncode == 0
    python = python_verify(place, bundle, "dev@example.com", issuer)
    assert python.returncode == 0, python.stderr
    wrong = cosign_verify(place, bundle, "evil@example.com", issuer)
    assert wrong.returncode != 0
    assert "evil@example.com" in wrong.stderr
    assert python_verify(place, bundle, "evil@example.com", issuer).returncode != 0


def test_cosign_signs_for_a_workflow_of_an_issuer_known_by_file(place: Place) -> None:
    bundle = place.directory / "workflow.json"
    cosign_sign(place, place.stack.github.mint_workflow("acme/app", ".github/workflows/release.yml", "refs/heads/main",
                                                        "1" * 40), bundle)
    identity = "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"
    done = run(peer("cosign-v3"), "verify-blob", "--trusted-root", place.root, "--certificate-identity", identity,
               "--certificate-oidc-issuer", GITHUB, "--certificate-github-workflow-repository", "acme/app",
               "--certificate-github-workflow-sha", "1" * 40, "--certificate-github-workflow-name", "release",
               "--certificate-github-workflow-ref", "refs/heads/main", "--certificate-github-workflow-trigger", "push",
               "--bundle", bundle, place.blob)
    assert done.returncode == 0, done.stderr
    assert python_verify(place, bundle, identity, GITHUB).returncode == 0


def test_sigstore_python_signs_and_both_verify(place: Place) -> None:
    bundle = place.directory / "python.json"
    done = run(sys.executable, "-m", "sigstore", "--trust-config", place.both, "sign", "--identity-token",
               place.stack.people.mint_email("py@example.com"), "--bundle", bundle, "--overwrite", place.blob)
    assert done.returncode == 0, done.stderr
    issuer = place.stack.people.url
    python = python_verify(place, bundle, "py@example.com", issuer)
    assert python.returncode == 0, python.stderr
    assert cosign_verify(place, bundle, "py@example.com", issuer).returncode == 0


def test_cosign_attests_a_blob(place: Place) -> None:
    bundle, predicate = place.directory / "attested.json", place.directory / "predicate.json"
    predicate.write_text('{"scanned": true}')
    done = run(peer("cosign-v3"), "attest-blob", "-y", "--signing-config", place.config, "--trusted-root", place.root,
               "--identity-token", place.token(place.stack.people.mint_email("dev@example.com")), "--bundle", bundle,
               "--predicate", predicate, "--type", "custom", place.blob)
    assert done.returncode == 0, done.stderr
    done = run(peer("cosign-v3"), "verify-blob-attestation", "--trusted-root", place.root, "--bundle", bundle,
               "--certificate-identity", "dev@example.com", "--certificate-oidc-issuer", place.stack.people.url,
               "--type", "custom", place.blob)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("algorithm", ["ecdsa-sha2-384-nistp384", "ecdsa-sha2-512-nistp521",
                                       "rsa-sign-pkcs1-2048-sha256"])
def test_cosign_signs_with_other_algorithms(place: Place, algorithm: str) -> None:
    bundle = place.directory / f"{algorithm}.json"
    cosign_sign(place, place.stack.people.mint_email("dev@example.com"), bundle, "--signing-algorithm", algorithm)
    assert cosign_verify(place, bundle, "dev@example.com", place.stack.people.url).returncode == 0


def test_cosign_2_signs_over_both_of_its_apis(place: Place) -> None:
    folder, stack = place.directory, place.stack
    who = ("--certificate-identity", "v2@example.com", "--certificate-oidc-issuer", stack.people.url)
    token = place.token(stack.people.mint_email("v2@example.com"))
    for arguments in (
            ("sign-blob", "-y", "--new-bundle-format", "--signing-config", place.config, "--trusted-root", place.root,
             "--identity-token", token, "--bundle", folder / "v2.json", place.blob),
            ("verify-blob", "--new-bundle-format", "--use-signed-timestamps", "--trusted-root", place.root, *who,
             "--bundle", folder / "v2.json", place.blob)):
        done = run(peer("cosign-v2"), *arguments)
        assert done.returncode == 0, done.stderr
    # The older API (POST /api/v1/signingCert), without a signing config: its keys come as files.
    files = {"SIGSTORE_ROOT_FILE": b"".join(map(pem, reversed(stack.material.ca_chain))),
             "SIGSTORE_TSA_CERTIFICATE_FILE": b"".join(map(pem, stack.material.tsa_chain)),
             "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE": public(stack.material.ctlog_key),
             "SIGSTORE_REKOR_PUBLIC_KEY": public(stack.material.log_key)}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    signature, certificate, stamp = (folder / name for name in ("v2.sig", "v2.crt", "v2.ts"))
    for older in (
            ("sign-blob", "-y", "--fulcio-url", stack.endpoints.ca, "--tlog-upload=false", "--timestamp-server-url",
             stack.endpoints.tsa, "--rfc3161-timestamp", stamp, "--identity-token", token, "--output-signature",
             signature, "--output-certificate", certificate, place.blob),
            ("verify-blob", "--insecure-ignore-tlog", "--use-signed-timestamps", "--rfc3161-timestamp", stamp, *who,
             "--signature", signature, "--certificate", certificate, place.blob)):
        done = run(peer("cosign-v2"), *older, environ={name: str(folder / name) for name in files})
        assert done.returncode == 0, done.stderr


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def public(key: LogPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_cosign_is_refused_with_a_token_of_an_unknown_issuer(place: Place) -> None:
    from custody.kit.clock import system_clock
    from custody.trust.oidc import OidcIssuer

    stranger = OidcIssuer("http://127.0.0.1:1/oidc", place.stack.material.oidc_key, system_clock)
    done = run(peer("cosign-v3"), "sign-blob", "-y", "--signing-config", place.config, "--trusted-root", place.root,
               "--identity-token", place.token(stranger.mint_email("dev@example.com")), "--bundle",
               place.directory / "none.json", place.blob)
    assert done.returncode != 0
    assert "is not a trusted issuer" in done.stderr
