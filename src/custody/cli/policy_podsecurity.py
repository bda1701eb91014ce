"""`custody policy podsecurity`: whether pods meet a level of the Pod Security Standards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from custody.errors import MalformedError
from custody.kit.visible import visible
from custody.policy.load import read
from custody.policy.podsecurity import standard


@click.command("podsecurity")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--level", type=click.Choice(standard.LEVELS), default="restricted", show_default=True,
              help="Level of the Pod Security Standards.")
@click.option("--version", default="latest", show_default=True, help="v1.<minor> of the standard.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
def command(files: tuple[Path, ...], level: str, version: str, output: str) -> int:
    """Whether pods meet a Pod Security level, in the API server's words. Exit code 3 where one does not."""
    rows: list[dict[str, Any]] = []
    for file in files:
        pods = read(file)
        if not pods:
            raise MalformedError(str(file), got="no resource", expected="at least one Pod")
        for at, document in enumerate(pods):
            kind = document.get("kind") if isinstance(document, dict) else "no map"
            if kind != "Pod":
                raise MalformedError(f"{file}[{at}]", got=kind, expected="a Pod")
            metadata = document.get("metadata")
            failures = standard.evaluate(document.get("spec"), metadata, level, version)
            name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
            rows.append({"pod": name, "allowed": not failures, "failures": [failure._asdict() for failure in failures],
                         "message": f'violates PodSecurity "{level}:{version}": {standard.aggregate(failures)}'
                         if failures else ""})
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
    for row in rows if output == "table" else ():
        click.echo(visible(f"pod {row['pod']}: {row['message'] or f'meets {level}:{version}'}"))
    return 0 if all(row["allowed"] for row in rows) else 3
