"""`custody sbom diff A B`: what changed between two SBOMs or targets, and why."""

from __future__ import annotations

import json
import sys
from collections import Counter

import click

from custody.cli import contents
from custody.cli.run import settings
from custody.errors import DeniedError
from custody.kit.visible import visible
from custody.sbom.difference import Change, Kind, compare

_SIGNS: dict[Kind, str] = {"added": "+", "removed": "-", "changed": "~", "altered": "="}


@click.command("diff")
@click.argument("before")
@click.argument("after")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
@click.option("--exit-code", is_flag=True, help="Exit 3 where packages were added, removed or changed.")
@contents.folder_options
def command(before: str, after: str, output: str, exit_code: bool, folders: contents.Folders) -> None:
    """List the packages that were added (+), removed (-), changed in version (~), or of which something else is said
    (=): licence, supplier, hash, owner. BEFORE and AFTER are what `custody sbom` takes.

    The cause is the layer that brought a package, the base image, or the lock file that asks for it.
    """
    left, right = (contents.open_catalog(settings(), target, None, folders) for target in (before, after))
    difference = compare(left, right)
    if output == "json":
        click.echo(json.dumps(difference.to_json(), indent=2))
    else:
        rows = [row for change in difference.changes for row in _rows(change)]
        if rows:
            sys.stdout.write(contents.columns([("", "PACKAGE", "BEFORE", "AFTER", "WHERE"), *rows]))
    counts = Counter(change.kind for change in difference.changes)
    said = ", ".join(f"{counts[kind]} {kind}" for kind in _SIGNS)
    print(visible(f"{difference.before} → {difference.after}: {said}, {difference.same} the same"), file=sys.stderr)
    if exit_code and counts.total() > counts["altered"]:
        raise DeniedError(f"the packages differ: {said}")


def _rows(change: Change) -> list[tuple[str, ...]]:
    name = f"{change.type}/{change.name}"
    if change.kind != "altered":
        return [(_SIGNS[change.kind], name, ", ".join(change.before), ", ".join(change.after), change.cause)]
    return [("=", f"{name} {field}", was or "none", now or "none", change.cause) for field, was, now in change.fields]
