"""Policies that a command makes: on stdout as they come, or a file each in a folder, all of them or none."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from custody.errors import UsageError
from custody.formats import yaml
from custody.kit import destination

_FLAG = "--output"
_LONGEST = 255
"""Bytes of a file's name."""
Document = Mapping[str, Any]


class PolicyFiles:
    """`folder`: None for stdout. Raises UsageError for a folder that cannot be one, before any work is done."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._kept: list[tuple[Document, str]] = []
        if folder is not None:
            destination.check_folder(folder, _FLAG)

    def add(self, documents: Sequence[Document], header: str = "") -> None:
        """`header`: comments before each, whole lines."""
        for document in documents:
            text = header + yaml.dumped(document)
            if self._folder is None:
                click.echo(f"---\n{text.rstrip()}")
            else:
                self._kept.append((document, text))

    def write(self) -> None:
        """What was added, where it goes to a folder. Raises UsageError, StorageFullError, as `write_together`."""
        if self._folder is None or not self._kept:
            return
        names = _names([document for document, _ in self._kept])
        destination.make_folder(self._folder, _FLAG)
        destination.write_together([(self._folder / name, text.encode())
                                    for name, (_, text) in zip(names, self._kept, strict=True)], _FLAG)


def _names(documents: Sequence[Document]) -> list[str]:
    """Of files: the policy's name after its namespace; where several would have that, with the kind.

    Raises UsageError.
    """
    plain = ["-".join(filter(None, _whose(document))) for document in documents]
    count = Counter(name.casefold() for name in plain)
    names = [f"{name}.yaml" if count[name.casefold()] == 1 else  # `_` stands in no name, so that it says which is which
             f"{'_'.join(filter(None, _whose(document)))}.{str(document['kind']).lower()}.yaml"
             for name, document in zip(plain, documents, strict=True)]
    for name, several in Counter(name.casefold() for name in names).items():
        if several > 1:
            raise UsageError(f"{_FLAG}: got {several} policies whose file is {name}, expected each once",
                             hint="give them to a call each, with folders of their own")
    if long := [name for name in names if len(os.fsencode(name)) > _LONGEST]:
        raise UsageError(f"{_FLAG}: got a file's name of {len(os.fsencode(long[0]))} bytes, {long[0][:40]}…, expected "
                         f"at most {_LONGEST}", hint="without --output they are written to stdout")
    return names


def _whose(document: Document) -> tuple[str, str]:
    metadata = document["metadata"]
    namespace, name = str(metadata.get("namespace") or ""), str(metadata["name"])
    return namespace.replace("/", "-"), name.replace("/", "-")

