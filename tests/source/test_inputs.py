"""What a revision takes in: each attack is reported by its rule's name, and a sane project by none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError
from custody.source import locked, names
from custody.source.inputs import Expectations, Inputs, inspect
from tests.cli.commands import custody
from tests.source.repositories import GitFolder

NOW = datetime(2026, 11, 29, tzinfo=UTC)
SRI = "sha512-" + "A" * 86 + "=="
COMMIT = "0e58ed8671d6b60d0890c21b07f8835ace038e67"


def look(files: Mapping[str, str | bytes], base: Mapping[str, str | bytes] | None = None,
         expected: Expectations | None = None) -> Inputs:
    def data(given: Mapping[str, str | bytes]) -> dict[str, bytes]:
        return {path: text.encode() if isinstance(text, str) else text for path, text in given.items()}

    def read(content: bytes) -> bytes:
        return content

    now, before = data(files), None if base is None else data(base)
    return inspect({path: partial(read, text) for path, text in now.items()},
                   None if before is None else {path: partial(read, text) for path, text in before.items()},
                   {path: str(hash(text)) for path, text in now.items()},
                   {path: str(hash(text)) for path, text in (before or {}).items()}, expected or Expectations(), NOW)


def told(inputs: Inputs) -> set[tuple[str, str]]:
    return {(concern.rule, concern.level) for concern in inputs.concerns}


def npm(name: str = "left", version: str = "1.0.0", **row: object) -> dict[str, object]:
    base = name.rpartition("/")[2]
    return {f"node_modules/{name}": {"version": version, "integrity": SRI,
                                     "resolved": f"https://registry.npmjs.org/{name}/-/{base}-{version}.tgz", **row}}


def lock(*packages: dict[str, object]) -> str:
    rows: dict[str, object] = {"": {"name": "app"}}
    for package in packages:
        rows |= package
    return json.dumps({"name": "app", "lockfileVersion": 3, "packages": rows}, indent=1)


def manifest(*asked: str) -> str:
    return json.dumps({"name": "app", "dependencies": dict.fromkeys(asked, "^1")})


def test_a_sane_project_has_no_concern() -> None:
    files = {
        "package.json": manifest("left"), "package-lock.json": lock(npm()),
        "Dockerfile": f"FROM alpine@sha256:{'0' * 64} AS build\nFROM scratch\nCOPY --from=build /a /a\n",
        "r/Cargo.toml": '[dependencies]\nserde_x = "1"\n',
        "r/Cargo.lock": '[[package]]\nname = "r"\nversion = "0.1.0"\n\n[[package]]\nname = "serde_x"\n'
                        'version = "1.0.0"\n'
                        f'source = "registry+https://github.com/rust-lang/crates.io-index"\nchecksum = "{"a" * 64}"\n',
        "g/go.sum": f"example.com/m v1.0.0 h1:{'A' * 43}=\nexample.com/m v1.0.0/go.mod h1:{'A' * 43}=\n",
        "u/pyproject.toml": '[project]\nname = "u"\ndependencies = ["Some_Thing>=1"]\n',
        "u/uv.lock": 'version = 1\n[[package]]\nname = "u"\nversion = "0"\nsource = { virtual = "." }\n[[package]]\n'
                     'name = "some-thing"\nversion = "1.0"\nsource = { registry = "https://pypi.org/simple" }\n'
                     'wheels = [\n'
                     '{ url = "https://files.pythonhosted.org/a-1.0-py3-none-any.whl", hash = "sha256:aa" }]\n'}
    inputs = look(files, files)
    assert inputs.concerns == []
    assert {path: len(entries) for path, entries in inputs.packages.items()} == {
        "package-lock.json": 1, "r/Cargo.lock": 2, "g/go.sum": 1, "u/uv.lock": 2}


@pytest.mark.parametrize(("row", "rule"), [
    ({"integrity": ""}, "hash-missing"),
    ({"resolved": "http://registry.npmjs.org/left/-/left-1.0.0.tgz"}, "mutable-url"),
    ({"resolved": "git+https://github.com/a/left.git#main"}, "mutable-url"),
    ({"resolved": f"git+http://github.com/a/left.git#{COMMIT}"}, "mutable-url"),
    ({"resolved": "https://evil.example/left/-/left-1.0.0.tgz"}, "foreign-url"),
    ({"resolved": "https://registry.npmjs.org@evil.example/left/-/left-1.0.0.tgz"}, "foreign-url"),
    ({"resolved": f"git+ssh://git@github.com/a/left.git#{COMMIT}", "integrity": ""}, "foreign-url"),
    ({"resolved": "https://registry.npmjs.org/evil/-/evil-1.0.0.tgz"}, "name-mismatch"),
    ({"resolved": "https://registry.npmjs.org/left/-/left-0.9.0.tgz"}, "name-mismatch"),
])
def test_an_npm_entry_that_can_be_exchanged(row: dict[str, object], rule: str) -> None:
    inputs = look({"package.json": manifest("left"), "package-lock.json": lock(npm(**row))})
    assert (rule, "error") in told(inputs)
    assert len({concern.line for concern in inputs.concerns}) == 1
    assert 0 not in {concern.line for concern in inputs.concerns}


def test_a_registry_and_a_host_that_are_allowed_are_no_concern() -> None:
    row = npm(resolved="https://npm.myorg.example/left/-/left-1.0.0.tgz")
    assert told(look({"package-lock.json": lock(row)})) == {("foreign-url", "error")}
    allowed = Expectations(registries=frozenset({"npm.myorg.example"}))
    assert told(look({"package-lock.json": lock(row)}, expected=allowed)) == set()


@pytest.mark.parametrize(("path", "text", "rules"), [
    ("yarn.lock", 'left@^1:\n  version "1.0.0"\n  resolved "https://evil.example/left/-/left-1.0.0.tgz"\n',
     {"hash-missing", "foreign-url"}),
    ("pnpm-lock.yaml", "lockfileVersion: '9.0'\npackages:\n  left@1.0.0:\n    resolution: {tarball: "
     "https://evil.example/x.tgz}\n", {"hash-missing", "foreign-url"}),
    ("poetry.lock", '[[package]]\nname = "a"\nversion = "1"\nfiles = []\n[package.source]\ntype = "git"\n'
     'url = "https://evil.example/a.git"\nresolved_reference = "main"\n',
     {"hash-missing", "foreign-url", "mutable-url"}),
    ("Pipfile.lock", '{"default": {"a": {"version": "==1"}}}', {"hash-missing"}),
    ("Cargo.lock", '[[package]]\nname = "a"\nversion = "1.0.0"\n'
     f'source = "git+https://evil.example/a?branch=x#{COMMIT}"\n', {"foreign-url"}),
    ("composer.lock", '{"packages": [{"name": "a/b", "version": "v1", "dist": {"type": "zip", "url": '
     '"http://evil.example/b.zip", "shasum": ""}}]}', {"hash-missing", "mutable-url", "foreign-url"}),
    ("Gemfile.lock", "GEM\n  remote: http://rubygems.org/\n  specs:\n    a (1.0)\n", {"hash-missing", "mutable-url"}),
    ("go.sum", "nonsense\n", {"unreadable"}),
    ("package-lock.json", "{}", {"unreadable"}),
])
def test_other_lock_files(path: str, text: str, rules: set[str]) -> None:
    assert {rule for rule, _ in told(look({path: text}))} == rules


def test_torchtriton_a_second_index_or_the_public_one_answers_for_an_internal_name() -> None:
    """2022: pip took the nightly's dependency from PyPI, where a stranger had registered its name."""
    mine = Expectations(private=("myorg-*", "@myorg/*"))
    bad = {("dependency-confusion", "error")}
    assert told(look({"pip.conf": "[global]\nextra-index-url = https://a.example\n"})) == bad
    public = ('[[package]]\nname = "myorg-a"\nversion = "9"\nsource = { registry = "https://pypi.org/simple" }\n'
              'sdist = { url = "https://files.pythonhosted.org/a.tar.gz", hash = "sha256:a" }\n')
    assert told(look({"uv.lock": public}, expected=mine)) == bad
    assert told(look({"package-lock.json": lock(npm("@myorg/a"))}, expected=mine)) == bad
    yarn = f'"@myorg/a@^1":\n  version "1.0.0"\n  integrity {SRI}\n'
    assert told(look({"yarn.lock": yarn}, expected=mine)) == bad
    npmrc = "@myorg:registry=https://npm.myorg.example\n"
    assert told(look({"yarn.lock": yarn, ".npmrc": npmrc}, expected=mine)) == set()
    assert told(look({".npmrc": "save-exact=true\n"}, expected=mine)) == bad


