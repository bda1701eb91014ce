"""What a registry keeps, and the rules for letting something in (distribution-spec v1.1, "Pushing").

Blobs arrive through uploads and are verified before they have a name; a manifest is taken only when everything it
names is there (its `subject` may still be missing), so that whatever can be pulled can be pulled whole. All changes are
made by one thread, which answers when they are durable (`committer`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future

from custody.errors import ConflictError, MalformedError, NotFoundError, VerificationError
from custody.formats import oci
from custody.formats.reference import is_repository, is_tag
from custody.kit import digest as digests
from custody.kit.clock import Clock
from custody.ports.blobs import Blob, Blobs, Draft
from custody.ports.repositories import Holdings, Repositories, TagEvent, Transaction
from custody.registry.committer import Committer
from custody.registry.parts import MissingPartError, Parts
from custody.registry.uploads import Uploads

_COSIGN_TAG = re.compile(r"(sha256)-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?")


class BlobUnknownError(NotFoundError):
    """The repository has no such blob."""


class ManifestUnknownError(NotFoundError):
    """The repository has no such manifest."""


class ChangedError(ConflictError):
    """A conditional push whose condition no longer holds."""

    http_status = 412


class ChangedAtRestError(VerificationError):
    """A manifest's file does not hash to its digest any more."""


