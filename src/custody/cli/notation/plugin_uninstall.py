"""`custody notation plugin uninstall`: a plugin goes, and its keys stay where they are."""

from __future__ import annotations

from typing import Any

import click

from custody.cli.notation.options import Command, Narrator, confirmed, directory, logging_options
from custody.errors import NotFoundError
from custody.kit.visible import visible
from custody.services.plugininstall import uninstall
from custody.sign.notary.plugin import installed


@click.command("uninstall", cls=Command)
@click.argument("name", metavar="NAME")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@logging_options
def command(name: str, yes: bool, **options: Any) -> None:
    """Uninstall a plugin."""
    if name not in installed(directory()):
        raise NotFoundError(f"unable to find plugin {name}.", hint="custody notation plugin list shows those that are "
                            "installed")
    if confirmed(f'Are you sure you want to uninstall plugin "{visible(name)}"?', yes=yes):
        uninstall(directory(), name)
        Narrator(options["debug"], options["verbose"]).info(f"removed {directory().plugin(name).parent}")
        print(f"Successfully uninstalled plugin {visible(name)}")