def test_ua_parser_an_install_script_appeared_in_a_patch() -> None:
    """2021; and Shai-Hulud, 2025: versions with a preinstall script that those before did not have."""
    files = {"package.json": manifest("ua-parser-js")}
    before = {**files, "package-lock.json": lock(npm("ua-parser-js", "0.7.28"))}
    after = {**files, "package-lock.json": lock(npm("ua-parser-js", "0.7.29", hasInstallScript=True))}
    inputs = look(after, before)
    assert ("install-script", "error") in told(inputs)
    assert "the version before did not" in next(c.message for c in inputs.concerns if c.rule == "install-script")
    scripted = {**files, "package-lock.json": lock(npm("ua-parser-js", "0.7.28", hasInstallScript=True))}
    assert ("install-script", "error") not in told(look(after, scripted))


def test_event_stream_a_dependency_that_nobody_asked_for_appeared() -> None:
    """2018: a new maintainer's patch brought flatmap-stream in."""
    files = {"package.json": manifest("event-stream")}
    before = {**files, "package-lock.json": lock(npm("event-stream", "3.3.5"))}
    after = {**files, "package-lock.json": lock(npm("event-stream", "3.3.6"), npm("flatmap-stream", "0.1.1"))}
    assert told(look(after, before)) == {("new-transitive", "warning"), ("lock-alone", "warning")}


