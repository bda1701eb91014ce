"""`custody notation plugin`: programs that sign and verify with keys kept elsewhere."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("plugin", cls=Group, places={
    "install": "custody.cli.notation.plugin_install",
    "list": "custody.cli.notation.plugin_list",
    "uninstall": "custody.cli.notation.plugin_uninstall",
}, aliases={"ls": "list", "add": "install", "remove": "uninstall", "rm": "uninstall"})
def command() -> None:
    """Programs that notation and custody sign and verify through."""
