"""`custody trusted-root`: whom to believe."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("trusted-root", cls=Group, places={"create": "custody.cli.trusted_root_create"})
def command() -> None:
    """trusted_root.json: whom verifiers believe. `custody trust export` writes that of your own services."""
