"""Whether all is there that a manifest names. It is looked up once, and again after anything was removed by anybody."""

from __future__ import annotations

import threading
from collections.abc import Collection
from operator import attrgetter

from custody.errors import ConflictError, MalformedError
from custody.formats import oci
from custody.ports.blobs import Blobs
from custody.ports.repositories import Holdings, Repositories

_WHOLE = 20_000  # manifests of which is remembered that all their parts are there
_LINKED = 50_000  # blobs of which is remembered that a repository has them
_MEDIA_TYPE = attrgetter("media_type")


class MissingPartError(MalformedError):
    """A manifest names a blob or manifest that was not pushed before it."""


class Parts:
    """Thread safe. `sparse`: manifests may name what is not there."""

    def __init__(self, blobs: Blobs, repositories: Repositories, *, sparse: bool) -> None:
        self._blobs = blobs
        self._repositories = repositories
        self._sparse = sparse
        self._whole: dict[tuple[str, str], tuple[int, int]] = {}
        self._linked_lock = threading.Lock()
        self._linked: dict[str, dict[str, int]] = {}
        self._linked_at, self._linked_count = (0, 0), 0

    def changes(self) -> tuple[int, int]:
        """Another value after any part of any manifest may have gone."""
        return self._repositories.removals(), self._blobs.changes()

    def is_whole(self, name: str, digest: str, changes: tuple[int, int]) -> bool:
        """Whether the manifest was whole, and nothing was removed since."""
        return self._whole.get((name, digest)) == changes

    def remember_whole(self, name: str, digest: str, changes: tuple[int, int]) -> None:
        if len(self._whole) >= _WHOLE:
            self._whole.clear()
        self._whole[name, digest] = changes

    def require(self, holdings: Holdings, name: str, body: oci.Manifest | oci.Index) -> None:
        """Raises MissingPartError, ConflictError. `holdings`: a transaction, or what is committed."""
        if isinstance(body, oci.Index):
            self._require_manifests(holdings, name, body)
            return
        parts = [body.config, *body.layers]
        elsewhere = {kind for kind in set(map(_MEDIA_TYPE, parts))
                     if "nondistributable" in kind or ".foreign." in kind}
        held = [part for part in parts if part.media_type not in elsewhere] if elsewhere else parts
        digests, expected = [part.digest for part in held], [part.size for part in held]
        # A transaction asks for itself: what others remember is what is committed, which it may have removed by now.
        linked = self._known(name) if holdings is self._repositories else {}
        if list(map(linked.get, digests)) == expected:  # ten thousand of them take a millisecond
            return
        sizes = self._sizes(holdings, name, dict.fromkeys(digests), linked)
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

    def _require_manifests(self, holdings: Holdings, name: str, index: oci.Index) -> None:
        absent = set() if self._sparse else holdings.absent_manifests(
            name, {child.digest for child in index.manifests})
        for at, child in enumerate(index.manifests):
            if child.digest in absent:
                raise MissingPartError(f"manifest: manifests[{at}]", got=child.digest,
                                       expected="a manifest that this repository has")

    def _known(self, name: str) -> dict[str, int]:
        """Sizes of blobs that the repository has, with their files; another dictionary after any of them may have gone.
        """
        changes = self.changes()
        with self._linked_lock:
            if changes != self._linked_at or self._linked_count > _LINKED:
                self._linked, self._linked_at, self._linked_count = {}, changes, 0
            return self._linked.setdefault(name, {})

    def _sizes(self, holdings: Holdings, name: str, digests: Collection[str], linked: dict[str, int]) -> dict[str, int]:
        """Sizes of those blobs that the repository has, with their files. What is committed is remembered in `linked`;
        a transaction need not come to pass."""
        known = {digest: linked[digest] for digest in digests if digest in linked}
        fresh = holdings.sizes(name, [digest for digest in digests if digest not in known])
        for digest in self._blobs.absent(fresh):
            del fresh[digest]
        if holdings is self._repositories:
            with self._linked_lock:
                linked.update(fresh)  # forgotten with the others, if something was deleted since
                self._linked_count += len(fresh)
        return known | fresh
