"""The source gate on repositories that git made: what passes, and each thing that must not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.adapters.git import GitRepository
from custody.errors import CustodyError, MalformedError, NotFoundError, UnsupportedError, UsageError, VerificationError
from custody.formats import sshsig
from custody.formats.gitobject import parse_commit, parse_tree
from custody.formats.lockfile import is_requirements, parse_requirements
from custody.source.check import SourceReport, check_source
from custody.source.signatures import Believed
from custody.source.signers import parse_allowed_signers, read_allowed_signers
from tests.source.repositories import GitFolder


@pytest.fixture
def folder(tmp_path: Path) -> GitFolder:
    return GitFolder(tmp_path)


def check(folder: GitFolder, allowed: str, branch: str = "main", since: frozenset[str] = frozenset()) -> SourceReport:
    repository = GitRepository(folder.path)
    try:
        return check_source(repository, branch, Believed(parse_allowed_signers(allowed)), since)
    finally:
        repository.close()


def reason(folder: GitFolder, allowed: str) -> str:
    report = check(folder, allowed)
    assert report.failures, "the check passed"
    return report.failures[0]


@pytest.mark.parametrize(("kind", "more"), [("ed25519", ()), ("ecdsa", ("-b", "256")), ("ecdsa", ("-b", "384")),
                                            ("ecdsa", ("-b", "521")), ("rsa", ("-b", "2048"))])
def test_signatures_of_every_kind_of_key(folder: GitFolder, kind: str, more: tuple[str, ...]) -> None:
    key = folder.key("ann", kind, *more)
    folder.commit("ann", "first", sign=key)
    folder.commit("ann", "second\n\nwith a body\n\nand more", sign=key)
    report = check(folder, folder.allowed("ann", key=key))
    assert report.failures == []
    assert report.commits is not None
    assert [commit.summary for commit in report.commits] == ["second", "first"]
    assert report.commits[0].signer == f"ann@example.com {sshsig.fingerprint(_blob(key))}"


def _blob(key: Path) -> bytes:
    import base64

    return base64.b64decode(key.with_name(key.name + ".pub").read_text().split()[1])


def test_unsigned_commit_in_the_middle(folder: GitFolder) -> None:
    folder.commit("ann", "first")
    bad = folder.commit("ann", "second", unsigned=True)
    folder.commit("ann", "third")
    report = check(folder, folder.allowed("ann"))
    assert report.failures == [f"commit {bad[:12]} (second): not signed"]


def test_unsigned_commit_behind_a_merge(folder: GitFolder) -> None:
    folder.commit("ann", "first")
    folder("checkout", "-q", "-b", "topic")
    bad = folder.commit("ann", "topic", unsigned=True)
    folder("checkout", "-q", "main")
    folder.commit("ann", "second")
    folder("-c", "gpg.format=ssh", "-c", "user.name=ann", "-c", "user.email=ann@example.com", "merge", "-q", "--no-ff",
           f"-S{folder.key('ann')}", "-m", "merge", "topic")
    report = check(folder, folder.allowed("ann"))
    assert report.failures == [f"commit {bad[:12]} (topic): not signed"]
    assert len(report.commits or ()) == 4


def test_a_key_that_nobody_listed_although_git_calls_it_good(folder: GitFolder, tmp_path: Path) -> None:
    folder.commit("ann", "first", sign=folder.key("mallory"))
    (tmp_path / "allowed").write_text(folder.allowed("ann"))
    shown = subprocess.run(["git", "-C", str(folder.path), "-c", f"gpg.ssh.allowedSignersFile={tmp_path / 'allowed'}",
                            "verify-commit", "HEAD"], capture_output=True, text=True, check=False)
    assert 'Good "git" signature' in shown.stderr
    assert "is not among the allowed signers" in reason(folder, folder.allowed("ann"))


def test_a_colleagues_key_under_another_name(folder: GitFolder) -> None:
    folder.commit("ann", "first", sign=folder.key("bob"))
    assert "the committer says ann@example.com, the key belongs to bob@example.com" in reason(
        folder, folder.allowed("ann") + folder.allowed("bob"))


def test_a_changed_message_under_an_old_signature(folder: GitFolder) -> None:
    folder.commit("ann", "first")
    raw = subprocess.run(["git", "-C", str(folder.path), "cat-file", "commit", "HEAD"], capture_output=True,
                         check=True).stdout
    forged = subprocess.run(["git", "-C", str(folder.path), "hash-object", "-t", "commit", "-w", "--stdin"],
                            input=raw.replace(b"first", b"frist"), capture_output=True,
                            check=True).stdout.decode().strip()
    folder("update-ref", "refs/heads/main", forged)
    assert "does not fit the message" in reason(folder, folder.allowed("ann"))


def test_a_signature_for_another_namespace(folder: GitFolder) -> None:
    folder.commit("ann", "first", unsigned=True)
    raw = subprocess.run(["git", "-C", str(folder.path), "cat-file", "commit", "HEAD"], capture_output=True,
                         check=True).stdout
    signed = subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", str(folder.key("ann"))], input=raw,
                            capture_output=True, check=True).stdout.decode().strip()
    head, _, body = raw.partition(b"\n\n")
    forged_commit = head + b"\ngpgsig " + signed.replace("\n", "\n ").encode() + b"\n\n" + body
    forged = subprocess.run(["git", "-C", str(folder.path), "hash-object", "-t", "commit", "-w", "--stdin"],
                            input=forged_commit, capture_output=True, check=True).stdout.decode().strip()
    folder("update-ref", "refs/heads/main", forged)
    assert "namespace 'file', expected 'git'" in reason(folder, folder.allowed("ann"))


@pytest.mark.parametrize(("options", "words"), [
    ('valid-before="20261001"', "was not valid at 2026-11-01"),
    ('valid-after="20261201"', "was not valid at 2026-11-01"),
    ('namespaces="file,mail"', "is not among the allowed signers"),
])
def test_options_of_allowed_signers_are_enforced(folder: GitFolder, options: str, words: str) -> None:
    folder.commit("ann", "first")
    assert words in reason(folder, folder.allowed("ann", options))


def test_options_that_allow(folder: GitFolder) -> None:
    folder.commit("ann", "first")
    assert check(folder, folder.allowed("ann", 'namespaces="git",valid-after="20261001",valid-before="20270101"')
                 ).failures == []
    assert check(folder, folder.allowed("ann").replace("ann@", "*@")).failures == []
    assert "the committer says" in reason(folder, folder.allowed("ann").replace("ann@", "*@example.com,!ann@"))


def test_openpgp_is_named(folder: GitFolder) -> None:
    commit = parse_commit("0" * 40, b"tree " + b"1" * 40 + b"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n"
                                    b"gpgsig -----BEGIN PGP SIGNATURE-----\n x\n -----END PGP SIGNATURE-----\n\nhi\n")
    with pytest.raises(VerificationError, match="signed with 'PGP SIGNATURE', expected an SSH signature"):
        Believed(()).vouching(commit)


def test_since_leaves_out_what_was_checked_before(folder: GitFolder) -> None:
    folder.commit("ann", "old", unsigned=True)
    old = folder.commit("ann", "older start", unsigned=True)
    folder.commit("ann", "new")
    report = check(folder, folder.allowed("ann"), since=frozenset({old}))
    assert [commit.summary for commit in report.commits or ()] == ["new"]
    assert report.failures == []


def test_lock_files_are_read_from_the_commit_not_the_working_tree(folder: GitFolder) -> None:
    good = "requests==2.32.0 --hash=sha256:" + "a" * 64 + "\n"
    folder.commit("ann", "lock", files={"app/requirements.txt": good, "web/mix.lock": "%{}"})
    (folder.path / "app" / "requirements.txt").write_text("requests\n")
    report = check(folder, folder.allowed("ann"))
    assert report.failures == []
    assert [(pinned.name, pinned.version) for pinned in report.locks[0].entries] == [("requests", "2.32.0")]
    assert report.not_checked == ("web/mix.lock",)


def test_damaged_object(folder: GitFolder) -> None:
    import zlib

    head = folder.commit("ann", "first")
    path = folder.path / ".git" / "objects" / head[:2] / head[2:]
    data = zlib.decompress(path.read_bytes())
    path.chmod(0o644)
    path.write_bytes(zlib.compress(data.replace(b"first", b"other")))
    with pytest.raises(CustodyError, match=f"the bytes of {head} do not hash to its id"):
        check(folder, folder.allowed("ann"))


def test_unknown_branch(folder: GitFolder) -> None:
    folder.commit("ann", "first")
    with pytest.raises(NotFoundError, match="no branch, tag or commit 'nope'"):
        check(folder, folder.allowed("ann"), "nope")


HASH = " --hash=sha256:" + "a" * 64


@pytest.mark.parametrize(("line", "words"), [
    ("requests==2.32.0", "no hash"),
    ("requests>=2" + HASH, "expected a pin"),
    ("requests==2.*" + HASH, "expected a pin"),
    ("requests" + HASH, "expected a pin"),
    ("requests==2.32.0 --hash=md5:" + "a" * 32, "expected sha256"),
    ("--extra-index-url https://example.com/simple", "option '--extra-index-url'"),
    ("-e .", "option '-e'"),
    ("x @ https://example.com/x.whl" + HASH, "expected a pin"),
    ("requests==1 ; python_version > '3'" + HASH, "marker"),
    ("a==1" + HASH + "\nA==2" + HASH, "locked twice"),
    ("a==1.0.zip" + HASH, "expected a pin"),  # a file of that name, to pip
    ("a===1" + HASH, "expected a pin"),
    ("a[./b]==1" + HASH, "expected a pin"),
    ("a==1" + HASH + " evil==1.0", "option 'evil==1.0'"),
    ("a==1 --has=sha256:" + "a" * 64, "option '--has'"),
    ("a==1 --hash", "option '--hash'"),
    ("a==1" + HASH + " 'x", "No closing quotation"),
    ("a==${VERSION}" + HASH, "${VERSION}: pip puts the environment's value in its place"),
    ("a==1" + HASH + " -r x.txt", "option '-r'"),
    ("a==1" + HASH + "a", "expected sha256"),
    ("-c constraints.txt", "option '-c'"),
    ("a=\\\n=1", "no hash"),  # joined without a space
    ("# \N{LATIN SMALL LETTER A WITH RING ABOVE}\N{HORIZONTAL ELLIPSIS}\N{LATIN CAPITAL LETTER A WITH RING ABOVE}evil",
     "locale of the machine"),
])
def test_lock_lines_that_do_not_lock(line: str, words: str) -> None:
    lock = parse_requirements(line.encode())
    assert len(lock.problems) == 1
    assert words in lock.problems[0].reason


@pytest.mark.parametrize(("data", "words"), [
    (b"# -*- coding: utf-7 -*-\n# +AAo-evil==1.0", "declares the encoding utf-7"),
    (b"six==1\n# vim: set fileencoding=latin-1 :", "declares the encoding latin-1"),
    (b"# coding=nonsense", "declares the encoding nonsense"),
    (b"# coding: ascii\n# \xc3\xa9", "declares the encoding ascii"),
    (b"\xff\xfes\0i\0x\0", "byte order mark of UTF-16"),
    (b"\xfe\xff\0s\0i\0x", "byte order mark of UTF-16"),
    (b"\xff\xfe\0\0s\0\0\0", "byte order mark of UTF-32"),
])
def test_lock_coding_line_hides_lines(data: bytes, words: str) -> None:
    lock = parse_requirements(data)
    assert lock.entries == ()
    assert words in lock.problems[0].reason
    assert lock.problems[0].line == 1 + data.partition(b"# vim")[0].count(b"\n") * (b"vim" in data)


@pytest.mark.parametrize("top", [b"# coding: utf-8\n", b"# coding=UTF8\n", b"\xef\xbb\xbf# coding: utf-7\n",
                                 b"#\n#\n# coding: x\n", b" # coding: utf-7\n", b"# coding: ascii\n"])
def test_what_pip_reads_as_utf_8(top: bytes) -> None:
    lock = parse_requirements(top + b"six==1.16.0" + HASH.encode())
    assert (lock.problems, [pinned.name for pinned in lock.entries]) == ((), ["six"])


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\f", "\v", "\x1c", "\u2028", " # \\\n", "\\\n#\n"])
def test_a_line_ends_where_pip_ends_it(end: str) -> None:
    lock = parse_requirements(f"\ufeffsix==1{HASH}{end}evil==2{HASH}".encode())
    hidden = end == " # \\\n"  # the comment swallows the next line, as it does for pip
    assert [pinned.name for pinned in lock.entries] == (["six"] if hidden else ["six", "evil"])
    assert lock.problems == ()


@pytest.mark.parametrize(("path", "read"), [
    ("requirements.txt", True), ("a/Requirements.txt", True), ("dev-requirements.txt", True),
    ("requirements/prod.txt", True), ("x/requirements_test.txt", True), ("requirements.in", False),
    ("docs/notes.txt", False), ("requirements/README.md", False)])
def test_which_files_are_locks_of_pip(path: str, read: bool) -> None:
    assert is_requirements(path) is read


def test_lock_with_continuations_and_comments() -> None:
    lock = parse_requirements(b"# made by\nFoo_Bar[x]==1.0 \\\n    --hash=sha256:" + b"a" * 64 + b" \\\n"
                              b"    --hash=sha256:" + b"b" * 64 + b"\n    # via x\n")
    assert lock.problems == ()
    assert [(e.name, e.version, len(e.hashes), e.line) for e in lock.entries] == [("foo-bar", "1.0", 2, 2)]
    assert lock.entries[0].purl == "pkg:pypi/foo-bar@1.0"


@pytest.mark.parametrize(("line", "error", "words"), [
    ("a@b ssh-ed25519", MalformedError, "allowed:1"),
    ("a@b ssh-ed25519 !!!", MalformedError, "base64"),
    ("a@b cert-authority ssh-ed25519 AAAA", UnsupportedError, "cert-authority"),
    ("ssh-ed25519 AAAA ann@myorg.example", MalformedError, "got 'ssh-ed25519 at its beginning', expected principals"),
    ("a@b no-such-option ssh-ed25519 AAAA", UnsupportedError, "option 'no-such-option'"),
    ("a@b sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t", UnsupportedError, "sk-ssh-ed25519"),
])
def test_allowed_signers_that_are_refused(line: str, error: type[CustodyError], words: str) -> None:
    with pytest.raises(error, match=words):
        parse_allowed_signers(line, "allowed")


@pytest.mark.parametrize("data", [
    b"tree " + b"1" * 40 + b"\nparent x\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nm",
    b"tree " + b"1" * 40 + b"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\ntree " + b"2" * 40 + b"\n\nm",
    b"tree " + b"1" * 40 + b"\nauthor A <a@b> 1 +0000\n\nm",
    b"tree " + b"1" * 40 + b"\nauthor A <a@b> 1 +0000\ncommitter A a@b 1 +0000\n\nm",
    b"tree " + b"1" * 40 + b"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\ngpgsig a\ngpgsig b\n\nm",
])
def test_commits_in_disguise(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_commit("0" * 40, data)


@pytest.mark.parametrize("name", [b"..", b".git", b".GIT", b"a/b", b""])
def test_tree_entries_that_climb(name: bytes) -> None:
    with pytest.raises(MalformedError, match="stays inside"):
        parse_tree("t", b"100644 " + name + b"\0" + b"1" * 20)


def test_a_tree_that_names_one_thing_twice() -> None:
    link, folder = b"120000 a\0" + b"1" * 20, b"40000 a\0" + b"2" * 20
    with pytest.raises(MalformedError, match="'a' twice"):
        parse_tree("t", link + folder)


@given(st.binary(max_size=300))
def test_parsers_of_hostile_bytes_raise_only_our_errors(data: bytes) -> None:
    text = data.decode("latin-1")
    for parse in (lambda: parse_commit("0" * 40, data), lambda: parse_tree("t", data),
                  lambda: parse_requirements(data), lambda: parse_allowed_signers(text),
                  lambda: sshsig.parse_armor(text), lambda: sshsig.load_public_key(data),
                  lambda: sshsig.load_public_key(b"\0\0\0\x0bssh-ed25519" + data)):
        try:
            parse()
        except CustodyError:
            continue


@given(st.binary(max_size=200), st.sampled_from(["git", "file"]), st.integers(0, 10_000), st.integers(1, 255))
def test_ssh_signature_round_trip_and_any_changed_byte(message: bytes, namespace: str, at: int, change: int) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signature = sshsig.sign_ed25519(Ed25519PrivateKey.from_private_bytes(b"k" * 32), message, namespace)
    parsed = sshsig.parse_armor(signature.to_armor())
    assert parsed == signature
    parsed.verify(message, namespace)
    raw = bytearray(parsed.signature)
    raw[at % len(raw)] ^= change
    with pytest.raises(CustodyError):
        sshsig.SshSignature(parsed.public_key, namespace, "sha512", bytes(raw)).verify(message, namespace)


def test_allowed_signers_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"signers: No such file or directory\Z"):
        read_allowed_signers(tmp_path / "signers")
    (tmp_path / "signers").write_bytes(b"\xff")
    with pytest.raises(MalformedError, match="got 'bytes that are not UTF-8', expected principals"):
        read_allowed_signers(tmp_path / "signers")
