"""`custody public-key`: the public half of a private key."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from custody.cli.kept_keys import is_kept, own_public_key, public_key
from custody.cli.trust_options import load_signing_key
from custody.kit import destination
from custody.kit.visible import visible
from custody.wiring import is_kept_elsewhere


@click.command("public-key")
@click.option("--key", required=True, metavar="FILE|NAME", help="Private key (cosign.key), env://NAME, or the name of "
              "a key that a service, a token, a plugin or a cluster keeps.")
@click.option("--outfile", metavar="FILE", help="Where the public key goes. Default: standard output.")
def command(key: str, outfile: str | None) -> None:
    """Print the public key of a private key in PEM, as `cosign public-key` does."""
    if outfile:
        destination.check(outfile, "--outfile")
    if is_kept_elsewhere(key):
        pem = own_public_key(key)
    elif is_kept(key):
        pem = public_key(key)
    else:
        private = load_signing_key(key)
        assert private is not None  # --key is required
        pem = private.public.pem
    if outfile:
        destination.write(Path(outfile), pem, "--outfile")
        print(f"Public key written to {visible(outfile)}", file=sys.stderr)
    else:
        print(pem.decode(), end="")
