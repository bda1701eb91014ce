"""`custody policy expand`: the objects that ExpansionTemplates say will come of others, as `gator expand`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from custody.cli.policy_constraints import read
from custody.errors import UnsupportedError
from custody.formats import yaml
from custody.kit import destination
from custody.kit.clock import system_clock
from custody.policy.kinds import builtin
from custody.services.simulation.trying import Trial


@click.command("expand")
@click.option("-n", "--filename", "filenames", multiple=True, metavar="FILE|DIR",
              help="Documents; else standard input.")
@click.option("-f", "--format", "form", type=click.Choice(["json", "yaml"]), default="yaml", show_default=True,
              help="Of what is written.")
@click.option("-o", "--outputfile", "output", type=click.Path(dir_okay=False), metavar="FILE",
              help="Instead of stdout.")
@click.option("-i", "--image", multiple=True, hidden=True, help="Refused by name.")
@click.option("-d", "--tempdir", hidden=True, help="Refused by name.")
def command(filenames: tuple[str, ...], form: str, output: str | None, image: tuple[str, ...],
            tempdir: str | None) -> int:
    """Expand objects by the ExpansionTemplates among the documents, as their mutators shape them.

    stdout gets the objects, or the file of --outputfile.
    """
    if image or tempdir:
        raise UnsupportedError("--image" if image else "--tempdir", "documents are not fetched from a registry",
                               hint="oras pull, then --filename DIR")
    if output is not None:
        destination.check(output, "--outputfile")
    objects: list[dict[str, Any]] = [*Trial(read(filenames), builtin(), system_clock()).implied()]
    if form == "json":
        text = "\n".join(json.dumps(document, indent=4, ensure_ascii=False) for document in objects)
    else:
        text = "---\n".join(yaml.dumped(document) for document in objects)
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        destination.write(Path(output), (text if text.endswith("\n") else f"{text}\n").encode(), "--outputfile")
    return 0
