"""`custody notation certificate`: what the trust stores hold."""

from __future__ import annotations

import click

from custody.cli.groups import Group
from custody.cli.notation import PLACE


@click.group("certificate", cls=Group, places={
    "add": f"{PLACE}.certificate_add",
    "cleanup-test": "custody.cli.notation.certificate_cleanup_test",
    "delete": f"{PLACE}.certificate_delete",
    "doctor": f"{PLACE}.certificate_doctor",
    "generate-test": "custody.cli.notation.certificate_generate_test",
    "list": f"{PLACE}.certificate_list",
    "show": f"{PLACE}.certificate_show",
}, aliases={"ls": "list"})
def command() -> None:
    """Certificates of the trust stores, and such for tests."""
