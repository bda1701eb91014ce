"""The TUF repository that custody publishes, read by python-tuf: what it says, and that it only goes forward."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from custody.cli.run import run
from custody.errors import ConflictError, MalformedError, UsageError
from custody.server.checks import tuf as health
from custody.server.platform import running
from custody.settings import Settings
from custody.trust.material import Material
from custody.trust.tuf.metadata import Signer
from custody.trust.tuf.repository import Repository
from custody.wiring import Platform
from tests.trust.stack import NOW, SettableClock

FILES = {"trusted_root.json": b"{}", "signing_config.v0.2.json": b"[]"}


class State:
    """A repository's files as python-tuf reads them, each verified by the root that is the newest."""

    def __init__(self, folder: Path) -> None:
        self.roots: list[Root] = []
        for version in range(1, 1000):
            path = folder / f"{version}.root.json"
            if not path.is_file():
                break
            root = Metadata[Root].from_file(str(path))
            for keys in (self.roots[-1], root.signed) if self.roots else (root.signed,):
                keys.verify_delegate("root", root.signed_bytes, root.signatures)
            self.roots.append(root.signed)
        timestamp = Metadata[Timestamp].from_file(str(folder / "timestamp.json"))
        self.timestamp = timestamp.signed
        snapshot = Metadata[Snapshot].from_file(str(folder / f"{self.timestamp.snapshot_meta.version}.snapshot.json"))
        self.snapshot = snapshot.signed
        meta = self.snapshot.meta["targets.json"]
        targets = Metadata[Targets].from_file(str(folder / f"{meta.version}.targets.json"))
        self.targets = targets.signed
        for role, metadata in (("timestamp", timestamp), ("snapshot", snapshot), ("targets", targets)):
            self.roots[-1].verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        self.timestamp.snapshot_meta.verify_length_and_hashes(
            (folder / f"{self.snapshot.version}.snapshot.json").read_bytes())
        meta.verify_length_and_hashes((folder / f"{self.targets.version}.targets.json").read_bytes())
        self.files: dict[str, bytes] = {}
        for name, target in self.targets.targets.items():
            self.files[name] = (folder / "targets" / f"{target.hashes['sha256']}.{name}").read_bytes()
            target.verify_length_and_hashes(self.files[name])

    @property
    def versions(self) -> tuple[int, int, int, int]:
        return len(self.roots), self.targets.version, self.snapshot.version, self.timestamp.version


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOW)


def repository(data: Path, clock: SettableClock) -> Repository:
    material = Material(data / "trust", clock)
    return Repository(data / "tuf", lambda: Signer(material.tuf_key),
                      lambda: [Signer(key) for key in material.tuf_root_keys()], clock)


def test_what_it_says_verifies(tmp_path: Path, clock: SettableClock) -> None:
    assert repository(tmp_path, clock).update(FILES)
    state = State(tmp_path / "tuf")
    assert state.files == FILES
    root = state.roots[0]
    assert root.consistent_snapshot
    assert root.roles["root"].keyids != root.roles["timestamp"].keyids
    assert {root.roles[role].threshold for role in root.roles} == {1}
    # as python-tuf names a key, which older clients hold repositories to
    assert all(key.keyid == key_id for key_id, key in root.keys.items())
    assert (root.expires - NOW).days == 364
    assert (state.timestamp.expires - NOW).days == 6


def test_a_changed_signature_is_seen(tmp_path: Path, clock: SettableClock) -> None:
    repository(tmp_path, clock).update(FILES)
    path = tmp_path / "tuf" / "timestamp.json"
    document = json.loads(path.read_text())
    document["signed"]["version"] += 1
    path.write_text(json.dumps(document))
    with pytest.raises(UnsignedMetadataError):
        State(tmp_path / "tuf")


def test_versions_go_up_and_only_with_a_reason(tmp_path: Path, clock: SettableClock) -> None:
    repository(tmp_path, clock).update(FILES)
    first = State(tmp_path / "tuf").versions
    assert not repository(tmp_path, clock).update(FILES)
    assert State(tmp_path / "tuf").versions == first
    assert repository(tmp_path, clock).update(FILES, refresh=True)
    refreshed = State(tmp_path / "tuf").versions
    assert refreshed == (*first[:3], first[3] + 1)
    changed = {**FILES, "trusted_root.json": b"{} "}
    assert repository(tmp_path, clock).update(changed)
    state = State(tmp_path / "tuf")
    assert state.files == changed
    assert state.versions == (1, first[1] + 1, first[2] + 1, refreshed[3] + 1)


