"""`custody notation certificate list`: what the trust stores hold."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from custody.cli.notation.options import Command, Narrator, columns, directory, logging_options
from custody.cli.notation.stores import read
from custody.errors import CustodyError, VerificationError
from custody.sign.notary.directory import STORE_TYPES
from custody.sign.notary.truststore import read_certificates


@click.command("list", cls=Command)
@click.option("-t", "--type", "store_type", metavar="TYPE", help="Stores of this type: ca, signingAuthority or tsa.")
@click.option("-s", "--store", metavar="NAME", help="Stores of this name.")
@logging_options
def command(store_type: str | None, store: str | None, **options: Any) -> None:
    """List the files of certificates in all trust stores, or in some of them."""
    narrator = Narrator(options["debug"], options["verbose"])
    rows: list[tuple[str, str, str]] = []
    broken: list[str] = []
    for kind in STORE_TYPES:
        if store_type in (None, kind):
            for path in _files(directory().trust_stores / kind, store):
                narrator.debug(f"reading {path}")
                try:
                    read_certificates(read(path), path.name)
                    rows.append((kind, path.parent.name, path.name))
                except CustodyError as error:
                    broken.append(f"{path}: {error.message}")
    if rows:
        sys.stdout.write(columns([("STORE TYPE", "STORE NAME", "CERTIFICATE"), *rows]))
    if broken:
        raise VerificationError("these files of the trust stores hold no certificate, so no store with one is used:\n"
                                + "\n".join(broken))


def _files(folder: Path, store: str | None) -> Iterator[Path]:
    """Regular files of the stores, in order; folders in a store are left out."""
    if not folder.is_dir():
        return
    for named in sorted(folder.iterdir()):
        if named.is_dir() and store in (None, named.name):
            yield from sorted(path for path in named.iterdir() if path.is_file() and not path.is_symlink())
