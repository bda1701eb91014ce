"""Policies that a command makes: on stdout as they come, or a file each in a folder, all of them or none."""

from __future__ import annotations

import contextlib
import os
import stat
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
        """What was added, where it goes to a folder: drafts beside their places first, then all are renamed.

        A link in the folder is not followed, and nothing else than a file is replaced. Raises UsageError; nothing is
        written then, but for a renaming that fails after others.
        """
        if self._folder is None or not self._kept:
            return
        files = [self._folder / name for name in _names([document for document, _ in self._kept])]
        for file in files:
            _check(file)
        destination.make_folder(self._folder, _FLAG)
        drafts: list[Path] = []
        try:
            for file, (_, text) in zip(files, self._kept, strict=True):
                draft = file.with_name(f".custody-{os.getpid()}-{len(drafts)}")
                handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
                drafts.append(draft)
                with os.fdopen(handle, "wb") as stream:
                    stream.write(text.encode())
            for draft, file in zip(drafts, files, strict=True):
                draft.replace(file)
        except OSError as error:
            raise UsageError(f"{_FLAG} {self._folder}: {error.strerror}") from None
        finally:
            for draft in drafts:
                with contextlib.suppress(OSError):  # it was renamed, or its folder is gone
                    draft.unlink()


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


def _check(file: Path) -> None:
    """Whether a file may stand there. Raises UsageError."""
    try:
        mode = file.lstat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise UsageError(f"{_FLAG} {file}: {error}") from None
    if not stat.S_ISREG(mode):
        raise UsageError(f"{_FLAG} {file}: is {'a link' if stat.S_ISLNK(mode) else 'no file'}, expected a file or "
                         "nothing", hint="nothing was written: give another folder, or take it away")