@pytest.mark.parametrize(("passed", "renewed"), [
    (timedelta(hours=23), ()), (timedelta(hours=25), ("timestamp",)), (timedelta(days=8), ("snapshot", "timestamp")),
    (timedelta(days=92), ("targets", "snapshot", "timestamp")),
    (timedelta(days=276), ("root", "targets", "snapshot", "timestamp")),
    (timedelta(days=400), ("root", "targets", "snapshot", "timestamp"))])
def test_what_runs_out_is_signed_anew(tmp_path: Path, clock: SettableClock, passed: timedelta,
                                      renewed: tuple[str, ...]) -> None:
    repository(tmp_path, clock).update(FILES)
    before = State(tmp_path / "tuf")
    clock.now += passed
    assert repository(tmp_path, clock).update(FILES) == bool(renewed)
    after = State(tmp_path / "tuf")
    rose = [role for role, old, new in zip(("root", "targets", "snapshot", "timestamp"), before.versions,
                                           after.versions, strict=True) if new > old]
    assert tuple(rose) == renewed
    assert min(part.expires for part in (after.roots[-1], after.targets, after.snapshot, after.timestamp)) > clock.now


def test_an_older_copy_of_the_folder_goes_on_above_what_clients_saw(tmp_path: Path, clock: SettableClock) -> None:
    repository(tmp_path, clock).update(FILES)
    saved = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for length in range(3):
        clock.now += timedelta(hours=1)
        repository(tmp_path, clock).update({**FILES, "trusted_root.json": b" " * length})
    seen = State(tmp_path / "tuf").versions
    restored = tmp_path / "restored"
    for name, data in saved.items():
        (restored / name).parent.mkdir(parents=True, exist_ok=True)
        (restored / name).write_bytes(data)
        (restored / name).chmod(0o600)
    (restored / "trust").chmod(0o700)
    clock.now += timedelta(hours=1)
    repository(restored, clock).update({**FILES, "trusted_root.json": b"new"})
    assert all(new > old for new, old in zip(State(restored / "tuf").versions[1:], seen[1:], strict=True))


def test_writers_wait_for_each_other(tmp_path: Path, clock: SettableClock) -> None:
    repository(tmp_path, clock).update(FILES)
    before = State(tmp_path / "tuf").versions
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for turn in range(5):
                repository(tmp_path, clock).update({**FILES, "trusted_root.json": f"{number} {turn}".encode()})
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert State(tmp_path / "tuf").versions == (1, *(version + 20 for version in before[1:]))


