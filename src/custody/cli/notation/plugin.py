"""`custody notation plugin`: programs that sign and verify with keys kept elsewhere."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("plugin", cls=Group, places={},
             aliases={"ls": "list", "add": "install", "remove": "uninstall", "rm": "uninstall"})
def command() -> None:
    """Programs that notation and custody sign and verify through."""
