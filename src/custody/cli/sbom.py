"""`custody sbom TARGET`: what is in an image or a folder."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from custody.cli import contents
from custody.cli.run import settings
from custody.errors import UnsupportedError
from custody.formats.bom import Catalog
from custody.kit.visible import visible
from custody.services.contents import SBOMS, Format, encode


def _table(catalog: Catalog, _now: datetime) -> bytes:
    rows = sorted((package.name, package.version, package.type) for package in catalog.packages)
    return encode(contents.columns([("NAME", "VERSION", "TYPE"), *rows]))


_FORMATS = {"table": Format(_table), **SBOMS}


@click.command("sbom")
@click.argument("target")
@click.option("-o", "--output", "chosen", multiple=True, metavar="FORMAT[=FILE]",
              shell_complete=contents.complete(_FORMATS),
              help=f"One of {', '.join(_FORMATS)}; repeatable, one of them without a FILE. Default: table.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which image of an index. Default: linux/amd64.")
@click.option("--keep", is_flag=True, help="Keep what is in the image, for `custody affected`, as `scan` does.")
@contents.folder_options
def command(target: str, chosen: tuple[str, ...], platform: str | None, keep: bool, folders: contents.Folders) -> None:
    """List the packages in TARGET: REGISTRY/NAME[:TAG][@DIGEST], oci:DIR[:TAG], archive:FILE[:NAME]; a folder with lock
    files and installed packages, dir:PATH or git:PATH; rootfs:PATH, an unpacked image; file:PATH, one file."""
    plan = contents.outputs(chosen, _FORMATS, "table")
    if target.startswith("sbom:"):
        raise UnsupportedError(target, "is an SBOM already, and is not written again in another format")
    catalog = contents.open_catalog(settings(), target, platform, folders)
    if keep:
        contents.keep(settings(), catalog, target)
    contents.deliver(plan, _FORMATS, catalog, contents.moment())
    print(f"{visible(contents.title(catalog))}: {len(catalog.packages)} packages", file=sys.stderr)
    if not catalog.packages:
        print("warning: no package was found in it", file=sys.stderr)
    for unknown in catalog.unknowns:
        print(visible(f"not catalogued: {unknown}, such as {unknown.examples[0]}"), file=sys.stderr)