def test_a_writer_that_is_killed_leaves_the_old_state(tmp_path: Path, clock: SettableClock,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    import custody.trust.tuf.repository as module

    repository(tmp_path, clock).update(FILES)
    before, put = State(tmp_path / "tuf").versions, module._put
    changed = {**FILES, "trusted_root.json": b"{} "}
    for count in range(5):  # two files, targets, snapshot, timestamp
        left = count

        def killed(path: Path, data: bytes) -> None:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            put(path, data)

        monkeypatch.setattr(module, "_put", killed)
        with pytest.raises(KeyboardInterrupt):
            repository(tmp_path, clock).update(changed)
        state = State(tmp_path / "tuf")
        assert (state.versions, state.files) == (before, FILES)
    monkeypatch.undo()
    repository(tmp_path, clock).update(changed)
    assert State(tmp_path / "tuf").files == changed


def test_lost_keys_are_not_replaced(tmp_path: Path, clock: SettableClock) -> None:
    repository(tmp_path, clock).update(FILES)
    (tmp_path / "trust" / "tuf-root.key").unlink()
    clock.now += timedelta(days=30)
    assert repository(tmp_path, clock).update(FILES)  # it is kept elsewhere
    (tmp_path / "trust" / "tuf-online.key").unlink()
    with pytest.raises(MalformedError, match=r"tuf-online\.key: got 'no such file'"):
        repository(tmp_path, clock).update(FILES)
    repository(tmp_path / "other", clock).update(FILES)
    (tmp_path / "other" / "trust" / "tuf-online.key").rename(tmp_path / "trust" / "tuf-online.key")
    with pytest.raises(MalformedError, match="an online key that it does not name"):
        repository(tmp_path, clock).update(FILES)


def test_a_copy_for_a_file_server(tmp_path: Path, clock: SettableClock) -> None:
    ours, copy = repository(tmp_path / "a", clock), tmp_path / "copy"
    ours.update(FILES)
    first = ours.publish(copy)
    assert State(copy).files == FILES
    assert list(copy.rglob(".*")) == []
    ours.update(FILES, refresh=True)
    assert ours.publish(copy) == first + 1
    other = repository(tmp_path / "b", clock)
    other.update(FILES)
    with pytest.raises(ConflictError, match=r"is another repository's, its 1\.root\.json differs"):
        other.publish(copy)
    stamp = json.loads((copy / "timestamp.json").read_text())
    stamp["signed"]["version"] += 10
    (copy / "timestamp.json").write_text(json.dumps(stamp))
    with pytest.raises(ConflictError, match="clients never go back"):
        ours.publish(copy)


def services(data: Path) -> Platform:
    platform = Platform(Settings(data_dir=str(data)), "http://127.0.0.1:1")
    platform.export()
    platform.publish()
    return platform


def test_rotation(tmp_path: Path) -> None:
    platform = services(tmp_path)
    old_root, old_online = ((tmp_path / "trust" / f"tuf-{name}.key").read_bytes() for name in ("root", "online"))
    assert platform.rotate_tuf_root(None, online=False) == 2
    state = State(tmp_path / "tuf")
    assert len(state.roots) == 2
    assert state.roots[0].roles["root"].keyids != state.roots[1].roles["root"].keyids
    assert state.roots[0].roles["timestamp"].keyids == state.roots[1].roles["timestamp"].keyids
    assert (tmp_path / "trust" / "tuf-root.key").read_bytes() != old_root
    assert not (tmp_path / "trust" / "tuf-root.next.key").exists()
    kept = tmp_path / "safe.pem"
    (tmp_path / "trust" / "tuf-root.key").rename(kept)
    with pytest.raises(UsageError, match=r"tuf-root\.key: no such file"):
        platform.rotate_tuf_root(None, online=True)
    assert platform.rotate_tuf_root(kept, online=True) == 3
    state = State(tmp_path / "tuf")  # signed by the new online key, each file
    assert state.roots[1].roles["timestamp"].keyids != state.roots[2].roles["timestamp"].keyids
    assert (tmp_path / "trust" / "tuf-online.key").read_bytes() != old_online
    with pytest.raises(UsageError, match=r"is not that of 3\.root\.json"):
        platform.rotate_tuf_root(kept, online=False)
    assert len(State(tmp_path / "tuf").roots) == 3
    empty = Platform(Settings(data_dir=str(tmp_path / "empty")), "http://127.0.0.1:1")
    assert empty.material.tuf_key
    with pytest.raises(UsageError, match="there is no repository yet"):
        empty.rotate_tuf_root(None, online=False)


def test_a_rotation_that_was_killed_is_ended_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import custody.trust.keyfiles as module

    platform = services(tmp_path)

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "take_next_root_key", killed)
    with pytest.raises(KeyboardInterrupt):
        platform.rotate_tuf_root(None, online=False)
    monkeypatch.undo()
    assert len(State(tmp_path / "tuf").roots) == 2
    assert platform.rotate_tuf_root(None, online=False) == 3
    assert len(State(tmp_path / "tuf").roots) == 3


