"""What a terminal shows of a command that takes long, and what it leaves there."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from custody.cli import bars
from custody.cli.pending import pending
from custody.cli.streams import Words
from custody.kit.visible import rewritable


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(name="screen")
def _screen(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bool], Screen]:
    def make(term: str, quiet: bool) -> Screen:
        screen = Screen()
        words = Words(screen)
        words.quiet = quiet
        monkeypatch.setattr(sys, "stderr", words)
        monkeypatch.setenv("TERM", term)
        return screen

    return make


@pytest.mark.parametrize(("term", "quiet", "expected"), [
    ("xterm", False, True), ("dumb", False, False), ("", False, False), ("xterm", True, False)])
def test_where_lines_are_written_over(screen: Callable[[str, bool], Screen], term: str, quiet: bool,
                                      expected: bool) -> None:
    screen(term, quiet)
    assert rewritable(sys.stderr) is expected
    assert not rewritable(io.StringIO())


class Clock:
    """Each look is a second and a half later."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += 1.5
        return self.now


@pytest.mark.parametrize(("quiet", "shown"), [(False, "Cataloguing a\\x1b …\n"), (True, "")])
def test_a_dumb_terminal_is_told_once(screen: Callable[[str, bool], Screen], monkeypatch: pytest.MonkeyPatch,
                                      quiet: bool, shown: str) -> None:
    out = screen("dumb", quiet)
    monkeypatch.setattr(bars, "time", Clock())
    bar: AbstractContextManager[Callable[[int], None] | None] = bars.progress("Cataloguing a\x1b", 3)
    with bar as advance:
        assert advance is not None
        for _ in range(3):
            advance(1)
    assert out.getvalue() == shown


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_seconds_stand_where_nothing_is_said_and_go(screen: Callable[[str, bool], Screen], term: str) -> None:
    out = screen(term, False)
    with pending("Building", after=0.01) as say:
        for _ in range(2000):  # generous: 20 s
            if term == "dumb" or "… " in out.getvalue():
                break
            time.sleep(0.01)
        say("step done")
    before, _, after = out.getvalue().partition("step done\n")
    assert before.replace("\r\x1b[KBuilding … 0 s", "") == ("\r\x1b[K" if term == "xterm" else "")
    assert after.replace("\r\x1b[KBuilding … 0 s", "") in ("", "\r\x1b[K")
