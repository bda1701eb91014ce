"""`custody notation key`: the keys that sign."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("key", cls=Group, places={}, aliases={"ls": "list", "set": "update"})
def command() -> None:
    """The keys of signingkeys.json."""
