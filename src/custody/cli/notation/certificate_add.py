"""`custody notation certificate add`: trust a certificate."""

from __future__ import annotations

import os
from pathlib import Path

import click

from custody.cli.notation.options import Command, directory
from custody.cli.notation.stores import read, store_options
from custody.errors import CustodyError, UsageError
from custody.kit.visible import visible
from custody.sign.notary.directory import write_document
from custody.sign.notary.truststore import read_certificates, unfit


@click.command("add", cls=Command)
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@store_options
def command(files: tuple[Path, ...], store_type: str, store: str) -> None:
    """Add certificates to a trust store: PEM or DER, each file with one or several.

    A certificate that the store could not be used with is refused: it is neither a CA's nor self-signed, or in a tsa
    store no root.
    """
    folder = directory().trust_store(store_type, store)
    added: list[Path] = []
    failures: list[str] = []
    for path in files:
        try:
            _add(path, folder, store_type)
            added.append(path)
        except CustodyError as error:
            failures.append(f"{path}: {error.message}")
    if added:
        print(f"Successfully added following certificates to named store {store} of type {store_type}:")
        for path in added:
            print(visible(str(path)))
    if failures:
        raise UsageError(f"Failed to add following certificates to named store {store} of type {store_type}:\n"
                         + "\n".join(failures))


def _add(path: Path, folder: Path, store_type: str) -> None:
    data = read(path)
    for certificate in read_certificates(data, path.name):
        if reason := unfit(certificate, store_type):
            raise UsageError(reason)
    target = folder / path.name
    if os.path.lexists(target):
        raise UsageError("certificate already exists in the Trust Store")
    write_document(target, data)
