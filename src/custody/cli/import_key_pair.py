"""`custody import-key-pair`: a private key of others as a pair of cosign's files."""

from __future__ import annotations

import click

from custody.cli.generate_key_pair import free_names, write_pair
from custody.errors import UsageError
from custody.sign.keys import load_private_key, read_key_file


@click.command("import-key-pair")
@click.option("--key", "-k", required=True, metavar="FILE", help="A private key in PEM: PKCS #8, SEC 1 or PKCS #1, or "
              "env://NAME.")
@click.option("--output-key-prefix", "-o", default="import-cosign", show_default=True, metavar="PREFIX",
              help="Writes PREFIX.key and PREFIX.pub.")
@click.option("--yes", "-y", is_flag=True, help="Replace the files of a pair that is there.")
def command(key: str, output_key_prefix: str, yes: bool) -> None:
    """Encrypt a private key as `generate-key-pair` does, with $COSIGN_PASSWORD, a password that is asked for on a
    terminal, or all of standard input, and write its public key beside it.
    """
    names = free_names(output_key_prefix, replace=yes)
    pem = read_key_file(key)
    if b"ENCRYPTED" in pem[:64]:
        raise UsageError(f"--key {key}: is encrypted, expected a private key without a password",
                         hint="openssl pkey -in FILE -out PLAIN takes the password away")
    private = load_private_key(pem, b"", f"--key {key}")
    write_pair(*names, lambda: private, replace=yes)
