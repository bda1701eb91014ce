"""`custody notation key delete`: keys leave the list, and stay where they are."""

from __future__ import annotations

from typing import Any

import click

from custody.cli.notation.options import Command, Narrator, directory, logging_options
from custody.kit.visible import visible
from custody.sign.notary.signingkeys import load_signing_keys, save_signing_keys


@click.command("delete", cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@logging_options
def command(names: tuple[str, ...], **options: Any) -> None:
    """Take keys out of the list of signing keys; their files, or the plugin's keys, stay."""
    keys = load_signing_keys(directory())
    save_signing_keys(directory(), keys.without(names))
    Narrator(options["debug"], options["verbose"]).info(f"wrote {directory().signing_keys}")
    if len(names) > 1:
        print("Removed the following keys from Notation signing key list. The source keys still exist.")
        for name in names:
            print(f"{visible(name)} (default)" if name == keys.default else visible(name))
        return
    kind = "default key " if names[0] == keys.default else ""
    print(f"Removed {kind}{visible(names[0])} from Notation signing key list. The source key still exists.")
