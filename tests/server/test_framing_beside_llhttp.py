"""Our reading of a stream beside llhttp's (httptools), the parser of Node and of other servers: each request that we
take it reads alike, and what it refuses at once we do not take."""

from __future__ import annotations

import random

import httptools

from tests.server.test_framing import GOOD, REFUSED, verdict

Request = tuple[bytes, bytes, bytes]
"""Method, target and body."""
STREAMS = 6_000


class Llhttp:
    """What llhttp makes of a stream."""

    def __init__(self, data: bytes) -> None:
        self.requests: list[Request] = []
        self.refused = False
        self._target, self._body = b"", b""
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.refused = True

    def on_message_begin(self) -> None:
        self._target, self._body = b"", b""

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.requests.append((self._parser.get_method(), self._target, self._body))


def ours(data: bytes) -> tuple[list[Request], bool]:
    whole, failure = verdict(data, [])
    requests = []
    for head, body in whole:
        method, target, *_ = head.split(b" ")
        requests.append((method, target, body))
    return requests, failure is not None


LINES = [b"GET /v2/ HTTP/1.1", b"POST /a?b=c HTTP/1.1", b"PUT /a HTTP/1.0", b"GET  /a HTTP/1.1", b"GET /a",
         b"GET /\xe9 HTTP/1.1", b"GET /a HTTP/1.2", b"PATCH /a HTTP/1.1 ", b"get /a HTTP/1.1"]
FIELDS = [b"Host: x", b"Content-Length: 3", b"Content-Length: +3", b"Content-Length: 3, 3", b"Content-Length: 0x3",
          b"Content-Length: 3 ", b"Content-Length:", b"Content-Length: 03", b"Content-Length : 3",
          b"Transfer-Encoding: chunked", b"Transfer-Encoding: Chunked", b"Transfer-Encoding: gzip, chunked",
          b"Transfer-Encoding : chunked", b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: identity",
          b"transfer-encoding: xchunked", b"Transfer-Encoding: chunked, chunked", b"Connection: close",
          b"Connection: keep-alive", b"X: a\0b", b"X: a\rb", b" folded", b"a b: c", b"X:", b":", b"\xe9: x", b"X: \xe9"]
BODIES = [b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"3;x=1\r\nabc\r\n0\r\n\r\n", b"0\r\n\r\n", b"3\nabc\n0\n\n",
          b"03\r\nabc\r\n0\r\nX: y\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"3 \r\nabc\r\n0\r\n\r\n",
          b"3\r\nabc\r\n0\r\n\n", b"3;\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\nX : y\r\n\r\n",
          b"3 ;x\r\nabc\r\n0\r\n\r\n", b"3; x=\"y\"\r\nabc\r\n0\r\n\r\n", b"-3\r\nabc\r\n0\r\n\r\n",
          b"0x3\r\nabc\r\n0\r\n\r\n", b"abcGET /x HTTP/1.1\r\nHost: x\r\n\r\n", GOOD]


def stream(rng: random.Random) -> bytes:
    """One to three requests, most of them nearly right."""
    data = b""
    for _ in range(rng.randint(1, 3)):
        good = rng.random() < 0.7
        ends = [b"\r\n"] if good else [b"\r\n"] * 8 + [b"\n", b"\r", b"\r\n "]
        fields = rng.sample(FIELDS, rng.randint(0, 3))
        if good:
            fields = [b"Host: x", *rng.sample([*FIELDS[1:2], *FIELDS[9:11], FIELDS[18]], rng.randint(0, 1)), b"X: y"]
        data += rng.choice(LINES[:3] if good else LINES) + rng.choice(ends)
        data += b"".join(field + rng.choice(ends) for field in fields)
        data += rng.choice(ends) + rng.choice(BODIES)
    return data


def test_what_we_take_llhttp_reads_alike() -> None:
    rng = random.Random(20)
    taken = refused = 0
    for _ in range(STREAMS):
        data = stream(rng)
        requests, ended = ours(data)
        llhttp = Llhttp(data)
        assert requests == llhttp.requests[:len(requests)], data
        if llhttp.refused and not llhttp.requests:
            assert not requests, data
        taken += len(requests)
        refused += ended
    assert taken > STREAMS // 2
    assert refused > STREAMS // 2


def test_lengths_that_can_be_read_in_two_ways_are_refused_by_both() -> None:
    for name in ("both lengths", "two Content-Lengths", "bad chunk size"):
        assert Llhttp(REFUSED[name][2]).refused, name
