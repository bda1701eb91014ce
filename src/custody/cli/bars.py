"""The bar that people see where something takes longer than a second."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from custody.kit.visible import rewritable, terminal, visible


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Callable[[int], None] | None]:
    """A bar on standard error from the second second on, on a terminal only; of bytes, or of things without a total."""
    if not sys.stderr.isatty():
        yield None
        return
    started, lock = time.monotonic(), threading.Lock()
    if not rewritable(sys.stderr):  # it is said once
        lines = iter([f"{visible(title)} …"])

        def announce(_count: int) -> None:
            with lock:
                if time.monotonic() - started > 1 and (line := next(lines, None)):
                    print(line, file=sys.stderr)

        yield announce
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn

    count_column = MofNCompleteColumn() if total is None else DownloadColumn()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), count_column, console=Console(file=terminal(sys.stderr)),
        transient=True
    )
    task = bar.add_task(title, total=total)

    def advance(count: int) -> None:
        with lock:
            bar.advance(task, count)
            if not bar.live.is_started and time.monotonic() - started > 1:
                bar.start()

    try:
        yield advance
    finally:
        bar.stop()
