"""The builder: reproducible images, isolation that holds, inputs that lie, provenance that says what happened."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.adapters.git import GitRepository
from custody.adapters.pip import PipFetch
from custody.build.builder import BUILDER_IDS, Built, build
from custody.build.definition import parse_definition
from custody.build.inputs import Fetch, Input, fetch_inputs
from custody.build.sandbox import choose_isolation
from custody.errors import (
    CustodyError,
    DeniedError,
    MalformedError,
    NotFoundError,
    OfflineError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from custody.formats.lockfile import LockEntry
from custody.registry.image import open_layout
from tests.build.digest import no_fetch
from tests.source.repositories import GitFolder

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DEFINITION = '[build]\ncommand = ["python3", "build.py"]\n'
SIMPLE = """
import os, pathlib
out = pathlib.Path(os.environ["CUSTODY_OUTPUT"]) / "1-app"
(out / "bin").mkdir(parents=True)
(out / "bin" / "run").write_text("#!/bin/sh\\n")
(out / "bin" / "run").chmod(0o700)
(out / "data").write_text(pathlib.Path("data.txt").read_text())
(out / "link").symlink_to("/etc/passwd")
"""


def isolations() -> list[str]:
    kinds = []
    for kind in ("bubblewrap", "namespaces"):
        try:
            kinds.append(choose_isolation(kind))
        except UnsupportedError:
            continue
    return kinds


@pytest.fixture
def folder(tmp_path: Path) -> GitFolder:
    return GitFolder(tmp_path)


def run(folder: GitFolder, script: str = SIMPLE, *, definition: str = DEFINITION, isolation: str | None = "none",
        fetch: Fetch = no_fetch, name: str = "image", **files: str) -> Built:
    commit = folder.commit("ann", f"build {name}", files={
        "build.py": script, "custody-build.toml": definition, "data.txt": "data", **files})
    repository = GitRepository(folder.path)
    try:
        return build(repository, commit, repository_uri="https://git.example.com/shop", layout=folder.keys / name,
                     cache=folder.keys / "cache", fetch=fetch, clock=lambda: NOW, isolation=isolation)
    finally:
        repository.close()


def layer(built: Built, number: int = 0) -> list[tarfile.TarInfo]:
    image = open_layout(built.layout)
    with image.open_blob(image.manifest.layers[number]) as stream, tarfile.open(fileobj=stream, mode="r:gz") as tar:
        return tar.getmembers()


def test_normalised_layer(folder: GitFolder) -> None:
    members = layer(run(folder))
    assert [(m.name, m.mode, m.mtime, m.uid, m.gid) for m in members] == [
        ("bin", 0o755, 1793534400, 0, 0), ("bin/run", 0o755, 1793534400, 0, 0), ("data", 0o644, 1793534400, 0, 0),
        ("link", 0o777, 1793534400, 0, 0)]
    assert members[-1].linkname == "/etc/passwd"


def test_two_builds_one_digest_and_another_commit_another(folder: GitFolder) -> None:
    commit = folder.commit("ann", "one", files={"build.py": SIMPLE, "custody-build.toml": DEFINITION, "data.txt": "d"})
    repository = GitRepository(folder.path)
    digests = [build(repository, commit, repository_uri="x", layout=folder.keys / name, cache=folder.keys / "c",
                     fetch=no_fetch, clock=lambda: NOW, isolation="none").descriptor.digest for name in ("a", "b")]
    repository.close()
    assert digests[0] == digests[1]
    assert run(folder, name="c", **{"data.txt": "other"}).descriptor.digest != digests[0]


def test_isolations_agree(folder: GitFolder) -> None:
    digests = {run(folder, isolation=kind, name=kind).descriptor.digest for kind in ("none", *isolations())}
    assert len(digests) == 1


PROBE = """
import json, os, pathlib, socket
def attempt(work):
    try:
        return repr(work())
    except Exception as error:
        return type(error).__name__
