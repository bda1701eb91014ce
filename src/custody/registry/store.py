"""What a registry keeps, and the rules for letting something in (distribution-spec v1.1, "Pushing").

Blobs arrive through uploads and are verified before they have a name; a manifest is taken only when everything it
names is there (its `subject` may still be missing), so that whatever can be pulled can be pulled whole.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from custody.errors import ConflictError, MalformedError, NotFoundError, VerificationError
from custody.formats import oci
from custody.formats.reference import is_repository, is_tag
from custody.kit import digest as digests
from custody.kit.clock import Clock
from custody.ports.blobs import Blobs, Upload
from custody.ports.repositories import Repositories, TagEvent


class BlobUnknownError(NotFoundError):
    """The repository has no such blob."""


class ManifestUnknownError(NotFoundError):
    """The repository has no such manifest."""


class MissingPartError(MalformedError):
    """A manifest names a blob or manifest that was not pushed before it."""


class ChangedError(ConflictError):
    """A conditional push whose condition no longer holds."""

    http_status = 412


class Registry:
    """One registry: blobs shared by all repositories, an index of who has what. Thread safe."""

    def __init__(self, blobs: Blobs, repositories: Repositories, clock: Clock) -> None:
        self.blobs = blobs
        self.repositories = repositories
        self._clock = clock
        self._lock = threading.Lock()

    def blob(self, name: str, digest: str) -> Path:
        """The file of a blob that the repository has. Raises BlobUnknownError."""
        path = self.blobs.path(digest) if self.repositories.has_blob(name, digest) else None
        if path is None:
            raise BlobUnknownError(f"{name}: no blob {digest}")
        return path

    def finish_upload(self, name: str, upload: Upload, digest: str) -> None:
        """Verify, store and name an uploaded blob. Raises VerificationError and forgets the upload if it differs."""
        size = upload.size
        with self._lock:
            upload.commit(digest)
            self.repositories.link_blob(name, digest, size)

    def mount(self, name: str, digest: str, source: str | None) -> bool:
        """Give `name` a blob that another repository has already."""
        with self._lock:
            path = self.blobs.path(digest)
            if path is None or (source is not None and not self.repositories.has_blob(source, digest)):
                return False
            if source is None and not self.repositories.blob_is_used(digest):
                return False
            self.repositories.link_blob(name, digest, path.stat().st_size)
            return True

    def delete_blob(self, name: str, digest: str) -> None:
        with self._lock:
            if not self.repositories.unlink_blob(name, digest):
                raise BlobUnknownError(f"{name}: no blob {digest}")
            if not self.repositories.blob_is_used(digest):
                self.blobs.delete(digest)

    def manifest(self, name: str, reference: str) -> tuple[oci.Descriptor, bytes]:
        """Descriptor and bytes, hashed again on the way out. Raises ManifestUnknownError, VerificationError."""
        found = self.repositories.manifest(name, reference)
        path = self.blobs.path(found.digest) if found else None
        if found is None or path is None:
            raise ManifestUnknownError(f"{name}: no manifest {reference}")
        data = path.read_bytes()
        state = digests.hasher(found.digest)
        state.update(data)
        if not digests.matches(state, found.digest):
            raise VerificationError(f"{name}: manifest {found.digest} was changed at rest: its bytes are now "
                                    f"{state.name}:{state.hexdigest()}")
        body = oci.parse_manifest(data, "manifest", found.media_type)
        try:
            if isinstance(body, oci.Manifest):
                self._require_parts(name, body)
        except (MissingPartError, ConflictError) as error:
            # Clients push again what a registry says it has not; an image that cannot be pulled whole is not there.
            raise ManifestUnknownError(f"{name}: manifest {found.digest} is incomplete: {error.message}") from None
        return found, data

    def put_manifest(self, name: str, reference: str, data: bytes, media_type: str, tags: list[str],
                     only_if: Callable[[str | None], bool] = lambda _: True) -> tuple[oci.Descriptor, str | None]:
        """Store a manifest; returns its descriptor and the digest of its subject. Raises MalformedError.

        `only_if` is asked, in the same transaction, whether what `reference` names now may be replaced; ConflictError.
        """
        if not is_repository(name):
            raise MalformedError("repository", got=name, expected="lower-case path components")
        digest = digests.sha256(data)
        if digests.is_digest(reference):
            state = digests.hasher(reference)
            state.update(data)
            if not digests.matches(state, reference):
                raise VerificationError(f"manifest bytes are {state.name}:{state.hexdigest()}, expected {reference}")
            digest = reference
        else:
            tags = [reference, *tags]
        for tag in tags:
            if not is_tag(tag):
                raise MalformedError("tag", got=tag, expected="at most 128 letters, digits, '.', '_' and '-'")
        body = oci.parse_manifest(data, "manifest", media_type)
        if body.media_type != media_type:
            raise MalformedError("manifest: mediaType", got=body.media_type, expected=f"Content-Type {media_type}")
        kind = body.artifact_type
        if kind is None and isinstance(body, oci.Manifest):
            kind = body.config.media_type
        descriptor = oci.Descriptor(media_type, digest, len(data), body.annotations, kind)
        subject = body.subject.digest if body.subject else None
        with self._lock:
            now = self.repositories.manifest(name, reference)
            if not only_if(now.digest if now else None):
                raise ChangedError(f"{name}:{reference} is {now.digest if now else 'not there'}")
            self._require_parts(name, body)
            upload = self.blobs.begin()
            upload.write(data)
            upload.commit(digest)
            self.repositories.put_manifest(name, descriptor, subject, tags, self._clock())
        return descriptor, subject

    def delete_manifest(self, name: str, reference: str) -> None:
        """By digest, with its tags; or one tag only. Raises ManifestUnknownError."""
        with self._lock:
            now = self._clock()
            if not digests.is_digest(reference):
                if not self.repositories.delete_tag(name, reference, now):
                    raise ManifestUnknownError(f"{name}: no tag {reference}")
                return
            if not self.repositories.delete_manifest(name, reference, now):
                raise ManifestUnknownError(f"{name}: no manifest {reference}")
            if not self.repositories.blob_is_used(reference):
                self.blobs.delete(reference)

    def history(self, name: str, tag: str) -> list[TagEvent]:
        """What a tag pointed at, oldest first; append-only."""
        return self.repositories.history(name, tag)

    def scrub(self) -> list[str]:
        """Hash every stored blob again; those that changed are quarantined and their digests returned."""
        damaged = []
        for digest in self.blobs.digests():
            path = self.blobs.path(digest)
            if path is None:
                continue
            state = digests.hasher(digest)
            with path.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    state.update(chunk)
            if not digests.matches(state, digest):
                self.blobs.quarantine(digest)
                damaged.append(digest)
        return damaged

    def _require_parts(self, name: str, body: oci.Manifest | oci.Index) -> None:
        if isinstance(body, oci.Index):
            for i, child in enumerate(body.manifests):
                if self.repositories.manifest(name, child.digest) is None:
                    raise MissingPartError(f"manifest: manifests[{i}]", got=child.digest,
                                           expected="a manifest that this repository has")
            return
        for where, part in [("config", body.config), *((f"layers[{i}]", x) for i, x in enumerate(body.layers))]:
            if "nondistributable" in part.media_type or ".foreign." in part.media_type:
                continue
            path = self.blobs.path(part.digest) if self.repositories.has_blob(name, part.digest) else None
            if path is None:
                raise MissingPartError(f"manifest: {where}", got=part.digest,
                                       expected="a blob that this repository has")
            if path.stat().st_size != part.size:
                raise ConflictError(f"manifest: {where}.size: got {part.size}, "
                                    f"the blob has {path.stat().st_size} bytes")
