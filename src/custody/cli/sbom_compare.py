"""`custody sbom compare TARGET FILE…`: who says what is in an image."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from custody.cli import contents
from custody.cli.run import settings
from custody.errors import DeniedError, UsageError
from custody.formats.bom import Catalog
from custody.kit.visible import visible
from custody.sbom.agreement import agree
from custody.services.contents import read_sbom


@click.command("compare")
@click.argument("target")
@click.argument("files", nargs=-1, required=True, metavar="[NAME=]FILE…")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
@click.option("--exit-code", is_flag=True, help="Exit 3 where they do not agree.")
@contents.folder_options
def command(target: str, files: tuple[str, ...], output: str, exit_code: bool, folders: contents.Folders) -> None:
    """Compare what custody sees in TARGET with the SBOMs of others: the builder's, the publisher's.

    An SBOM in a signed envelope is read, and its signature is not checked: `custody verify-attestation` does.
    """
    catalogs: dict[str, Catalog] = {"custody": contents.open_catalog(settings(), target, None, folders)}
    for text in files:
        name, equals, place = text.partition("=")
        if not equals or Path(text).exists():
            name, place = Path(text).name, text
        if name in catalogs:
            raise UsageError(f"{name}: two sources of this name", hint="NAME=FILE names one")
        catalogs[name] = read_sbom(Path(place))
    agreement = agree(catalogs)
    if output == "json":
        click.echo(json.dumps(agreement.to_json(), indent=2))
    elif agreement.rows:
        sys.stdout.write(contents.columns([("PACKAGE", *agreement.sources), *(
            (f"{row.type}/{row.name}", *(", ".join(row.said[source]) or "-" for source in agreement.sources))
            for row in agreement.rows)]))
    for source, types in agreement.silent.items():
        print(visible(f"note: {source} lists no package of type {', '.join(types)}"), file=sys.stderr)
    said = f"{agreement.agreed} names agreed on by {len(catalogs)} sources, {len(agreement.rows)} not"
    print(said, file=sys.stderr)
    if exit_code and agreement.rows:
        raise DeniedError(said)
