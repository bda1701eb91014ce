"""`custody runtime rules`: Falco's rules before they run."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("rules", cls=Group, places={name: f"custody.cli.runtime_rules_{name}" for name in (
    "explain", "lint", "list", "pull", "push", "suppress", "test")})
def command() -> None:
    """Falco's rules, before they run."""
