"""`custody log`: read a transparency log that one does not trust."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from custody.cli.groups import Group
from custody.cli.run import settings
from custody.cli.trust_files import load_root, read_input, trusted_root_option
from custody.errors import MissingEvidenceError, UsageError
from custody.kit.amount import amount
from custody.ports.tiles import LogReader, TileReader
from custody.trust import audit
from custody.trust.checkpoint import LogVerifier
from custody.trust.tiles import TiledLog
from custody.wiring.local import log_at, log_in, rekor1_at

LOG = click.option("--log", "place", metavar="URL|DIR", help="A Rekor log's URL, or a log's directory. "
                    "Default: this data directory's log.")


@click.group(cls=Group, places={"watch": "custody.cli.log_watch"},
             help="Read a transparency log and check what it says.")
def command() -> None:
    pass


@command.command(help="Read the whole log: every entry, every tile, the signed root.")
@LOG
@trusted_root_option
@click.option("--old", metavar="FILE",
              help="A checkpoint seen earlier (`custody log info -o note`): the log must still contain it.")
def verify(place: str | None, trusted_root: str | None, old: str | None) -> None:
    with opened(place) as reader:
        audited = audit.verify_log(reader, verifier_of(reader, trusted_root),
                                   old=read_input(old, "--old") if old else None)
    click.echo(f"{audited.origin}: {amount(audited.size, 'entry', 'entries')}, each where the signed tree has it; "
               f"root {audited.root.hex()}")
    if audited.old_size is not None:
        click.echo(f"the older checkpoint's {audited.old_size} entries are still its first {audited.old_size}")


@command.command(help="The log's latest checkpoint, its signature verified.")
@LOG
@trusted_root_option
@click.option("-o", "--output", type=click.Choice(["text", "json", "note"]), default="text", show_default=True,
              help="What stdout gets.")
def info(place: str | None, trusted_root: str | None, output: str) -> None:
    with opened(place) as reader:
        verifier = verifier_of(reader, trusted_root)
        checkpoint = audit.read_checkpoint(reader, verifier)
    if output == "note":
        click.echo(checkpoint.note, nl=False)
    elif output == "json":
        click.echo(json.dumps({"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(),
                               "logID": verifier.log_id.hex()}))
    else:
        click.echo(f"{checkpoint.origin}: {amount(checkpoint.size, 'entry', 'entries')}, root {checkpoint.root.hex()}")


@command.command(help="One entry's body on standard output, once its inclusion proof is verified.")
@LOG
@trusted_root_option
@click.argument("index", type=click.IntRange(min=0))
def entry(place: str | None, trusted_root: str | None, index: int) -> None:
    with opened(place) as reader:
        checkpoint = audit.read_checkpoint(reader, verifier_of(reader, trusted_root))
        body, proof = audit.read_entry(reader, checkpoint, index)
    click.echo(f"entry {index} of {checkpoint.size} in {checkpoint.origin}: proven by {len(proof)} hashes", err=True)
    sys.stdout.buffer.write(body + b"\n")


@contextlib.contextmanager
def opened(place: str | None) -> Iterator[TileReader]:
    """The log of `--log`. Raises MissingEvidenceError."""
    if place is not None and "://" in place:
        base = place.rstrip("/").removesuffix("/api/v2")  # as `custody up` prints it, or as the trust root names it
        with log_at(settings(), f"{base}/api/v2") as reader:
            yield reader
        return
    directory = Path(place) if place else settings().data / "log"
    if not (directory / "checkpoint").is_file():
        raise MissingEvidenceError(f"{directory}: no log is here (no file named checkpoint)",
                                   hint="--log takes a log's directory or URL; `custody up` makes one")
    yield log_in(directory)


@contextlib.contextmanager
def readers(place: str | None) -> Iterator[Sequence[LogReader]]:
    """The log of `--log`, of API version 1 too: its shards, the oldest first. Raises MissingEvidenceError."""
    if place is None or "://" not in place or not _is_version_1(place):
        with opened(place) as reader:
            yield [TiledLog(reader)]
        return
    with rekor1_at(settings(), place.rstrip("/").removesuffix("/api/v1")) as shards:
        yield shards


def _is_version_1(url: str) -> bool:
    """By what the URL ends with, or by what is there."""
    base = url.rstrip("/")
    if base.endswith(("/api/v1", "/api/v2")):
        return base.endswith("/api/v1")
    with log_at(settings(), f"{base}/api/v2") as tiles:
        return tiles.read("checkpoint") is None


def verifier_of(reader: TileReader, trusted_root: str | None) -> LogVerifier:
    """The log's key, of the trusted root. Raises UsageError, VerificationError."""
    root = load_root(settings(), trusted_root)
    if root is None:
        raise UsageError("no trusted root to check the log with", hint="--trusted-root FILE")
    return audit.verifier_for(reader, root)
