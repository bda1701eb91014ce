"""`custody sbom TARGET`: what is in an image."""

from __future__ import annotations

import sys
from typing import Any

import click

from custody import __version__
from custody.cli import contents
from custody.cli.run import settings
from custody.errors import UnsupportedError
from custody.formats import cyclonedx, spdx
from custody.kit.visible import visible

_FORMATS = ("table", "cyclonedx-json", "spdx-json", "purls")


@click.command("sbom")
@click.argument("target")
@click.option("-o", "--output", "chosen", multiple=True, metavar="FORMAT[=FILE]",
              shell_complete=contents.complete(_FORMATS),
              help=f"One of {', '.join(_FORMATS)}; repeatable, one of them without a FILE. Default: table.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which image of an index. Default: linux/amd64.")
def command(target: str, chosen: tuple[str, ...], platform: str | None) -> None:
    """List the packages in TARGET: REGISTRY/NAME[:TAG][@DIGEST], oci:DIR[:TAG] or archive:FILE[:NAME]."""
    plan = contents.outputs(chosen, _FORMATS, "table")
    if target.startswith("sbom:"):
        raise UnsupportedError(target, "is an SBOM already, and is not written again in another format")
    found = contents.open_catalog(settings(), target, platform)
    now = contents.moment()

    def render(name: str) -> str | dict[str, Any]:
        if name == "cyclonedx-json":
            return cyclonedx.write(found, now, __version__)
        if name == "spdx-json":
            return spdx.write(found, now, __version__)
        if name == "purls":
            return "".join(f"{package.purl}\n" for package in found.packages)
        rows = sorted((package.name, package.version, package.type) for package in found.packages)
        return contents.columns([("NAME", "VERSION", "TYPE"), *rows])

    contents.deliver(plan, render)
    print(f"{visible(contents.title(found))}: {len(found.packages)} packages", file=sys.stderr)
    if not found.packages:
        print("warning: no package was found in it", file=sys.stderr)
    for unknown in found.unknowns:
        print(visible(f"not catalogued: {unknown}, such as {unknown.examples[0]}"), file=sys.stderr)
