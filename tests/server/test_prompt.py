"""Requests that are answered in one call, as soon as they have come whole: the same answers, limits and counts."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from custody.admission.webhook import Admission
from custody.evidence.model import EvidenceSet
from custody.policy.load import PolicySet
from custody.server.access.mtls import Named
from custody.server.admission import AdmissionApp
from custody.server.asgi import Answer, DisconnectedError, read_body, respond
from custody.server.limits import Limits
from custody.server.metrics import Metrics
from custody.server.observed import Observed, observer
from custody.server.run import Paths
from tests.policy.test_lint import images
from tests.policy.test_load import POLICY
from tests.server.test_limits import STILL, Client, place, run, until
from tests.server.test_observed import review, scrape

NOW = datetime(2026, 11, 24, tzinfo=UTC)
HEAD = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n"


def posted(body: bytes, path: bytes = b"/validate?timeout=5s", more: bytes = b"") -> bytes:
    return HEAD % (path, len(body), more) + body


def webhook(*documents: Any, metrics: Metrics | None = None, gathered: Any = None) -> Observed:
    async def gather(*_: Any) -> dict[str, EvidenceSet]:
        await asyncio.sleep(0.01)
        return {}

    metrics = metrics or Metrics()
    judge = Admission(PolicySet(documents or [POLICY]), gathered or gather, lambda: NOW, observer=observer(metrics))
    return Observed(Paths({"/": AdmissionApp(judge), "/metrics": metrics}), metrics, "admission")


class Told:
    """An application that answers at once where its path is /now, and says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def prompt(self, scope: Any, body: bytes) -> Any:
        if scope["path"] == "/broken":
            raise ValueError("secret")
        if scope["path"] != "/now":
            return self
        self.asked.append(f"{scope['method']} at once")
        return Answer(200, body)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await read_body(receive, 1 << 20)
        except DisconnectedError:
            return
        self.asked.append(f"{scope['method']} in turn")
        await respond(send, 200, body)


QUICK = Limits(sweep=0.01)
"""After which nobody waits for the rest of a request."""


async def both_ways(client: Client, body: bytes, path: bytes) -> list[tuple[int, Any, bytes]]:
    """What is answered to a request that comes whole, and to one whose last byte comes later."""
    answers = []
    for pause in (False, True):
        request = posted(body, path)
        if pause:
            await client.send(request[:-1])
            await asyncio.sleep(0.1)
            request = request[-1:]
        await client.send(request)
        status, headers, said = await client.answer()
        assert len(headers.pop(b"x-request-id")) == 16
        answers.append((status, [*headers.items()], said))
    return answers


@pytest.mark.parametrize(("body", "path", "status"), [
    (review("a:1"), b"/validate", 200), (review("a:latest"), b"/mutate?timeout=1s", 200),
    (review("a:1") + b" " * 20_000, b"/validate", 200), (b"{}", b"/validate", 400), (b"no review", b"/validate", 400),
    (review("a:1"), b"/nowhere", 404), (review("a:1"), b"/policies", 404), (b"x", b"/metrics", 405),
    (review("a:1", operation="EAT"), b"/validate", 400)])
def test_whole_or_in_pieces_a_review_has_the_same_answer(body: bytes, path: bytes, status: int,
                                                         caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "custody")
    metrics = Metrics()

    async def main() -> None:
        async with place(webhook(metrics=metrics), QUICK) as at:
            whole, pieces = await both_ways(await at.client(), body, path)
            assert whole == pieces
            assert whole[0] == status

    run(main)
    events = [record.fields for record in caplog.records if record.getMessage() == "request"]  # type: ignore[attr-defined]
    for fields in events:
        del fields["id"], fields["seconds"]
    assert len(events) == 2
    assert events[0].pop("received") == len(body)
    assert events[1].pop("received") in (0, len(body))  # nobody reads what is posted to no path
    assert events[0] == events[1]
    samples = scrape(metrics.text().decode())
    counted = [value for (name, _), value in samples.items() if name == "custody_http_requests_total"]
    assert counted == [2]
    assert [value for (name, _), value in samples.items() if name == "custody_http_requests_in_flight"] == [0]


