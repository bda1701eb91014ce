"""`custody notation certificate delete`: trust a certificate no more."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from custody.cli.notation.options import Command, confirmed, directory
from custody.cli.notation.stores import held, store_options
from custody.errors import UsageError


@click.command("delete", cls=Command)
@click.argument("name", required=False, metavar="FILE")
@store_options
@click.option("-a", "--all", "whole", is_flag=True, help="Delete the whole named store.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before.")
def command(name: str | None, store_type: str, store: str, whole: bool, yes: bool) -> None:
    """Delete a file of certificates from a trust store, or all of them."""
    if (name is None) != whole:
        raise UsageError("certificate delete: give the name of a file, or --all for the whole store")
    path = directory().trust_store(store_type, store) if name is None else held(store_type, store, name)
    question = (f"Are you sure you want to delete all certificates in \"{store}\" of type \"{store_type}\"?"
                if name is None else
                f"Are you sure you want to delete \"{name}\" in \"{store}\" of type \"{store_type}\"?")
    if not confirmed(question, yes=yes):
        return
    _delete(path)
    print(f"Successfully deleted {name or path}")


def _delete(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