def test_a_lock_file_in_which_only_the_bytes_changed() -> None:
    files = {"package.json": manifest("left")}
    before = {**files, "package-lock.json": lock(npm())}
    bytes_changed = {**files, "package-lock.json": lock(npm(integrity="sha512-" + "B" * 86 + "=="))}
    assert told(look(bytes_changed, before)) == {("lock-injection", "error"), ("lock-alone", "warning")}
    elsewhere = {**files, "package-lock.json": lock(npm(resolved="https://evil.example/left/-/left-1.0.0.tgz"))}
    assert ("lock-injection", "error") in told(look(elsewhere, before))


def test_a_manifest_that_the_lock_file_does_not_follow() -> None:
    assert told(look({"package.json": manifest("left", "right"), "package-lock.json": lock(npm())})) == {
        ("out-of-step", "error")}


def test_typosquats_are_a_suspicion_and_with_a_second_fact_an_error() -> None:
    files = {"package.json": manifest("expresss"), "package-lock.json": lock(npm("expresss"))}
    assert told(look(files)) == {("typosquat", "warning")}
    assert ("typosquat", "error") in told(look(files, {"package.json": manifest("expresss")}))
    assert told(look(files, expected=Expectations(popular=frozenset({"expresss"})))) == set()


@pytest.mark.parametrize(("name", "known"), [
    ("reqeusts", "requests"), ("request5", "requests"), ("urlib3", "urllib3"), ("python_dateutil", "python-dateutil"),
    ("jeilyfish", "jellyfish"), ("colourama", "colorama"), ("requests", None), ("flask", None), ("httpx", None)])
def test_names_that_are_a_slip_away(name: str, known: str | None) -> None:
    assert names.squats(name, names.popular()["pypi"]) == known


def test_a_version_of_yesterday_waits_for_the_cooldown() -> None:
    text = ('[[package]]\nname = "some-thing"\nversion = "1.0"\nsource = { registry = "https://pypi.org/simple" }\n'
            'wheels = [{ url = "https://files.pythonhosted.org/a.whl", hash = "sha256:a", upload-time = '
            '"2026-11-28T00:00:00Z" }]\n')
    week = Expectations(cooldown=timedelta(days=7))
    assert told(look({"uv.lock": text}, expected=week)) == {("cooldown", "error")}
    assert told(look({"uv.lock": text.replace("11-28", "10-28")}, expected=week)) == set()
    assert told(look({"uv.lock": text})) == set()
    assert look({"package-lock.json": lock(npm())}, expected=week).undated == 1


WORKFLOW = "on: {}\njobs:\n  a:\n    steps:\n      - {}\n"


def test_ultralytics_a_branch_name_becomes_a_program() -> None:
    """2024: pull_request_target, and the name of a stranger's branch in a shell."""
    path = ".github/workflows/ci.yml"
    injected = WORKFLOW.format("pull_request_target", "run: echo ${{ github.head_ref }}")
    assert told(look({path: injected})) == {("workflow-injection", "error")}
    checkout = WORKFLOW.format("[pull_request_target]", f"{{uses: actions/checkout@{COMMIT}, with: {{ref: "
                               "'${{ github.event.pull_request.head.sha }}'}}")
    assert told(look({path: checkout})) == {("workflow-injection", "error")}
    assert told(look({path: checkout.replace("pull_request_target", "pull_request")})) == set()
    safe = WORKFLOW.format("push", "{run: 'echo $REF', env: {REF: '${{ github.head_ref }}'}}")
    assert told(look({path: safe})) == set()