def test_evidence_is_waited_for_and_then_answered_with() -> None:
    document = images()
    gathering = asyncio.Event()

    async def gather(_: Any, names: list[str]) -> dict[str, EvidenceSet]:
        gathering.set()
        await asyncio.sleep(0.05)
        return {name: EvidenceSet(subject="sha256:" + "a" * 64) for name in names}

    async def main() -> None:
        async with place(webhook(document, gathered=gather), STILL) as at:
            slow, quick = await at.client(), await at.client()
            pod = json.loads(review("ghcr.io/myorg/app:1"))
            await slow.send(posted(json.dumps(pod).encode()))
            await gathering.wait()
            await quick.send(posted(b"{}"))
            assert (await quick.answer())[0] == 400  # nobody waits behind it
            status, _, said = await slow.answer()
            response = json.loads(said)["response"]
            assert (status, response["allowed"]) == (200, False)

    run(main)


def test_what_is_raised_is_an_answer_that_closes_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()

    async def main() -> None:
        async with place(Observed(Told(), metrics), STILL) as at:  # type: ignore[arg-type]
            client = await at.client()
            await client.send(posted(b"ab", b"/broken"))
            status, headers, body = await client.answer()
            assert (status, headers[b"connection"]) == (500, b"close")
            assert b"secret" not in body
            assert await client.closed() == b""

    run(main)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "POST /broken: an error that nobody expected"]
    assert "custody_http_requests_in_flight{role=\"none\"} 0.0" in metrics.text().decode()


@pytest.mark.parametrize(("request_", "closes"), [
    (posted(b"ab", b"/now"), False), (posted(b"ab", b"/now", b"Connection: close\r\n"), True),
    (posted(b"ab", b"/now").replace(b"HTTP/1.1", b"HTTP/1.0"), True)])
def test_a_connection_ends_where_its_client_says_so(request_: bytes, closes: bool) -> None:
    async def main() -> None:
        async with place(Told(), STILL) as at:  # type: ignore[arg-type]
            client = await at.client()
            await client.send(request_)
            status, headers, body = await client.answer()
            assert (status, body, headers.get(b"connection")) == (200, b"ab", b"close" if closes else None)
            if closes:
                assert await client.closed() == b""
            else:
                await client.send(request_)
                assert (await client.answer())[0] == 200

    run(main)


def test_each_answer_of_a_process_that_ends_closes_its_connection() -> None:
    async def main() -> None:
        app = Observed(Told(), Metrics())  # type: ignore[arg-type]
        app.closing = True
        async with place(app, STILL) as at:
            client = await at.client()
            await client.send(posted(b"ab", b"/now"))
            assert (await client.answer())[1][b"connection"] == b"close"
            assert await client.closed() == b""

    run(main)


