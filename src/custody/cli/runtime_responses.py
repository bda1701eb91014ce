"""`custody runtime responses`: what is done about alerts, before it is done."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("responses", cls=Group, places={name: f"custody.cli.runtime_responses_{name}" for name in (
    "check", "try")})
def command() -> None:
    """What is done about alerts, before it is done."""
