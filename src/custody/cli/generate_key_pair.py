"""`custody generate-key-pair`: cosign.key and cosign.pub."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from custody.cli.password import ask
from custody.errors import UsageError
from custody.kit import destination
from custody.sign.keys import encrypt_key, generate_key


@click.command("generate-key-pair")
@click.option("--output-key-prefix", default="cosign", show_default=True, metavar="PREFIX",
              help="Writes PREFIX.key and PREFIX.pub.")
def command(output_key_prefix: str) -> None:
    """Make a P-256 key pair. The private key is encrypted with $COSIGN_PASSWORD, or a password that is asked for on a
    terminal, or all of standard input.
    """
    private, public = Path(f"{output_key_prefix}.key"), Path(f"{output_key_prefix}.pub")
    for path in (private, public):
        if os.path.lexists(path):
            raise UsageError(f"{path}: exists", hint="move it away, or choose another --output-key-prefix")
        destination.check(path, "--output-key-prefix")
    password = ask("Password for the private key", confirm=True)
    key = generate_key()
    made: list[Path] = []
    try:
        for path, data, mode in ((private, encrypt_key(key, password), 0o600), (public, key.public.pem, 0o666)):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
                made.append(path)
                stream.write(data)
    except OSError as error:
        for path in made:  # half a pair is none
            path.unlink(missing_ok=True)
        raise UsageError(f"{error.filename or made[-1]}: {error.strerror}") from None
    if not password:
        print(f"warning: {private} has an empty password", file=sys.stderr)
    print(f"{private}\n{public}")
