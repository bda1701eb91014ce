"""`custody backup`: the data directory as one file, while its services run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from custody.cli.run import settings
from custody.errors import MissingEvidenceError, StorageFullError, UsageError, VerificationError
from custody.kit import destination
from custody.kit.amount import amount
from custody.kit.clock import system_clock
from custody.kit.visible import rewritable, terminal
from custody.wiring.backup import Manifest, Progress, anything_to_save, save


@click.command("backup")
@click.argument("target", metavar="FILE|-")
@click.option("--no-keys", "without_keys", is_flag=True,
              help="Leave private keys out: what is restored can be read and "
                   "verified, and signs nothing until they are put back.")
def command(target: str, without_keys: bool) -> None:
    """Save keys, logs, registry and advisories of the data directory, as of now, beside running services.

    The file is readable by its owner only, and not encrypted: `custody backup - | age -r … > FILE`.
    """
    data = settings().data
    if target != "-":
        destination.check(target, "backup")
    if not anything_to_save(data):
        raise MissingEvidenceError(f"{data}: nothing to save is here", hint="data_dir in custody.toml says where it is")
    with _output(target) as out, counted("saved") as progress:
        backup = save(data, out, keys=not without_keys, created=system_clock(), progress=progress)
        out.flush()
    print(summary(backup.manifest), file=sys.stderr)
    # What `restore --digest` wants is for scripts, where standard output is not the backup itself.
    print(backup.digest, file=sys.stderr if target == "-" else sys.stdout)
    troubles = [f"changed at rest, and saved as it is: {path}" for path in backup.damaged]
    troubles += [f"named by a repository, and not there: {digest}" for digest in backup.missing]
    if troubles:
        raise VerificationError("; ".join(troubles[:10]),
                                hint="the backup is whole but for these; registry scrub, and push the images again")


def summary(manifest: Manifest) -> str:
    return f"{amount(len(manifest.files), 'file')}, {manifest.size:,} bytes, of {manifest.created}"


@contextlib.contextmanager
def counted(word: str) -> Iterator[Progress]:
    """Files and bytes so far on a terminal's last line; silent in a pipe."""
    shown = rewritable(sys.stderr)

    def progress(count: int, size: int) -> None:
        if shown and count % 50 == 0:
            print(f"\r{count} files, {size >> 20} MiB {word} ", end="", file=terminal(sys.stderr), flush=True)

    yield progress
    if shown:
        print("\r\x1b[K", end="", file=terminal(sys.stderr))


@contextlib.contextmanager
def _output(target: str) -> Iterator[IO[bytes]]:
    """Standard output, or a file that appears whole or not at all."""
    if target == "-":
        if sys.stdout.isatty():
            raise UsageError("backup -: standard output is a terminal", hint="a pipe, or the name of a file")
        yield sys.stdout.buffer
        return
    try:
        with destination.opened(Path(target), "backup", private=True) as out:
            yield out
    except StorageFullError as error:
        raise StorageFullError(f"{error.message}; there is no backup, and an older file is as it was") from None
