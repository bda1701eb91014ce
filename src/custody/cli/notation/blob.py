"""`custody notation blob`: files that lie anywhere, signed and verified."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("blob", cls=Group, places={
    "sign": "custody.cli.notation.blob_sign",
})
def command() -> None:
    """Sign and verify files: the signature is another file."""
