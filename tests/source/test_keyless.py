"""The source gate on commits and tags that gitsign signed: whose certificates count, and for what."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from dulwich.objects import ShaFile
from dulwich.repo import Repo

from custody.adapters.git import GitRepository
from custody.errors import MalformedError, UnsupportedError, VerificationError
from custody.formats.gitobject import parse_commit, parse_tag
from custody.sign.identity import Identity
from custody.sign.verify import Trust
from custody.source.check import SourceReport, check_source
from custody.source.signatures import Believed, Keyless
from custody.source.signers import parse_allowed_signers
from tests.conftest import ROOT
from tests.sign.authority import World
from tests.sign.gitsigning import IDENTITY, ISSUER, Gitsign, later
from tests.source.objects import FILE, blob, put, tree
from tests.source.repositories import GitFolder

WORLD = World()
ANN = Identity(IDENTITY, None, ISSUER, None)
SECONDS = 1780315200


class Signing:
    """A repository whose objects are signed as the arguments say."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path
        self.repo = Repo.init(str(path))
        self.tree = tree(self.repo, (b"readme", FILE, blob(self.repo, b"hi\n")))

    def commit(self, gitsign: Gitsign | None, *parents: bytes, person: str = IDENTITY) -> bytes:
        head = b"tree %s\n%s" % (self.tree, b"".join(b"parent %s\n" % parent for parent in parents))
        people = b"author A <a@x> %d +0000\ncommitter A <%s> %d +0000\n" % (SECONDS, person.encode(), SECONDS)
        payload = head + people + b"\nA shop\n"
        signature = b"" if gitsign is None else b"gpgsig " + gitsign.sign(payload).strip().replace(
            "\n", "\n ").encode() + b"\n"
        stored = put(self.repo, ShaFile.from_raw_string(1, head + people + signature + b"\nA shop\n"))
        self.repo.refs[b"refs/heads/main"] = stored
        return stored

    def tag(self, target: bytes, gitsign: Gitsign | None, name: str = "v1", stands: str = "v1",
            kind: str = "commit") -> bytes:
        payload = b"object %s\ntype %s\ntag %s\ntagger A <%s> %d +0000\n\nfirst\n" % (
            target, kind.encode(), name.encode(), IDENTITY.encode(), SECONDS)
        stored = put(self.repo, ShaFile.from_raw_string(
            4, payload + (b"" if gitsign is None else gitsign.sign(payload).encode())))
        self.repo.refs[b"refs/tags/" + stands.encode()] = stored
        return stored

    def check(self, *identities: Identity, branch: str = "main", allowed: str | None = None) -> SourceReport:
        repository = GitRepository(self.path)
        try:
            return check_source(
                repository, branch, Believed(
                    None if allowed is None else parse_allowed_signers(allowed),
                    Keyless(Trust(WORLD.trusted_root()), identities or (ANN,), later(60))))
        finally:
            repository.close()


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path / "repo")


def test_commits_by_an_identity(signing: Signing) -> None:
    first = signing.commit(Gitsign(WORLD))
    signing.commit(Gitsign(WORLD), first)
    report = signing.check()
    assert report.failures == []
    assert [commit.signer for commit in report.commits or ()] == [f"{IDENTITY} ({ISSUER})"] * 2
    bob = Identity("bob@example.com", None, ISSUER, None)
    assert signing.check(bob, ANN).failures == []
    assert f"identity: got '{IDENTITY}', expected 'bob@example.com'" in signing.check(bob).failures[0]
    elsewhere = Identity(IDENTITY, None, "https://other.example", None)
    assert "issuer: got" in signing.check(elsewhere).failures[0]
    assert "or 1 identity more" in signing.check(elsewhere, bob).failures[0]


def test_a_colleagues_certificate_makes_nobody_elses_commit(signing: Signing) -> None:
    signing.commit(Gitsign(WORLD), person="bob@example.com")
    assert signing.check().failures[0].endswith(
        f"the committer says bob@example.com, the certificate belongs to {IDENTITY}")


def test_a_workflow_commits_as_whom_it_writes(signing: Signing) -> None:
    workflow = "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"
    signing.commit(Gitsign(WORLD, leaf={"identity": workflow}), person="bot@example.com")
    assert signing.check(Identity(workflow, None, ISSUER, None)).failures == []


def test_a_signature_of_another_commit(signing: Signing) -> None:
    first = signing.commit(Gitsign(WORLD))
    moved = parse_commit(first.decode(), signing.repo[first].as_raw_string())
    stored = put(signing.repo, ShaFile.from_raw_string(
        1, signing.repo[first].as_raw_string().replace(b"A shop", b"A trap")))
    signing.repo.refs[b"refs/heads/main"] = stored
    assert moved.signature is not None
    assert "signature: it is of an object with sha256" in signing.check().failures[0]


def test_kinds_of_which_nobody_may_sign(signing: Signing, tmp_path: Path) -> None:
    signing.commit(Gitsign(WORLD))
    repository = GitRepository(signing.path)
    report = check_source(repository, "main", Believed(()))
    repository.close()
    assert "signed with 'SIGNED MESSAGE', expected an SSH signature" in report.failures[0]
    folder = GitFolder(tmp_path / "ssh")
    folder.commit("ann", "first")
    repository = GitRepository(folder.path)
    commit = repository.commit(repository.resolve("main"))
    repository.close()
    with pytest.raises(VerificationError, match="signed with 'SSH SIGNATURE', expected gitsign's"):
        Believed(None, Keyless(Trust(WORLD.trusted_root()), (ANN,), later(0))).vouching(commit)
    assert "not signed" in _unsigned(signing).failures[0]


