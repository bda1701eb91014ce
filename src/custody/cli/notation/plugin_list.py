"""`custody notation plugin list`: which plugins are installed, and what they say of themselves."""

from __future__ import annotations

import click

from custody.cli.notation.options import Command, columns, directory
from custody.errors import CustodyError
from custody.sign.notary.plugin import installed, open_plugin
from custody.wiring import programs


@click.command("list", cls=Command)
def command() -> None:
    """List the plugins that are installed; each is asked who it is."""
    rows = [("NAME", "DESCRIPTION", "VERSION", "CAPABILITIES", "ERROR")]
    for name in installed(directory()):
        try:
            metadata = open_plugin(directory(), name, programs()).metadata()
        except CustodyError as error:
            rows.append((name, "", "", "[]", error.message))
        else:
            rows.append((name, metadata.description, metadata.version, f"[{' '.join(metadata.capabilities)}]", "<nil>"))
    print(columns(rows), end="")
