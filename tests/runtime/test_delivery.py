"""Alerts to outputs: each once, in one durable step with what is noted, whatever fails."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.filesystem.alertfile import AlertFile
from custody.adapters.http.aiohttp import AiohttpHttp
from custody.adapters.sqlite.notes import SqliteNotes
from custody.adapters.sqlite.queue import SqliteQueue
from custody.adapters.syslog import Syslog
from custody.errors import NetworkError, StorageError, UsageError
from custody.ports.alerting import Line, Marks, Noted, Place
from custody.services.alertdelivery import Delivery, Window
from custody.services.alertposts import AlertPosts
from custody.services.watchspec import Input, Output
from tests.serving import served


def alert(number: int) -> Line:
    return Line(f"key-{number}", 4, 1_700_000_000_123_456_789, json.dumps({"number": number}).encode(),
                f"alert {number}")


opened: list[SqliteQueue] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()


class Output_:  # noqa: N801 - beside the specification's
    """Takes lines, unless it is told to fail."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: list[str] = []
        self.failing = False

    def write(self, lines: Sequence[Line]) -> None:
        if self.failing:
            raise NetworkError(f"{self.name} is down")
        self.lines += [line.key for line in lines]

    def place(self) -> Place | None:
        return None

    def recover(self, place: Place | None) -> str:
        return ""

    def close(self) -> None:
        """Nothing is open."""


class Notes:
    def __init__(self) -> None:
        self.marks: dict[str, str] = {}
        self.keys: list[str] = []
        self.failing = False
        self.steps = 0

    def load(self) -> Noted:
        return Noted(dict(self.marks), {}, list(self.keys), b"")

    def note(self, marks: Marks, places: Mapping[str, Place], keys: Sequence[str],
             folds: bytes | None) -> None:
        if self.failing:
            raise StorageError("the disk is full")
        self.steps += 1
        self.marks |= marks
        self.keys += keys

    def close(self) -> None:
        """Nothing is open."""


def test_each_once() -> None:
    async def main() -> None:
        first, second, notes = Output_("a"), Output_("b"), Notes()
        delivery = Delivery([first, second], notes)
        assert await delivery.deliver([alert(1), alert(2), alert(1)], {"in": "5"}) == {"key-1", "key-2"}
        assert await delivery.deliver([alert(2), alert(3)]) == {"key-3"}
        assert first.lines == second.lines == ["key-1", "key-2", "key-3"]
        assert delivery.doubled == 2
        assert notes.marks == {"in": "5"}
        again = Delivery([first, second], notes)
        again.begin()
        assert await again.deliver([alert(1), alert(4)]) == {"key-4"}

    asyncio.run(main())


def test_an_output_that_fails_is_given_it_again_and_the_other_is_not() -> None:
    async def main() -> None:
        first, second, notes = Output_("a"), Output_("b"), Notes()
        delivery = Delivery([first, second], notes)
        second.failing = True
        with pytest.raises(NetworkError, match="b is down"):
            await delivery.deliver([alert(1)], {"in": "5"})
        assert delivery.failures == {"b": "b is down"}
        assert notes.marks == {}, "it is not read on"
        second.failing = False
        assert await delivery.deliver([alert(1)], {"in": "5"}) == {"key-1"}
        assert first.lines == second.lines == ["key-1"]
        assert (delivery.failures, notes.marks) == ({}, {"in": "5"})

    asyncio.run(main())


def test_what_cannot_be_noted_is_not_delivered() -> None:
    async def main() -> None:
        output, notes = Output_("a"), Notes()
        delivery = Delivery([output], notes)
        notes.failing = True
        with pytest.raises(StorageError):
            await delivery.deliver([alert(1)])
        assert delivery.failures == {"notes": "the disk is full"}
        notes.failing = False
        assert await delivery.deliver([alert(1)]) == {"key-1"}
        assert output.lines == ["key-1"]

    asyncio.run(main())


def test_those_who_come_together_share_a_step() -> None:
    async def main() -> None:
        output, notes = Output_("a"), Notes()
        delivery = Delivery([output], notes)
        told = await asyncio.gather(*(delivery.deliver([alert(number)]) for number in range(50)))
        assert set().union(*told) == {f"key-{number}" for number in range(50)}
        assert notes.steps <= 3

    asyncio.run(main())


