"""`custody sbom convert FILE`: an SBOM in another format, and what that leaves out."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from custody.cli import contents
from custody.errors import DeniedError
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.sbom.losses import lost
from custody.services.contents import read_sbom
from custody.services.documents import SBOMS, SPELLINGS


@click.command("convert")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-o", "--output", "chosen", multiple=True, required=True, metavar="FORMAT[=FILE]",
              shell_complete=contents.complete(SBOMS), help=f"One of {', '.join(SBOMS)}; repeatable.")
@click.option("--strict", is_flag=True, help="Exit 3 where anything was lost.")
def command(file: Path, chosen: tuple[str, ...], strict: bool) -> None:
    """Write the SBOM in FILE in another format. What both formats can say is kept; what is lost is listed.

    FILE is CycloneDX, SPDX 2 or 3, syft JSON, or a statement or envelope around one, whose signature is not checked.
    """
    plan = contents.outputs(chosen, SPELLINGS, "cyclonedx-json", shown=SBOMS)
    catalog = read_sbom(file)
    contents.deliver(plan, SPELLINGS, catalog, contents.moment())
    contents.warn_of_signature(str(file), catalog)
    packages = len(catalog.packages) + len(catalog.unidentified)
    stated = catalog.document.format if catalog.document else ""
    print(visible(f"{file}: {stated}, {amount(packages, 'package')}"), file=sys.stderr)
    losses = 0
    for name, _ in plan:
        for line in lost(catalog, SPELLINGS[name].loses):
            losses += 1
            print(visible(f"lost in {name}: {line}"), file=sys.stderr)
    if strict and losses:
        raise DeniedError(f"{file}: {losses} kinds of facts were lost")
