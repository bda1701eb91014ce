"""`custody registry`: look after the registry in this data directory."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import click
import msgspec

from custody.cli.run import settings
from custody.errors import MissingEvidenceError, VerificationError
from custody.formats import reference
from custody.kit.amount import amount
from custody.kit.clock import format_rfc3339
from custody.kit.visible import rewritable, terminal, visible
from custody.registry.scrub import Report, scrub
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
@click.option("--remove-orphans", is_flag=True,
              help="Remove files that no repository has, if older than an hour; not beside a running server.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
def _scrub(remove_orphans: bool, output: str) -> None:
    """Hash every stored blob again, compare files and index both ways. Exit 4 where an image cannot be pulled whole.

    Damaged blobs are quarantined, so that the next push repairs them. Runs beside the server.
    """
    platform = _opened()
    try:
        report = scrub(platform.archive(exclusive=remove_orphans), remove_orphans=remove_orphans,
                       progress=_progress if rewritable(sys.stderr) else None)
    finally:
        platform.close()
    if output == "json":
        click.echo(json.dumps(msgspec.to_builtins(report), indent=2))
    else:
        click.echo("\n".join(_lines(report)))
    if not report.sound:
        raise VerificationError("; ".join(_troubles(report)),
                                hint="push the images again; damaged files are in the registry's quarantine folder")


def _progress(blobs: int, size: int) -> None:
    if blobs % 100 == 0:
        print(f"\r{blobs} blobs, {size / 1e6:,.0f} MB read ", end="", file=terminal(sys.stderr), flush=True)


def _troubles(report: Report) -> Iterator[str]:
    if report.damaged:
        yield "changed at rest: " + ", ".join(blob.digest for blob in report.damaged[:10])
    if report.missing:
        yield "no file of: " + ", ".join(blob.digest for blob in report.missing[:10])
    if report.unreadable:
        yield "not readable: " + ", ".join(visible(blob.path) for blob in report.unreadable[:10])


def _lines(report: Report) -> Iterator[str]:
    yield (f"{amount(report.blobs, 'blob')} read, {len(report.damaged)} damaged, {len(report.missing)} missing, "
           f"{len(report.unreadable)} unreadable")
    for state, blobs in (("damaged", report.damaged), ("missing", report.missing)):
        for blob in blobs:
            yield f"{state:<10} {blob.digest}  in {', '.join(blob.repositories) or 'no repository'}"
    for state, files in (("unreadable", report.unreadable), ("stray", report.strays)):
        for file in files:
            yield f"{state:<10} {visible(file.path)}: {file.reason}"
    if report.orphans:
        told = (f"{len(report.removed)} removed" if report.removed else
                "--remove-orphans removes those older than an hour")
        yield f"orphans    {amount(len(report.orphans), 'file')} of no repository, {report.orphan_bytes} bytes; {told}"
    if report.quarantine_files:
        yield f"quarantine {amount(report.quarantine_files, 'file')}, {report.quarantine_bytes} bytes"
    if report.unfinished_uploads:
        yield f"uploads    {report.unfinished_uploads} not finished"


@command.command("history")
@click.argument("name", metavar="NAME:TAG")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
def _history(name: str, output: str) -> None:
    """What a tag pointed at, and since when."""
    ref = reference.parse(name)
    platform = _opened()
    try:
        repositories = platform.archive().repositories
        repository = name.rpartition(":")[0] if repositories.has_repository(
            name.rpartition(":")[0]) else ref.repository
        events = repositories.history(repository, ref.identifier)
    finally:
        platform.close()
    if not events:
        raise MissingEvidenceError(f"{name}: this registry never had such a tag")
    rows = [{"at": format_rfc3339(event.at), "digest": event.digest} for event in events]
    click.echo(json.dumps(rows, indent=2) if output == "json" else "\n".join(
        f"{row['at']}  {row['digest'] or '(deleted)'}" for row in rows))
