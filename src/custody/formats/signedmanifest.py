"""Manifests that carry their own signature (github.com/sigstore/k8s-manifest-sigstore): annotations of an object.

`DOMAIN/message` is base64 of gzip of what was signed: YAML, or a tar.gz of YAML files. `DOMAIN/signature` is cosign's
signature of a blob over those bytes in base64; `certificate` (PEM) and `bundle` (Rekor's, JSON) are kept as the message
is. More signatures of the same message are numbered: `signature_1`, `certificate_1`, `bundle_1`.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.formats import yaml
from custody.formats.tar.source import Source
from custody.formats.tar.walk import walk

DOMAIN = "cosign.sigstore.dev"
MESSAGE, SIGNATURE, CERTIFICATE, BUNDLE, PLACE = (
    "message", "signature", "certificate", "bundle", "resourceBundleRef")
PARTS = (MESSAGE, SIGNATURE, CERTIFICATE, BUNDLE, PLACE)
"""`resourceBundleRef` names an image in a registry that holds the manifests, instead of a message."""
MAX_SIZE = 3 << 19
"""Bytes of a message, and of all files in it: no cluster keeps an object that is larger than 1.5 MiB."""
MAX_SIGNATURES = 8
_GZIP = b"\x1f\x8b"
_FILES = (".yaml", ".yml")


class SignatureSet(NamedTuple):
    """One signature of a message; texts as they are in the annotations, "" where there is none."""

    signature: str
    certificate: str
    """PEM."""
    bundle: str
    """JSON of `SignedEntryTimestamp` and `Payload`."""


class _Limits:
    entries = 1000
    path = 4096
    records = 1000


def message(text: str) -> bytes:
    """What was signed. Raises MalformedError."""
    try:
        data = base64.b64decode("".join(text.split("\n")), validate=True)
    except ValueError:
        raise MalformedError(MESSAGE, got=text[:40], expected="base64") from None
    return _unpacked(data, MESSAGE)


def signature_sets(annotations: Mapping[str, str], domain: str = DOMAIN) -> list[SignatureSet]:
    """In order, up to the first number that is missing. Raises MalformedError for what cannot be read."""
    sets: list[SignatureSet] = []
    while True:
        suffix = f"_{len(sets)}" if sets else ""
        signature = annotations.get(f"{domain}/{SIGNATURE}{suffix}")
        if signature is None:
            return sets
        if len(sets) >= MAX_SIGNATURES:
            raise MalformedError(f"{domain}/{SIGNATURE}{suffix}", got=f"more than {MAX_SIGNATURES} signatures",
                                 expected="fewer")
        certificate, bundle = (_text(annotations.get(f"{domain}/{part}{suffix}", ""), part)
                               for part in (CERTIFICATE, BUNDLE))
        sets.append(SignatureSet(signature, certificate, bundle))


def manifests(data: bytes, where: str = MESSAGE) -> list[dict[str, Any]]:
    """The objects in what was signed: YAML, or the YAML files of a tar.gz in order of their names.

    Raises MalformedError, also for an archive with anything but files and folders in it.
    """
    if not data.startswith(_GZIP):
        return [document for document in yaml.documents(data, where) if isinstance(document, dict)]
    files: dict[str, bytes] = {}
    for entry in walk(Source([_unpacked(data, where)], where), _Limits()):
        content = b"".join(entry.pieces()) if entry.kind == "file" else b""
        if entry.kind not in ("file", "directory"):
            raise MalformedError(where, got=f"a {entry.kind} {entry.path}", expected="files and folders")
        if entry.path.endswith(_FILES):
            files[entry.path] = content
    return [document for name in sorted(files) for document in yaml.documents(files[name], f"{where}: {name}")
            if isinstance(document, dict)]


def _text(packed: str, part: str) -> str:
    if not packed:
        return ""
    try:
        return _unpacked(base64.b64decode("".join(packed.split("\n")), validate=True), part).decode()
    except ValueError:
        raise MalformedError(part, got=packed[:40], expected="base64 of text") from None


def _unpacked(data: bytes, where: str) -> bytes:
    """Without its gzip, where it has one."""
    if not data.startswith(_GZIP):
        if len(data) > MAX_SIZE:
            raise MalformedError(where, got=f"more than {MAX_SIZE} bytes", expected=f"at most {MAX_SIZE} bytes")
        return data
    unpacked = bytearray()
    while data.startswith(_GZIP):  # members stand one behind the other
        stream = zlib.decompressobj(31)
        try:
            unpacked += stream.decompress(data, MAX_SIZE + 1 - len(unpacked))
        except zlib.error as error:
            raise MalformedError(where, got=str(error), expected="gzip") from None
        if len(unpacked) > MAX_SIZE:
            raise MalformedError(where, got=f"more than {MAX_SIZE} bytes", expected=f"at most {MAX_SIZE} bytes")
        if not stream.eof:
            raise MalformedError(where, got="a cut gzip stream", expected="a whole one")
        data = stream.unused_data
    return bytes(unpacked)
