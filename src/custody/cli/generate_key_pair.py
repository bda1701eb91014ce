"""`custody generate-key-pair`, and the files of a pair."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from custody.cli.password import ask
from custody.errors import UsageError
from custody.kit import destination
from custody.sign.keys import PrivateKey, encrypt_key, generate_key


@click.command("generate-key-pair")
@click.option("--output-key-prefix", default="cosign", show_default=True, metavar="PREFIX",
              help="Writes PREFIX.key and PREFIX.pub.")
def command(output_key_prefix: str) -> None:
    """Make a P-256 key pair. The private key is encrypted with $COSIGN_PASSWORD, or a password that is asked for on a
    terminal, or all of standard input.
    """
    write_pair(*free_names(output_key_prefix), generate_key)


def free_names(prefix: str) -> tuple[Path, Path]:
    """The files of a pair that is not there yet. Raises UsageError."""
    names = Path(f"{prefix}.key"), Path(f"{prefix}.pub")
    for path in names:
        if os.path.lexists(path):
            raise UsageError(f"{path}: exists", hint="move it away, or choose another --output-key-prefix")
        destination.check(path, "--output-key-prefix")
    return names


def write_pair(private: Path, public: Path, make: Callable[[], PrivateKey]) -> None:
    """Both files or none; asks for the password of the new one. Raises UsageError."""
    password = ask("Password for the private key", confirm=True)
    key = make()
    written: list[Path] = []
    try:
        for path, data, mode in ((private, encrypt_key(key, password), 0o600), (public, key.public.pem, 0o666)):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
                written.append(path)
                stream.write(data)
    except OSError as error:
        for path in written:  # half a pair is none
            path.unlink(missing_ok=True)
        raise UsageError(f"{error.filename or written[-1]}: {error.strerror}") from None
    if not password:
        print(f"warning: {private} has an empty password", file=sys.stderr)
    print(f"{private}\n{public}")
