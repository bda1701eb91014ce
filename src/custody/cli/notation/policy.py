"""`custody notation policy`: whose signatures count, and where."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("policy", cls=Group, places={})
def command() -> None:
    """The trust policy for images."""