report = {
    "network": attempt(lambda: socket.create_connection(("127.0.0.1", PORT), 1)),
    "secret": attempt(lambda: open("SECRET").read()),
    "environment": sorted(os.environ),
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]) if os.path.isdir("/proc") else 0,
    "interfaces": sorted(name for _, name in socket.if_nameindex()),
    "source": attempt(lambda: open("build.py", "a")),
    "inputs": attempt(lambda: open(os.environ["CUSTODY_INPUTS"] + "/x", "w")),
    "usr": attempt(lambda: open("/usr/x", "w")),
    "hostname": socket.gethostname() == "HOSTNAME",
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapBnd"))],
}
out = pathlib.Path(os.environ["CUSTODY_OUTPUT"]) / "1"
out.mkdir()
(out / "report").write_text(json.dumps(report))
"""


@pytest.mark.parametrize("kind", ["bubblewrap", "namespaces"])
def test_the_step_reaches_nothing(folder: GitFolder, kind: str, tmp_path: Path,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    if kind not in isolations():
        pytest.skip(f"{kind} does not work here")
    import socket

    secret = tmp_path / "secret"
    secret.write_text("key")
    monkeypatch.setenv("BUILDER_TOKEN", "token")
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = PROBE.replace("PORT", str(server.getsockname()[1])).replace("SECRET", str(secret)).replace(
            "HOSTNAME", socket.gethostname())
        built = run(folder, script, isolation=kind)
    image = open_layout(built.layout)
    with image.open_blob(image.manifest.layers[0]) as stream, tarfile.open(fileobj=stream, mode="r:gz") as tar:
        member = tar.extractfile("report")
        assert member is not None
        report = json.load(member)
    assert report["network"] in ("ConnectionRefusedError", "OSError")
    assert report["secret"] == "FileNotFoundError"
    assert "BUILDER_TOKEN" not in report["environment"]
    assert report["processes"] <= 4
    assert report["interfaces"] == ["lo"]
    assert {report["source"], report["inputs"]} <= {"OSError", "PermissionError"}
    assert report["usr"] in ("OSError", "PermissionError")
    assert set(report["capabilities"]) == {"0000000000000000"}


def test_provenance_says_what_happened(folder: GitFolder) -> None:
    built = run(folder)
    predicate = built.provenance.to_json()
    definition = predicate["buildDefinition"]
    repository = GitRepository(folder.path)
    commit = repository.commit(repository.resolve("main"))
    repository.close()
    assert definition["externalParameters"] == {"repository": "https://git.example.com/shop", "commit": commit.id,
                                                "definition": "custody-build.toml"}
    assert definition["resolvedDependencies"] == [{"uri": "git+https://git.example.com/shop",
                                                   "digest": {"gitCommit": commit.id, "gitTree": commit.tree}}]
    assert predicate["runDetails"]["builder"]["id"] == BUILDER_IDS["none"]
    assert predicate["runDetails"]["metadata"]["startedOn"] == "2026-11-24T12:00:00Z"
    assert definition["internalParameters"]["network"] is True
    assert len(set(BUILDER_IDS.values())) == 3


def wheel(folder: Path, name: str = "thing", text: str = "x = 1\n") -> str:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{name}.py"), text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


WITH_LOCK = DEFINITION + 'lock = "requirements.txt"\n'
COPY = """
import os, pathlib, shutil
out = pathlib.Path(os.environ["CUSTODY_OUTPUT"]) / "1"
shutil.copytree(os.environ["CUSTODY_INPUTS"], out)
"""


def test_locked_inputs_come_in_and_are_recorded(folder: GitFolder) -> None:
    digest = wheel(folder.keys / "index")

    def fetch(entries: list[LockEntry], cache: Path) -> None:
        wheel(cache)

    built = run(folder, COPY, definition=WITH_LOCK, fetch=fetch,
                **{"requirements.txt": f"thing==1.0 --hash=sha256:{digest}\n"})
    assert [member.name for member in layer(built)] == ["thing-1.0-py3-none-any.whl"]
    assert built.provenance.to_json()["buildDefinition"]["resolvedDependencies"][1] == {
        "name": "thing-1.0-py3-none-any.whl", "uri": "pkg:pypi/thing@1.0", "digest": {"sha256": digest}}


def test_an_index_that_serves_other_bytes(folder: GitFolder) -> None:
    digest = wheel(folder.keys / "index")

    def fetch(entries: list[LockEntry], cache: Path) -> None:
        wheel(cache, text="import evil\n")

    with pytest.raises(DeniedError, match=f"its bytes are sha256:.*, the lock file allows sha256:{digest}"):
        run(folder, COPY, definition=WITH_LOCK, fetch=fetch,
            **{"requirements.txt": f"thing==1.0 --hash=sha256:{digest}\n"})
    assert list((folder.keys / "cache").iterdir()) == []
    assert not (folder.keys / "image").exists()


def test_a_cache_that_was_changed(folder: GitFolder) -> None:
    digest = wheel(folder.keys / "index")
    wheel(folder.keys / "cache", text="import evil\n")
    with pytest.raises(DeniedError, match="its bytes are"):
        run(folder, COPY, definition=WITH_LOCK, **{"requirements.txt": f"thing==1.0 --hash=sha256:{digest}\n"})


def test_a_cache_that_is_changed_after_it_was_looked_at(folder: GitFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = wheel(folder.keys / "cache")

    def verified(entries: tuple[LockEntry, ...], cache: Path, fetch: Fetch) -> list[Input]:
        result = fetch_inputs(entries, cache, fetch)
        wheel(cache, text="import evil\n")
        return result

    monkeypatch.setattr("custody.build.builder.fetch_inputs", verified)
    with pytest.raises(DeniedError, match=f"its bytes were sha256:{digest}, and sha256:.* when they were copied"):
        run(folder, COPY, definition=WITH_LOCK, **{"requirements.txt": f"thing==1.0 --hash=sha256:{digest}\n"})


def test_a_fetch_that_goes_on_is_not_seen_by_others(folder: GitFolder) -> None:
    """Two builds share the cache: what one has half fetched must not be refused, and removed, by the other."""
    digest = wheel(folder.keys / "index")

    def fetch(entries: list[LockEntry], draft: Path) -> None:
        wheel(draft)
        assert list((folder.keys / "cache").glob("*.whl")) == []

    run(folder, COPY, definition=WITH_LOCK, fetch=fetch, **{"requirements.txt": f"thing==1.0 --hash=sha256:{digest}\n"})
    assert [path.name for path in (folder.keys / "cache").iterdir()] == ["thing-1.0-py3-none-any.whl"]
    (folder.keys / "cache" / "stray.whl").touch()
    run(folder, COPY, definition=WITH_LOCK, name="again",
        **{"requirements.txt": f"thing==1.0 --hash=sha256:{digest}\n"})


def test_a_layout_that_came_there_meanwhile_is_kept(folder: GitFolder) -> None:
    digest = wheel(folder.keys / "index")

    def fetch(entries: list[LockEntry], draft: Path) -> None:
        wheel(draft)
        (folder.keys / "image").mkdir()
        (folder.keys / "image" / "index.json").write_text("another's")

    with pytest.raises(MalformedError, match="image: got 'something that came there meanwhile', expected a new folder"):
        run(folder, COPY, definition=WITH_LOCK, fetch=fetch,
            **{"requirements.txt": f"thing==1.0 --hash=sha256:{digest}\n"})
    assert (folder.keys / "image" / "index.json").read_text() == "another's"


def test_offline_without_the_input(folder: GitFolder) -> None:
    with pytest.raises(OfflineError, match=r"thing==1\.0"):
        run(folder, COPY, definition=WITH_LOCK, fetch=PipFetch(offline=True),
            **{"requirements.txt": f"thing==1.0 --hash=sha256:{'a' * 64}\n"})


def test_an_unhashed_lock_is_refused(folder: GitFolder) -> None:
    with pytest.raises(DeniedError, match=r"requirements.txt:1: thing 1.0: no hash"):
        run(folder, COPY, definition=WITH_LOCK, **{"requirements.txt": "thing==1.0\n"})


@pytest.mark.parametrize(("script", "error", "words"), [
    ("raise SystemExit('no luck')", DeniedError, r"exit code 1\n  \| no luck"),
    ("pass", MalformedError, "one folder a layer"),
    ("import os; open(os.environ['CUSTODY_OUTPUT'] + '/file', 'w')", MalformedError, "one folder a layer"),
    ("import os; os.symlink('/', os.environ['CUSTODY_OUTPUT'] + '/1')", MalformedError, "one folder a layer"),
    ("import os; o = os.environ['CUSTODY_OUTPUT'] + '/1'; os.mkdir(o); os.mkfifo(o + '/pipe')", MalformedError,
     "pipe: got 'a pipe'"),
    ("import os; o = os.environ['CUSTODY_OUTPUT'] + '/1'; os.mkdir(o); open(o + '/su', 'w').close(); "
     "os.chmod(o + '/su', 0o4755)", MalformedError, "su: got 'a set-user-ID"),
    (SIMPLE + "open('data.txt', 'w').write('evil')", VerificationError, "data.txt was changed in the source"),
    (SIMPLE + "open('extra.h', 'w')", VerificationError, "extra.h was added in the source"),
    (SIMPLE + "import os; os.remove('data.txt')", VerificationError, "data.txt was removed from the source"),
])
def test_steps_that_are_refused(folder: GitFolder, script: str, error: type[CustodyError], words: str) -> None:
    with pytest.raises(error, match=words):
        run(folder, script)
    assert not (folder.keys / "image").exists()
    assert [name for name in os.listdir(folder.keys) if name.startswith("custody-build-")] == []


@pytest.mark.parametrize("kind", ["none", "bubblewrap", "namespaces"])
def test_a_step_that_never_ends(folder: GitFolder, kind: str) -> None:
    if kind != "none" and kind not in isolations():
        pytest.skip(f"{kind} does not work here")
    with pytest.raises(CustodyError, match="took longer than 1 s"):
        run(folder, "import time; time.sleep(60)", definition=DEFINITION + "timeout = 1\n", isolation=kind)


def test_a_commit_without_definition(folder: GitFolder) -> None:
    commit = folder.commit("ann", "first")
    repository = GitRepository(folder.path)
    with pytest.raises(NotFoundError, match=r"no custody-build\.toml"):
        build(repository, commit, repository_uri="x", layout=folder.keys / "i", cache=folder.keys / "c",
              fetch=no_fetch, clock=lambda: NOW, isolation="none")
    repository.close()


def test_a_symbolic_link_in_the_source_leads_nowhere_outside(folder: GitFolder, tmp_path: Path) -> None:
    (folder.path / "out").symlink_to(tmp_path)
    built = run(folder)
    assert built.descriptor.digest
    assert not (tmp_path / "image").exists()


def test_isolation_names() -> None:
    with pytest.raises(UsageError, match="--isolation: got 'docker'"):
        choose_isolation("docker")


def test_without_any_isolation_the_build_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: "vax")
    with pytest.raises(UnsupportedError, match=r"bubblewrap: bwrap is not installed; namespaces: .* for vax"):
        choose_isolation()
    assert choose_isolation("none") == "none"


@pytest.mark.parametrize(("text", "words"), [
    ("[build]\ncommand = []\n", "build.command"),
    ("[build]\ncommand = ['x']\nnetwork = true\n", "network"),
    ("[build]\ncommand = 'x'\n", "command"),
    ("[build]\ncommand = ['x']\ntimeout = 0\n", "build.timeout"),
    ("[image]\n", "build"),
    ("= \n", "TOML"),
])
def test_definitions_that_are_refused(text: str, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        parse_definition(text.encode())


@given(st.binary(max_size=200))
def test_any_bytes_as_definition(data: bytes) -> None:
    try:
        parse_definition(data)
    except CustodyError:
        return
