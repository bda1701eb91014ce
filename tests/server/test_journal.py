"""What the services write down: each form, what strangers put into it, and a reader that does not read."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.server.journal import Journal, event, journal

LOG = logging.getLogger("custody.test")


class _Written:
    """A file that the journal writes to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)

    def getvalue(self) -> str:
        return self._path.read_text()


@pytest.fixture
def written(tmp_path: Path) -> Iterator[_Written]:
    file = _Written(tmp_path / "log")
    yield file
    os.close(file.descriptor)


def test_an_event_is_one_json_object(written: _Written) -> None:
    with journal(written.descriptor, "json", "info"):
        event(LOG, logging.WARNING, "decision", {"outcome": "denied", "images": ["a:1"], "seconds": 0.25})
    line = json.loads(written.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {"level": "warning", "event": "decision", "outcome": "denied", "images": ["a:1"], "seconds": 0.25}


def test_an_event_is_one_line_of_keys_and_values(written: _Written) -> None:
    with journal(written.descriptor, "text", "info"):
        event(LOG, logging.INFO, "request", {"path": "/v2/a b", "status": 200, "agent": "", "complete": True})
    words = written.getvalue().split(" ", 1)[1]
    assert words == 'info request path="/v2/a b" status=200 agent="" complete=true\n'


@pytest.mark.parametrize("form", ["json", "text"])
def test_what_a_stranger_sends_is_escaped(written: _Written, form: str) -> None:
    hostile = 'x\x1b[2J\r\n2026-01-01T00:00:00.000Z info decision outcome=allowed \u202e\u2028"\\'
    with journal(written.descriptor, "json" if form == "json" else "text", "info"):
        event(LOG, logging.INFO, "request", {"path": hostile})
    text = written.getvalue()
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    if form == "json":
        assert json.loads(text)["path"] == hostile


def test_a_traceback_is_in_the_line(written: _Written) -> None:
    with journal(written.descriptor, "json", "info"):
        try:
            raise KeyError("inner")
        except KeyError:
            LOG.exception("a review could not be judged")
    (line,) = written.getvalue().splitlines()
    assert json.loads(line)["message"] == "a review could not be judged"
    assert "KeyError: 'inner'" in json.loads(line)["exception"]


def test_a_level_is_the_least_that_is_written(written: _Written) -> None:
    with journal(written.descriptor, "text", "warning"):
        event(LOG, logging.INFO, "request", {})
        event(LOG, logging.WARNING, "decision", {})
        logging.getLogger("some.library").info("chatter")
        logging.getLogger("some.library").warning("told")
    assert [line.split()[2] for line in written.getvalue().splitlines()] == ["decision", "message"]


def test_nobody_waits_for_a_reader_that_does_not_read() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        handler = Journal(stream.fileno(), "text", size=100)
        record = logging.LogRecord("custody", logging.INFO, "", 0, "x" * 1000, None, None)
        for _ in range(1_000):  # a pipe holds 64 KiB, the queue 100 lines
            handler.emit(record)
        assert handler.dropped > 0
        lines: list[str] = []

        def drain() -> None:
            with os.fdopen(reading) as pipe:
                lines.extend(pipe)

        reader = threading.Thread(target=drain)
        reader.start()
        while not any("lines were dropped" in line for line in lines):
            handler.emit(record)
        handler.close()
    reader.join()
    assert any("lines were dropped" in line for line in lines)


def test_a_line_that_cannot_be_made_fails_nobody(written: _Written) -> None:
    """Some library's record whose arguments do not fit its message."""
    handler = Journal(written.descriptor, "text")
    for text, arguments in (("%d of %d", ("one",)), ("after", ())):
        handler.handle(logging.LogRecord("library", logging.WARNING, "", 0, text, arguments, None))
    handler.close()
    assert handler.dropped == 1
    assert "message=after" in written.getvalue()


def test_a_full_disk_stops_nobody() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with journal(descriptor, "text", "info") as handler:
        for _ in range(10):
            event(LOG, logging.INFO, "request", {})
    assert handler.dropped == 10
    os.close(descriptor)