def test_shai_hulud_a_workflow_appeared() -> None:
    """2025: the worm wrote a workflow that sends secrets away."""
    assert told(look({".github/workflows/shai-hulud.yml": WORKFLOW.format("push", "run: x")}, {})) == {
        ("workflow-new", "warning")}


def test_codecov_a_script_is_fetched_and_run() -> None:
    """2021: the uploader that everybody piped into a shell was another one."""
    path = ".github/workflows/ci.yml"
    assert told(look({path: WORKFLOW.format("push", "run: curl -s https://codecov.io/bash | bash")})) == {
        ("unpinned-script", "warning")}
    docker = f"FROM a@sha256:{'0' * 64}\nRUN bash <(curl -s https://codecov.io/bash)\nADD https://a.example/x /x\n"
    assert [(concern.rule, concern.line) for concern in look({"Dockerfile": docker}).concerns] == [
        ("unpinned-script", 2), ("unpinned-script", 3)]


def test_base_images_by_tag() -> None:
    inputs = look({"deploy/Dockerfile.prod": "FROM --platform=linux/amd64 python:3.12 AS b\nFROM b\n"})
    assert [(concern.rule, concern.line) for concern in inputs.concerns] == [("base-image", 1)]


def test_xz_binary_files_and_generated_build_files_that_appeared() -> None:
    """2024: the payload was in files of the tests, and what unpacked it in an .m4 file."""
    after = {"tests/files/bad-3-corrupt_lzma2.xz.bin": b"\xfd7zXZ\0\0", "m4/build-to-host.m4": "x",
             "logo.png": b"\x89\0"}
    assert [(concern.rule, concern.path) for concern in look(after, {"a": "b"}).concerns] == [
        ("binary-appeared", "tests/files/bad-3-corrupt_lzma2.xz.bin"), ("binary-appeared", "m4/build-to-host.m4")]
    assert look(after, after).concerns == []


@given(st.sampled_from(sorted(locked.READERS)), st.binary(max_size=200) | st.recursive(
    st.none() | st.text(max_size=8) | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["packages", "dependencies", "default", "version", "resolved", "dist", "a"]), inner,
        max_size=4),
    max_leaves=12).map(lambda value: json.dumps(value).encode()))
def test_lock_files_of_any_bytes_are_read_or_refused(name: str, content: bytes) -> None:
    try:
        entries = locked.read(name, content)
    except (CustodyError, ValueError):
        return
    look({name: content}, {name: content})
    assert all(isinstance(entry.purl, str | None) for entry in entries)


def test_the_command(tmp_path: Path) -> None:
    """Exit codes, the formats, and packages of lock files that are matched with advisories."""
    folder = GitFolder(tmp_path)
    folder.commit("ann", "first", files={"package.json": manifest("left"), "package-lock.json": lock(npm())})
    base = folder("rev-parse", "HEAD")
    evil = lock(npm(resolved="https://evil.example/left/-/left-1.0.0.tgz"))
    folder.commit("ann", "second", files={"package-lock.json": evil, "Dockerfile": "FROM alpine:3\n"})
    (tmp_path / "allowed").write_text(folder.allowed("ann"))
    command = ["source", "check", "repo", "--allowed-signers", "allowed", "--allow-empty-db"]
    assert custody(*command, "--branch", base, cwd=tmp_path).returncode == 0
    done = custody(*command, "--base", base, cwd=tmp_path)
    assert done.returncode == 3
    assert "package-lock.json:8: lock-injection: left 1.0.0: got https://evil.example/" in done.stdout
    assert "! Dockerfile:1: base-image: alpine:3" in done.stdout
    report = json.loads(custody(*command, "--base", base, "-o", "json", cwd=tmp_path).stdout)
    assert report["inputs"] == [{"path": "package-lock.json", "packages": ["pkg:npm/left@1.0.0"]}]
    assert {concern["rule"] for concern in report["concerns"]} == {
        "foreign-url", "lock-injection", "lock-alone", "base-image"}
    log = json.loads(custody(*command, "-o", "sarif", cwd=tmp_path).stdout)["runs"][0]
    place = log["results"][0]["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]) == ("package-lock.json", {"startLine": 8})
    allowed = [*command, "--allow-registry", "evil.example"]
    assert custody(*allowed, cwd=tmp_path).returncode == 0
    assert custody(*allowed, "--fail-on-warnings", cwd=tmp_path).returncode == 3
    assert custody(*command, "--base", "nowhere", cwd=tmp_path).returncode == 2
