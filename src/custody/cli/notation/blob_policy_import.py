"""`custody notation blob policy import`: make a document the trust policy for files."""

from __future__ import annotations

from pathlib import Path

import click

from custody.cli.notation.options import Command
from custody.cli.notation.trustpolicies import BLOBS, import_policy


@click.command("import", cls=Command)
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the policy that is there without asking.")
def command(source: Path, force: bool) -> None:
    """Check a trust policy document for files, and put it where notation and custody read it."""
    import_policy(BLOBS, source, force=force)
