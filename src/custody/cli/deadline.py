"""`--timeout`: the whole of a command, not one request of it, is done by then."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from collections.abc import Set
from types import FrameType
from typing import Any

import click

from custody.errors import MalformedError, TimeoutExceededError
from custody.kit.visible import visible
from custody.kit.waiting import awaited

GRACE = 5.0
"""Seconds in which a command that is late clears up: temporary files, processes, connections."""
_LONGEST = 100 * 365 * 24 * 3600


class Late(SystemExit):
    """Raised in the main thread, where nothing that handles errors takes it for one of its own."""

    def __init__(self, error: TimeoutExceededError) -> None:
        super().__init__(error.exit_code)
        self.error = error


class Duration(click.ParamType[float]):
    """Seconds, from a duration as Go writes it (time.ParseDuration): 90s, 3m0s, 1h30m; 0 is no limit."""

    name = "duration"

    def __init__(self, flag: str = "--timeout", meaning: str = "; 0 is no limit") -> None:
        self._flag, self._meaning = flag, meaning

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ARG002
        if isinstance(value, float):
            return value
        from policylang.go import durations

        nanoseconds = durations.parse(str(value))
        if nanoseconds is None or not 0 <= nanoseconds <= _LONGEST * 10**9:
            raise MalformedError(self._flag, got=str(value),
                                 expected=f"a duration such as 30s or 3m0s{self._meaning}")
        return nanoseconds / 1e9


def option(taken: Set[str] = frozenset()) -> click.Option:
    """Added to each command that asks others over a network; -t only where that means nothing else (`taken`)."""
    names = [name for name in ("-t", "--timeout") if name not in taken]
    return click.Option(names, type=Duration(), metavar="DURATION", expose_value=False, is_eager=True,
                        callback=lambda _ctx, _param, value: start(value),
                        help="End with exit code 6 when it is not done by then: 30s, 3m0s. Default: no limit.")


def start(seconds: float | None) -> None:
    """Count from now; the last one counts."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        return
    if seconds == 0:
        stop()
        return
    late: list[TimeoutExceededError] = []

    def ring(_number: int, _frame: FrameType | None) -> None:
        if late:  # the time for clearing up is over too: something holds it
            print(f"error: {visible(late[0].message)}", file=sys.stderr, flush=True)
            os._exit(late[0].exit_code)
        places = awaited()
        pending = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
        late.append(TimeoutExceededError(f"--timeout: not done within {seconds:g} s"
                                         + (f", waiting for {pending}" if pending else "")))
        signal.setitimer(signal.ITIMER_REAL, GRACE)
        raise Late(late[0])

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, min(seconds, math.floor(_LONGEST)))


def stop() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_REAL, 0)
