"""The peers judge: cosign 3 and sigstore-python sign against the services and verify with the exported trust root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp"), "COSIGN_YES": "true",
               "SIGSTORE_NO_CACHE": "true"}
    return subprocess.run([str(item) for item in arguments], capture_output=True, text=True, timeout=60, env=environ,
                          check=False)


def cosign_sign(place: Place, token: str, bundle: Path) -> None:
    done = run(peer("cosign-v3"), "sign-blob", "-y", "--signing-config", place.config, "--trusted-root", place.root,
               "--identity-token", place.token(token), "--bundle", bundle, place.blob)
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


def test_cosign_is_refused_with_a_token_of_an_unknown_issuer(place: Place) -> None:
    from custody.kit.clock import system_clock
    from custody.trust.oidc import OidcIssuer

    stranger = OidcIssuer("http://127.0.0.1:1/oidc", place.stack.material.oidc_key, system_clock)
    done = run(peer("cosign-v3"), "sign-blob", "-y", "--signing-config", place.config, "--trusted-root", place.root,
               "--identity-token", place.token(stranger.mint_email("dev@example.com")), "--bundle",
               place.directory / "none.json", place.blob)
    assert done.returncode != 0
    assert "is not a trusted issuer" in done.stderr
