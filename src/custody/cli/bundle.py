"""`custody bundle`: Sigstore bundles as files."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("bundle", cls=Group, places={name: f"custody.cli.bundle_{name}" for name in (
    "create", "inspect", "upgrade")})
def command() -> None:
    """Sigstore bundles as files: look into one, make one of its parts, bring one up to date."""
