"""Git objects made by hand: what git itself would not write is what readers must not believe."""

from __future__ import annotations

from dulwich.objects import Blob, ShaFile, Tree
from dulwich.repo import Repo

FOLDER, FILE, LINK, SUBMODULE = 0o040000, 0o100644, 0o120000, 0o160000
Entry = tuple[bytes, int, bytes]
"""Name, mode, object id."""


def put(repository: Repo, stored: ShaFile) -> bytes:
    repository.object_store.add_object(stored)
    return stored.id


def blob(repository: Repo, data: bytes) -> bytes:
    return put(repository, Blob.from_string(data))


def tree(repository: Repo, *entries: Entry) -> bytes:
    folder = Tree()
    for name, mode, object_id in entries:
        folder.add(name, mode, object_id)
    return put(repository, folder)


def commit(repository: Repo, tree_id: bytes, message: bytes = b"m", parents: tuple[bytes, ...] = (),
           seconds: int = 1793534400) -> bytes:
    person = b"a <a@x> %d +0000" % seconds
    return put(repository, ShaFile.from_raw_string(1, b"tree %s\n%sauthor %s\ncommitter %s\n\n%s\n" % (
        tree_id, b"".join(b"parent %s\n" % parent for parent in parents), person, person, message)))
