"""`custody notation policy`: whose signatures count, and where."""

from __future__ import annotations

import click

from custody.cli.groups import Group
from custody.cli.notation import PLACE


@click.group("policy", cls=Group, places={"import": f"{PLACE}.policy_import", "init": f"{PLACE}.policy_init",
                                          "show": f"{PLACE}.policy_show"})
def command() -> None:
    """The trust policy for images."""
