"""`custody notation blob`: files that lie anywhere, signed and verified."""

from __future__ import annotations

import click

from custody.cli.groups import Group
from custody.cli.notation import PLACE


@click.group("blob", cls=Group, places={
    "inspect": f"{PLACE}.blob_inspect",
    "policy": f"{PLACE}.blob_policy",
    "sign": f"{PLACE}.blob_sign",
    "verify": f"{PLACE}.blob_verify",
})
def command() -> None:
    """Sign and verify files: the signature is another file."""
