"""Where requests end: one reading of every stream, however it is cut, and none of what can be read in two ways."""

from __future__ import annotations

import contextlib
import itertools
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.server.framing import MAX_HEAD, MAX_HEADERS, MAX_LINE, End, Framer, FramingError, Head

GOOD = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
Verdict = tuple[list[tuple[bytes, bytes]], tuple[int, str] | None]


def verdict(data: bytes, cuts: list[int]) -> Verdict:
    """The requests that came whole, with their bodies, and what ended the stream."""
    framer = Framer()
    whole: list[tuple[bytes, bytes]] = []
    head, body, promised = b"", b"", False
    places = [0, *sorted(cuts), len(data)]
    try:
        for start, end in itertools.pairwise(places):
            framer.feed(data[start:end])
            while (part := framer.next()) is not None:
                if isinstance(part, Head):
                    head, body = b" ".join((part.method.encode(), part.target, *map(b":".join, part.headers))), b""
                    promised = framer.whole
                    assert not promised or framer.announced is not None
                elif isinstance(part, End):
                    whole.append((head, body))
                    promised = False
                else:
                    assert not (promised and body), "what is there to its end comes in one piece"
                    body += part
            assert not promised
    except FramingError as error:
        assert not promised
        return whole, (error.status, error.message)
    return whole, None


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((b"POST /v2/a/blobs/uploads/ HTTP/1.1", b"Host: x", *lines)) + b"\r\n\r\n"


