"""`custody sbom TARGET`: what is in an image or a folder; and what is done with SBOMs."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from custody.cli import contents, proving
from custody.cli.defaultgroup import DefaultGroup
from custody.cli.run import settings
from custody.errors import UnsupportedError, UsageError
from custody.formats.bom import Catalog
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.services.documents import SBOMS, SPELLINGS, Format, encode, json_bytes


def _table(catalog: Catalog, _now: datetime) -> bytes:
    if catalog.proof is not None:
        return encode(contents.columns(proving.rows(catalog)))
    rows = sorted((package.name, package.version, package.type) for package in catalog.packages)
    return encode(contents.columns([("NAME", "VERSION", "TYPE"), *rows]))


_FORMATS = {"table": Format(_table), "proof": Format(lambda catalog, _: json_bytes(proving.to_json(catalog))),
            **SPELLINGS}
_SHOWN = ("table", "proof", *SBOMS)


@click.group("sbom", cls=DefaultGroup, places={
    "convert": "custody.cli.sbom_convert", "score": "custody.cli.sbom_score", "diff": "custody.cli.sbom_diff",
    "merge": "custody.cli.sbom_merge", "compare": "custody.cli.sbom_compare"})
def command() -> None:
    """List the packages in a TARGET; convert, score, compare, diff and merge SBOMs.

    TARGET is an image, oci:DIR, archive:FILE, a folder, a file, sbom:FILE, or `-`: `custody sbom list --help` has all.
    """


@command.command("list")
@click.argument("target")
@click.option("-o", "--output", "chosen", multiple=True, metavar="FORMAT[=FILE]",
              shell_complete=contents.complete(_SHOWN),
              help=f"One of {', '.join(_SHOWN)}; repeatable, one of them without a FILE. CycloneDX is 1.6, or "
                   "cyclonedx-json@1.4, @1.5, @1.7. Default: table.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which image of an index. Default: linux/amd64.")
@click.option("--keep", is_flag=True, help="Keep what is in the image, for `custody affected`, as `scan` does.")
@click.option("--source-name", metavar="NAME", help="What documents call the target.")
@click.option("--source-version", metavar="VERSION", help="Its version, in place of its digest.")
@click.option("--source-supplier", metavar="NAME", help="Who supplies it.")
@click.option("--author", "authors", multiple=True, metavar="'NAME <MAIL>'", help="Who makes the SBOM; repeatable.")
@click.option("--prove", is_flag=True,
              help="Compare installed files with what their packages say of them: the table, -o proof and properties "
                   "in CycloneDX tell those that were changed or added.")
@click.option("--fail-on-changed", is_flag=True,
              help="With --prove: exit 3 where a file was changed, or added to a package's own; 4 where that could not "
                   "be judged.")
@contents.folder_options
def list_packages(target: str, chosen: tuple[str, ...], platform: str | None, folders: contents.Folders,
                  authors: tuple[str, ...], keep: bool, prove: bool, fail_on_changed: bool,
                  **said: str | None) -> None:
    """List the packages in TARGET: REGISTRY/NAME[:TAG][@DIGEST], oci:DIR[:TAG], archive:FILE[:NAME]; a folder with lock
    files and installed packages, dir:PATH or git:PATH; rootfs:PATH, an unpacked image; file:PATH, one file; sbom:FILE,
    an SBOM, `-` from standard input."""
    plan = contents.outputs(chosen, _FORMATS, "table", shown=_SHOWN)
    if fail_on_changed and not prove:
        raise UsageError("--fail-on-changed: got no --prove, expected both")
    if not prove and any(name == "proof" for name, _ in plan):
        raise UsageError("-o proof: got no --prove, expected both")
    catalog = contents.open_catalog(settings(), target, platform, folders, prove=prove)
    if keep and not catalog.layers:
        raise UnsupportedError("--keep", "only images are kept")
    if keep:
        contents.keep(settings(), catalog, target)
    catalog = contents.described(catalog, authors, **said)
    contents.deliver(plan, _FORMATS, catalog, contents.moment())
    print(f"{visible(contents.title(catalog))}: {amount(len(catalog.packages), 'package')}", file=sys.stderr)
    if not catalog.packages:
        print("warning: no package was found in it", file=sys.stderr)
    for unknown in catalog.unknowns:
        example = f", such as {unknown.examples[0]}" if unknown.examples else ""
        print(visible(f"not catalogued: {unknown}{example}"), file=sys.stderr)
    if catalog.proof is not None:
        for line in proving.summary(catalog.proof):
            print(visible(line), file=sys.stderr)
    if catalog.proof is not None and fail_on_changed:
        proving.require(catalog.proof)
