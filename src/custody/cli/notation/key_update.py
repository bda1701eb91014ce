"""`custody notation key update`: which key signs where none is named."""

from __future__ import annotations

from typing import Any

import click

from custody.cli.notation.options import Command, Narrator, directory, logging_options, warn
from custody.kit.visible import visible
from custody.sign.notary.signingkeys import load_signing_keys, save_signing_keys


@click.command("update", cls=Command)
@click.argument("name", metavar="NAME")
@click.option("--default", is_flag=True, help="Sign with it where no key is named.")
@logging_options
def command(name: str, default: bool, **options: Any) -> None:
    """Change a key of the list: --default is all that can be changed."""
    if not default:
        warn("--default flag is not set, command did not take effect")
        return
    save_signing_keys(directory(), load_signing_keys(directory()).with_default(name))
    Narrator(options["debug"], options["verbose"]).info(f"wrote {directory().signing_keys}")
    print(f"{visible(name)}: marked as default")
