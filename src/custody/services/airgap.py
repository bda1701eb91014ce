"""One folder that crosses an air gap: an OCI layout with an image and all that is known about it, the files that
verifying needs beside it, and one signed manifest of every file.

    DIR/oci-layout, index.json, blobs/     the image and its evidence, as in any layout
    DIR/airgap/…                           trusted_root.json, advisories, whatever was given along
    DIR/airgap.sigstore.json               a Sigstore bundle: an in-toto statement about the image, whose predicate has
                                           the digest of every other file

The manifest is looked at before anything else is: who signed it, then file by file. What it does not say is whether
there is a newer one; it has the time at which it was made.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from custody.errors import MalformedError, MissingEvidenceError, UsageError, VerificationError
from custody.evidence.model import Evidence, Rejected, Signer
from custody.formats import bundle as bundles
from custody.formats import intoto
from custody.kit import digest as digests
from custody.kit.clock import format_rfc3339
from custody.services.verify import Terms, judge

PREDICATE_TYPE = "https://custody.internal/airgap/v1"
MANIFEST = "airgap.sigstore.json"
FOLDER = "airgap"
ROOT = f"{FOLDER}/trusted_root.json"
ADVISORIES = f"{FOLDER}/advisories.custody"
_MAX_MANIFEST = 64 * 1024 * 1024
_MAX_FILES = 100_000
_SHOWN = 5
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Freight:
    """What a manifest that was verified says, and of which every file was compared."""

    image: str
    digest: str
    created: str
    signer: Signer
    files: int


def is_airgap(root: Path) -> bool:
    """Whether the folder has a signed manifest, of whomever."""
    return os.path.lexists(root / MANIFEST)


def describe(root: Path, image: str, digest: str, now: datetime, advance: Callable[[int], None] | None = None
             ) -> intoto.Statement:
    """The statement that is to be signed: every file of the folder by its digest. Raises UsageError, MalformedError."""
    files = {name: _hashed(path, advance) for name, path in _files(root)}
    return intoto.statement(digest, PREDICATE_TYPE, {"image": image, "created": format_rfc3339(now.replace(
        microsecond=0)), "files": files})


def inspect(root: Path, terms: Terms, now: datetime, advance: Callable[[int], None] | None = None) -> Freight:
    """The manifest verified on these terms, and every file compared with it.

    Raises MissingEvidenceError where there is no manifest, VerificationError for a signer that is not expected, and for
    files that were changed, are not in the manifest, or are in it and not there: all of them, by their names.
    """
    path = root / MANIFEST
    if not is_airgap(root):
        raise MissingEvidenceError(f"{path}: there is no signed manifest", hint="custody save --airgap makes one")
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_MANIFEST:
        raise VerificationError(f"{path}: is no file of at most {_MAX_MANIFEST >> 20} MiB, expected a Sigstore bundle")
    data = path.read_bytes()
    subject = _subject(data, path)
    judged = judge(Evidence(subject=subject, media_type=bundles.MEDIA_TYPE, data=data, source=MANIFEST), terms, now)
    if isinstance(judged, Rejected):
        raise VerificationError(f"{path}: {judged.reason}", check=judged.check,
                                hint="the folder is not by whom it should be; nothing in it was looked at")
    if judged.predicate_type != PREDICATE_TYPE:
        raise VerificationError(f"{path}: is a statement of type {judged.predicate_type}, expected {PREDICATE_TYPE}")
    said = _predicate(judged.predicate, path)
    _compare(root, said["files"], advance)
    return Freight(said["image"], subject, said["created"], judged.signer, len(said["files"]))


def _subject(data: bytes, path: Path) -> str:
    """The digest that the statement is about, by its own word; whether it was signed is seen next."""
    try:
        envelope = bundles.parse_bundle(data, str(path)).envelope
        if envelope is None:
            raise MalformedError(str(path), got="a signature of bytes", expected="a signed statement")
        subject = intoto.parse_statement(envelope.payload, str(path)).subjects[0]
        return digests.parse(f"sha256:{subject.digest.get('sha256')}", f"{path}: subject")
    except UsageError as error:
        raise VerificationError(error.message) from None


def _predicate(predicate: Any, path: Path) -> dict[str, Any]:
    expected = {"image": str, "created": str, "files": dict}
    if not isinstance(predicate, dict) or set(predicate) != set(expected) or not all(
            isinstance(predicate[key], kind) for key, kind in expected.items()):
        raise VerificationError(f"{path}: its predicate is not image, created and files, and nothing else")
    if not all(isinstance(digest, str) and digests.is_digest(digest) for digest in predicate["files"].values()):
        raise VerificationError(f"{path}: its predicate has a file without a digest")
    return predicate


def _compare(root: Path, named: dict[str, str], advance: Callable[[int], None] | None) -> None:
    wrong: list[str] = []
    seen = set()
    for name, path in _files(root):
        seen.add(name)
        if name not in named:
            wrong.append(f"{name}: is not in the signed manifest")
        elif (digest := _hashed(path, advance)) != named[name]:
            wrong.append(f"{name}: its bytes are {digest}, the signed manifest says {named[name]}")
    wrong += [f"{name}: is in the signed manifest, and not there" for name in named if name not in seen]
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        raise VerificationError(f"{root}: not what was signed\n" + "\n".join(
            f"  {line}" for line in [*wrong[:_SHOWN], *more]), hint="carry it over again")


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file but the manifest, by its path below the folder. Raises VerificationError for what is no file."""
    count = 0
    for folder, folders, names in os.walk(root, onerror=_fail):
        folders.sort()
        for name in sorted([*names, *(inner for inner in folders if os.path.islink(os.path.join(folder, inner)))]):
            path = Path(folder, name)
            below = path.relative_to(root).as_posix()
            if below == MANIFEST:
                continue
            count += 1
            if count > _MAX_FILES:
                raise MalformedError(str(root), got=f"more than {_MAX_FILES} files", expected="fewer")
            if not stat.S_ISREG(path.lstat().st_mode):
                raise VerificationError(f"{path}: is no regular file, and a signed folder has nothing else")
            yield below, path


def _fail(error: OSError) -> None:
    raise UsageError(f"{error.filename}: {error.strerror}")


def _hashed(path: Path, advance: Callable[[int], None] | None) -> str:
    state = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_PIECE):
                state.update(chunk)
                if advance is not None:
                    advance(len(chunk))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    return f"sha256:{state.hexdigest()}"
