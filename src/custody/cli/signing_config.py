"""`custody signing-config`: where to sign."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("signing-config", cls=Group, places={"create": "custody.cli.signing_config_create"})
def command() -> None:
    """signing_config.json: where signers go. `custody trust export` writes that of your own services."""
