"""How long a command has been at it, on a terminal's last line, while it has nothing else to say."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from custody.kit.visible import rewritable, terminal, visible

_ERASE = "\r\x1b[K"


@contextlib.contextmanager
def pending(title: str, after: float = 1) -> Iterator[Callable[[str], None]]:
    """Gives what prints a line on standard error; `title` and the seconds stand there after `after` without one."""
    shown, lock, ended = rewritable(sys.stderr), threading.Lock(), threading.Event()
    since, drawn = time.monotonic(), False

    def say(text: str) -> None:
        nonlocal since
        with lock:
            clear()
            since = time.monotonic()
            print(visible(text, "\n\t"), file=sys.stderr)

    def clear() -> None:
        nonlocal drawn
        if drawn:
            print(_ERASE, end="", file=terminal(sys.stderr), flush=True)
            drawn = False

    def draw() -> None:
        nonlocal drawn
        while not ended.wait(after):
            with lock:
                if not ended.is_set():
                    drawn = True
                    print(f"{_ERASE}{title} … {time.monotonic() - since:.0f} s", end="", file=terminal(sys.stderr),
                          flush=True)

    thread = threading.Thread(target=draw, name="pending", daemon=True)
    if shown:
        thread.start()
    try:
        yield say
    finally:
        ended.set()
        with lock:
            clear()
