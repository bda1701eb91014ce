"""`custody restore`: a backup as the data directory, checked whole before anything is in its place."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from custody.cli.backup import counted, summary
from custody.cli.run import settings
from custody.errors import UsageError, VerificationError
from custody.kit import digest as digests
from custody.kit.amount import amount
from custody.wiring.backup import restore


@click.command("restore")
@click.argument("source", metavar="FILE|-")
@click.option("--digest", metavar="SHA256", help="The manifest's digest, as `custody backup` said it.")
def command(source: str, digest: str | None) -> None:
    """Make the data directory, which must not be there yet, out of a backup. Exit 4 where one byte of it is changed."""
    if digest is not None and not digests.is_digest(digest):
        raise UsageError(f"--digest: got {digest!r}, expected sha256:<64 hexadecimal digits>")
    data = settings().data
    with _input(source) as stream, counted("restored") as progress:
        restored = restore(stream, data, digest=digest, progress=progress)
    print(f"{data}: {summary(restored.manifest)}", file=sys.stderr)
    for name, size in restored.logs.items():
        print(f"{name}: {amount(size, 'entry', 'entries')}. What was logged after {restored.manifest.created} is not "
              "in it: who has seen a later checkpoint will report a fork", file=sys.stderr)
    if restored.damaged:
        raise VerificationError("changed at rest before they were saved, and in quarantine now: "
                                + ", ".join(blob.path for blob in restored.damaged[:10]),
                                hint="everything else is in its place; push the images again")


@contextlib.contextmanager
def _input(source: str) -> Iterator[IO[bytes]]:
    if source == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = Path(source).open("rb")  # noqa: SIM115 - entered below
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror}") from None
    with stream:
        yield stream
