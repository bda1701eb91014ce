"""`custody notation key list`: the signing keys."""

from __future__ import annotations

import click

from custody.cli.notation.options import Command, columns, directory
from custody.sign.notary.signingkeys import load_signing_keys


@click.command("list", cls=Command)
def command() -> None:
    """List the signing keys; a star marks the one that signs where none is named."""
    keys = load_signing_keys(directory())
    rows = [("NAME", "KEY PATH", "CERTIFICATE PATH", "ID", "PLUGIN NAME")]
    for key in keys.keys:
        name = f"* {key.name}" if key.name == keys.default else key.name
        rows.append((name, key.key_path, key.certificate_path, key.id, key.plugin))
    print(columns(rows), end="")
