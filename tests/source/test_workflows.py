"""CVE-2026-33634: tags of actions were moved to other commits. A workflow that names a commit is not concerned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.formats.workflow import is_workflow, parse_workflow
from tests.cli.commands import custody
from tests.source.repositories import GitFolder

COMMIT = "57a97c7e7821a5776cebc9bb87c984fa69cba8f1"
MOVED = f"""on: push
jobs:
  scan:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@{COMMIT} # v5
      - name: scan
        uses: aquasecurity/trivy-action@0.34.0
      - uses: ./.github/actions/own
"""


@pytest.mark.parametrize("use", [
    f"actions/checkout@{COMMIT}", f"owner/repo/folder/deep@{COMMIT}", f"docker://alpine@sha256:{'0' * 64}", "./own",
    f"owner/repo/.github/workflows/x.yml@{COMMIT}", f"owner/repo@{'a' * 64}"])
def test_what_cannot_move(use: str) -> None:
    for text in (f"jobs: {{a: {{steps: [{{uses: '{use}'}}]}}}}", f"jobs: {{a: {{uses: '{use}'}}}}",
                 f"runs: {{steps: [{{uses: '{use}'}}]}}"):
        assert parse_workflow(text.encode(), "w").problems == ()


@pytest.mark.parametrize(("use", "reason"), [
    ("aquasecurity/trivy-action@0.34.0", "got '0.34.0', which can be moved, expected a commit id"),
    ("actions/checkout@v4", "got 'v4', which can be moved"), ("actions/checkout@main", "got 'main'"),
    ("actions/checkout", "got ''"), (f"actions/checkout@{COMMIT[:12]}", f"got '{COMMIT[:12]}'"),
    (f"actions/checkout@{COMMIT.upper()}", "which can be moved"), (f"checkout@{COMMIT}", "which can be moved"),
    ("${{ matrix.action }}@v1", "which can be moved"), ("docker://alpine:3.20", "got an image by its tag"),
    (f"docker://alpine@sha256:{'0' * 63}", "got an image by its tag")])
def test_what_can(use: str, reason: str) -> None:
    for text in (f"jobs: {{a: {{steps: [{{uses: '{use}'}}]}}}}", f"jobs: {{a: {{uses: '{use}'}}}}",
                 f"runs: {{steps: [{{uses: '{use}'}}]}}",
                 f"x: &x {{uses: '{use}'}}\njobs: {{a: {{steps: [*x]}}}}"):
        problems = parse_workflow(text.encode(), "w").problems
        assert problems, text
        assert all(reason in problem.reason for problem in problems)


@pytest.mark.parametrize(("data", "reason"), [
    (b"jobs: [", "is not readable"), (b"\xff\xfe", "is not readable"), (b" " * (1 << 21), "got 2097152 bytes"),
    (b"jobs: {a: {uses: [x]}}", "(no text)"), (b"x: &x {a: b}\njobs: {a: {<<: *x}}", "got a merge key"),
    (b"jobs:\n  a: &a {steps: [" + b"{}," * 5000 + b"{}]}\n" + b"".join(b"  a%d: *a\n" % n for n in range(9)),
     "got more than 10000 jobs and steps"), (b"[" * 5000, "is not readable")])
def test_what_cannot_be_read_is_a_problem(data: bytes, reason: str) -> None:
    assert reason in parse_workflow(data, "w").problems[0].reason


@given(st.one_of(st.binary(max_size=200), st.text("ab:-{}[]&*<\n 'uses@jobs", max_size=120).map(str.encode)))
def test_hostile_workflows_never_raise(data: bytes) -> None:
    parse_workflow(data, "w")


def test_which_files_are_workflows() -> None:
    assert [path for path in (".github/workflows/a.yml", ".github/workflows/b.yaml", "action.yml", "own/action.yaml",
                              ".github/workflows/deep/c.yml", "docs/workflows/a.yml", "reaction.yml")
            if is_workflow(path)] == [".github/workflows/a.yml", ".github/workflows/b.yaml", "action.yml",
                                      "own/action.yaml"]


def test_cve_2026_33634(tmp_path: Path) -> None:
    folder = GitFolder(tmp_path)
    folder.commit("ann", "first", files={".github/workflows/ci.yml": MOVED})
    (tmp_path / "allowed").write_text(folder.allowed("ann"))
    command = ["source", "check", "repo", "--allowed-signers", "allowed"]
    done = custody(*command, cwd=tmp_path)
    assert done.returncode == 3
    assert ("error: source: 1 problem, first: .github/workflows/ci.yml:8: uses aquasecurity/trivy-action@0.34.0: got "
            "'0.34.0', which can be moved, expected a commit id of 40 hexadecimal digits") in done.stderr
    assert "✗ .github/workflows/ci.yml: 2 actions of others, 1 of them not pinned to a commit" in done.stdout
    done = custody(*command, "--allow-unpinned-actions", "-o", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning: .github/workflows/ci.yml:8: uses aquasecurity/trivy-action@0.34.0" in done.stderr
    assert json.loads(done.stdout)["workflows"][0]["problems"][0]["line"] == 8
    folder.commit("ann", "second", files={".github/workflows/ci.yml": MOVED.replace("@0.34.0", f"@{COMMIT}")})
    assert custody(*command, cwd=tmp_path).returncode == 0


def test_a_lock_file_that_is_not_read_is_a_gap(tmp_path: Path) -> None:
    folder = GitFolder(tmp_path)
    folder.commit("ann", "first", files={"web/mix.lock": "%{}"})
    (tmp_path / "allowed").write_text(folder.allowed("ann"))
    command = ["source", "check", "repo", "--allowed-signers", "allowed"]
    done = custody(*command, cwd=tmp_path)
    assert done.returncode == 4
    assert "mix.lock: 1 not catalogued, such as web/mix.lock" in done.stderr
    for flag in (["--allow-gaps"], ["--fail-on", "never"]):
        assert custody(*command, *flag, cwd=tmp_path).returncode == 0
