"""`custody notation certificate`: what the trust stores hold."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("certificate", cls=Group, places={}, aliases={"ls": "list"})
def command() -> None:
    """Certificates of the trust stores, and such for tests."""
