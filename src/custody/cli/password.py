"""The password of a private key: $COSIGN_PASSWORD, else what a terminal or standard input gives."""

from __future__ import annotations

import os
import sys

import click

from custody.errors import UsageError

_LONGEST = 64 * 1024
_HINT = "set COSIGN_PASSWORD (to nothing for a key without a password), or pipe the password"


def ask(prompt: str, *, confirm: bool = False) -> bytes:
    """Raises UsageError where there is nobody to ask.

    A piped password is all of standard input, byte for byte, as in cosign: a line end at its end is part of it.
    """
    stated = os.environ.get("COSIGN_PASSWORD")
    if stated is not None:
        return os.fsencode(stated)
    if sys.stdin is not None and sys.stdin.isatty():
        return os.fsencode(str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, default="",
                                            show_default=False, err=True)))
    piped = sys.stdin.buffer.read(_LONGEST + 1) if sys.stdin is not None else b""
    if not piped:
        raise UsageError(f"{prompt}: standard input is no terminal and has nothing more to read", hint=_HINT)
    if len(piped) > _LONGEST:
        raise UsageError(f"{prompt}: got more than {_LONGEST} bytes from standard input, expected a password",
                         hint=_HINT)
    if piped.endswith(b"\n"):
        print("warning: the piped password ends with a line end, which is part of it, as in cosign", file=sys.stderr)
    return piped
