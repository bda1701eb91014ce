"""`custody notation blob policy`: whose signatures of files count."""

from __future__ import annotations

import click

from custody.cli.groups import Group
from custody.cli.notation import PLACE


@click.group("policy", cls=Group, places={"import": f"{PLACE}.blob_policy_import", "init": f"{PLACE}.blob_policy_init",
                                          "show": f"{PLACE}.blob_policy_show"})
def command() -> None:
    """The trust policy for files."""
