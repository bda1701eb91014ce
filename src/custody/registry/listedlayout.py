"""OCI layouts whose index.json lists every manifest, evidence too, as oras and notation write them (image-spec
image-layout.md). What is copied and saved lies in a `registry.layout`, which also finds what is listed nowhere.

What is added is on the disk before index.json names it, and that is replaced whole, by one writer at a time.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import msgspec

from custody.errors import MalformedError, NotFoundError, UnsupportedError, UsageError, VerificationError
from custody.formats import oci
from custody.kit import destination, strictjson
from custody.kit import digest as digests
from custody.registry.layoutindex import IMAGE_NAME, REF_NAME, change_index

_NAMING = (REF_NAME, IMAGE_NAME)
_MAX_DEPTH = 4
_MOST = 256 << 20
"""Bytes of all manifests that are read for their subjects."""


class ListedLayout:
    """A folder. Every method raises UsageError where files cannot be read or written, MalformedError for what they
    hold."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        marker = strictjson.loads(self._read("oci-layout", 4096), f"{folder}/oci-layout")
        if not isinstance(marker, dict) or not isinstance(marker.get("imageLayoutVersion"), str):
            raise MalformedError(f"{folder}/oci-layout", got=marker, expected="imageLayoutVersion")
        self._referring: dict[str, tuple[str, oci.Descriptor] | None] = {}
        """A manifest's digest → its subject, and how it refers to that; None where it has none."""
        self._looked = 0

    def resolve(self, identifier: str) -> oci.Descriptor:
        """The manifest or index of a tag or a digest, whose bytes are what its digest says.

        Raises NotFoundError, VerificationError.
        """
        index = self._index()
        if digests.is_digest(identifier):
            listed = self._below(index, identifier, 0)
        else:
            tagged = [entry for entry in index.manifests if entry.annotations.get(REF_NAME) == identifier]
            listed = tagged[-1] if tagged else None
        if listed is None:
            raise NotFoundError(f"{self._folder}: no manifest {identifier}")
        return oci.Descriptor(listed.media_type, listed.digest, len(self.manifest(listed)))

    def manifest(self, descriptor: oci.Descriptor) -> bytes:
        """Its bytes. Raises VerificationError unless they are the descriptor's."""
        return self.blob(descriptor, oci.MAX_MANIFEST)

    def blob(self, descriptor: oci.Descriptor, limit: int) -> bytes:
        """A small blob, whole. Raises VerificationError unless size and digest are the descriptor's."""
        if descriptor.size > limit:
            raise MalformedError(f"{self._folder}: {descriptor.digest}", got=f"{descriptor.size} bytes",
                                 expected=f"at most {limit}")
        data = self._read(_blob(descriptor.digest), limit)
        actual = digests.compute(data, descriptor.digest.partition(":")[0])
        if (actual, len(data)) != (descriptor.digest, descriptor.size):
            raise VerificationError(f"{self._folder}: {descriptor.digest}: got {len(data)} bytes of {actual}, expected "
                                    f"{descriptor.size}")
        return data

    def referrers(self, digest: str) -> list[oci.Descriptor]:
        """Manifests of index.json whose subject this is, with their artifact types; the older form's is the media type
        of its configuration. What is no manifest refers to nothing. Raises VerificationError; MalformedError too where
        there are more bytes of manifests than are read.
        """
        listed: dict[str, oci.Descriptor] = {}
        for entry in self._index().manifests:
            if entry.media_type != oci.MANIFEST or entry.digest == digest:
                continue
            if entry.digest not in self._referring:
                try:
                    self._referring[entry.digest] = self._refers(entry)
                except NotFoundError:  # of an image that somebody took out, say: nobody can refer by what is not there
                    continue
            refers = self._referring[entry.digest]
            if refers is not None and refers[0] == digest:
                listed[entry.digest] = refers[1]
        return [*listed.values()]

    def _refers(self, entry: oci.Descriptor) -> tuple[str, oci.Descriptor] | None:
        if self._looked + entry.size > _MOST:
            raise MalformedError(f"{self._folder}/index.json", got=f"manifests of more than {_MOST} bytes",
                                 expected="fewer: each is read for its subject")
        data = self.manifest(entry)
        self._looked += len(data)
        try:
            body = oci.parse_manifest(data, f"{self._folder}: {entry.digest}", entry.media_type)
        except (MalformedError, UnsupportedError):
            return None
        if not isinstance(body, oci.Manifest) or body.subject is None:
            return None
        return body.subject.digest, msgspec.structs.replace(
            entry, artifact_type=body.artifact_type or body.config.media_type, annotations=body.annotations)

    def push_blob(self, data: bytes, media_type: str) -> oci.Descriptor:
        digest = digests.sha256(data)
        path = self._folder / _blob(digest)
        if not path.is_file() or path.read_bytes() != data:
            destination.make_folder(path.parent, "")
            destination.write(path, data, "")
        return oci.Descriptor(media_type, digest, len(data))

    def push_manifest(self, data: bytes, media_type: str) -> oci.Descriptor:
        """Store a manifest, and list it in index.json with its annotations, but for those that name it: a tag that
        means an image goes on meaning it.
        """
        body = oci.parse_manifest(data, str(self._folder), media_type)
        descriptor = self.push_blob(data, media_type)
        annotations = {key: value for key, value in body.annotations.items() if key not in _NAMING}
        entry = msgspec.structs.replace(descriptor, annotations=annotations)
        change_index(self._folder, lambda entries: entries if any(
            listed.get("digest") == descriptor.digest for listed in entries) else [*entries, entry.to_json()])
        return descriptor

    def remove(self, descriptor: oci.Descriptor, keep: Collection[str] = ()) -> None:
        """Take a manifest out of index.json, and its file with those of its blobs, but for the digests in `keep`."""
        body = oci.parse_manifest(self.manifest(descriptor), f"{self._folder}: {descriptor.digest}",
                                  descriptor.media_type)
        blobs = [layer.digest for layer in body.layers] if isinstance(body, oci.Manifest) else []
        change_index(self._folder, lambda entries: [
            listed for listed in entries if listed.get("digest") != descriptor.digest])
        for digest in {descriptor.digest, *blobs} - {*keep}:
            try:
                (self._folder / _blob(digest)).unlink(missing_ok=True)
            except OSError as error:
                raise UsageError(f"{self._folder / _blob(digest)}: {error.strerror}") from None

    def _below(self, index: oci.Index, digest: str, depth: int) -> oci.Descriptor | None:
        for entry in index.manifests:
            if entry.digest == digest:
                return entry
        for entry in index.manifests if depth < _MAX_DEPTH else ():
            if entry.media_type in oci.INDEX_TYPES:
                body = oci.parse_manifest(self.manifest(entry), f"{self._folder}: {entry.digest}", entry.media_type)
                deeper = self._below(body, digest, depth + 1) if isinstance(body, oci.Index) else None
                if deeper is not None:
                    return deeper
        return None

    def _index(self) -> oci.Index:
        index = oci.parse_manifest(self._read("index.json", oci.MAX_MANIFEST), f"{self._folder}/index.json", oci.INDEX)
        if not isinstance(index, oci.Index):
            raise MalformedError(f"{self._folder}/index.json", got="a manifest", expected="an index")
        return index

    def _read(self, name: str, limit: int) -> bytes:
        path = self._folder / name
        try:
            if path.exists() and not path.is_file():  # opening a pipe would wait for whoever writes into it
                raise UsageError(f"{path}: is no regular file", hint="a layout's files are")
            with path.open("rb") as stream:
                data = stream.read(limit + 1)
        except FileNotFoundError as error:
            if name.startswith("blobs/"):
                raise NotFoundError(f"{path}: {error.strerror}", hint="the layout is not whole") from None
            raise UsageError(f"{path}: {error.strerror}", hint="is it the folder of an OCI layout?") from None
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}",
                             hint="is it the folder of an OCI layout, and whole?") from None
        if len(data) > limit:
            raise MalformedError(str(path), got=f"more than {limit} bytes", expected=f"at most {limit}")
        return data


def _blob(digest: str) -> str:
    algorithm, _, value = digests.parse(digest).partition(":")
    return f"blobs/{algorithm}/{value}"
