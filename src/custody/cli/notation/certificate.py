"""`custody notation certificate`: what the trust stores hold."""

from __future__ import annotations

import click

from custody.cli.groups import Group


@click.group("certificate", cls=Group, places={
    "cleanup-test": "custody.cli.notation.certificate_cleanup_test",
    "generate-test": "custody.cli.notation.certificate_generate_test",
}, aliases={"ls": "list"})
def command() -> None:
    """Certificates of the trust stores, and such for tests."""