class Registry:
    """One registry: blobs shared by all repositories, an index of who has what. Thread safe.

    Methods that change something return at once; their future's result says that it is durable. `sparse_indexes`:
    manifests may name manifests and blobs that are not there, and are served nonetheless.
    """

    def __init__(self, blobs: Blobs, repositories: Repositories, clock: Clock, *,
                 sparse_indexes: bool = False) -> None:
        self.repositories = repositories
        self.uploads = Uploads(blobs)
        self.blobs = blobs
        self._clock = clock
        self._parts = Parts(blobs, repositories, sparse=sparse_indexes)
        self._committer = Committer(blobs, repositories, self.uploads.sweep)
        self.observer: Callable[[str, str, list[str]], None] | None = None
        """Told of what came about an image once it is durable, by another thread: repository, the image's digest, and
        the tags that name it now."""

    def close(self) -> None:
        """Finish what was begun."""
        self._committer.close()
        self.blobs.close()

    # Blobs

    def blob(self, name: str, digest: str) -> Blob:
        """A blob that the repository has, open. Raises BlobUnknownError."""
        size = self.repositories.sizes(name, (digest,)).get(digest)
        blob = self.blobs.open(digest) if size is not None else None
        if blob is not None and blob.size == size:
            return blob
        if blob is not None:  # one that was cut off is not there: a push repairs it
            blob.close()
        raise BlobUnknownError(f"{name}: no blob {digest}")

    def put_blob(self, name: str, digest: str, content: Draft | bytes) -> Future[None]:
        """Name a sealed draft, or bytes, which are hashed. The future raises VerificationError, StorageError."""
        size = len(content) if isinstance(content, bytes) else content.size
        return self._committer.submit(lambda transaction: transaction.link_blob(name, digest, size), digest, content)

    def mount(self, name: str, digest: str, source: str | None) -> Future[bool]:
        """Give `name` a blob that another repository has already; False where it must be uploaded."""
        def change(transaction: Transaction) -> bool:
            size = self.blobs.size(digest)
            known = transaction.blob_is_used(digest) if source is None else transaction.has_blob(source, digest)
            if size is None or not known:
                return False
            transaction.link_blob(name, digest, size)
            return True

        return self._committer.submit(change)

    def delete_blob(self, name: str, digest: str) -> Future[None]:
        """The future raises BlobUnknownError."""
        def change(transaction: Transaction) -> None:
            if not transaction.unlink_blob(name, digest):
                raise BlobUnknownError(f"{name}: no blob {digest}")

        return self._committer.submit(change, freed=digest)

    # Manifests

    def manifest(self, name: str, reference: str) -> tuple[oci.Descriptor, bytes]:
        """Descriptor and bytes, hashed again on the way out. Raises ManifestUnknownError, ChangedAtRestError."""
        descriptor = self.repositories.manifest(name, reference)
        opened = self.blobs.open(descriptor.digest) if descriptor else None
        if descriptor is None or opened is None:
            raise ManifestUnknownError(f"{name}: no manifest {reference}")
        with opened as blob:
            data = blob.read(0, blob.size)
        state = digests.hasher(descriptor.digest)
        state.update(data)
        if not digests.matches(state, descriptor.digest):
            raise ChangedAtRestError(f"{name}: manifest {descriptor.digest} was changed at rest: its bytes are now "
                                     f"{state.name}:{state.hexdigest()}")
        changes = self._parts.changes()
        if not self._parts.is_whole(name, descriptor.digest, changes):
            body = oci.parse_manifest(data, "manifest", descriptor.media_type)
            try:
                if isinstance(body, oci.Manifest):
                    self._parts.require(self.repositories, name, body)
            except (MissingPartError, ConflictError) as error:
                # Clients push again what a registry says it has not; an image that cannot be pulled whole is not there.
                raise ManifestUnknownError(f"{name}: manifest {descriptor.digest} is incomplete: {error.message}"
                                           ) from None
            self._parts.remember_whole(name, descriptor.digest, changes)
        return descriptor, data

    def put_manifest(self, name: str, reference: str, data: bytes, media_type: str, tags: list[str],
                     only_if: Callable[[str | None], bool] = lambda _: True
                     ) -> Future[tuple[oci.Descriptor, str | None]]:
        """Store a manifest; the future has its descriptor and the digest of its subject. Raises MalformedError.

        `only_if` is asked, in the same transaction, whether what `reference` names now may be replaced; ChangedError.
        """
        if not is_repository(name):
            raise MalformedError("repository", got=name, expected="lower-case path components")
        if digests.is_digest(reference):
            state = digests.hasher(reference)
            state.update(data)
            if not digests.matches(state, reference):
                raise VerificationError(f"manifest bytes are {state.name}:{state.hexdigest()}, expected {reference}")
            digest = reference
        else:
            digest = digests.sha256(data)
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
        checked = self._parts.changes()
        self._parts.require(self.repositories, name, body)

        def change(transaction: Transaction) -> tuple[oci.Descriptor, str | None]:
            _require_condition(transaction, name, reference, only_if)
            if (changes := self._parts.changes()) != checked:
                self._parts.require(transaction, name, body)
            transaction.put_manifest(name, descriptor, subject, tags, self._clock())
            self._parts.remember_whole(name, digest, changes)
            return descriptor, subject

        future = self._committer.submit(change, digest, data)
        if self.observer is not None:
            tell, about, named = self.observer, *_about(digest, subject, tags)
            future.add_done_callback(lambda done: None if done.exception() else tell(name, about, named))
        return future

    def delete_manifest(self, name: str, reference: str,
                        only_if: Callable[[str | None], bool] = lambda _: True) -> Future[None]:
        """By digest, with its tags; or one tag only. The future raises ManifestUnknownError; ChangedError by `only_if`,
        as with `put_manifest`."""
        by_digest = digests.is_digest(reference)

        def change(transaction: Transaction) -> None:
            _require_condition(transaction, name, reference, only_if)
            now = self._clock()
            if not by_digest:
                if not transaction.delete_tag(name, reference, now):
                    raise ManifestUnknownError(f"{name}: no tag {reference}")
                return
            if not transaction.delete_manifest(name, reference, now):
                raise ManifestUnknownError(f"{name}: no manifest {reference}")

        return self._committer.submit(change, freed=reference if by_digest else None)

    def history(self, name: str, tag: str) -> list[TagEvent]:
        """What a tag pointed at, oldest first; append-only."""
        return self.repositories.history(name, tag)


def _about(digest: str, subject: str | None, tags: list[str]) -> tuple[str, list[str]]:
    """The image that a manifest is about, with its own tags: another's, where it refers to one or has cosign's tag."""
    if subject is not None:
        return subject, []
    for tag in tags:
        if told := _COSIGN_TAG.fullmatch(tag):
            return f"{told[1]}:{told[2]}", []
    return digest, tags


def _require_condition(holdings: Holdings, name: str, reference: str, only_if: Callable[[str | None], bool]) -> None:
    now = holdings.manifest(name, reference)
    if not only_if(now.digest if now else None):
        raise ChangedError(f"{name}:{reference} is {now.digest if now else 'not there'}")