def test_a_window_is_bounded() -> None:
    window = Window(3)
    window.add(["a", "b", "c", "d"])
    assert ["a" in window, "b" in window, "d" in window] == [False, True, True]


# --- a file ----------------------------------------------------------------------------------------------------

def numbers(path: Path) -> list[int]:
    return [json.loads(text)["number"] for text in path.read_text().splitlines()]


def test_a_file_is_cut_back_to_what_was_noted(tmp_path: Path) -> None:
    path = tmp_path / "alerts"
    output = AlertFile(path)
    output.write([alert(1)])
    place = output.place()
    output.write([alert(2)])
    output.close()
    with path.open("ab") as file:
        file.write(b'{"number": 3')
    later = AlertFile(path)
    assert later.recover(place) == ""
    later.write([alert(4)])
    later.close()
    assert numbers(path) == [1, 4]
    assert (path.stat().st_mode & 0o777) & 0o007 == 0


def test_a_file_that_was_renamed_is_cut_back_too(tmp_path: Path) -> None:
    path = tmp_path / "alerts"
    output = AlertFile(path)
    output.write([alert(1)])
    place = output.place()
    output.write([alert(2)])
    os.rename(path, tmp_path / "alerts.1")
    output.write([alert(3)])
    assert numbers(path) == [3]
    output.close()
    later = AlertFile(path)
    assert later.recover(place) == ""
    assert numbers(tmp_path / "alerts.1") == [1]
    (tmp_path / "alerts.1").unlink()
    assert "may be written twice" in later.recover(place)
    assert later.recover(None) == ""


def test_a_file_cut_off_by_another_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "alerts"
    output = AlertFile(path)
    output.write([alert(1), alert(2)])
    os.truncate(path, 0)
    output.write([alert(3)])
    place = output.place()
    assert place is not None
    assert place.size == path.stat().st_size
    assert numbers(path) == [3]
    output.close()


def test_a_new_file_is_noted_before_anything_is_in_it(tmp_path: Path) -> None:
    """So that after a crash its lines are known to be the crash's."""
    notes = SqliteNotes(tmp_path / "notes.db")
    output = AlertFile(tmp_path / "alerts")

    class Crash(BaseException):
        pass

    class Crashing(AlertFile):
        def write(self, lines: Sequence[Line]) -> None:
            super().write(lines)
            raise Crash

    async def main() -> None:
        await Delivery([output], notes).deliver([alert(1)])
        os.rename(tmp_path / "alerts", tmp_path / "alerts.1")
        crashing = Crashing(tmp_path / "alerts")
        delivery = Delivery([crashing], notes)
        delivery.begin()
        with pytest.raises(Crash):
            await delivery.deliver([alert(2)])
        crashing.close()
        assert numbers(tmp_path / "alerts") == [2]
        later = AlertFile(tmp_path / "alerts")
        after = Delivery([later], notes)
        assert after.begin()[1] == []
        assert numbers(tmp_path / "alerts") == []
        await after.deliver([alert(2)])
        assert numbers(tmp_path / "alerts") == [2]
        await after.close()

    asyncio.run(main())
    output.close()
    notes.close()


def test_notes_are_kept(tmp_path: Path) -> None:
    notes = SqliteNotes(tmp_path / "notes.db")
    assert notes.load() == Noted({}, {}, [], b"")
    notes.note({"a": "1", "b": "2"}, {"file:x": Place(1, (1 << 64) - 1, 5)}, ["k1", "k2"], b"[]")
    notes.note({"a": "3"}, {}, ["k3"], None)
    notes.close()
    again = SqliteNotes(tmp_path / "notes.db")
    assert again.load() == Noted({"a": "3", "b": "2"}, {"file:x": Place(1, (1 << 64) - 1, 5)}, ["k1", "k2", "k3"],
                                 b"[]")
    again.note({}, {}, [f"n{number}" for number in range(70_000)], None)
    assert len(again.load().keys) == 65_536
    again.close()


# --- syslog ------------------------------------------------------------------------------------------------------

