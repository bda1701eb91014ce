"""`custody sbom score FILE|TARGET`: how much of what guidelines ask for an SBOM has."""

from __future__ import annotations

import json
import sys

import click

from custody.cli import contents
from custody.cli.run import settings
from custody.errors import DeniedError
from custody.formats import sbom
from custody.formats.bom import Catalog
from custody.kit.visible import visible
from custody.sbom.score import GUIDELINES, Score, score
from custody.services.documents import SBOMS


@click.command("score")
@click.argument("target")
@click.option("--guideline", "guidelines", multiple=True, type=click.Choice(list(GUIDELINES)),
              help="Only this one; repeatable. Default: all.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
@click.option("--missing", "named", is_flag=True, help="Name the components that lack each element, too.")
@click.option("--fail-under", type=click.IntRange(0, 100), metavar="PERCENT",
              help="Exit 3 where less of the required elements is there in full, by any guideline chosen.")
@click.option("--author", "authors", multiple=True, metavar="'NAME <MAIL>'", help="As `custody sbom list` takes it.")
@contents.folder_options
def command(target: str, guidelines: tuple[str, ...], output: str, named: bool, fail_under: int | None,
            authors: tuple[str, ...], folders: contents.Folders) -> None:
    """Count, element by element, what NTIA, CISA, BSI TR-03183-2 and FSCT ask for and an SBOM says.

    TARGET is what `custody sbom` takes; of what is no SBOM, the CycloneDX that it would write is looked at.
    """
    catalog = contents.open_catalog(settings(), target, None, folders)
    if catalog.kind != "sbom":
        catalog = _written(contents.described(catalog, authors))
    scores = score(catalog, guidelines)
    if output == "json":
        click.echo(json.dumps({"subject": catalog.name, "components": len(catalog.packages) + len(catalog.unidentified),
                               "scores": [entry.to_json() for entry in scores]}, indent=2))
    else:
        sys.stdout.write("\n".join(_table(entry, named=named) for entry in scores))
    failed = [entry for entry in scores if fail_under is not None and 100 * entry.met < fail_under * entry.required]
    if failed:
        raise DeniedError("; ".join(f"{entry.guideline}: {entry.met} of {entry.required} elements"
                                    for entry in failed) + f", less than {fail_under} %")


def _written(catalog: Catalog) -> Catalog:
    """As somebody reads it who has only the file."""
    data = SBOMS["cyclonedx-json"].write(catalog, contents.moment())
    return sbom.read(data, catalog.name) or catalog


def _table(entry: Score, *, named: bool) -> str:
    rows = [(element.name, "yes" if element.met else "no", str(element.has), f"of {element.of}", element.need,
             element.note) for element in entry.elements]
    lacking = [f"  {visible(name)} lacks {element.name}\n" for element in entry.elements for name in element.missing]
    return visible(f"{entry.title}: {entry.met} of {entry.required}") + "\n" + contents.columns(rows) + "".join(
        lacking if named else [])
