"""`custody bundle inspect`: what is in a bundle."""

from __future__ import annotations

import sys

import click

from custody.cli.run import settings
from custody.cli.trust_files import load_root, read_input
from custody.formats.bundle import parse_bundle
from custody.kit.visible import visible


@click.command("inspect")
@click.argument("file", metavar="BUNDLE")
def command(file: str) -> None:
    """Print what a bundle holds, as `cosign bundle inspect` does. Nothing of it is verified.

    Logs and authorities that the trusted root knows are named by their URL.
    """
    from custody.sign.inspection import outline

    print("WARNING: This command only inspects the contents of the bundle.\n"
          "It does not perform cryptographic verification or verify log inclusion.\n", file=sys.stderr)
    bundle = parse_bundle(read_input(file, "BUNDLE"), file)
    for depth, label, value in outline(bundle, load_root(settings(), None)):
        print(f"{'  ' * depth}- {visible(label)}:" + (f" {visible(value)}" if value else ""))