def test_what_does_not_come_whole_is_answered_in_turn() -> None:
    told = Told()

    async def main() -> None:
        async with place(told, STILL) as at:  # type: ignore[arg-type]
            client = await at.client()
            await client.send(b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.answer()
            await client.send(b"POST /now HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                              b"2\r\nab\r\n0\r\n\r\n")
            assert (await client.answer())[2] == b"ab"
            await client.send(posted(b"ab", b"/now", b"Expect: 100-continue\r\n"))
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert (await client.answer())[2] == b"ab"
            await client.send(posted(b"ab", b"/else"))
            assert (await client.answer())[2] == b"ab"

    run(main)
    assert told.asked == ["GET at once", "POST in turn", "POST in turn", "POST in turn"]


def test_pipelined_requests_take_turns_with_those_of_others_and_wait_unread() -> None:
    told = Told()

    async def main() -> None:
        async with place(told, STILL) as at:  # type: ignore[arg-type]
            many = await at.client()
            protocol = await at.protocol()
            longest = 0
            taken = protocol._advance

            def advance() -> None:
                nonlocal longest
                longest = max(longest, len(protocol._framer._buffer) - protocol._framer._at)
                taken()

            protocol._advance = advance  # type: ignore[method-assign]
            writing = asyncio.create_task(many.send(posted(b"ab", b"/now") * 100_000))
            await until(lambda: len(told.asked) > 100)
            other = await at.client()
            before = len(told.asked)
            await other.send(posted(b"cd", b"/now"))
            assert (await other.answer())[2] == b"cd"
            assert len(told.asked) - before < 5_000
            for _ in range(20_000):
                assert (await many.answer())[2] == b"ab"
            assert longest <= 512 * 1024
            writing.cancel()

    run(main)


def test_who_does_not_read_his_answers_is_not_answered_on() -> None:
    told = Told()

    async def main() -> None:
        async with place(told, STILL) as at:  # type: ignore[arg-type]
            client = await at.client()
            client.reader._transport.pause_reading()  # type: ignore[attr-defined]
            writing = asyncio.create_task(client.send(posted(b"a" * 50_000, b"/now") * 2_000))
            protocol = await at.protocol()
            await until(lambda: protocol.flow.write_paused)
            await asyncio.sleep(0.1)
            answered = len(told.asked)
            await asyncio.sleep(0.1)
            assert len(told.asked) == answered < 2_000
            assert protocol.transport.get_write_buffer_size() < 512 * 1024
            client.reader._transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(2_000):
                assert len((await client.answer())[2]) == 50_000
            await writing

    run(main)


def test_who_has_no_name_that_counts_is_not_answered_at_once() -> None:
    told = Told()
    app = Named(told, ["kube-apiserver"])  # type: ignore[arg-type]
    for tls in ({}, {"client_cert_chain": ["no certificate"]}):
        scope: dict[str, Any] = {"path": "/now", "method": "POST", "extensions": {"tls": tls}}
        assert app.prompt(scope, b"ab") is app  # which answers 403
    assert told.asked == []


@pytest.mark.parametrize(("cut", "size", "way"), [
    (1, 6_000, "at once"), (40, 6_000, "at once"), (5_000, 6_000, "at once"), (5_000, 70_000, "in turn")])
def test_a_small_request_in_two_pieces_is_answered_with_the_second(cut: int, size: int, way: str) -> None:
    """As those of an API server come, whose TLS records end at 4 KiB."""
    told = Told()

    async def main() -> None:
        async with place(told, STILL) as at:  # type: ignore[arg-type]
            client = await at.client()
            request = posted(b"a" * size, b"/now")
            await client.send(request[:cut])
            await asyncio.sleep(0.05)
            assert told.asked == []
            await client.send(request[cut:])
            assert len((await client.answer())[2]) == size

    run(main)
    assert told.asked == [f"POST {way}"]


def test_a_rest_that_does_not_come_is_missed_in_time() -> None:
    metrics = Metrics()

    async def main() -> None:
        async with place(Observed(Told(), metrics), STILL) as at:  # type: ignore[arg-type]
            client = await at.client()
            await client.send(posted(b"ab" * 100, b"/now")[:-3])
            protocol = await at.protocol()
            await until(lambda: protocol._waiting is not None)
            protocol.check(protocol.loop.time() + 20)
            assert protocol._waiting is None
            protocol.check(protocol.loop.time() + 31)
            status, _, body = await client.answer()
            assert (status, b"fewer than 4096 bytes came" in body) == (408, True)
            assert await client.closed() == b""
            await until(lambda: 'code="aborted"' in metrics.text().decode())

    run(main)


def test_who_goes_away_with_half_a_request_is_counted() -> None:
    metrics = Metrics()

    async def main() -> None:
        async with place(Observed(Told(), metrics), STILL) as at:  # type: ignore[arg-type]
            client = await at.client()
            await client.send(posted(b"ab" * 100, b"/now")[:-3])
            protocol = await at.protocol()
            await until(lambda: protocol._waiting is not None)
            client.writer.close()
            await until(lambda: 'code="aborted"' in metrics.text().decode())

    run(main)
    assert 'custody_http_requests_in_flight{role="none"} 0.0' in metrics.text().decode()


def test_half_a_request_is_still_answered_when_the_process_ends() -> None:
    told = Told()

    async def main() -> None:
        async with place(told, STILL) as at:  # type: ignore[arg-type]
            client = await at.client()
            request = posted(b"ab" * 100, b"/now")
            await client.send(request[:-3])
            protocol = await at.protocol()
            await until(lambda: protocol._waiting is not None)
            at.listener.stop()
            await until(lambda: protocol._waiting is None)
            await client.send(request[-3:])
            status, headers, body = await client.answer()
            assert (status, headers[b"connection"], len(body)) == (200, b"close", 200)

    run(main)
    assert told.asked == ["POST in turn"]
