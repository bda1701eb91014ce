"""Signatures of the Notary Project made and kept: beside an image in a registry or an OCI layout, or in a file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from custody.errors import UsageError, VerificationError
from custody.formats import notary, oci
from custody.kit.clock import Clock
from custody.services.notaryplaces import Place
from custody.sign.notary.sign import EnvelopeMaker, Key, Signed, Terms, hash_of, sign

BLOB_TYPE = "application/octet-stream"
_SUFFIXES = {media_type: form for form, media_type in notary.FORMATS.items()}
_READ = 1 << 20


def subject_of(descriptor: oci.Descriptor, data: bytes, where: str) -> oci.Descriptor:
    """What is signed of a manifest: the type that its own bytes say, their digest and how many they are.

    Whoever keeps it may say another type of the same bytes, and would have that signed. Raises VerificationError then,
    MalformedError, UnsupportedError for what is no manifest.
    """
    kind = oci.parse_manifest(data, where, descriptor.media_type).media_type
    if kind != descriptor.media_type:
        raise VerificationError(f"{where}: is listed as {descriptor.media_type}, and says itself that it is {kind}")
    return oci.Descriptor(kind, descriptor.digest, len(data))


async def sign_artifact(place: Place, subject: oci.Descriptor, key: Key | EnvelopeMaker, terms: Terms,
                        clock: Clock) -> tuple[oci.Descriptor, Signed]:
    """Sign a manifest, and store the signature beside it. Raises as `sign` and the place do."""
    target = notary.Target(subject.media_type, subject.digest, subject.size, dict(subject.annotations))
    signed = await sign(target, key, terms, clock())
    return await place.push(subject, signed), signed


async def sign_blob(blob: BinaryIO, media_type: str, key: Key, terms: Terms, clock: Clock) -> Signed:
    """Sign bytes, by the hash that goes with the key. Raises as `sign` does."""
    state, size = hashlib.new(hash_of(key.algorithm()).name), 0
    while chunk := blob.read(_READ):
        state.update(chunk)
        size += len(chunk)
    target = notary.Target(media_type, f"{state.name}:{state.hexdigest()}", size, {})
    return await sign(target, key, terms, clock())


def signature_path(blob: Path, folder: Path | None, media_type: str) -> Path:
    """Where the signature of a file is kept: beside it, or in a folder, as NAME.jws.sig or NAME.cose.sig."""
    if not blob.name:
        raise UsageError(f"{blob}: got no file's name")
    return (folder or blob.parent) / f"{blob.name}.{_SUFFIXES[media_type]}.sig"
