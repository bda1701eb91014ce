"""`custody notation key`: the keys that sign."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("key", cls=Group, places={
    "add": "custody.cli.notation.key_add",
    "delete": "custody.cli.notation.key_delete",
    "list": "custody.cli.notation.key_list",
    "update": "custody.cli.notation.key_update",
}, aliases={"ls": "list", "set": "update"})
def command() -> None:
    """The keys of signingkeys.json."""
