"""`custody notation blob inspect`: what the signature of a file says, whether it counts or not."""

from __future__ import annotations

import json
from pathlib import Path

import click

from custody.cli.notation.inspection import branch_of, drawn, inspected
from custody.cli.notation.options import Command
from custody.services.notarysignatures import envelope_file


@click.command("inspect", cls=Command)
@click.argument("signature", metavar="FILE", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Choice(["json", "text"]), default="text", show_default=True,
              help="What stdout gets.")
def command(signature: Path, output: str) -> None:
    """Show the signature of a file, NAME.jws.sig or NAME.cose.sig: who says to have signed it, when, and with what.

    It is not verified: that is `custody notation blob verify`.
    """
    shown = inspected(*envelope_file(signature), "")
    if output == "json":
        print(json.dumps({name: value for name, value in shown.items() if name != "digest"}, indent=4))
        return
    title, (media_type, algorithm, *more) = branch_of(shown, str(signature))
    print(drawn((title, [algorithm, (media_type[0].replace("media type", "signature envelope type"), []), *more])))
