"""`custody generate-key-pair`: cosign.key and cosign.pub."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from custody.cli.password import ask
from custody.errors import UsageError
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
        if path.exists():
            raise UsageError(f"{path}: exists", hint="move it away, or choose another --output-key-prefix")
    password = ask("Password for the private key", confirm=True)
    key = generate_key()
    try:
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(encrypt_key(key, password))
        with public.open("xb") as stream:
            stream.write(key.public.pem)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None
    if not password:
        print(f"warning: {private} has an empty password", file=sys.stderr)
    print(f"{private}\n{public}")
