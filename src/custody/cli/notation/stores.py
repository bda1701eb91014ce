"""What the commands of `notation certificate` share: which trust store is meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from custody.cli.notation.options import directory
from custody.errors import UsageError
from custody.kit import regular
from custody.sign.notary.directory import STORE_TYPES

_F = TypeVar("_F", bound=Callable[..., Any])
MAX_FILE = 1 << 20
"""Bytes of a file of certificates."""


def store_options(command: _F) -> _F:
    """`store_type` and `store`, both required."""
    for option in (
            click.option("-s", "--store", required=True, metavar="NAME", help="Which named store."),
            click.option("-t", "--type", "store_type", required=True, metavar="TYPE",
                         help=f"{', '.join(STORE_TYPES[:-1])} or {STORE_TYPES[-1]}.")):
        command = option(command)
    return command


def held(store_type: str, store: str, name: str) -> Path:
    """A file of a store. Raises UsageError for a name that is no file's."""
    if name != Path(name).name or name in ("", ".", ".."):
        raise UsageError(f"{name}: got a path, expected the name of a file in the store {store_type}:{store}")
    return directory().trust_store(store_type, store) / name


def read(path: Path) -> bytes:
    """A file of certificates. Raises UsageError, MalformedError."""
    return regular.read(path, MAX_FILE)
