"""`custody sbom merge FILE FILE…`: several SBOMs as one."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from custody.cli import contents
from custody.errors import UsageError
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.sbom.losses import lost
from custody.sbom.merging import merge
from custody.services.contents import read_sbom
from custody.services.documents import SBOMS, SPELLINGS


@click.command("merge")
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--name", required=True, metavar="NAME", help="What the whole is called.")
@click.option("-o", "--output", "chosen", multiple=True, metavar="FORMAT[=FILE]",
              shell_complete=contents.complete(SBOMS),
              help=f"One of {', '.join(SBOMS)}; repeatable. Default: cyclonedx-json.")
def command(files: tuple[Path, ...], name: str, chosen: tuple[str, ...]) -> None:
    """Write the SBOMs in FILES as one of NAME: each package once, with all that any of them says of it.

    They may be of different formats.
    """
    if len(files) < 2:
        raise UsageError("merge: got one SBOM, expected two or more", hint="custody sbom convert FILE -o FORMAT")
    plan = contents.outputs(chosen, SPELLINGS, "cyclonedx-json", shown=SBOMS)
    catalogs = [read_sbom(file) for file in files]
    for file, catalog in zip(files, catalogs, strict=True):
        contents.warn_of_signature(str(file), catalog)
    merged = merge(catalogs, name)
    contents.deliver(plan, SPELLINGS, merged, contents.moment())
    total = sum(len(catalog.packages) for catalog in catalogs)
    print(visible(f"{name}: {amount(len(merged.packages), 'package')} of {total} in {len(files)} SBOMs"),
          file=sys.stderr)
    systems = {catalog.distribution.name for catalog in catalogs if catalog.distribution}
    if len(systems) > 1:
        print(visible(f"note: several distributions, and the whole is of none: {', '.join(sorted(systems))}"),
              file=sys.stderr)
    for form, _ in plan:
        for line in lost(merged, SPELLINGS[form].loses):
            print(visible(f"lost in {form}: {line}"), file=sys.stderr)
    for file, catalog in zip(files, catalogs, strict=True):
        for line in lost(catalog, frozenset()):
            print(visible(f"lost of {file}: {line}"), file=sys.stderr)
