"""`custody initialize`: what of a TUF mirror is believed, and what stays as it was where it is not."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from custody.cli.run import run
from custody.errors import CustodyError
from custody.server.platform import running
from custody.settings import Settings
from custody.trust.tuf.mirrored import read_mirrored
from tests.cli.commands import custody
from tests.serving import served
from tests.trust.tufmirror import Mirror, trust_files

FILES = ("trusted_root.json", "signing_config.json")


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return trust_files(tmp_path_factory.mktemp("services"))


@pytest.fixture
def mirror(tmp_path: Path, documents: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Mirror:
    monkeypatch.chdir(tmp_path)
    return Mirror(tmp_path / "mirror", dict(documents))


def initialize(*arguments: str) -> int:
    return run(["initialize", *arguments])


def first(mirror: Mirror) -> None:
    assert initialize("--mirror", str(mirror.folder), "--root", str(mirror.root)) == 0


def kept() -> dict[str, Any]:
    """The trust files and the record, without the name of the metadata's folder."""
    folder = Path(".custody", "trust")
    record = json.loads((folder / "tuf.json").read_text())
    assert (folder / record.pop("metadata") / "timestamp.json").is_file()
    return {"record": record, **{name: (folder / name).read_bytes() for name in FILES}}


def test_the_files_are_where_commands_look(mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    first(mirror)
    said = capsys.readouterr()
    assert said.out.splitlines() == [f".custody/trust/{name}" for name in FILES]
    assert "root 1, timestamp 1; good until" in said.err
    state = kept()
    assert state["trusted_root.json"] == mirror.files["trusted_root.json"]
    assert state["signing_config.json"] == mirror.files["signing_config.v0.2.json"]
    assert run(["trusted-root", "create", "--with-default-services"]) == 0
    assert "https://trust.example" in capsys.readouterr().out


def test_the_next_time_needs_no_flag(mirror: Mirror, tmp_path: Path) -> None:
    first(mirror)
    mirror.files |= trust_files(tmp_path / "moved", "https://moved.example")
    mirror.advance()
    assert initialize() == 0
    assert b"https://moved.example" in kept()["trusted_root.json"]
    assert len(list(Path(".custody", "trust").glob("mirror-*"))) == 1


def test_a_new_root_is_taken_if_the_old_keys_sign_it(mirror: Mirror) -> None:
    first(mirror)
    old, mirror.roots = mirror.roots, [CryptoSigner.generate_ecdsa()]
    mirror.versions["root"], mirror.online = 2, CryptoSigner.generate_ecdsa()
    mirror.publish_root([*old, *mirror.roots])
    mirror.advance()
    assert initialize() == 0
    assert kept()["record"]["mirror"] == f"file://{mirror.folder}"


def rollback_of_timestamp(mirror: Mirror) -> None:
    mirror.versions["timestamp"] = 1
    mirror.publish()


def rollback_of_snapshot(mirror: Mirror) -> None:
    mirror.versions |= {"timestamp": 3, "snapshot": 1}
    mirror.publish()


def rollback_of_targets(mirror: Mirror) -> None:
    mirror.versions |= {"timestamp": 3, "snapshot": 3, "targets": 1}
    mirror.publish()


def freeze(mirror: Mirror) -> None:
    mirror.days["timestamp"] = -1
    mirror.advance("timestamp")


def expired_snapshot(mirror: Mirror) -> None:
    mirror.days["snapshot"] = -1
    mirror.advance("timestamp", "snapshot")


def root_of_others(mirror: Mirror) -> None:
    mirror.versions["root"], mirror.roots = 2, [CryptoSigner.generate_ecdsa()]
    mirror.publish_root(mirror.roots)


def root_by_too_few(mirror: Mirror) -> None:
    mirror.versions["root"] = 2
    mirror.publish_root(mirror.roots[:1])


def key_of_no_role(mirror: Mirror) -> None:
    mirror.versions["timestamp"] = 3
    mirror.publish(signer=CryptoSigner.generate_ecdsa())


def target_of_another_hash(mirror: Mirror) -> None:
    path = mirror.target("trusted_root.json")
    path.write_bytes(path.read_bytes().replace(b"trust.example", b"other.example"))


def longer_target(mirror: Mirror) -> None:
    path = mirror.target("trusted_root.json")
    path.write_bytes(path.read_bytes() + b" ")


def shorter_target(mirror: Mirror) -> None:
    path = mirror.target("signing_config.v0.2.json")
    path.write_bytes(path.read_bytes()[:-1])


def metadata_of_another_kind(mirror: Mirror) -> None:
    (mirror.folder / "timestamp.json").write_bytes((mirror.folder / "2.snapshot.json").read_bytes())


def no_json(mirror: Mirror) -> None:
    (mirror.folder / "timestamp.json").write_text("{")


def a_page(mirror: Mirror) -> None:
    (mirror.folder / "timestamp.json").write_text("\n<!doctype html><title>Not found</title>")


def long_timestamp(mirror: Mirror) -> None:
    (mirror.folder / "timestamp.json").write_bytes(b" " * 20_000)


def target_gone(mirror: Mirror) -> None:
    mirror.target("signing_config.v0.2.json").unlink()


def trusted_root_not_listed(mirror: Mirror) -> None:
    del mirror.files["trusted_root.json"]
    mirror.advance()


def trusted_root_that_is_none(mirror: Mirror) -> None:
    mirror.files["trusted_root.json"] = b'{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.9"}'
    mirror.advance()


def signing_config_that_is_none(mirror: Mirror) -> None:
    mirror.files["signing_config.v0.2.json"] = b"[]"
    mirror.advance()


@pytest.mark.parametrize(("attack", "code", "reason"), [
    (rollback_of_timestamp, 4, "timestamp.json: New timestamp version 1 must be >= 2"),
    (rollback_of_snapshot, 4, "New snapshot version must be >= 2, got version 1"),
    (rollback_of_targets, 4, "Expected targets.json version 1, got 2"),
    (freeze, 4, "timestamp.json is expired"),
    (expired_snapshot, 4, "snapshot.json is expired"),
    (root_of_others, 4, "2.root.json: root was signed by 0/2 keys"),
    (root_by_too_few, 4, "2.root.json: root was signed by 1/2 keys"),
    (key_of_no_role, 4, "timestamp.json: timestamp was signed by 0/1 keys"),
    (target_of_another_hash, 4, "does not match expected hash"),
    (longer_target, 4, "trusted_root.json: is longer than it may be"),
    (shorter_target, 4, "does not match expected length"),
    (metadata_of_another_kind, 4, "timestamp.json: Expected 'timestamp', got 'snapshot'"),
    (no_json, 4, "timestamp.json: Failed to deserialize"),
    (a_page, 6, "timestamp.json: got a page of HTML, expected JSON"),
    (long_timestamp, 4, "timestamp.json: is longer than it may be"),
    (target_gone, 6, "signing_config.v0.2.json: no such file"),
    (trusted_root_not_listed, 4, "trusted_root.json: the mirror has none"),
    (trusted_root_that_is_none, 2, "trusted_root.json.mediaType"),
    (signing_config_that_is_none, 2, "signing_config.v0.2.json: got [], expected a JSON object"),
])
def test_an_attack_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: dict[str, bytes],
                                   capsys: pytest.CaptureFixture[str], attack: Callable[[Mirror], None], code: int,
                                   reason: str) -> None:
    monkeypatch.chdir(tmp_path)
    mirror = Mirror(tmp_path / "mirror", dict(documents), threshold=2)
    mirror.advance()
    first(mirror)
    before = kept()
    attack(mirror)
    capsys.readouterr()
    assert initialize() == code
    said = capsys.readouterr()
    assert reason in said.err
    assert said.out == ""
    assert kept() == before
    assert len(list(Path(".custody", "trust").glob("mirror-*"))) == 1


