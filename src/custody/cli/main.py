"""The `custody` command. `--help` and `--version` answer from a table, without importing a library."""

from __future__ import annotations

import atexit
import gc
import os
import sys

from custody import __version__
from custody.cli.streams import occupy
from custody.cli.table import help_text

_GARBAGE = (20_000, 50, 100)
"""Modules and what they hold are no garbage: looking through them takes a tenth of a short command's time."""


def main(argv: list[str] | None = None) -> int:
    occupy()
    arguments = sys.argv[1:] if argv is None else argv
    if shell := os.environ.get("_CUSTODY_COMPLETE"):
        from custody.cli.candidates import answer

        return _say(answer(shell, arguments), end="")
    if not arguments or arguments in (["--help"], ["-h"], ["help"]):
        return _say(help_text())
    if arguments == ["--version"] or arguments == ["version"]:
        return _say(f"custody {__version__}")
    if arguments[0] == "help":  # `custody help sign`, as others have it
        arguments = [*arguments[1:], "--help"]
    gc.set_threshold(*_GARBAGE)
    from custody.cli.run import run

    atexit.register(gc.freeze)  # what is left goes with the process: Python would look through all of it twice more
    return run(arguments)


def _say(text: str, end: str = "\n") -> int:
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:  # `custody --help | head -1`
        sys.stderr.close()  # Python would complain once more when it ends
        return 141
    return 0


if __name__ == "__main__":
    sys.exit(main())
