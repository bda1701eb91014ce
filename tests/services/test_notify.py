"""Events told to others: signed, once each, again after a failure, given up in the end; on a receiver that fails."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from custody.adapters.http.stdlib import StdlibHttp
from custody.adapters.sqlite.inventory import SqliteInventory
from custody.adapters.sqlite.queue import SqliteQueue
from custody.errors import MalformedError, VerificationError
from custody.formats import webhook
from custody.ports.findings import Event, KeptFinding
from custody.services.notify import Notifier, tell
from tests.cli.commands import custody

NOW = datetime(2026, 11, 29, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
KEY = webhook.secret(SECRET)


class Receiver:
    """Answers with the statuses that it was given, then with 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.bodies: list[bytes] = []
        self.heads: list[dict[str, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.heads.append({name.lower(): value for name, value in self.headers.items()})
                receiver.bodies.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?token=t"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


class World:
    def __init__(self, folder: Path, url: str) -> None:
        self.store, self.queue = SqliteInventory(folder / "inventory.db"), SqliteQueue(folder / "queue.db")
        self.now = NOW
        self.url = url

    def event(self, count: int = 1) -> None:
        finding = KeptFinding(vulnerability="CVE-2026-0001", record="X", severity="high", matched="all")
        self.store.replace({}, [Event(change="appeared", cause="advisory", at=NOW, purl="pkg:npm/a@1", finding=finding,
                                      images=("sha256:a",), affected=1)] * count, {})

    def run(self) -> tuple[int, str]:
        async def told() -> tuple[int, str]:
            http = StdlibHttp()
            try:
                notifier = Notifier(self.url, KEY, self.queue, http, lambda: self.now, "/custody/test")
                notifier.begin(self.store, 0)
                notifier.gather(self.store)
                return await notifier.send()
            finally:
                await http.close()

        return asyncio.run(told())


def test_each_event_is_told_once_and_signed(tmp_path: Path, receiver: Receiver) -> None:
    world = World(tmp_path, receiver.url)
    world.event(2)
    assert world.run() == (2, "")
    assert world.run() == (0, "")
    documents = [json.loads(body) for body in receiver.bodies]
    assert [document["id"] for document in documents] == ["1", "2"]
    assert documents[0] | {"data": None} == {
        "specversion": "1.0", "id": "1", "source": "/custody/test", "subject": "pkg:npm/a@1", "data": None,
        "type": "dev.custody.finding.appeared", "time": "2026-11-29T00:00:00Z", "datacontenttype": "application/json"}
    assert documents[0]["data"]["finding"]["vulnerability"] == "CVE-2026-0001"
    assert receiver.heads[0]["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert webhook.verify(KEY, receiver.heads[0], receiver.bodies[0], NOW.timestamp()) == "/custody/test#1"


def test_what_was_not_taken_is_sent_again_later_with_the_same_identifier(tmp_path: Path, receiver: Receiver) -> None:
    world = World(tmp_path, receiver.url)
    receiver.statuses = [503, 500]
    world.event()
    sent, reason = world.run()
    assert (sent, "token" in reason, reason.endswith("got status 503, expected 2xx")) == (0, False, True)
    assert world.run() == (0, "")  # not yet
    for _ in range(2):
        world.now += timedelta(minutes=1)
        world.run()
    assert len(receiver.bodies) == 3
    assert {head["webhook-id"] for head in receiver.heads} == {"/custody/test#1"}
    assert world.run() == (0, "")
    assert world.queue.buried() == []


def test_who_does_not_answer_holds_nobody_up(tmp_path: Path, receiver: Receiver) -> None:
    world = World(tmp_path, receiver.url)
    world.event()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"

        async def told() -> list[str]:
            http = StdlibHttp()
            try:
                return await tell([Notifier(address, KEY, world.queue, http, lambda: NOW, "/t", 0.5)
                                   for address in (url, receiver.url)], world.store)
            finally:
                await http.close()

        (reason,) = asyncio.run(asyncio.wait_for(told(), 20))
    assert reason.endswith("took longer than 0.5 s")
    assert len(receiver.bodies) == 1


def test_what_nobody_takes_is_given_up_and_listed(tmp_path: Path) -> None:
    world = World(tmp_path, "http://127.0.0.1:1/hook")
    world.event()
    for _ in range(12):
        world.run()
        world.now += timedelta(days=1, seconds=1)
    (job,) = world.queue.buried()
    assert (job.key, job.attempts) == ("1", 10)
    assert world.queue.revive(job.number, world.now)
    assert world.run()[0] == 0
    assert world.queue.buried() == []


@pytest.mark.parametrize(("changed", "reason"), [
    ({"webhook-id": "another"}, "no signature"), ({"webhook-timestamp": "1795910401"}, "no signature"),
    ({"webhook-timestamp": "1"}, "last 300 seconds"), ({"webhook-signature": "v1,AAAA"}, "no signature"),
    ({"webhook-signature": ""}, "no signature"), ({"webhook-timestamp": "x"}, "no webhook-id"),
    ({"webhook-id": ""}, "no webhook-id")])
def test_a_receiver_refuses_what_is_not_signed_so(changed: dict[str, str], reason: str) -> None:
    now = 1795910400
    given = webhook.headers(KEY, "name", now, b"body")
    assert webhook.verify(KEY, given, b"body", now) == "name"
    rotated = {**given, "webhook-signature": "v1,AAAA " + given["webhook-signature"]}
    assert webhook.verify(KEY, rotated, b"body", now) == "name"
    with pytest.raises(VerificationError, match=reason):
        webhook.verify(KEY, {**given, **changed}, b"body", now)
    with pytest.raises(VerificationError, match="no signature"):
        webhook.verify(KEY, given, b"another body", now)


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_%%", "secret", "whsec_" + "A" * 8, "A" * 44])
def test_secrets_that_are_none(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        webhook.secret(text)
    assert "AAAA" not in caught.value.message


def test_the_example_of_the_specification() -> None:
    """Standard Webhooks, the test vector of its libraries."""
    key = webhook.secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    given = webhook.headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert given["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_command(tmp_path: Path) -> None:
    done = custody("watch", "--once", "--notify", "http://127.0.0.1:1/", cwd=tmp_path)
    assert (done.returncode, "CUSTODY_NOTIFY_SECRET" in done.stderr) == (2, True)
    done = custody("watch", "--once", "--notify", "ftp://x/", cwd=tmp_path, CUSTODY_NOTIFY_SECRET=SECRET)
    assert (done.returncode, "https://" in done.stderr) == (2, True)
    assert custody("watch", "--once", "--notify", "http://127.0.0.1:1/", cwd=tmp_path,
                   CUSTODY_NOTIFY_SECRET=SECRET).returncode == 0
    assert custody("watch", "--dead", cwd=tmp_path).stdout == "none was given up\n"
    assert custody("watch", "--revive", "3", cwd=tmp_path).returncode == 2
