"""/healthz and /readyz: each role's state, for people and for programs; a log that is stopped, and goes on."""

from __future__ import annotations

import asyncio
import errno
import http.client
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from custody.errors import CustodyError, StorageFullError
from custody.policy.load import PolicySet
from custody.server.health import Health, State
from custody.server.platform import ROLES, Running, running
from custody.settings import Settings
from tests.trust.failing import Disk
from tests.trust.test_hashedrekord import request


def ask(port: int, path: str, accept: str = "*/*", method: str = "GET",
        body: bytes | None = None) -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Accept": accept})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def entry(port: int, data: bytes) -> tuple[int, http.client.HTTPMessage, str]:
    return ask(port, "/api/v2/log/entries", method="POST", body=json.dumps(request(data)).encode())


def while_running(folder: Path, test: Callable[[int, Running], None], roles: tuple[str, ...] = ROLES) -> None:
    async def main() -> None:
        async with running(Settings(data_dir=str(folder)), roles, policies=PolicySet([])) as found:
            await asyncio.to_thread(test, int(found.url.rpartition(":")[2]), found)

    asyncio.run(main())


def test_all_roles_are_well(tmp_path: Path) -> None:
    names = [*ROLES, "webhook-certificate"]

    def test(port: int, _: Running) -> None:
        for path in ("/healthz", "/readyz"):
            assert ask(port, path)[::2] == (200, "ok")
            status, _, text = ask(port, f"{path}?verbose")
            assert status == 200
            assert text.splitlines() == [*(f"[+]{name} ok" for name in names), f"{path[1:]} check passed"]
            status, headers, text = ask(port, path, "application/json")
            assert (status, headers["Content-Type"]) == (200, "application/json")
            assert json.loads(text) == {"status": "passed", "checks": [{"name": name, "ok": True, "note": ""}
                                                                       for name in names]}
            assert ask(port, f"{path}/log")[::2] == (200, "ok")
            assert ask(port, f"{path}/nonsense")[0] == 404
            assert ask(port, path, method="POST", body=b"")[0] == 405
            assert ask(port, path, method="HEAD")[::2] == (200, "")

    while_running(tmp_path, test)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A file system of 4 MiB, or none where this user may not mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True,
        check=False).returncode == 0
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_07_log_full_disk(small_disk: Path | None) -> None:
    if small_disk is None:
        pytest.skip("only root may mount a small file system; test_log_stops_and_goes_on fails the disk otherwise")

    def test(port: int, _: Running) -> None:
        assert entry(port, b"before")[0] == 201
        filler = small_disk / "filler"
        room = os.statvfs(small_disk)
        filler.write_bytes(bytes(room.f_bavail * room.f_frsize))
        for number in range(3):
            status, headers, text = entry(port, b"full %d" % number)
            assert (status, headers["Retry-After"], json.loads(text)["code"]) == (503, "2", 14)
            assert "the log has stopped: No space left on device" in json.loads(text)["message"]
        status, _, text = ask(port, "/healthz")
        assert status == 503
        assert text.startswith("[-]log failed: log: stopped: No space left on device")
        assert ask(port, "/api/v2/checkpoint")[0] == 200
        filler.unlink()
        # It goes on by itself within some seconds, and sooner for who asks after half of one.
        for _ in range(200):
            if ask(port, "/healthz")[0] == 200:
                break
            Event().wait(0.1)
        assert entry(port, b"after")[0] == 201
        assert ask(port, "/healthz")[::2] == (200, "ok")
        note = ask(port, "/readyz?verbose")[2]
        assert "[+]log ok: " in note
        assert "KiB are free, and a log that cannot write stops" in note
        index = json.loads(entry(port, b"the last")[2])["logIndex"]
        assert int(index) >= 2

    while_running(small_disk, test, ("log",))


