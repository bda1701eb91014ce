"""The `custody` command. `--help` and `--version` answer from a table, without importing a library."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import BinaryIO, cast

from custody import __version__
from custody.cli.table import COMMANDS, SECTIONS

_EPILOGUE = """\
Exit codes: 0 ok · 1 tool error · 2 usage · 3 denied or threshold met · 4 evidence missing or unverifiable
            5 authentication needed · 6 network · 130 interrupted
`custody COMMAND --help` says more. stdout is data, stderr is for people."""


def help_text() -> str:
    lines = ["usage: custody [--offline] [--config FILE] COMMAND …", "",
             "The chain of custody for container images, from the commit to the running pod."]
    for section in SECTIONS:
        rows = [(name, line) for name, (_, where, line) in COMMANDS.items() if where == section]
        if rows:
            lines += ["", section] + [f"  {name:<20} {line}" for name, line in rows]
    return "\n".join([*lines, "", _EPILOGUE])


def main(argv: list[str] | None = None) -> int:
    _occupy_standard_streams()
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments in (["--help"], ["-h"], ["help"]):
        return _say(help_text())
    if arguments == ["--version"] or arguments == ["version"]:
        return _say(f"custody {__version__}")
    from custody.cli.run import run

    return run(arguments)


class _Words(io.TextIOWrapper):
    """Standard error: that nobody can be told (a full disk, a reader who went away) stops no build and no service."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def _occupy_standard_streams() -> None:
    """What a caller has closed (`custody … >&-`) leads nowhere: else the next file or pipe has its number, and what is
    printed is written there."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - for good
    if sys.__stderr__ is not None and sys.stderr is sys.__stderr__:
        # Without a buffer: what could not be written is not tried once more at the end.
        sys.stderr = _Words(cast(BinaryIO, io.FileIO(2, "w", closefd=False)), encoding=sys.stderr.encoding,
                            errors="backslashreplace", write_through=True)


def _say(text: str) -> int:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `custody --help | head -1`
        sys.stderr.close()  # Python would complain once more when it ends
        return 141
    return 0


if __name__ == "__main__":
    sys.exit(main())
