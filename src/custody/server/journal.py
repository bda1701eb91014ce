"""What the services write down: one line a request, a decision or an event, on standard error.

    2026-11-28T18:30:43.123Z warning decision outcome=denied operation=CREATE resource=Pod/default/web …
    {"time":"2026-11-28T18:30:43.123Z","level":"warning","event":"decision","outcome":"denied",…}

The first form is logfmt, as people read it; the second is JSON, as collectors do. In both, control characters of what
came from outside are escaped. Lines are written by a thread of their own: a reader that does not read holds nobody up;
what does not fit into the queue is dropped, counted, and said once there is room again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from custody.kit.visible import visible

Form = Literal["text", "json"]
LEVELS = ("debug", "info", "warning", "error")
_QUEUE = 10_000  # lines
_LAST_WORDS = 1.0  # seconds that the end of the process waits for lines that nobody has read
_BARE = re.compile(r"[A-Za-z0-9._/:@%+*,~-]+")
_MOMENT = 0.1  # seconds: the last of a process that is killed are lost
_TOGETHER = 500  # lines of one write
_Value = str | int | float | bool | None | list[Any] | Mapping[str, Any]


def event(logger: logging.Logger, level: int, name: str, fields: Mapping[str, _Value]) -> None:
    """Write an event down. Its fields are numbers, texts, and lists and objects of those."""
    if logger.isEnabledFor(level):
        logger.handle(_Event(logger.name, level, name, fields))


class _Event(logging.LogRecord):
    """Made here and not by the logger, which looks for the line of code that called it, and for threads and processes
    that no line names."""

    def __init__(self, name: str, level: int, event: str, fields: Mapping[str, _Value]) -> None:
        created = time.time()
        self.__dict__.update(_NOWHERE, name=name, levelno=level, levelname=logging.getLevelName(level), msg=event,
                             created=created, msecs=created % 1 * 1000, fields=fields)


_NOWHERE = {**logging.LogRecord("", 0, "", 0, "", None, None).__dict__,
            "thread": None, "threadName": None, "process": None, "processName": None}


class JsonLines(logging.Formatter):
    """One JSON object a line; `event` is `message` where a module only said something."""

    def format(self, record: logging.LogRecord) -> str:
        name, said = _said(record, self)
        fields = {"time": _time(record), "level": record.levelname.lower(), "event": name, **said}
        line = _json(fields)
        return line if line.isprintable() else json.dumps(fields, separators=(",", ":"), default=str)


class TextLines(logging.Formatter):
    """time level event key=value …, values in JSON's quotes where they are not bare words."""

    def format(self, record: logging.LogRecord) -> str:
        name, fields = _said(record, self)
        words = [_time(record), record.levelname.lower(), name]
        for key, value in fields.items():
            bare = isinstance(value, str) and _BARE.fullmatch(value)
            words.append(f"{key}={value if bare else _json(value)}")
        return visible(" ".join(words))


def _said(record: logging.LogRecord, formatter: logging.Formatter) -> tuple[str, Mapping[str, Any]]:
    """(event, fields)."""
    given: Mapping[str, Any] | None = getattr(record, "fields", None)
    name = "message" if given is None else record.msg
    fields = {"logger": record.name, "message": record.getMessage()} if given is None else given
    if record.exc_info:
        fields = {**fields, "exception": formatter.formatException(record.exc_info)}
    return name, fields


def _time(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03}Z"


@functools.lru_cache(2)
def _second(since: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since))


def _json(value: object) -> str:
    try:
        return msgspec.json.encode(value, enc_hook=str).decode()
    except (msgspec.MsgspecError, UnicodeEncodeError, OverflowError):  # half a surrogate, a number beyond 64 bits
        return json.dumps(value, separators=(",", ":"), default=str)


class Journal(logging.Handler):
    """Hands lines to a thread that writes them, those of a moment together; never waits.

    They are made before: two threads that both want the interpreter keep each other waiting for longer than that takes.
    """

    def __init__(self, descriptor: int, form: Form, *, size: int = _QUEUE) -> None:
        """Writes to the open file `descriptor`, whose owner closes it."""
        super().__init__()
        self.setFormatter(JsonLines() if form == "json" else TextLines())
        self.dropped = 0
        """Lines that nobody will read."""
        self._descriptor = descriptor
        self._size = size
        self._torn = False
        self._lines: deque[str] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._said = 0
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._lines) >= self._size:
            self.dropped += 1
            return
        try:
            self._lines.append(self.format(record) + "\n")
        except Exception:  # a line that cannot be made, of a library's wrong arguments, fails no request
            self.dropped += 1
            return
        if not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Write what waits, unless nobody takes it."""
        self._closing.set()
        self._wake.set()
        self._thread.join(_LAST_WORDS)
        super().close()

    def _write_all(self) -> None:
        while True:
            self._wake.wait()
            self._closing.wait(_MOMENT)  # a thread that is woken for each line costs more than the line
            closing = self._closing.is_set()
            self._wake.clear()
            while self._lines:
                self._write_some()
            if closing:
                return

    def _write_some(self) -> None:
        lost = self.dropped - self._said
        if lost:
            told = logging.LogRecord(__name__, logging.WARNING, "", 0, f"{lost} lines were dropped", None, None)
            if self._write(f"{self.format(told)}\n", 1):
                return  # nor will others be taken
            self._said += lost
        lines = [self._lines.popleft() for _ in range(min(len(self._lines), _TOGETHER))]
        self.dropped += self._write("".join(lines), len(lines))

    def _write(self, text: str, count: int) -> int:
        """How many of the lines were not written: a full disk or a pipe without a reader is no matter of the services'.
        """
        data = (b"\n" if self._torn else b"") + text.encode(errors="backslashreplace")
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            if written:
                self._torn = data[written - 1] != 10
            return count - data[1 if data[0] == 10 else 0:written].count(b"\n")
        self._torn = False
        return 0


@contextlib.contextmanager
def journal(descriptor: int, form: Form, level: str) -> Iterator[Journal]:
    """What is logged goes to an open file meanwhile: custody's from `level` (debug, info, warning, error) upward, the
    libraries' warnings and errors."""
    handler = Journal(descriptor, form)
    root, custody = logging.getLogger(), logging.getLogger("custody")
    before = custody.level
    root.addHandler(handler)
    custody.setLevel(level.upper())
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        custody.setLevel(before)
        handler.close()