def test_syslog_to_a_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        output = Syslog(str(tmp_path / "log"))
        output.write([alert(1)])
        assert server.recv(9000) == f"<84>custody[{os.getpid()}]: alert 1".encode()
        output.close()
    os.unlink(tmp_path / "log")
    with pytest.raises(NetworkError):
        output.write([alert(2)])


def test_syslog_by_udp_and_tcp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        output = Syslog(f"udp://127.0.0.1:{server.getsockname()[1]}", text=False)
        output.write([alert(1)])
        data = server.recv(9000)
        assert data.startswith(b"<84>1 2023-11-14T22:13:20.123456Z ")
        assert data.endswith(b' alert - \xef\xbb\xbf{"number": 1}')
        output.write([alert(1)._replace(text="x" * 100_000, json=b"y" * 100_000)])
        assert len(server.recv(1 << 17)) == 8192
        output.close()
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        output = Syslog(f"tcp://127.0.0.1:{tcp.getsockname()[1]}")
        output.write([alert(1), alert(2)])
        connection, _ = tcp.accept()
        with connection:
            data = connection.recv(9000)
        counts = data.split(b" ", 1)
        assert data[len(counts[0]) + 1:][:int(counts[0])].endswith(b"alert 1")
        output.write([alert(3)])  # the connection is gone: a new one, perhaps after one that nobody reads
        output.close()
    with pytest.raises(NetworkError):
        output.write([alert(4)])
    for address in ("http://x", "udp://", "tcp://x:99999", "relative"):
        with pytest.raises(UsageError):
            Syslog(address)


# --- HTTP --------------------------------------------------------------------------------------------------------

def test_posts_are_sent_until_they_are_taken(tmp_path: Path) -> None:
    bodies: list[bytes] = []
    answers = [500, 200]
    lock = threading.Lock()

    async def sidekick(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        with lock:
            status = answers.pop(0) if answers else 200
            if status == 200:
                bodies.append(message["body"])
        assert (b"content-type", b"application/json; charset=utf-8") in scope["headers"]
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    now = [datetime(2026, 11, 30, tzinfo=UTC).timestamp()]
    queue = SqliteQueue(tmp_path / "queue.db")
    opened.append(queue)

    async def main(url: str) -> None:
        http = AiohttpHttp()
        posts = AlertPosts(f"{url}/?token=secret", queue, http, lambda: datetime.fromtimestamp(now[0], UTC))
        assert "secret" not in posts.name
        posts.write([alert(1)])
        posts.write([alert(1)])
        assert not await posts.send()
        assert posts.failure == "got status 500, expected 2xx"
        assert posts.waiting() == 1
        assert not await posts.send(), "not due yet"
        now[0] += 2
        assert await posts.send()
        assert (posts.failure, posts.waiting(), posts.sent) == ("", 0, 1)
        posts.write([alert(number) for number in range(2, 12)])
        while await posts.send():
            pass
        await http.close()

    with served(sidekick) as url:
        asyncio.run(main(url))
    assert min(bodies, key=len) == b'{"number": 1}'
    assert len(bodies) == 11


def test_too_many_posts_hold_inputs_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from custody.services import alertposts

    monkeypatch.setattr(alertposts, "_FULL", 3)
    http: Any = None
    queue = SqliteQueue(tmp_path / "queue.db")
    opened.append(queue)
    posts = AlertPosts("http://127.0.0.1:1/", queue, http, lambda: datetime.now(UTC))
    posts.write([alert(1), alert(2), alert(3)])
    with pytest.raises(NetworkError, match="3 alerts wait"):
        posts.write([alert(4)])


@pytest.mark.parametrize("text", ["", "audit", "audit:", "nonsense:x", ":x"])
def test_inputs_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        Input.parse(text)


@pytest.mark.parametrize(("text", "kind", "place"), [
    ("stdout", "stdout", ""), ("-", "stdout", ""), ("syslog", "syslog", "/dev/log"),
    ("syslog:udp://h:5", "syslog", "udp://h:5"), ("https://h/x", "http", "https://h/x"), ("a/b", "file", "a/b"),
    ("file:a:b/c", "", ""), ("ftp://x", "", ""), ("file:", "", "")])
def test_outputs(text: str, kind: str, place: str) -> None:
    if not kind:
        with pytest.raises(UsageError):
            Output.parse(text)
    else:
        assert Output.parse(text) == (kind, place)
