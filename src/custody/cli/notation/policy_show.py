"""`custody notation policy show`: the trust policy for images as it is."""

from __future__ import annotations

import click

from custody.cli.notation.options import Command
from custody.cli.notation.trustpolicies import IMAGES, show_policy


@click.command("show", cls=Command)
def command() -> None:
    """Print the trust policy document for images, and warn where it is not a right one."""
    show_policy(IMAGES)