@pytest.mark.parametrize("attack", [freeze, key_of_no_role, target_of_another_hash, target_gone, a_page])
def test_of_a_first_time_that_fails_nothing_is_left(mirror: Mirror, attack: Callable[[Mirror], None]) -> None:
    attack(mirror)
    assert initialize("--mirror", str(mirror.folder), "--root", str(mirror.root)) != 0
    assert sorted(path.name for path in Path(".custody", "trust").iterdir()) == [".lock"]


def test_nobody_goes_back_behind_an_update_that_failed(mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    """The root that an update verified counts from then on: its former online key, which was stolen, does no more."""
    first(mirror)
    stolen, mirror.online, mirror.versions["root"] = mirror.online, CryptoSigner.generate_ecdsa(), 2
    mirror.publish_root(mirror.roots)
    assert initialize() == 4  # the timestamp is not signed by the new key yet
    (mirror.folder / "2.root.json").unlink()
    mirror.versions["timestamp"] = 9
    mirror.publish(signer=stolen)
    capsys.readouterr()
    assert initialize() == 4
    assert "timestamp was signed by 0/1 keys" in capsys.readouterr().err


def test_another_root_of_the_same_mirror(mirror: Mirror, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is not the mirror's leaves what was known, and what was known still protects."""
    mirror.advance()
    first(mirror)
    before = kept()
    foreign = Mirror(tmp_path / "foreign", mirror.files)
    assert initialize("--root", str(foreign.root)) == 4
    assert kept() == before
    mirror.versions["timestamp"] = 1
    mirror.publish()
    capsys.readouterr()
    assert initialize("--root", str(mirror.root)) == 4
    assert "New timestamp version 1 must be >= 2" in capsys.readouterr().err


def test_another_mirror_starts_anew(mirror: Mirror, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mirror.advance()
    first(mirror)
    files = trust_files(tmp_path / "elsewhere", "https://elsewhere.example")
    del files["signing_config.v0.2.json"]
    elsewhere = Mirror(tmp_path / "second", files)
    assert initialize("--mirror", str(elsewhere.folder)) == 2
    assert "--root: file://" in capsys.readouterr().err
    assert initialize("--mirror", str(elsewhere.folder), "--root", str(elsewhere.root)) == 0
    said = capsys.readouterr()
    assert "the mirror does not say where to sign" in said.err
    assert said.out == ".custody/trust/trusted_root.json\n"
    assert not Path(".custody", "trust", "signing_config.json").exists()


@pytest.mark.parametrize(("arguments", "code", "reason"), [
    ((), 2, "--root: https://tuf-repo-cdn.sigstore.dev: nothing is known of it yet"),
    (("--mirror", "mirror"), 2, "nothing is known of it yet, and a mirror cannot vouch for itself"),
    (("--mirror", "htps://trust.example"), 2, "--mirror: got 'htps://trust.example', expected an http or https URL"),
    (("--mirror", "https://"), 2, "--mirror: got 'https://', expected a URL with a host"),
    (("--mirror", "no-folder"), 2, "--mirror no-folder: no such folder"),
    (("--mirror", "mirror", "--root", "no-file"), 2, "--root no-file: No such file"),
    (("--mirror", "mirror", "--root", "mirror/timestamp.json"), 2, "expected a root.json of a TUF repository"),
    (("--mirror", "mirror", "--root", "page.html"), 2, "expected a root.json of a TUF repository"),
    (("--mirror", "mirror", "--root-checksum", "0" * 64), 2, "--root-checksum: is the digest of --root"),
    (("--mirror", "mirror", "--root", "https://trust.example/1.root.json"), 2, "nothing says that it is the right one"),
    (("--mirror", "mirror", "--root", "mirror/1.root.json", "--root-checksum", "0" * 64), 2,
     f"expected sha256:{'0' * 64}"),
    (("--mirror", "mirror", "--root", "mirror/1.root.json", "--root-checksum", "md5:00"), 2,
     "got 'md5:00', expected 64 hex digits"),
    (("--staging",), 2, "No such option '--staging'"),
    (("--mirror", "http://127.0.0.1:1", "--root", "mirror/1.root.json"), 6, "127.0.0.1:1"),
])
def test_what_was_typed_is_refused_by_name(mirror: Mirror, capsys: pytest.CaptureFixture[str],
                                           arguments: tuple[str, ...], code: int, reason: str) -> None:
    Path("page.html").write_text("<html>")
    assert initialize(*arguments) == code
    assert reason in capsys.readouterr().err
    assert not Path(".custody", "trust", "trusted_root.json").exists()


def test_a_checksum_of_either_hash(mirror: Mirror) -> None:
    data = mirror.root.read_bytes()
    for checksum in (hashlib.sha256(data).hexdigest(), f"sha512:{hashlib.sha512(data).hexdigest()}"):
        assert initialize("--mirror", "mirror", "--root", str(mirror.root), "--root-checksum", checksum) == 0


class Answers:
    """The mirror's folder over HTTP; what is in `instead` is answered so, after `patience` requests nothing is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instead: dict[str, tuple[int, bytes, bool]] = {}
        """By path: status, body, and whether that goes on without end."""
        self.patience = 1000
        self.sent = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.patience -= 1
        path = self.folder / scope["path"].removeprefix("/tuf/")
        status, body, endless = self.instead.get(scope["path"], (200, path.read_bytes(), False)
                                                 if path.is_file() else (404, b"not found", False))
        if self.patience < 0:
            status, body, endless = 503, b"", False
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
        if endless:
            await receive()  # the request
            leaving = asyncio.ensure_future(receive())
            while not leaving.done():
                await send({"type": "http.response.body", "body": body, "more_body": True})
                await asyncio.sleep(0)
                self.sent += len(body)
            return
        await send({"type": "http.response.body", "body": body})


def test_over_http(mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    answers = Answers(mirror.folder)
    with served(answers) as url:
        root = f"{url}/tuf/1.root.json"
        checksum = hashlib.sha256(mirror.root.read_bytes()).hexdigest()
        assert initialize("--mirror", f"{url}/tuf/", "--root", root, "--root-checksum", checksum) == 0
        before = kept()
        capsys.readouterr()
        assert initialize("--mirror", f"{url}/tof", "--root", str(mirror.root)) == 6
        said = capsys.readouterr().err
        assert f"GET {url}/tof/timestamp.json: got status 404, expected 200" in said
        assert "hint: --mirror is the URL below which timestamp.json and 1.root.json are" in said
        for path, answer, reason in (
                ("/tuf/timestamp.json", (200, b" " * 65536, True), "timestamp.json: is longer than it may be"),
                ("/tuf/2.root.json", (200, b" " * 65536, True), "2.root.json: is longer than it may be"),
                ("/tuf/timestamp.json", (200, b"<html></html>", False), "got a page of HTML, expected JSON"),
                ("/tuf/timestamp.json", (500, b"", False), "got status 500, expected 200"),
                ("/tuf/2.root.json", (500, b"", False), "2.root.json: got status 500, expected 200")):
            answers.instead = {path: answer}
            assert initialize("--mirror", f"{url}/tuf") != 0
            assert reason in capsys.readouterr().err
        assert answers.sent < 64 << 20
        answers.instead = {}
        mirror.files["trusted_root.json"] += b"\n"
        mirror.advance()
        for patience in range(6):  # 2.root, timestamp, snapshot, targets, two files
            answers.patience = patience
            assert initialize("--mirror", f"{url}/tuf") == 6
            assert "got status 503, expected 200" in capsys.readouterr().err
            assert kept() == before
            mirror.advance()
        answers.patience = 6
        assert initialize() == 0
        assert kept()["trusted_root.json"] == before["trusted_root.json"] + b"\n"
        answers.instead = {"/tuf/1.root.json": (404, b"", False)}
        capsys.readouterr()
        assert initialize("--mirror", f"{url}/tuf", "--root", root, "--root-checksum", checksum) == 6
        assert "--root" in capsys.readouterr().err
        assert run(["--offline", "initialize"]) == 6
        assert "no sockets with --offline" in capsys.readouterr().err


def test_a_folder_is_read_without_a_socket(mirror: Mirror) -> None:
    assert run(["--offline", "initialize", "--mirror", "mirror", "--root", str(mirror.root)]) == 0


def test_services_write_their_own(mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither do they share a data directory with a mirror's files, nor a mirror with them."""
    first(mirror)

    async def serve(data: str) -> None:
        async with running(Settings(data_dir=data), ["oidc", "ca", "log", "tsa"]):
            pass

    with pytest.raises(Exception, match=r"which `custody initialize` wrote"):
        asyncio.run(serve(".custody"))
    assert not list(Path(".custody", "trust").glob("*.key"))
    asyncio.run(serve("own"))
    Path("custody.toml").write_text('data_dir = "own"\n')
    capsys.readouterr()
    assert initialize("--mirror", "mirror", "--root", str(mirror.root)) == 2
    assert "are written by the services of this data directory (root.key)" in capsys.readouterr().err


def test_metadata_that_has_run_out_is_told(mirror: Mirror, tmp_path: Path) -> None:
    first(mirror)
    record = Path(".custody", "trust", "tuf.json")
    said = custody("trusted-root", "create", "--with-default-services", cwd=tmp_path)
    assert (said.returncode, said.stderr) == (0, "")
    record.write_text(json.dumps(json.loads(record.read_text()) | {
        "updated": "2026-01-01T00:00:00Z", "expires": "2026-01-08T00:00:00Z"}))
    said = custody("-q", "trusted-root", "create", "--with-default-services", cwd=tmp_path)
    assert said.returncode == 0
    assert said.stderr.startswith("warning: .custody/trust/trusted_root.json: file://")
    assert "stood by it until 2026-01-08T00:00:00Z (root); it was fetched " in said.stderr
    assert said.stderr.rstrip().endswith("days ago; custody initialize fetches it anew")
    assert said.stderr.count("\n") == 1
    for command in (("trusted-root", "create", "--with-default-services"), ("signing-config", "create",
                    "--with-default-services"), ("check", "registry.example/a:1", "--policy", str(_policy()))):
        said = custody(*command, cwd=tmp_path, CUSTODY_EXPIRED_TRUSTED_ROOT="refuse")
        assert said.returncode == 4, command
        assert "(expired_trusted_root = refuse)" in said.stderr
        assert "hint: custody initialize fetches it anew" in said.stderr
    elsewhere = tmp_path / "root.json"
    elsewhere.write_bytes(mirror.files["trusted_root.json"])
    said = custody("trusted-root", "create", "--with-default-services", cwd=tmp_path,
                   CUSTODY_TRUSTED_ROOT=str(elsewhere), CUSTODY_EXPIRED_TRUSTED_ROOT="refuse")
    assert (said.returncode, said.stderr) == (0, "")


def _policy() -> Path:
    from tests.cli.test_platform_commands import POLICY

    path = Path("policy.yaml")
    path.write_text(POLICY.format(url="http://127.0.0.1:1"))
    return path


def test_a_record_that_is_none_is_refused(mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    first(mirror)
    Path(".custody", "trust", "tuf.json").write_text('{"mirror": "file:///x"}')
    capsys.readouterr()
    assert run(["trusted-root", "create", "--with-default-services"]) == 2
    assert "tuf.json.updated" in capsys.readouterr().err


def test_only_this_command_imports_python_tuf(tmp_path: Path, mirror: Mirror) -> None:
    first(mirror)
    script = ("import sys\nfrom custody.cli.main import main\nmain(sys.argv[1:])\n"
              "sys.exit(7 if 'tuf.ngclient' in sys.modules else 0)")
    for arguments, code in ((("trusted-root", "create", "--with-default-services"), 0), (("initialize",), 7)):
        done = subprocess.run([sys.executable, "-c", script, *arguments], cwd=tmp_path, capture_output=True,
                              check=False)
        assert done.returncode == code, done.stderr


@pytest.mark.parametrize("name", ["..", ".", "", "/etc", "mirror-1/../..", "mirror-"])
def test_a_record_that_names_another_folder(tmp_path: Path, name: str) -> None:
    """What it names is copied as a whole, and into a folder beside it."""
    record = {"mirror": "https://m.example", "metadata": name, "updated": "2026-05-01T00:00:00Z",
              "expires": "2026-05-02T00:00:00Z", "role": "timestamp"}
    (tmp_path / "tuf.json").write_text(json.dumps(record))
    with pytest.raises(CustodyError, match=r"tuf\.json\.metadata: got "):
        read_mirrored(tmp_path)
    (tmp_path / "tuf.json").write_text(json.dumps({**record, "metadata": "mirror-0123456789abcdef"}))
    assert read_mirrored(tmp_path) is not None