REFUSED = {
    "bad chunk size": (400, "hexadecimal", head(b"Transfer-Encoding: chunked") + b"zz\r\n"),
    "negative chunk size": (400, "hexadecimal", head(b"Transfer-Encoding: chunked") + b"-1\r\n"),
    "chunk size in 0x": (400, "hexadecimal", head(b"Transfer-Encoding: chunked") + b"0x1\r\na\r\n"),
    "chunk size that overflows": (400, "hexadecimal", head(b"Transfer-Encoding: chunked") + b"1" * 17 + b"\r\n"),
    "chunk size and bare LF": (400, "hexadecimal", head(b"Transfer-Encoding: chunked") + b"1\na\r\n"),
    "chunk extension with a CR": (400, "hexadecimal", head(b"Transfer-Encoding: chunked") + b"1;a\rb\r\na\r\n"),
    "chunk that is longer": (400, "does not end", head(b"Transfer-Encoding: chunked") + b"1\r\nab\r\n0\r\n\r\n"),
    "chunk extensions without end": (400, "size line", head(b"Transfer-Encoding: chunked") + b"1;" + b"a" * 2000),
    "many long extensions": (400, "framing", head(b"Transfer-Encoding: chunked") + (
        b"1;" + b"a" * 1000 + b"\r\na\r\n") * 20),
    "trailers without end": (431, "trailers", head(b"Transfer-Encoding: chunked") + b"0\r\nx: " + b"a" * MAX_HEAD),
    "trailer with a NUL": (400, "control", head(b"Transfer-Encoding: chunked") + b"0\r\nx: a\0\r\n\r\n"),
    "both lengths": (400, "beside Transfer-Encoding", head(b"Content-Length: 5", b"Transfer-Encoding: chunked")),
    "two Content-Lengths": (400, "Content-Length: got two", head(b"Content-Length: 5", b"Content-Length: 6")),
    "one Content-Length twice": (400, "Content-Length: got two", head(b"Content-Length: 5", b"Content-Length: 5")),
    "a list of Content-Lengths": (400, "digits", head(b"Content-Length: 5, 5")),
    "Content-Length +5": (400, "digits", head(b"Content-Length: +5")),
    "Content-Length -1": (400, "digits", head(b"Content-Length: -1")),
    "Content-Length of 19 digits": (400, "digits", head(b"Content-Length: " + b"9" * 19)),
    "empty Content-Length": (400, "digits", head(b"Content-Length:")),
    "Transfer-Encoding twice": (400, "Transfer-Encoding", head(b"Transfer-Encoding: chunked",
                                                                b"transfer-encoding: chunked")),
    "Transfer-Encoding identity": (400, "Transfer-Encoding", head(b"Transfer-Encoding: chunked, identity")),
    "Transfer-Encoding xchunked": (400, "Transfer-Encoding", head(b"Transfer-Encoding: xchunked")),
    "Transfer-Encoding with VT": (400, "control", head(b"Transfer-Encoding: \x0bchunked")),
    "obs-fold": (400, "folded", head(b"X: a", b" b")),
    "obs-fold of a length": (400, "folded", head(b"Content-Length:", b"\t5")),
    "space before the colon": (400, "NAME: VALUE", head(b"Content-Length : 5")),
    "NUL in a header": (400, "control", head(b"X: a\0b")),
    "NUL in a name": (400, "NAME: VALUE", head(b"X\0: a")),
    "bare CR in a header": (400, "CR LF", head(b"X: a\rContent-Length: 5")),
    "bare LF": (400, "CR LF", b"GET / HTTP/1.1\nHost: x\n\n"),
    "bare LF in headers": (400, "CR LF", head(b"X: a\nContent-Length: 5")),
    "no colon": (400, "NAME: VALUE", head(b"nonsense")),
    "no Host": (400, "Host: got none", b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, "Host: got two", head(b"Host: y")),
    "Host with a path": (400, "no host", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "Host with a user": (400, "no host", b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
    "absolute form": (400, "path", b"GET http://x/v2/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    "asterisk form": (400, "path", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"),
    "authority form": (501, "CONNECT", b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a fragment": (400, "#", b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a path of other bytes": (400, "ASCII", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "two spaces": (400, "METHOD /PATH", b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "HTTP/0.9": (400, "METHOD /PATH", b"GET /\r\n\r\n"),
    "HTTP/2 preface": (505, "HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/1.2": (505, "HTTP/1.2", b"GET / HTTP/1.2\r\nHost: x\r\n\r\n"),
    "unknown method": (501, "BREW", b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "small letters": (400, "no method", b"get / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "TLS": (400, "no method", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "two empty lines first": (400, "no method", b"\r\n\r\n" + GOOD),
    "chunked in HTTP/1.0": (400, "HTTP/1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "another Expect": (417, "Expect", head(b"Expect: tea")),
    "a long line": (414, "request line", b"GET /" + b"a" * MAX_LINE),
    "a long header": (431, "headers", b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * MAX_HEAD),
    "many headers": (431, "headers", head(*[b"X: y"] * MAX_HEADERS)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused(name: str) -> None:
    status, words, data = REFUSED[name]
    rng = random.Random(name)
    smuggled = data + GOOD
    whole, error = verdict(smuggled, [])
    assert error is not None, "nothing was refused"
    assert (whole, error[0]) == ([], status), error
    assert words in error[1]
    for count in (1, 3, 40):
        assert verdict(smuggled, [rng.randrange(len(smuggled)) for _ in range(count)]) == (whole, error)
    if len(smuggled) < 3000:
        assert verdict(smuggled, list(range(len(smuggled)))) == (whole, error)


_PIECES = st.sampled_from([
    GOOD, head(b"Content-Length: 3"), head(b"Transfer-Encoding: chunked"), b"abc", b"1\r\na\r\n", b"0\r\n\r\n",
    b"0\r\nTr: x\r\n\r\n", b"3;x=y\r\nabc\r\n", b"\r\n", b"GET / HTTP/1.0\r\n\r\n", head(b"Upgrade: h2c"),
    head(b"Connection: close"), b"X: y\r\n", b"GET / HTTP/1.1\r\n", b"\0", b"\n", b"\r", *(d for _, _, d in
                                                                                          REFUSED.values())])


@settings(max_examples=400)
@given(st.lists(_PIECES | st.binary(max_size=8), max_size=6), st.lists(st.integers(0, 2000), max_size=8))
def test_however_the_bytes_are_cut_the_verdict_is_the_same(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)[:4000]
    expected = verdict(data, [])
    assert verdict(data, [cut for cut in cuts if cut <= len(data)]) == expected
    assert verdict(data, list(range(len(data)))) == expected


def test_requests_that_follow_each_other() -> None:
    chunked = head(b"Transfer-Encoding: Chunked", b"Expect: 100-continue")
    data = (b"\r\n" + head(b"Content-Length: 5") + b"GET /" + chunked
            + b"2;name=\"v\"\r\nab\r\n00\r\nTrailer: thrown away\r\n\r\n" + GOOD)
    whole, error = verdict(data, [])
    assert error is None
    assert whole == [(b"POST /v2/a/blobs/uploads/ host:x content-length:5", b"GET /"),
                     (b"POST /v2/a/blobs/uploads/ host:x transfer-encoding:Chunked expect:100-continue", b"ab"),
                     (b"GET /v2/ host:x", b"")]


def test_an_upgrade_is_an_ordinary_request() -> None:
    data = head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__",
                b"Content-Length: 2") + b"ab" + GOOD
    whole, error = verdict(data, [])
    assert (error, len(whole)) == (None, 2)
    assert whole[0][1] == b"ab"


@pytest.mark.parametrize("last", [b"GET / HTTP/1.0\r\n\r\n", head(b"Connection: keep-alive, Close")])
def test_nothing_follows_the_last_request(last: bytes) -> None:
    whole, error = verdict(last + GOOD + b"\0", [])
    assert (len(whole), error) == (1, None)


def test_the_largest_that_are_taken() -> None:
    line = b"GET /" + b"a" * (MAX_LINE - 16) + b" HTTP/1.1\r\n"
    assert len(line) == MAX_LINE
    size = MAX_HEAD - len(line) - len(b"Host: x\r\nX: \r\n\r\n")
    data = line + b"Host: x\r\nX: " + b"a" * size + b"\r\n\r\n"
    for cuts in ([], list(range(0, len(data), 1000))):
        assert len(verdict(data, cuts)[0]) == 1
        assert verdict(data.replace(b"X: ", b"X: a"), cuts)[1] is not None
    many = head(*[b"X: y"] * (MAX_HEADERS - 1))
    assert len(verdict(many, [])[0]) == 1


@pytest.mark.parametrize("start", [b"GET /", GOOD[:-2] + b"X: ", GOOD[:-2]])
def test_what_has_no_end_is_not_kept(start: bytes) -> None:
    framer, taken = Framer(), 0
    tracemalloc.start()
    try:
        with contextlib.suppress(FramingError):
            for piece in (start, *[b"a" * 64] * 10_000):
                framer.feed(piece)
                taken += len(piece)
                while framer.next() is not None:
                    pass
        assert taken <= MAX_HEAD + 64
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_HEAD
    finally:
        tracemalloc.stop()
