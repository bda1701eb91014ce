"""`custody notation logout`: a kept login goes."""

from __future__ import annotations

import os
from typing import Any

import click

from custody.cli.notation.options import Command, Narrator, directory, logging_options
from custody.formats.reference import parse_host
from custody.sign.notary.logins import keeper


@click.command("logout", cls=Command)
@click.argument("server", metavar="REGISTRY")
@logging_options
def command(server: str, **options: Any) -> None:
    """Forget the login at a registry that `login` kept."""
    host, kept = parse_host(server, "registry"), keeper(directory(), os.environ)
    Narrator(options["debug"], options["verbose"]).info(f"logins are kept by {kept.helper(host) or kept.path}")
    kept.forget(host)
    print("Logout Succeeded")
