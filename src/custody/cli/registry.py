"""`custody registry`: look after the registry in this data directory."""

from __future__ import annotations

import json

import click

from custody.cli.run import settings
from custody.errors import MissingEvidenceError, VerificationError
from custody.formats import reference
from custody.kit.clock import format_rfc3339
from custody.wiring import Platform


@click.group("registry")
def command() -> None:
    """The registry in the data directory."""


def _opened() -> Platform:
    """Raises MissingEvidenceError where no registry ever ran: an empty one would have nothing damaged, ever."""
    folder = settings().data / "registry"
    if not (folder / "index.db").is_file():
        raise MissingEvidenceError(f"{folder}: no registry is here (no file named index.db)",
                                   hint="`custody up` makes one; data_dir in custody.toml says where it is")
    return Platform(settings(), "")


@command.command("scrub")
def _scrub() -> None:
    """Hash every stored blob again. Damaged ones are quarantined, so that the next push repairs them. Exit 4."""
    platform = _opened()
    try:
        damaged = platform.registry.scrub()
        click.echo(f"{len(platform.registry.blobs.digests()) + len(damaged)} blobs read, {len(damaged)} damaged")
    finally:
        platform.close()
    if damaged:
        raise VerificationError("changed at rest: " + ", ".join(damaged),
                                hint="they are in the registry's quarantine folder; push the images again")


@command.command("history")
@click.argument("name", metavar="NAME:TAG")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
def _history(name: str, output: str) -> None:
    """What a tag pointed at, and since when."""
    ref = reference.parse(name)
    platform = _opened()
    try:
        repository = name.rpartition(":")[0] if platform.registry.repositories.has_repository(
            name.rpartition(":")[0]) else ref.repository
        found = platform.registry.history(repository, ref.identifier)
    finally:
        platform.close()
    if not found:
        raise MissingEvidenceError(f"{name}: this registry never had such a tag")
    rows = [{"at": format_rfc3339(event.at), "digest": event.digest} for event in found]
    click.echo(json.dumps(rows, indent=2) if output == "json" else "\n".join(
        f"{row['at']}  {row['digest'] or '(deleted)'}" for row in rows))
