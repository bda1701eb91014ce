"""`custody policy`: what policies say, and what becomes of them before they are applied."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("policy", cls=Group, places={name: f"custody.cli.policy_{name}" for name in (
    "apply", "bench", "equivalent", "exceptions", "expand", "import", "jp", "lint", "migrate", "podsecurity", "sign",
    "sync", "test", "vap", "verify")})
def command() -> None:
    """Policies, before they are applied."""