def test_log_stops_and_goes_on(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "log")

    def test(port: int, _: Running) -> None:
        assert entry(port, b"before")[0] == 201
        disk.fails = lambda _number, name: errno.ENOSPC if name == "write" else None
        with disk.installed():
            status, headers, text = entry(port, b"full")
            assert (status, headers["Retry-After"], json.loads(text)["code"]) == (503, "2", 14)
            for path in ("/healthz", "/readyz", "/healthz/log"):
                status, _, text = ask(port, path)
                kind = path.split("/")[1]
                assert (status, text.splitlines()[-1]) == (503, f"{kind} check failed"), path
                assert "[-]log failed: log: stopped: No space left on device" in text
            assert ask(port, "/healthz/tsa")[0] == 200
            checks = json.loads(ask(port, "/healthz", "application/json")[2])["checks"]
            assert checks[0] == {"name": "log", "ok": False, "note": "log: stopped: No space left on device"}
            disk.fails = lambda _number, _name: None
            for _ in range(200):
                if ask(port, "/healthz")[0] == 200:
                    break
                Event().wait(0.1)
            status, _, text = entry(port, b"full")
            assert (status, json.loads(text)["logIndex"]) == (201, "1")

    while_running(tmp_path, test, ("log", "tsa"))


def test_a_full_registry_says_so_and_is_asked_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def test(port: int, found: Running) -> None:
        monkeypatch.setattr("custody.server.checks._ROOM", 1 << 62)
        for path in ("/healthz", "/readyz"):
            assert ask(port, path)[::2] == (200, "ok")
            assert "KiB are free, so little can be pushed" in ask(port, f"{path}?verbose")[2]
        assert float(re.search(r"^custody_data_free_bytes (\S+)$", ask(port, "/metrics")[2], re.MULTILINE)[1]) > 0  # type: ignore[index]
        found.platform.registry.repositories.close()
        status, _, text = ask(port, "/readyz")
        assert (status, text.splitlines()[0]) == (
            503, "[-]registry failed: ProgrammingError: Cannot operate on a closed database.")

    while_running(tmp_path, test, ("registry",))


def answer(health: Health, path: str, query: bytes = b"") -> tuple[int, str]:
    sent: list[dict[str, object]] = []

    async def main() -> None:
        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        await health({"path": path, "method": "GET", "headers": [], "query_string": query}, None, send)  # type: ignore[arg-type]

    asyncio.run(main())
    return sent[0]["status"], sent[1]["body"].decode()  # type: ignore[attr-defined, return-value]


def test_alive_is_not_ready() -> None:
    health = Health({"a": State, "b": lambda: State(ready=False, note="policies are not compiled")})
    assert answer(health, "/healthz") == (200, "ok")
    assert answer(health, "/readyz") == (503, "[+]a ok\n[-]b failed: policies are not compiled\nreadyz check failed\n")
    assert answer(health, "/healthz", b"verbose") == (
        200, "[+]a ok\n[+]b ok: policies are not compiled\nhealthz check passed\n")


def test_a_check_that_fails_or_hangs_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.server.health._SECONDS", 0.05)
    go = Event()

    def hangs() -> State:
        go.wait()
        return State()

    def broken() -> State:
        raise CustodyError("index.db: disk I/O error")

    async def main() -> None:
        health = Health({"hangs": hangs, "broken": broken})
        for _ in range(3):
            assert (await health.state("hangs")).note == "no answer within 0.05 s"
        assert len(health._asking) == 1  # one thread waits, not three
        assert await health.state("broken") == State(False, False, "index.db: disk I/O error")
        go.set()

    asyncio.run(main())


def test_a_start_on_a_full_disk_says_so(small_disk: Path | None) -> None:
    if small_disk is None:
        pytest.skip("only root may mount a small file system")
    while_running(small_disk / "data", lambda *_: None, ("registry",))
    room = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize))
    with pytest.raises(StorageFullError, match="the disk is full"):
        while_running(small_disk / "data", lambda *_: None, ("registry",))
    (small_disk / "filler").unlink()
    while_running(small_disk / "data", lambda port, _: well(port), ("registry",))


def well(port: int) -> None:
    assert ask(port, "/readyz")[0] == 200
