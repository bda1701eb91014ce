"""`custody runtime`: what runs, beside what was admitted."""

from __future__ import annotations

import click

from custody.cli.groups import Group

_COMMANDS = ("attest", "drift", "executables", "responses", "rules", "sensors", "vex", "watch")


@click.group("runtime", cls=Group, places={name: f"custody.cli.runtime_{name}" for name in _COMMANDS})
def command() -> None:
    """What runs: events and alerts, rules, drift."""
