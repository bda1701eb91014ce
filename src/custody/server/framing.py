"""Where requests begin and end in a stream of bytes, strictly and within limits (RFC 9112).

There is one reader of the stream: it gives heads when they are whole, bodies as they come, and says where each message
ends, so what has no end is never kept, and no second reader can see other requests in it (request smuggling). What
could be read in two ways is refused. Errors are found in the order of the stream: however the bytes are cut into
pieces, the verdict is the same.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_LINE = 8 * 1024
"""Bytes of the request line: 414 above."""
MAX_HEAD = 32 * 1024
"""Bytes of request line and headers: 431 above. Trailers count alike."""
MAX_HEADERS = 100
_MAX_CHUNK_LINE = 1024
"""Bytes of a chunk's size with its extensions, which nobody uses."""
_CHUNK_SLACK = 16 * 1024
"""Bytes of chunk lines beyond 16 + 2n for each chunk of n bytes, as in Go's reader: more is framing without data."""
_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"))
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIELD = re.compile(_TOKEN + rb":[\t !-~\x80-\xff]*\r\n")
_FIELDS = re.compile(rb"\n([^:\r]+):([^\r]*)")
_HEAD = re.compile(rb"[A-Z]+ /[!\"$-~]* HTTP/1\.[01]\r\n(?:" + _FIELD.pattern + rb")*\r\n")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^ ]*) HTTP/(\d\.\d)\r\n")
_TARGET = re.compile(rb"/[!\"$-~]*")
_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"host", b"connection", b"expect"))
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=-]*)(?::[0-9]{0,5})?")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;" + _TOKEN + rb"[\t !-~\x80-\xff]*)?\r\n")


class FramingError(Exception):
    """The stream cannot be read on. `status` is the answer's; nothing after it is a request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Head(NamedTuple):
    """A request's line and headers. Upgrade is a header like others: nothing here answers to it."""

    method: str
    target: bytes
    """Path and query, as sent."""
    version: str
    """`1.1` or `1.0`."""
    headers: list[tuple[bytes, bytes]]
    """Names in small letters, values without the space around them."""
    expects: bool
    """100-continue."""
    last: bool
    """The connection ends with this request."""


_HEADS, _BODY, _CHUNK_SIZE, _CHUNK_END, _TRAILERS, _END, _CLOSED = range(7)
"""What comes next in the stream."""


class End:
    """The message ends here."""


END = End()


