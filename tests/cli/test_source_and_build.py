"""`custody source check`, `build`, `sbom`, `scan`, `db` on a repository that git made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from custody.build.builder import BUILDER_IDS
from tests.cli.commands import custody
from tests.source.repositories import GitFolder

DEFINITION = '[build]\ncommand = ["python3", "build.py"]\n[image]\ncmd = ["/bin/app"]\n'
SCRIPT = """
import os, pathlib
info = pathlib.Path(os.environ["CUSTODY_OUTPUT"]) / "1" / "site-packages" / "flask-3.1.3.dist-info"
info.mkdir(parents=True)
(info / "METADATA").write_text("Metadata-Version: 2.1\\nName: flask\\nVersion: 3.1.3\\n")
(info / "RECORD").write_text("")
"""
ADVISORY = {"schema_version": "1.7.0", "id": "TEST-1", "modified": "2026-01-01T00:00:00Z", "affected": [{
    "package": {"ecosystem": "PyPI", "name": "flask"}, "database_specific": {"severity": "CRITICAL"},
    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.1.4"}]}]}]}


@pytest.fixture
def folder(tmp_path: Path) -> GitFolder:
    folder = GitFolder(tmp_path)
    lock = "flask==3.1.3 --hash=sha256:" + "a" * 64 + "\n"
    folder.commit("ann", "first", files={"custody-build.toml": DEFINITION, "build.py": SCRIPT,
                                         "requirements.txt": lock})
    (tmp_path / "allowed").write_text(folder.allowed("ann"))
    (tmp_path / "advisory.json").write_text(json.dumps(ADVISORY))
    return folder


def test_source_check_of_inputs_alone(folder: GitFolder, tmp_path: Path) -> None:
    folder.commit("ann", "nobody signed this", unsigned=True)
    alone = ["source", "check", "repo", "--no-signatures"]
    done = custody(*alone, "--allow-empty-db", cwd=tmp_path)
    assert (done.returncode, "- signatures of commits: not checked (--no-signatures)" in done.stdout) == (0, True)
    assert custody("db", "import", "advisory.json", cwd=tmp_path).returncode == 0
    done = custody(*alone, "-o", "json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["commits"]) == (3, None)
    for words in ([*alone, "--allowed-signers", "allowed"], alone[:-1]):
        done = custody(*words, cwd=tmp_path)
        expected = "--allowed-signers FILE, --openpgp-keyring FILE, --certificate-identity, --ca-roots FILE or "
        assert (done.returncode, expected in done.stderr) == (2, True)


def test_source_check(folder: GitFolder, tmp_path: Path) -> None:
    command = ["source", "check", "repo", "--allowed-signers", "allowed"]
    done = custody(*command, cwd=tmp_path)
    assert done.returncode == 4
    assert "advisory database is empty" in done.stderr
    done = custody(*command, "--allow-empty-db", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "✓ 1 of 1 commits signed by allowed signers" in done.stdout
    assert "✓ requirements.txt: 1 entry pinned and hashed" in done.stdout
    assert custody("db", "import", "advisory.json", cwd=tmp_path).returncode == 0
    done = custody(*command, "-o", "json", cwd=tmp_path)
    assert done.returncode == 3
    assert json.loads(done.stdout)["problems"][0].startswith("flask 3.1.3: critical TEST-1")
    assert custody(*command, "--fail-on", "never", cwd=tmp_path).returncode == 0
    folder.commit("bob", "second")
    done = custody(*command, "--fail-on", "never", cwd=tmp_path)
    assert done.returncode == 3
    assert "which is not among the allowed signers" in done.stderr
    assert "second" in done.stdout


def test_malicious_versions_count_always(folder: GitFolder, tmp_path: Path) -> None:
    record = {**ADVISORY, "id": "MAL-2026-1"}
    (tmp_path / "advisory.json").write_text(json.dumps(record))
    custody("db", "import", "advisory.json", cwd=tmp_path)
    done = custody("source", "check", "repo", "--allowed-signers", "allowed", "--fail-on", "never", cwd=tmp_path)
    assert done.returncode == 3
    assert "MAL-2026-1" in done.stderr


def test_source_usage_errors(tmp_path: Path) -> None:
    (tmp_path / "allowed").write_text("")
    done = custody("source", "check", ".", "--allowed-signers", "allowed", cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: .: not a git repository")
    assert custody("source", "check", ".", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(("uri", "words"), [
    ("https://x-access-token:secret@github.com/a/b", "a user name or password"),
    ("https://secret@github.com/a/b", "a user name or password"),
    ("git+https://secret@github.com/a/b", "a user name or password"),
    ("ssh://git:secret@github.com/a/b", "a user name or password"),
    ("https://x/\x1b[2Jsecret", "expected a URI"), ("https://x/ secret", "expected a URI")])
def test_a_repository_that_must_not_be_published(folder: GitFolder, tmp_path: Path, uri: str, words: str) -> None:
    done = custody("build", "repo", "--repository", uri, "-o", "oci:image", "--isolation", "none", cwd=tmp_path)
    assert (done.returncode, (tmp_path / "image").exists()) == (2, False)
    assert "--repository: got " in done.stderr
    assert words in done.stderr
    assert "secret@" not in done.stderr
    assert "\x1b" not in done.stderr


def test_build_then_sbom_then_scan(folder: GitFolder, tmp_path: Path) -> None:
    command = ["build", "repo", "--repository", "https://git.example/shop", "--isolation", "none"]
    done = custody(*command, "-o", "oci:image", "--provenance", "provenance.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    digest = done.stdout.strip()
    statement = json.loads((tmp_path / "provenance.json").read_text())
    assert statement["subject"][0]["digest"]["sha256"] == digest.removeprefix("sha256:")
    assert statement["predicate"]["runDetails"]["builder"]["id"] == BUILDER_IDS["none"]
    again = custody(*command, "-o", "oci:again", cwd=tmp_path)
    assert again.stdout == done.stdout
    assert custody(*command, "-o", "oci:image", cwd=tmp_path).returncode == 2
    assert custody(*command, "-o", "image", cwd=tmp_path).returncode == 2
    assert custody(*command, "-o", "oci:x", "--key", "k", cwd=tmp_path).returncode == 2

    done = custody("sbom", "oci:image", "-o", "cyclonedx-json=bom.json", "-o", "purls", cwd=tmp_path)
    assert done.stdout == "pkg:pypi/flask@3.1.3\n"
    custody("db", "import", "advisory.json", cwd=tmp_path)
    for target in ("oci:image", "sbom:bom.json"):
        done = custody("scan", target, "--fail-on", "critical", cwd=tmp_path)
        assert done.returncode == 3, done.stderr
        assert "TEST-1" in done.stdout
        assert "3.1.4" in done.stdout


def test_who_may_sign_by_the_settings(folder: GitFolder, tmp_path: Path) -> None:
    settings = tmp_path / "trusted" / "custody.toml"
    settings.parent.mkdir()
    settings.write_text('[source]\nallowed_signers = "../allowed"\n')
    command = ["--config", str(settings), "source", "check", "repo", "--allow-empty-db"]
    done = custody(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "✓ 1 of 1 commits signed by allowed signers" in done.stdout
    done = custody(*command, "--no-signatures", cwd=tmp_path)
    assert "- signatures of commits: not checked (--no-signatures)" in done.stdout
    # A flag is in place of all that the settings say.
    (tmp_path / "nobody").write_text("")
    assert "which is not among the allowed signers" in custody(*command, "--allowed-signers", "nobody", cwd=tmp_path
                                                               ).stdout
    settings.write_text('[source]\nopenpgp_keyring = "absent"\n')
    done = custody(*command, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, f"error: source.openpgp_keyring {settings.parent / 'absent'}: "
                                              "No such file or directory\n")
    settings.write_text('[[source.identities]]\nissuer = "https://accounts.example"\n')
    done = custody(*command, cwd=tmp_path)
    assert (done.returncode, "source.identities[0].identity: got neither, expected identity or identity_regexp"
            in done.stderr) == (2, True), done.stderr
    settings.write_text('[[source.identities]]\nidentity_regexp = "("\nissuer = "https://accounts.example"\n')
    done = custody(*command, cwd=tmp_path)
    assert (done.returncode, "source.identities[0]: " in done.stderr) == (2, True), done.stderr
    settings.write_text('[source]\nopenpgp_keyring = "team.asc"\n')
    pysequoia = pytest.importorskip("pysequoia")
    key = pysequoia.Tsk.generate("Ann <ann@example.com>").extract_certificate()
    (settings.parent / "team.asc").write_bytes(bytes(key))
    done = custody(*command, cwd=tmp_path)
    assert (done.returncode, "hint: --allowed-signers FILE says whose keys count" in done.stderr) == (3, True), done
    done = custody(*command[2:], "--ca-roots", "allowed", cwd=tmp_path)
    assert (done.returncode, "--ca-roots allowed" in done.stderr) == (2, True), done.stderr