def get(url: str) -> tuple[int, bytes, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read(), answer.headers["cache-control"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), ""


def test_it_is_served_and_follows_the_files(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "data"))
    folder = tmp_path / "data" / "tuf"

    async def main() -> None:
        async with running(settings) as services:
            state = State(folder)
            assert state.files["trusted_root.json"] == services.platform.trust_files[0].read_bytes()
            assert state.files["signing_config.v0.2.json"] == services.platform.trust_files[1].read_bytes()
            names = ["1.root.json", "timestamp.json", f"{state.snapshot.version}.snapshot.json",
                     f"{state.targets.version}.targets.json", *(str(path.relative_to(folder))
                                                                for path in (folder / "targets").iterdir())]
            assert len(names) == 6
            for name in names:
                code, body, caching = await asyncio.to_thread(get, f"{services.url}/tuf/{name}")
                assert (code, body) == (200, (folder / name).read_bytes())
                assert ("no-store" in caching) == (name == "timestamp.json")
            for name in ("2.root.json", "root.json", "", ".lock", "targets/", "targets/trusted_root.json",
                         "%2e%2e/trust/tuf-root.key", "../trust/root.key", "targets/../../trust/root.key"):
                assert (await asyncio.to_thread(get, f"{services.url}/tuf/{name}"))[0] == 404, name
            assert health(services.platform).note == ""
            services.platform.export(["ca"])
            root = services.platform.trust_files[0]
            root.write_bytes(root.read_bytes() + b"\n")
            from custody.server.tuf import watch

            changed = watch(services.platform)
            await changed.reload()
            assert State(folder).files["trusted_root.json"].endswith(b"\n\n")
            root.write_bytes(b"{")
            await changed.reload()
            assert "trusted_root.json" in (changed.failure or "")
            assert State(folder).files["trusted_root.json"].endswith(b"\n\n")

    asyncio.run(main())
    first = State(folder).versions

    async def again() -> None:
        async with running(settings, ["tuf"]):
            pass

    (tmp_path / "data" / "trust" / "trusted_root.json").write_bytes(State(folder).files["trusted_root.json"])
    asyncio.run(again())
    assert State(folder).versions == first


def test_without_trust_files_nothing_is_served(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(Settings(data_dir=str(tmp_path)), ["tuf"]) as services:
            assert (await asyncio.to_thread(get, f"{services.url}/tuf/timestamp.json"))[0] == 404
            assert "there is no trusted root to tell of yet" in health(services.platform).note

    asyncio.run(main())
    assert not (tmp_path / "tuf").exists()


@pytest.mark.parametrize(("passed", "note"), [
    (timedelta(days=3), "its timestamp metadata runs out on 2026-12-01T12:00:00Z: the log says why"),
    (timedelta(days=8), "its timestamp metadata ran out on 2026-12-01T12:00:00Z")])
def test_health_tells_what_runs_out(tmp_path: Path, clock: SettableClock, passed: timedelta, note: str) -> None:
    platform = Platform(Settings(data_dir=str(tmp_path)), "http://127.0.0.1:1", clock)
    platform.export()
    platform.publish()
    clock.now += passed
    state = health(platform)
    assert note in state.note
    assert state.ready


def test_publish_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["trust", "tuf", "publish", "copy"]) == 2
    assert "so there is no trusted root to tell of" in capsys.readouterr().err
    assert run(["trust", "export"]) == 0
    capsys.readouterr()
    assert run(["trust", "tuf", "publish", "copy"]) == 0
    said = capsys.readouterr()
    assert said.out == "copy/1.root.json\n"
    assert "copy: timestamp " in said.err
    before = State(Path("copy")).versions
    assert run(["trust", "tuf", "publish", "copy"]) == 0
    assert State(Path("copy")).versions == before
    assert run(["trust", "tuf", "publish", "--refresh", "copy"]) == 0
    assert State(Path("copy")).versions == (*before[:3], before[3] + 1)
    assert run(["trust", "tuf", "rotate-root"]) == 0
    assert run(["trust", "tuf", "publish", "copy"]) == 0
    assert len(State(Path("copy")).roots) == 2
    monkeypatch.setenv("CUSTODY_DATA_DIR", "client")
    assert run(["initialize", "--mirror", "copy", "--root", "copy/1.root.json"]) == 0
    assert Path("client/trust/trusted_root.json").read_bytes() == Path(".custody/trust/trusted_root.json").read_bytes()
    Path("file").write_text("")
    assert run(["trust", "tuf", "publish", "file"]) == 2
