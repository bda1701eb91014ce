"""What a registry keeps, and the rules for letting something in (distribution-spec v1.1, "Pushing").

Blobs arrive through uploads and are verified before they have a name; a manifest is taken only when everything it
names is there (its `subject` may still be missing), so that whatever can be pulled can be pulled whole. All changes are
made by one thread, which answers when they are durable (`committer`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from custody.errors import ConflictError, MalformedError, NotFoundError, VerificationError
from custody.formats import oci
from custody.formats.reference import is_repository, is_tag
from custody.kit import digest as digests
from custody.kit.clock import Clock
from custody.ports.blobs import Blobs, Draft
from custody.ports.repositories import Repositories, TagEvent
from custody.registry.committer import Committer
from custody.registry.uploads import Uploads

_T = TypeVar("_T")
_WHOLE = 20_000  # manifests of which is remembered that all their parts are there
_LINKED = 50_000  # blobs of which is remembered that a repository has them
_MEDIA_TYPE = attrgetter("media_type")


class BlobUnknownError(NotFoundError):
    """The repository has no such blob."""


class ManifestUnknownError(NotFoundError):
    """The repository has no such manifest."""


class MissingPartError(MalformedError):
    """A manifest names a blob or manifest that was not pushed before it."""


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
        self._sparse = sparse_indexes
        self._deletions = 0
        self._linked_lock = threading.Lock()
        self._linked: dict[str, dict[str, int]] = {}
        self._linked_at, self._linked_count = (0, 0), 0
        self._whole: dict[tuple[str, str], tuple[int, int]] = {}
        self._committer = Committer(blobs, repositories, self.uploads.sweep)

    def close(self) -> None:
        """Finish what was begun."""
        self._committer.close()
        self.blobs.close()

    # Blobs

    def blob(self, name: str, digest: str) -> Path:
        """The file of a blob that the repository has. Raises BlobUnknownError."""
        size = self.repositories.sizes(name, (digest,)).get(digest)
        path = self.blobs.path(digest) if size is not None else None
        if path is None or path.stat().st_size != size:  # a file that was cut off is not there: a push repairs it
            raise BlobUnknownError(f"{name}: no blob {digest}")
        return path

    def put_blob(self, name: str, digest: str, content: Draft | bytes) -> Future[None]:
        """Name a sealed draft, or bytes, which are hashed. The future raises VerificationError, StorageError."""
        size = len(content) if isinstance(content, bytes) else content.size
        return self._committer.submit(lambda: self.repositories.link_blob(name, digest, size), digest, content)

    def mount(self, name: str, digest: str, source: str | None) -> Future[bool]:
        """Give `name` a blob that another repository has already; False where it must be uploaded."""
        def change() -> bool:
            path = self.blobs.path(digest)
            known = (self.repositories.blob_is_used(digest) if source is None
                     else self.repositories.has_blob(source, digest))
            if path is None or not known:
                return False
            self.repositories.link_blob(name, digest, path.stat().st_size)
            return True

        return self._committer.submit(change)

    def delete_blob(self, name: str, digest: str) -> Future[None]:
        """The future raises BlobUnknownError."""
        def change() -> None:
            self._deletions += 1
            if not self.repositories.unlink_blob(name, digest):
                raise BlobUnknownError(f"{name}: no blob {digest}")

        return self._counted(self._committer.submit(change, freed=digest))

    # Manifests

    def manifest(self, name: str, reference: str) -> tuple[oci.Descriptor, bytes]:
        """Descriptor and bytes, hashed again on the way out. Raises ManifestUnknownError, ChangedAtRestError."""
        descriptor = self.repositories.manifest(name, reference)
        path = self.blobs.path(descriptor.digest) if descriptor else None
        if descriptor is None or path is None:
            raise ManifestUnknownError(f"{name}: no manifest {reference}")
        data = path.read_bytes()
        state = digests.hasher(descriptor.digest)
        state.update(data)
        if not digests.matches(state, descriptor.digest):
            raise ChangedAtRestError(f"{name}: manifest {descriptor.digest} was changed at rest: its bytes are now "
                                     f"{state.name}:{state.hexdigest()}")
        changes = self._changes()
        if self._whole.get((name, descriptor.digest)) != changes:
            body = oci.parse_manifest(data, "manifest", descriptor.media_type)
            try:
                if isinstance(body, oci.Manifest):
                    self._require_parts(name, body)
            except (MissingPartError, ConflictError) as error:
                # Clients push again what a registry says it has not; an image that cannot be pulled whole is not there.
                raise ManifestUnknownError(f"{name}: manifest {descriptor.digest} is incomplete: {error.message}"
                                           ) from None
            self._remember_whole(name, descriptor.digest, changes)
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
        checked = self._changes()
        self._require_parts(name, body)

        def change() -> tuple[oci.Descriptor, str | None]:
            self._require_condition(name, reference, only_if)
            if (changes := self._changes()) != checked:
                self._require_parts(name, body, uncommitted=True)
            self.repositories.put_manifest(name, descriptor, subject, tags, self._clock())
            self._remember_whole(name, digest, changes)
            return descriptor, subject

        return self._committer.submit(change, digest, data)

    def delete_manifest(self, name: str, reference: str,
                        only_if: Callable[[str | None], bool] = lambda _: True) -> Future[None]:
        """By digest, with its tags; or one tag only. The future raises ManifestUnknownError; ChangedError by `only_if`,
        as with `put_manifest`."""
        by_digest = digests.is_digest(reference)

        def change() -> None:
            self._require_condition(name, reference, only_if)
            now = self._clock()
            if not by_digest:
                if not self.repositories.delete_tag(name, reference, now):
                    raise ManifestUnknownError(f"{name}: no tag {reference}")
                return
            self._deletions += 1
            if not self.repositories.delete_manifest(name, reference, now):
                raise ManifestUnknownError(f"{name}: no manifest {reference}")

        return self._counted(self._committer.submit(change, freed=reference if by_digest else None))

    def history(self, name: str, tag: str) -> list[TagEvent]:
        """What a tag pointed at, oldest first; append-only."""
        return self.repositories.history(name, tag)

    def _require_condition(self, name: str, reference: str, only_if: Callable[[str | None], bool]) -> None:
        now = self.repositories.manifest(name, reference)
        if not only_if(now.digest if now else None):
            raise ChangedError(f"{name}:{reference} is {now.digest if now else 'not there'}")

    # Parts

    def _counted(self, future: Future[None]) -> Future[None]:
        """Count a deletion once more when it is durable, for those who looked at the index just before that."""
        def done(_: object) -> None:
            self._deletions += 1

        future.add_done_callback(done)
        return future

    def _changes(self) -> tuple[int, int]:
        """Another value after any part of any manifest may have gone."""
        return self._deletions, self.blobs.changes()

    def _remember_whole(self, name: str, digest: str, changes: tuple[int, int]) -> None:
        if len(self._whole) >= _WHOLE:
            self._whole.clear()
        self._whole[name, digest] = changes

    def _known_parts(self, name: str) -> dict[str, int]:
        """Sizes of blobs that the repository has, with their files; another dictionary after any of them may have gone.
        """
        changes = self._changes()
        with self._linked_lock:
            if changes != self._linked_at or self._linked_count > _LINKED:
                self._linked, self._linked_at, self._linked_count = {}, changes, 0
            return self._linked.setdefault(name, {})

    def _sizes(self, name: str, digests: Collection[str], linked: dict[str, int], uncommitted: bool) -> dict[str, int]:
        """Sizes of those blobs that the repository has, with their files; remembered in `linked`."""
        known = {digest: linked[digest] for digest in digests if digest in linked}
        fresh = self.repositories.sizes(name, [digest for digest in digests if digest not in known])
        for digest in self.blobs.absent(fresh):
            del fresh[digest]
        if not uncommitted:
            with self._linked_lock:
                linked.update(fresh)  # forgotten with the others, if something was deleted since
                self._linked_count += len(fresh)
        return known | fresh

    def _require_parts(self, name: str, body: oci.Manifest | oci.Index, *, uncommitted: bool = False) -> None:
        """Raises MissingPartError, ConflictError. `uncommitted`: inside a transaction, which may not come to pass."""
        if isinstance(body, oci.Index):
            absent = set() if self._sparse else self.repositories.absent_manifests(
                name, {child.digest for child in body.manifests})
            for at, child in enumerate(body.manifests):
                if child.digest in absent:
                    raise MissingPartError(f"manifest: manifests[{at}]", got=child.digest,
                                           expected="a manifest that this repository has")
            return
        parts = [body.config, *body.layers]
        elsewhere = {kind for kind in set(map(_MEDIA_TYPE, parts))
                     if "nondistributable" in kind or ".foreign." in kind}
        held = [part for part in parts if part.media_type not in elsewhere] if elsewhere else parts
        wanted, expected = [part.digest for part in held], [part.size for part in held]
        linked = self._known_parts(name)
        if list(map(linked.get, wanted)) == expected:  # ten thousand of them take a millisecond
            return
        sizes = self._sizes(name, dict.fromkeys(wanted), linked, uncommitted)
        for at, part in enumerate(parts):
            if part.media_type in elsewhere:
                continue
            where = f"layers[{at - 1}]" if at else "config"
            size = sizes.get(part.digest, part.size if self._sparse else None)
            if size is None:
                raise MissingPartError(f"manifest: {where}", got=part.digest,
                                       expected="a blob that this repository has")
            if size != part.size:
                raise ConflictError(f"manifest: {where}.size: got {part.size}, the blob has {size} bytes")