def _unsigned(signing: Signing) -> SourceReport:
    signing.commit(None)
    return signing.check()


def test_tags(signing: Signing) -> None:
    commit = signing.commit(Gitsign(WORLD))
    tag = signing.tag(commit, Gitsign(WORLD))
    for branch in ("v1", "refs/tags/v1", tag.decode()):
        report = signing.check(branch=branch)
        assert (report.failures, [named.summary for named in report.tags]) == ([], ["v1"])
    signing.tag(tag, Gitsign(WORLD), "v2", "v2", kind="tag")
    assert [named.summary for named in signing.check(branch="v2").tags] == ["v2", "v1"]
    assert signing.check().tags == ()


def test_tags_that_must_not_pass(signing: Signing) -> None:
    commit = signing.commit(Gitsign(WORLD))
    signing.tag(commit, None)
    assert signing.check(branch="v1").failures == ["tag v1: not signed"]
    tag = signing.tag(commit, Gitsign(WORLD))
    signing.repo.refs[b"refs/tags/v9"] = tag
    assert signing.check(branch="v9").failures == ["tag v1: it says that it is 'v1', and stands as 'v9'"]
    other = signing.commit(Gitsign(WORLD), commit)
    moved = signing.repo[tag].as_raw_string().replace(commit, other)
    signing.repo.refs[b"refs/tags/v1"] = put(signing.repo, ShaFile.from_raw_string(4, moved))
    assert "tag v1: signature: it is of an object with sha256" in signing.check(branch="v1").failures[0]
    signing.tag(commit, replace(Gitsign(WORLD), with_entry=False))
    assert "tag v1: log entry: there is none in the signature" in signing.check(branch="v1").failures[0]


def test_tags_by_git_and_ssh(tmp_path: Path) -> None:
    folder = GitFolder(tmp_path)
    folder.commit("ann", "first")
    folder("-c", "gpg.format=ssh", "-c", "user.name=ann", "-c", "user.email=ann@example.com", "tag", "-s",
           f"-u{folder.key('ann')}", "-m", "first\n\n-----BEGIN of a story", "v1")
    repository = GitRepository(folder.path)
    assert check_source(repository, "v1", Believed(parse_allowed_signers(folder.allowed("ann")))).failures == []
    report = check_source(repository, "v1", Believed(parse_allowed_signers(folder.allowed("bob"))))
    repository.close()
    assert "which is not among the allowed signers" in report.failures[1]
    assert report.failures[1].startswith("tag v1: ")


@pytest.mark.parametrize(("data", "words"), [
    (b"object 1\ntype commit\ntag v\ntagger A <a@b> 1 +0000\n\n", "40 hexadecimal digits"),
    (b"object %s\ntype thing\ntag v\ntagger A <a@b> 1 +0000\n\n" % (b"1" * 40), "commit, tag, tree or blob"),
    (b"object %s\ntype commit\ntag v\n\n" % (b"1" * 40), "object, type, tag, tagger, in order"),
    (b"object %s\nobject %s\ntype commit\ntag v\ntagger A <a@b> 1 +0000\n\n" % (b"1" * 40, b"2" * 40), "in order"),
    (b"object %s\ntype commit\ntag v\ntagger A\n\n" % (b"1" * 40), "Name <email> seconds zone"),
])
def test_tags_that_git_does_not_write(data: bytes, words: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_tag("0" * 40, data)
    assert words in caught.value.message
    with pytest.raises(UnsupportedError, match="gpgsig"):
        parse_tag("0" * 40, b"object %s\ngpgsig-sha256 x\n\n" % (b"1" * 40))


def test_the_command(signing: Signing, tmp_path: Path) -> None:
    commit = signing.commit(Gitsign(WORLD))
    signing.tag(commit, Gitsign(WORLD))
    (tmp_path / "root.json").write_bytes(WORLD.trusted_root().to_json())

    def custody(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "custody.cli.main", "source", "check", "repo", *words],
                              cwd=tmp_path, capture_output=True, text=True, check=False,
                              env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "src")})

    identity = ["--certificate-identity", IDENTITY, "--certificate-oidc-issuer", ISSUER]
    done = custody("--branch", "v1", *identity, "--trusted-root", "root.json", "--allow-empty-db", "-o", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (len(report["commits"]), report["tags"][0]["tag"], report["tags"][0]["reason"]) == (1, "v1", None)
    done = custody("--branch", "v1", "--certificate-identity", "bob@example.com", *identity[2:], "--trusted-root",
                   "root.json", "--allow-empty-db")
    assert done.returncode == 3
    assert f"✗ tag v1: identity: got '{IDENTITY}', expected 'bob@example.com'" in done.stdout
    for words, reason in ((identity, "there is no trusted root"), (identity[2:], "identity: not given"),
                          (identity[:2], "issuer: not given"), ([*identity, "--certificate-identity-regexp", "x"],
                                                               "given exactly and as a pattern"),
                          ([*identity, "--trusted-root", "root.json", "--no-signatures"], "got both")):
        done = custody(*words)
        assert (done.returncode, reason in done.stderr) == (2, True), done.stderr
