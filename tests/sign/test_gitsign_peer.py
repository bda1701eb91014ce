"""The real gitsign signs commits and tags with a certificate of custody's CA, and custody verifies them off line."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.adapters.git import GitRepository
from custody.formats.cosign import certificate_pem
from custody.sign.identity import Identity
from custody.sign.verify import Trust
from custody.source.check import SourceReport, check_source
from custody.source.signatures import Believed, Keyless
from custody.trust.roots import Service, Validity
from tests.conftest import ROOT, peer
from tests.serving import served
from tests.sign.rekor1 import Rekor1
from tests.sign.site import PERSON, Site

VALID = Validity(datetime(2026, 1, 1, tzinfo=UTC))


class Committer:
    """A repository in which git signs with gitsign."""

    def __init__(self, site: Site, folder: Path, rekor: str, log: Rekor1) -> None:
        self.site, self.path, self.rekor, self.log = site, folder / "repo", rekor, log
        self.root = site.stack.material.trusted_root(site.stack.endpoints)
        authority = folder / "fulcio.pem"
        authority.write_bytes(b"".join(map(certificate_pem, self.root.certificate_authorities[0].chain)))
        key = folder / "rekor.pub"
        key.write_bytes(log.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1",
            "SIGSTORE_ROOT_FILE": str(authority), "SIGSTORE_REKOR_PUBLIC_KEY": str(key), "GITSIGN_REKOR_URL": rekor,
            "GITSIGN_FULCIO_URL": site.stack.endpoints.ca, "GITSIGN_OIDC_ISSUER": site.stack.people.url,
            "SIGSTORE_NO_CACHE": "1", "GITSIGN_LOG": str(folder / "gitsign.log")}
        self.path.mkdir()
        self("init", "-q", "-b", "main")
        for name, value in (("user.name", "Dev"), ("user.email", PERSON), ("gpg.format", "x509"),
                            ("gpg.x509.program", peer("gitsign")), ("commit.gpgsign", "true")):
            self("config", name, value)

    def __call__(self, *arguments: str, mode: str = "offline", check: bool = True) -> str:
        environment = {**self.environment, "GITSIGN_REKOR_MODE": mode, "SIGSTORE_ID_TOKEN": self.site.token()}
        done = subprocess.run(["git", "-C", str(self.path), *arguments], env=environment, capture_output=True,
                              text=True, timeout=60, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout + done.stderr

    def check(self, branch: str = "main", subject: str = PERSON) -> SourceReport:
        root = msgspec.structs.replace(self.root, tlogs=(self.log.trusted(self.rekor, VALID),))
        keyless = Keyless(Trust(root), (Identity(subject, None, self.site.stack.people.url, None),), datetime.now(UTC))
        with contextlib.closing(GitRepository(self.path)) as repository:
            return check_source(repository, branch, Believed(keyless=keyless))


@pytest.fixture
def committer(site: Site, tmp_path: Path) -> Iterator[Committer]:
    peer("gitsign")
    log = Rekor1()
    with served(log.app()) as url:
        yield Committer(site, tmp_path, url, log)


def test_commits_and_tags_of_gitsign(committer: Committer) -> None:
    committer("commit", "-q", "--allow-empty", "-m", "first")
    committer("commit", "-q", "--allow-empty", "-m", "second\n\nwith a body")
    committer("tag", "-s", "-m", "a release", "v1")
    report = committer.check("v1")
    assert report.failures == []
    assert [commit.signer for commit in report.commits or ()] == [f"{PERSON} ({committer.site.stack.people.url})"] * 2
    assert [tag.signer for tag in report.tags] == [f"{PERSON} ({committer.site.stack.people.url})"]
    assert len(committer.log.bodies) == 3
    assert all("identity: got" in failure for failure in committer.check("v1", "bob@example.com").failures)


def test_a_commit_of_somebody_else(committer: Committer) -> None:
    committer("commit", "-q", "--allow-empty", "-m", "first")
    committer("config", "user.email", "bob@example.com")
    committer("commit", "-q", "--allow-empty", "-m", "not mine")
    failure, = committer.check().failures
    assert failure.endswith(f"the committer says bob@example.com, the certificate belongs to {PERSON}")


def test_online_mode_is_named(committer: Committer) -> None:
    committer("commit", "-q", "--allow-empty", "-m", "in the log alone", mode="online")
    failure, = committer.check().failures
    assert "log entry: there is none in the signature; with rekorMode online it is in the log alone" in failure


def test_custody_signs_for_git(committer: Committer, tmp_path: Path) -> None:
    site, program = committer.site, tmp_path / "custody-gitsign"
    trust, config = tmp_path / "root.json", tmp_path / "config.json"
    trust.write_bytes(msgspec.structs.replace(
        committer.root, tlogs=(committer.log.trusted(committer.rekor, VALID),)).to_json())
    services = site.stack.material.signing_config(site.stack.endpoints)
    config.write_bytes(msgspec.structs.replace(
        services, rekor=(Service(committer.rekor, 1, VALID, "test"),), tsa=()).to_json())
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m custody.cli.main gitsign --yes --trusted-root '{trust}' "
                       f"--signing-config '{config}' \"$@\"\n")
    program.chmod(0o700)
    committer.environment["PYTHONPATH"] = str(ROOT / "src")
    committer("config", "gpg.x509.program", str(program))
    committer("commit", "-q", "--allow-empty", "-m", "by custody")
    committer("tag", "-s", "-m", "a release", "v1")
    report = committer.check("v1")
    assert (report.failures, len(report.tags)) == ([], 1)
    # gitsign accepts signature and chain; for the log's entry it asks Sigstore's TUF repository, off line too, and so
    # comes as far with custody's signature as with its own.
    committer("config", "gpg.x509.program", peer("gitsign"))
    committer("commit", "-q", "--allow-empty", "-m", "by gitsign")
    journal = Path(committer.environment["GITSIGN_LOG"])
    for revision in ("HEAD~1", "HEAD"):
        journal.unlink(missing_ok=True)
        committer("verify-commit", "--raw", revision, check=False)
        assert journal.read_text().splitlines()[-1].startswith("failed to validate rekor entry: ")
