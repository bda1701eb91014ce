"""The `custody` command. `--help` and `--version` answer from a table, without importing a library."""

from __future__ import annotations

import os
import sys

from custody import __version__
from custody.cli.streams import occupy
from custody.cli.table import COMMANDS, SECTIONS

_EPILOGUE = """\
Exit codes: 0 ok · 1 tool error · 2 usage · 3 denied or threshold met · 4 evidence missing or unverifiable
            5 authentication needed · 6 network or --timeout · 130 interrupted
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
    from custody.cli.run import run

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
