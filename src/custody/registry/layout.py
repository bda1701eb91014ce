"""An OCI image layout on this disk, as a place of images and of all that is known about them (image-spec
image-layout.md): read, and written so that index.json names only what is wholly there.

Evidence lies in a layout as in a registry: manifests with a `subject`, and cosign's tags. `cosign save` lists its tags
by an annotation `kind` and its bundles not at all, so that every small blob is looked at. What does not have the digest
of its name is an error wherever it is met.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from custody.errors import MalformedError, UnsupportedError, UsageError, VerificationError
from custody.formats import cosign, oci, reference
from custody.formats.reference import Reference
from custody.kit import destination
from custody.kit import digest as digests
from custody.registry.layoutindex import IMAGE_NAME, REF_NAME, change_index, read_index

KIND = "kind"
"""cosign's annotation of what an entry of index.json is (cosign pkg/oci/layout)."""
_COSIGN = "dev.cosignproject.cosign/"
_KINDS = {".sig": f"{_COSIGN}sigs", ".att": f"{_COSIGN}atts"}
_EVIDENCE_TAG = re.compile(r"(sha(?:256|384|512)-[0-9a-f]{64,128})(\.(?:sig|att|sbom))?\Z")
_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_MAX_FILES = 100_000


class Layout:
    """`root` is the folder. What `put_…` stored is in index.json after `flush`."""

    def __init__(self, root: Path) -> None:
        """Raises UsageError for a folder that is none, MalformedError."""
        self.root = root
        self.entries: list[oci.Descriptor] = list(read_index(self._open, str(root)).manifests)
        self._opened = [*self.entries]
        self._manifests: dict[str, tuple[str, bytes]] = {}
        self._referrers: dict[str, dict[str, oci.Descriptor]] | None = None
        self._about: dict[str, bool] = {}
        self._put: dict[str, oci.Descriptor] = {}
        self._changed = False

    @classmethod
    def made(cls, root: Path, flag: str) -> Layout:
        """The layout of a folder that is new, empty or one already. Raises UsageError, naming `flag`."""
        destination.make_folder(root, flag)
        if not (root / "index.json").exists():
            if any(root.iterdir()):
                raise UsageError(f"{flag} {root}: holds files and is no OCI layout", hint="give a new folder")
            destination.write(root / "oci-layout", _VERSION, flag)
            destination.write(root / "index.json", _dump(oci.Index(oci.INDEX, ())), flag)
        return cls(root)

    # Reading

    def images(self) -> list[oci.Descriptor]:
        """The entries of index.json that are images, or indexes of them, and no evidence about one."""
        return [entry for entry in self.entries if not self._is_evidence(entry)]

    def image(self, identifier: str | None) -> oci.Descriptor:
        """The image of a tag, name or digest, or the only one. Raises UsageError where there is none such."""
        images = self.images()
        if identifier is not None:
            if digests.is_digest(identifier) and (held := self.manifest(identifier)) is not None:
                return next((image for image in images if image.digest == identifier), held[0])
            images = [image for image in images if identifier in names_of(image)]
        if len({image.digest for image in images}) == 1:
            if self.blob(images[0].digest) is None:
                raise VerificationError(f"{self.root}: index.json names {images[0].digest}, which is not there",
                                        hint="copy it again from a good place")
            return images[0]
        listed = ", ".join(dict.fromkeys((names_of(image) or (image.digest,))[0] for image in self.images()))
        if not images:
            raise UsageError(f"{self.root}: no image {identifier or ''}".rstrip() + f"; it has {listed or 'none'}")
        raise UsageError(f"{self.root}: holds several images: {listed}", hint="name one: oci:DIR:TAG or oci:DIR@DIGEST")

    def reference(self, image: oci.Descriptor) -> Reference:
        """The name that the layout gives an image, with its digest: the one that it was saved under, if it says so."""
        for key in (IMAGE_NAME, REF_NAME):
            if "/" in (name := image.annotations.get(key, "")):
                try:
                    return reference.parse(name).at(image.digest)
                except MalformedError:
                    continue
        tag = image.annotations.get(REF_NAME)
        folder = re.sub(r"[^a-z0-9]+", "-", self.root.resolve().name.lower()).strip("-")
        return Reference("localhost", folder or "image", tag if tag and reference.is_tag(tag) else None, image.digest)

    def tagged(self, tag: str) -> oci.Descriptor | None:
        """What a tag means; of cosign's tags also where `cosign save` listed them by their kind alone."""
        for entry in self.entries:
            names = names_of(entry)
            if tag in names or any(name.endswith(f":{tag}") for name in names if "/" in name):
                return entry
        evidence = _EVIDENCE_TAG.match(tag)
        if evidence is None or evidence[2] not in _KINDS:
            return None
        listed = next((entry for entry in self.entries if entry.annotations.get(KIND) == _KINDS[evidence[2]]), None)
        if listed is None or names_of(listed):
            return None
        return listed if any(image.digest.replace(":", "-") == evidence[1] for image in self.images()) else None

    def manifest(self, digest: str) -> tuple[oci.Descriptor, bytes] | None:
        """A manifest's descriptor and bytes. Raises VerificationError unless they have that digest."""
        if digest not in self._manifests:
            path = self.blob(digest)
            if path is None:
                return None
            if path.stat().st_size > oci.MAX_MANIFEST:
                return None
            data = path.read_bytes()
            check(data, digest, path)
            body = oci.parse_manifest(data, str(path), self._listed_type(digest))
            self._manifests[digest] = body.media_type, data
        media_type, data = self._manifests[digest]
        return oci.Descriptor(media_type, digest, len(data)), data

    def blob(self, digest: str) -> Path | None:
        """The file of a blob, unverified; None where there is none. Raises UsageError for what is no regular file."""
        path = self._path(digest)
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(mode):  # a link could lead out of the layout, and a pipe would be waited for
            raise UsageError(f"{path}: is no regular file", hint="a layout's files are")
        return path

    def referrers(self, digest: str) -> list[oci.Descriptor]:
        """Manifests whose subject this is, by digest. Raises VerificationError for a small blob that was changed."""
        if self._referrers is None:
            self._referrers = {}
            for blob, data in self._small():
                try:
                    body = oci.parse_manifest(data, blob)
                except (MalformedError, UnsupportedError):
                    continue  # a configuration or a document, and no manifest
                self._note(blob, body, len(data))
        return [referrer for _, referrer in sorted(self._referrers.get(digest, {}).items())]

    def _note(self, digest: str, body: oci.Manifest | oci.Index, size: int) -> None:
        if body.subject is None or self._referrers is None:
            return
        kind = body.artifact_type or (body.config.media_type if isinstance(body, oci.Manifest) else None)
        self._referrers.setdefault(body.subject.digest, {})[digest] = oci.Descriptor(
            body.media_type, digest, size, body.annotations, kind)

    def _small(self) -> Iterator[tuple[str, bytes]]:
        """Digest and verified bytes of every blob that may be a manifest."""
        count = 0
        for folder in sorted((self.root / "blobs").glob("*")):
            for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
                count += 1
                if count > _MAX_FILES:
                    raise MalformedError(str(self.root), got=f"more than {_MAX_FILES} blobs", expected="fewer")
                digest = f"{folder.name}:{name}"
                if not digests.is_digest(digest):
                    continue  # no blob: nothing can name it
                path = self.blob(digest)
                if path is None or path.stat().st_size > oci.MAX_MANIFEST:
                    continue
                data = path.read_bytes()
                check(data, digest, path)
                if data.lstrip()[:1] == b"{":
                    yield digest, data

    def _listed_type(self, digest: str) -> str | None:
        return next((entry.media_type for entry in self.entries if entry.digest == digest), None)

    def _is_evidence(self, entry: oci.Descriptor) -> bool:
        kind = entry.annotations.get(KIND, "")
        if kind.startswith(_COSIGN):
            return kind in _KINDS.values()
        if any(_EVIDENCE_TAG.match(name) for name in names_of(entry)):
            return True
        if names_of(entry):
            return False
        if entry.digest not in self._about:
            held = self.manifest(entry.digest)
            body = oci.parse_manifest(held[1], entry.digest, held[0].media_type) if held else None
            self._about[entry.digest] = body is not None and body.subject is not None
        return self._about[entry.digest]

    # Writing

    def put_blob(self, digest: str, draft: Path) -> None:
        """Take a file over as a blob; its bytes were checked."""
        path = self._path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.replace(path)

    def put_manifest(self, data: bytes, media_type: str, name: Reference, identifier: str) -> oci.Descriptor:
        """Store a manifest under its digest, or a tag, which means it from now on; `name` is the image's repository."""
        body = oci.parse_manifest(data, f"{self.root}: {identifier}", media_type)
        tag = None if digests.is_digest(identifier) else identifier
        descriptor = oci.Descriptor(media_type, digests.sha256(data) if tag else identifier, len(data))
        path = self._path(descriptor.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        destination.write(path, data, "")
        self._manifests[descriptor.digest] = media_type, data
        self._note(descriptor.digest, body, len(data))
        self._put[descriptor.digest] = descriptor
        self._changed = True
        if tag is not None:
            self.entries = [entry for entry in self.entries if tag not in names_of(entry)]
            annotations = {REF_NAME: tag}
            if _EVIDENCE_TAG.match(tag) is None:
                annotations[IMAGE_NAME] = f"{name.name}:{tag}"
            self.entries.append(msgspec.structs.replace(descriptor, annotations=annotations))
        return descriptor

    def flush(self, name: Reference | None = None) -> None:
        """Write index.json, if something changed: what was put and is part of nothing else is an entry of its own.

        `name` is what an image that has no tag is called.
        """
        if not self._changed:
            return
        inside = {child.digest for digest in (*self._put, *(entry.digest for entry in self.entries))
                  for child in self._children(digest)}
        listed = {entry.digest for entry in self.entries}
        for digest, descriptor in self._put.items():
            if digest in listed or digest in inside:
                continue
            body = oci.parse_manifest(self._manifests[digest][1], digest, descriptor.media_type)
            annotations = {} if body.subject or name is None else {IMAGE_NAME: f"{name.name}@{digest}"}
            self.entries.append(msgspec.structs.replace(descriptor, annotations=annotations,
                                                        artifact_type=body.artifact_type))
        self.entries = [*self._kinds()]
        change_index(self.root, self._merged)
        self._opened = [*self.entries]
        self._put, self._changed = {}, False

    def _merged(self, listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The entries, with what custody does not know of them, and those that others added since this was opened."""
        unknown = {str(entry.get("digest")): {key: said for key, said in entry.items() if key != "annotations"}
                   for entry in listed}
        held = {entry.digest for entry in (*self._opened, *self.entries)}
        names = {name for entry in self.entries for name in names_of(entry)}
        newcomers = [entry for entry in listed if entry.get("digest") not in held
                  and names.isdisjoint((entry.get("annotations") or {}).get(key) for key in (REF_NAME, IMAGE_NAME))]
        return [*({**unknown.get(entry.digest, {}), **entry.to_json()} for entry in self.entries), *newcomers]

    def _children(self, digest: str) -> tuple[oci.Descriptor, ...]:
        held = self.manifest(digest)
        body = oci.parse_manifest(held[1], digest, held[0].media_type) if held else None
        return body.manifests if isinstance(body, oci.Index) else ()

    def _kinds(self) -> Iterator[oci.Descriptor]:
        """The entries, of one image with the kinds by which `cosign load` knows what is what; it knows one image."""
        roots = {image.digest for image in self.images()}
        for entry in self.entries:
            annotations = {key: value for key, value in entry.annotations.items() if key != KIND}
            if len(roots) == 1:
                root, = roots
                signed = {cosign.tag(root, suffix): kind for suffix, kind in _KINDS.items()}
                if entry.digest == root:
                    index = entry.media_type in oci.INDEX_TYPES
                    annotations[KIND] = f"{_COSIGN}{'imageIndex' if index else 'image'}"
                elif kind := signed.get(entry.annotations.get(REF_NAME, ""), entry.annotations.get(KIND, "")):
                    annotations[KIND] = kind
            yield msgspec.structs.replace(entry, annotations=annotations)

    def _path(self, digest: str) -> Path:
        algorithm, _, value = digests.parse(digest).partition(":")
        return self.root / "blobs" / algorithm / value

    def _open(self, name: str) -> BinaryIO:
        path = self.root / name
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UsageError(f"{path}: is no regular file", hint="a layout's files are")
        try:
            return path.open("rb")
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}",
                             hint="is it the folder of an OCI layout, and whole?") from None


def names_of(entry: oci.Descriptor) -> tuple[str, ...]:
    """What index.json calls an entry."""
    return tuple(entry.annotations[key] for key in (REF_NAME, IMAGE_NAME) if entry.annotations.get(key))


def check(data: bytes, digest: str, path: Path) -> None:
    """Raises VerificationError unless the bytes of a file are those of the digest that it is named by."""
    computed = digests.compute(data, digest.partition(":")[0])
    if computed != digest:
        raise VerificationError(f"{path}: its bytes are {computed}, expected {digest}",
                                hint="it was changed at rest; copy it again from a good place")


def _dump(index: oci.Index) -> bytes:
    return json.dumps(index.to_json(), separators=(",", ":")).encode()
