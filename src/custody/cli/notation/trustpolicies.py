"""What the commands of `notation policy` and `notation blob policy` share: the document is imported, shown or begun."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custody.cli.notation.options import confirmed, directory, warn
from custody.errors import MissingEvidenceError, UsageError
from custody.kit import regular
from custody.sign.notary.directory import read_document, write_document
from custody.sign.notary.trustpolicy import MAX_POLICY, Document, parse_blob, parse_oci


@dataclass(frozen=True, slots=True)
class Kind:
    """Of trust policies: for images or for files."""

    word: str
    """How people call it."""
    command: str
    parse: Callable[[bytes, str], Document]
    imported: str
    """What is said when it is imported; {} is its path."""

    def path(self) -> Path:
        """The document that counts."""
        return directory().blob_policy if self.parse is parse_blob else directory().oci_policy


IMAGES = Kind("trust policy", "custody notation policy", parse_oci, "Trust policy configuration imported successfully.")
BLOBS = Kind("blob trust policy", "custody notation blob policy", parse_blob,
             "Successfully imported blob trust policy configuration to {}.")


def import_policy(kind: Kind, source: Path, *, force: bool) -> None:
    """Check a document, and make it the one that counts. Raises UsageError, MalformedError, UnsupportedError."""
    data = regular.read(source, MAX_POLICY)
    kind.parse(data, str(source))
    if replace(kind, f"The {kind.word} file already exists, do you want to overwrite it?", force=force):
        write_document(kind.path(), data)
        print(kind.imported.format(kind.path()))


def show_policy(kind: Kind) -> None:
    """Print the document as it is, and whether it is right. Raises MissingEvidenceError where there is none."""
    path = kind.path()
    data = read_document(path)
    if data is None:
        raise MissingEvidenceError(f"{path}: there is no {kind.word}",
                                   hint=f"{kind.command} import FILE puts one there")
    try:
        kind.parse(data, path.name)
    except UsageError as error:
        warn(f"the {kind.word} is invalid: {error.message}")
    sys.stdout.buffer.write(data)


def begin_policy(kind: Kind, statement: Mapping[str, Any], *, force: bool) -> None:
    """Make a document of one strict statement the one that counts. Raises as `import_policy` does."""
    data = json.dumps({"version": "1.0", "trustPolicies": [dict(statement)]}, indent=2, ensure_ascii=False).encode()
    kind.parse(data, kind.word)
    if replace(kind, f"The {kind.word} configuration already exists, do you want to overwrite it?", force=force):
        write_document(kind.path(), data)
        print(f"Successfully initialized {kind.word} file to {kind.path()}.")


def replace(kind: Kind, question: str, *, force: bool) -> bool:
    """Whether a document may be written: where there is one, whoever asks must say so."""
    if not os.path.lexists(kind.path()):
        return True
    if force:
        warn(f"existing {kind.word} configuration will be overwritten")
    return confirmed(question, yes=force)
