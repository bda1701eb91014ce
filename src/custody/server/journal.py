"""What the services write down: one line a request, a decision or an event, on standard error.

    2026-11-28T18:30:43.123Z warning decision outcome=denied operation=CREATE resource=Pod/default/web …
    {"time":"2026-11-28T18:30:43.123Z","level":"warning","event":"decision","outcome":"denied",…}

The first form is logfmt, as people read it; the second is JSON, as collectors do. In both, control characters of what
came from outside are escaped. Lines are written by a thread of their own: a reader that does not read holds nobody up;
what does not fit into the queue is dropped, counted, and said once there is room again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from custody.kit.visible import visible

Form = Literal["text", "json"]
LEVELS = ("debug", "info", "warning", "error")
_QUEUE = 10_000  # lines
_LAST_WORDS = 1.0  # seconds that the end of the process waits for lines that nobody has read
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/:@%+*,~")
_Value = str | int | float | bool | None | list[Any] | Mapping[str, Any]


def event(logger: logging.Logger, level: int, name: str, fields: Mapping[str, _Value]) -> None:
    """Write an event down. Its fields are numbers, texts, and lists and objects of those."""
    logger.log(level, "%s", name, extra={"fields": fields})


class JsonLines(logging.Formatter):
    """One JSON object a line; `event` is `message` where a module only said something."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(record, self), separators=(",", ":"), default=str)


class TextLines(logging.Formatter):
    """time level event key=value …, values in JSON's quotes where they are not bare words."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record, self)
        words = [str(fields.pop("time")), str(fields.pop("level")), str(fields.pop("event"))]
        return visible(" ".join([*words, *(f"{key}={_text(value)}" for key, value in fields.items())]))


def _fields(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
        "level": record.levelname.lower()}
    given = getattr(record, "fields", None)
    if given is None:
        fields |= {"event": "message", "logger": record.name, "message": record.getMessage()}
    else:
        fields |= {"event": record.getMessage(), **given}
    if record.exc_info:
        fields["exception"] = formatter.formatException(record.exc_info)
    return fields


def _text(value: _Value) -> str:
    if isinstance(value, str):
        return value if value and _BARE.issuperset(value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)


class Journal(logging.Handler):
    """Hands records to a thread that writes them; never waits."""

    def __init__(self, descriptor: int, form: Form, *, size: int = _QUEUE) -> None:
        """Writes to the open file `descriptor`, whose owner closes it."""
        super().__init__()
        self.setFormatter(JsonLines() if form == "json" else TextLines())
        self.dropped = 0
        """Lines that nobody will read."""
        self._descriptor = descriptor
        self._torn = False
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(size)
        self._said = 0
        self._thread = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what waits, unless nobody takes it."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_LAST_WORDS)
        self._thread.join(_LAST_WORDS)
        super().close()

    def _write_all(self) -> None:
        while (record := self._lines.get()) is not None:
            lost = self.dropped - self._said
            if lost and self._write(logging.LogRecord(__name__, logging.WARNING, "", 0, f"{lost} lines were dropped",
                                                      None, None)):
                self._said += lost
            if not self._write(record):
                self.dropped += 1

    def _write(self, record: logging.LogRecord) -> bool:
        """Whether the line was written; a full disk, or a pipe without a reader, is no matter of the services'."""
        line = f"{self.format(record)}\n".encode(errors="backslashreplace")
        if self._torn:
            line = b"\n" + line
        written = 0
        try:
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        except OSError:
            self._torn = self._torn if not written else written < len(line)
            return False
        self._torn = False
        return True


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
