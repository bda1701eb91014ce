"""A git repository's object store, through dulwich; every object is hashed again.

Nothing is read from the working tree, the index or the reflog; what counts is what a commit id names.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from dulwich.errors import NotGitRepository
from dulwich.refs import Ref
from dulwich.repo import Repo

from custody.errors import MalformedError, NotFoundError, UsageError, VerificationError
from custody.formats.gitobject import Commit, File, parse_commit, parse_tree
from custody.kit.visible import visible

_ID = re.compile(rb"[0-9a-f]{40}\Z")
_TYPES = {1: b"commit", 2: b"tree", 3: b"blob", 4: b"tag"}
_MAX_ENTRIES = 1_000_000
_MAX_DEPTH = 64


class GitRepository:
    """Implements ports.repository.Repository. Raises UsageError where there is no repository."""

    def __init__(self, path: Path) -> None:
        try:
            self._repo = Repo(str(path))
        except NotGitRepository:
            raise UsageError(f"{path}: not a git repository", hint="name the folder that holds .git") from None
        self.path = path

    def close(self) -> None:
        self._repo.close()

    def resolve(self, name: str) -> str:
        """The commit id of a branch, tag, `HEAD` or full id; a signed tag is followed to its commit."""
        found = name.encode()
        if not _ID.match(found):
            for ref in ("HEAD", f"refs/heads/{name}", f"refs/tags/{name}", name):
                if (ref == "HEAD") == (name == "HEAD") and Ref(ref.encode()) in self._repo.refs:
                    found = bytes(self._repo.refs[Ref(ref.encode())])
                    break
            else:
                raise NotFoundError(f"{self.path}: no branch, tag or commit {name!r}",
                                    hint="HEAD~1, short ids and the like are not read; `git rev-parse` says the id")
        kind, data = self._read(found)
        for _ in range(8):
            if kind == b"commit":
                return found.decode()
            if kind != b"tag" or not data.startswith(b"object "):
                break
            found = data[7:47]
            kind, data = self._read(found)
        raise MalformedError(f"{self.path}: {name}", got=kind.decode(), expected="a commit")

    def commit(self, commit_id: str) -> Commit:
        kind, data = self._read(commit_id.encode())
        if kind != b"commit":
            raise MalformedError(f"object {commit_id}", got=kind.decode(), expected="a commit")
        return parse_commit(commit_id, data)

    def history(self, start: str, stop: frozenset[str] = frozenset()) -> Iterator[Commit]:
        """Every commit reachable from `start`, all parents included, without `stop` and what is behind it."""
        seen = {commit.id for old in stop for commit in self.history(old)}
        waiting = [start]
        while waiting:
            current = waiting.pop()
            if current in seen:
                continue
            seen.add(current)
            commit = self.commit(current)
            yield commit
            waiting += reversed(commit.parents)

    def files(self, commit: Commit) -> list[File]:
        """All files of the commit's tree, sorted by path. Submodules are refused, names that climb out as well."""
        result: list[File] = []
        self._walk(commit.tree, "", 0, result, itertools.count(1))
        return sorted(result, key=lambda file: file.path)

    def blob(self, blob_id: str) -> bytes:
        kind, data = self._read(blob_id.encode())
        if kind != b"blob":
            raise MalformedError(f"object {blob_id}", got=kind.decode(), expected="a blob")
        return data

    def _walk(self, tree_id: str, folder: str, depth: int, result: list[File], entries: Iterator[int]) -> None:
        if depth > _MAX_DEPTH:
            raise MalformedError(f"tree {tree_id}", got=f"folders deeper than {_MAX_DEPTH}", expected="fewer")
        kind, data = self._read(tree_id.encode())
        if kind != b"tree":
            raise MalformedError(f"object {tree_id}", got=kind.decode(), expected="a tree")
        for mode, name, entry in parse_tree(tree_id, data):
            path = folder + name
            if next(entries) > _MAX_ENTRIES:  # folders count: ten empty ones in ten, in ten, … are few objects
                raise MalformedError(f"tree {tree_id}", got=f"over {_MAX_ENTRIES} files and folders", expected="fewer")
            if mode == 0o40000:
                self._walk(entry, path + "/", depth + 1, result, entries)
            elif mode in (0o100644, 0o100755, 0o120000):
                result.append(File(path, mode, entry))
            else:
                raise MalformedError(f"tree {tree_id}: {visible(path)}", got=f"mode {mode:o}",
                                     expected="files and folders; submodules are not built by custody yet")

    def _read(self, object_id: bytes) -> tuple[bytes, bytes]:
        try:
            number, raw = self._repo.object_store.get_raw(object_id)  # type: ignore[arg-type]
        except (KeyError, ValueError):
            raise NotFoundError(f"{self.path}: no object {object_id.decode('ascii', 'replace')}",
                                hint="a shallow clone lacks history: git fetch --unshallow") from None
        kind = _TYPES.get(number, b"?")
        if hashlib.sha1(b"%b %d\0" % (kind, len(raw)) + raw, usedforsecurity=False).hexdigest().encode() != object_id:
            raise VerificationError(f"{self.path}: the bytes of {object_id.decode()} do not hash to its id")
        return kind, raw
