"""`custody notation logout`: a kept login goes."""

from __future__ import annotations

import os
from typing import Any

import click

from custody.cli.notation.options import Command, directory, logging_options
from custody.formats.reference import parse_host
from custody.sign.notary.logins import keeper


@click.command("logout", cls=Command)
@click.argument("server", metavar="REGISTRY")
@logging_options
def command(server: str, **_options: Any) -> None:
    """Forget the login at a registry that `login` kept."""
    keeper(directory(), os.environ).forget(parse_host(server, "registry"))
    print("Logout Succeeded")