class Framer:
    """`feed` bytes, then take `next` until it has nothing more. Raises FramingError, and then for ever."""

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._state = _HEADS
        self._left = 0  # bytes of the body, or of the chunk
        self._excess = 0  # bytes of chunk lines
        self._last = False  # the connection ends with this message
        self._chunked = False
        self._blank = False
        self._line, self._lines = 0, 0  # of a head that comes in pieces: where its next line begins, and its number
        self.target = b""
        """Of the last request whose line was read, for the form of an answer."""

    @property
    def pending(self) -> bool:
        """Whether bytes wait that no event has covered."""
        return self._at < len(self._buffer)

    @property
    def between(self) -> bool:
        """Whether the next byte begins a request."""
        return self._state == _HEADS

    @property
    def announced(self) -> int | None:
        """Bytes of a body of which none was given yet; None where its head does not say."""
        return None if self._chunked else self._left

    @property
    def whole(self) -> bool:
        """Whether a body is there to its announced end, so that it comes in one piece."""
        return not self._chunked and len(self._buffer) - self._at >= self._left

    def feed(self, data: bytes) -> None:
        self._buffer = self._buffer[self._at:] + data if self._at < len(self._buffer) else data
        self._at = 0

    def next(self) -> Head | bytes | End | None:
        """A Head, bytes of its body, END, or None where more must be fed."""
        state = self._state
        if state == _HEADS:
            return self._head() if self._at < len(self._buffer) else None
        if state == _END:
            self._state, self.target = _CLOSED if self._last else _HEADS, b""
            return END
        if state == _CLOSED:  # what follows the last message is no request
            self._at = len(self._buffer)
            return None
        return self._chunks() if self._chunked else self._body()

    # Heads

    def _head(self) -> Head | None:
        buffer, at = self._buffer, self._at
        if not self._lines:
            if not self._blank and buffer.startswith(b"\r\n", at):  # before a request, once (section 2.2)
                at, self._blank = at + 2, True
                self._at = at
            if at == len(buffer) or (not self._blank and buffer[at:] == b"\r"):
                return None
            end = buffer.find(b"\r\n\r\n", at, at + MAX_HEAD) + 4
            if end > 3 and (match := _HEAD.match(buffer, at, end)) and match.end() == end:
                data = buffer[at:end]
                if data.index(b"\n") < MAX_LINE and data.count(b"\n") <= MAX_HEADERS + 2:
                    return self._begin(data, end)
            if not 65 <= buffer[at] <= 90:
                raise FramingError(400, "request line: got what is no method")
        return self._head_by_lines()

    def _head_by_lines(self) -> Head | None:
        """A head in pieces, or one with something wrong: which, is said by its first line that is."""
        buffer, at = self._buffer, self._at
        while True:
            start = at + self._line
            end = buffer.find(b"\n", start) + 1
            reached = (end or len(buffer)) - at
            if not self._lines and reached > MAX_LINE:
                self.target = buffer[start:start + MAX_LINE].partition(b" ")[2].partition(b" ")[0]
                raise FramingError(414, f"request line: got more than {MAX_LINE} bytes")
            if reached > MAX_HEAD:
                raise FramingError(431, f"headers: got more than {MAX_HEAD} bytes with the request line")
            if not end:
                return None
            line = buffer[start:end]
            if not self._lines:
                self._request_line(line)
            elif line == b"\r\n":
                return self._begin(buffer[at:end], end)
            elif self._lines > MAX_HEADERS:
                raise FramingError(431, f"headers: got more than {MAX_HEADERS}")
            elif not _FIELD.fullmatch(line):
                _bad_field(line)
            self._lines += 1
            self._line = end - at

    def _request_line(self, line: bytes) -> None:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            raise FramingError(400, "request line: expected METHOD /PATH HTTP/1.1 and CR LF")
        method, self.target, version = match.groups()
        if version not in (b"1.1", b"1.0"):
            raise FramingError(505, f"request line: got HTTP/{version.decode()}, expected HTTP/1.1")
        if method not in _METHODS:
            raise FramingError(501, f"request line: method {method[:20].decode()} is not known here")
        if not _TARGET.fullmatch(self.target):
            raise FramingError(400, "request line: expected a path that begins with / and is ASCII without #")

    def _begin(self, data: bytes, end: int) -> Head:
        method, self.target, version = data[:data.index(b"\r")].split(b" ")
        if method not in _METHODS:
            raise FramingError(501, f"request line: method {method[:20].decode()} is not known here")
        length: bytes | None = None
        chunked = expects = False
        host: bytes | None = None
        last = version == b"HTTP/1.0"
        headers = [(name.lower(), value.strip(b" \t")) for name, value in _FIELDS.findall(data)]
        for name, value in headers:
            if name not in _FRAMING:
                continue
            if name == b"host":
                if host is not None:
                    raise FramingError(400, "Host: got two, expected one")
                host = value
                if not _HOST.fullmatch(value):
                    raise FramingError(400, "Host: got what is no host, or one with a port that is none")
            elif name == b"content-length":
                if length is not None:
                    raise FramingError(400, "Content-Length: got two, expected one")
                if not _LENGTH.fullmatch(value):
                    raise FramingError(400, "Content-Length: expected digits")
                length = value
            elif name == b"transfer-encoding":
                if chunked or value.lower() != b"chunked":
                    raise FramingError(400, "Transfer-Encoding: expected chunked, once")
                chunked = True
            elif name == b"connection":
                last = last or b"close" in [part.strip() for part in value.lower().split(b",")]
            elif value.lower() != b"100-continue":
                raise FramingError(417, "Expect: expected 100-continue")
            else:
                expects = version == b"HTTP/1.1"
        if host is None and version == b"HTTP/1.1":
            raise FramingError(400, "Host: got none, expected one (HTTP/1.1)")
        if chunked and length is not None:
            raise FramingError(400, "Content-Length: got one beside Transfer-Encoding")
        if chunked and version == b"HTTP/1.0":
            raise FramingError(400, "Transfer-Encoding: is not in HTTP/1.0")
        self._at, self._line, self._lines, self._blank = end, 0, 0, False
        self._chunked, self._left, self._excess, self._last = chunked, int(length or 0), 0, last
        self._state = _CHUNK_SIZE if chunked else _BODY if self._left else _END
        return Head(method.decode(), self.target, version[5:].decode(), headers, expects, last)

    # Bodies

    def _body(self) -> bytes | None:
        piece = self._buffer[self._at:self._at + self._left] if self._at or self._left < len(self._buffer) \
            else self._buffer
        if not piece:
            return None
        self._at += len(piece)
        self._left -= len(piece)
        if not self._left:
            self._state = _END
        return piece

    def _chunks(self) -> bytes | None:
        """As many chunks, and the part of one, as have come. Trailers are read and thrown away (RFC 9110, 6.5.1)."""
        buffer, at, size = self._buffer, self._at, len(self._buffer)
        parts: list[bytes] = []
        while self._state != _TRAILERS:
            if self._state == _BODY:
                part = buffer[at:at + self._left]
                parts.append(part)
                at += len(part)
                self._left -= len(part)
                if self._left:
                    break
                self._state = _CHUNK_END
            elif self._state == _CHUNK_END:
                if not b"\r\n".startswith(buffer[at:at + 2]):
                    raise FramingError(400, "chunk: its data does not end where its size says")
                if size - at < 2:
                    break
                at += 2
                self._state = _CHUNK_SIZE
            else:
                end = buffer.find(b"\n", at, at + _MAX_CHUNK_LINE) + 1
                if not end:
                    if size - at >= _MAX_CHUNK_LINE:
                        raise FramingError(400, f"chunk: its size line has more than {_MAX_CHUNK_LINE} bytes")
                    break
                match = _CHUNK.fullmatch(buffer, at, end)
                if match is None:
                    raise FramingError(400, "chunk: expected its size in hexadecimal digits and CR LF")
                self._left = int(match[1], 16)
                self._excess = max(0, self._excess + end - at - 16 - 2 * self._left)
                if self._excess > _CHUNK_SLACK:
                    raise FramingError(400, "chunks: too much framing for so little data")
                at = end
                self._state = _BODY if self._left else _TRAILERS
        self._at = at
        if self._state == _TRAILERS:
            self._trailers()
        # At the end of the message there is something to say, if only that it brought nothing.
        return b"".join(parts) or (b"" if self._state == _END else None)

    def _trailers(self) -> None:
        buffer, at = self._buffer, self._at
        while True:
            start = at + self._line
            end = buffer.find(b"\n", start) + 1
            reached = (end or len(buffer)) - at
            if reached > MAX_HEAD:
                raise FramingError(431, f"trailers: got more than {MAX_HEAD} bytes")
            if not end:
                return
            line = buffer[start:end]
            if line == b"\r\n":
                self._at, self._line, self._lines, self._state = end, 0, 0, _END
                return
            if self._lines >= MAX_HEADERS:
                raise FramingError(431, f"trailers: got more than {MAX_HEADERS}")
            if not _FIELD.fullmatch(line):
                _bad_field(line)
            self._lines += 1
            self._line = end - at


def _bad_field(line: bytes) -> None:
    if line[:1] in (b" ", b"\t"):
        raise FramingError(400, "header: got a folded line")
    if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
        raise FramingError(400, "header: expected CR LF at its end and nowhere else")
    name = re.match(_TOKEN, line)
    shown = name[0][:40].decode() if name else "header"
    raise FramingError(400, f"{shown}: expected NAME: VALUE, without control characters")
