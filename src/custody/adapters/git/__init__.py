"""A git repository's object store, through dulwich; every object is hashed again.

Nothing is read from the working tree, the index or the reflog; what counts is what a commit id names.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dulwich.errors import ApplyDeltaError, FileFormatException, NotGitRepository
from dulwich.pack import UnresolvedDeltas
from dulwich.refs import Ref
from dulwich.repo import Repo

from custody.adapters.git.packs import PackSizes
from custody.errors import MalformedError, NotFoundError, UsageError, VerificationError
from custody.formats.gitobject import Commit, File, Tag, parse_commit, parse_tag, parse_tree
from custody.kit.visible import visible

_ID = re.compile(rb"[0-9a-f]{40}\Z")
_TYPES = {1: b"commit", 2: b"tree", 3: b"blob", 4: b"tag"}
_FOLDER, _FILES = 0o40000, (0o100644, 0o100755, 0o120000)
_MAX_ENTRIES = 1_000_000
_MAX_DEPTH = 64
_MAX_PATHS = 256 << 20
"""Bytes of all paths of a commit together."""
_MAX_COMMIT, _MAX_TREE, _MAX_BLOB = 4 << 20, 64 << 20, 512 << 20
_MAX_HISTORY = 4 << 30
"""Bytes of all commits of a branch together."""
_BROKEN = (zlib.error, struct.error, FileFormatException, ApplyDeltaError, UnresolvedDeltas, AssertionError)


@dataclass(frozen=True, slots=True)
class _Tree:
    """What a tree comes to, with all that is below."""

    rows: list[tuple[int, str, str]]
    count: int
    """Files and folders."""
    paths: int
    """Bytes of their paths."""
    depth: int


class GitRepository:
    """Implements ports.repository.Repository. Raises UsageError where there is no repository."""

    def __init__(self, path: Path) -> None:
        try:
            self._repo = Repo(str(path))
            self._repo.object_store.loose_object_size_limit = _MAX_BLOB
        except NotGitRepository:
            raise UsageError(f"{path}: not a git repository", hint="name the folder that holds .git") from None
        self.place = str(path)
        self._sizes = PackSizes(self._repo.object_store)

    def close(self) -> None:
        self._sizes.close()
        self._repo.close()

    def resolve(self, name: str) -> str:
        """The commit id of a branch, tag, `HEAD` or full id; a signed tag is followed to its commit."""
        return self._follow(name)[0]

    def tags(self, name: str) -> tuple[Tag, ...]:
        """The annotated tags on the way from a name to its commit, the first one first; none where there is none."""
        return tuple(parse_tag(tag_id, data) for tag_id, data in self._follow(name)[1])

    def _follow(self, name: str) -> tuple[str, list[tuple[str, bytes]]]:
        """The commit id of a name, and the tag objects on the way to it, with their ids."""
        object_id = name.encode()
        if not _ID.match(object_id):
            for ref in ("HEAD", f"refs/heads/{name}", f"refs/tags/{name}", name):
                if (ref == "HEAD") == (name == "HEAD") and (
                        known := self._repo.refs.follow(Ref(ref.encode()))[1]) is not None:  # None: no commit yet
                    object_id = bytes(known)
                    break
            else:
                raise NotFoundError(f"{self.place}: no branch, tag or commit {name!r}",
                                    hint="HEAD~1, short ids and the like are not read; `git rev-parse` says the id")
        kind, data = self._read(object_id, _MAX_COMMIT)
        passed: list[tuple[str, bytes]] = []
        for _ in range(8):
            if kind == b"commit":
                return object_id.decode(), passed
            if kind != b"tag" or not data.startswith(b"object "):
                break
            passed.append((object_id.decode(), data))
            object_id = data[7:47]
            kind, data = self._read(object_id, _MAX_COMMIT)
        raise MalformedError(f"{self.place}: {name}", got=kind.decode(), expected="a commit")

    def origin(self) -> str:
        """The commit that is checked out, and the remote `origin` that it may be had from, without a password:
        `git+https://example.org/app.git@COMMIT`. Empty where there is no commit yet, `git+@COMMIT` without a remote.
        """
        try:
            commit = self.resolve("HEAD")
        except NotFoundError:
            return ""
        try:
            url = self._repo.get_config().get((b"remote", b"origin"), b"url").decode()
        except (KeyError, ValueError):
            return f"git+@{commit}"
        scheme, slashes, rest = url.partition("://")
        if not slashes:
            host, colon, path = url.partition(":")  # git@example.org:app.git, or a folder
            return f"git+ssh://{host}/{path.lstrip('/')}@{commit}" if colon and "/" not in host else f"git+@{commit}"
        host, slash, path = rest.partition("/")
        return f"git+{scheme}://{host.rpartition('@')[2]}{slash}{path}@{commit}"

    def commit(self, commit_id: str) -> Commit:
        kind, data = self._read(commit_id.encode(), _MAX_COMMIT)
        if kind != b"commit":
            raise MalformedError(f"object {commit_id}", got=kind.decode(), expected="a commit")
        return parse_commit(commit_id, data)

    def history(self, start: str, stop: frozenset[str] = frozenset()) -> Iterator[Commit]:
        """Every commit reachable from `start`, all parents included, without `stop` and what is behind it."""
        seen = {commit.id for old in stop for commit in self.history(old)}
        waiting = dict.fromkeys([start])
        size = 0
        while waiting:
            current, _ = waiting.popitem()
            if current in seen:
                continue
            seen.add(current)
            commit = self.commit(current)
            size += len(commit.payload) + len(commit.signature or "")
            if size > _MAX_HISTORY:
                raise MalformedError(f"commit {current}", got=f"a history of more than {_MAX_HISTORY} bytes",
                                     expected="fewer", hint="--since COMMIT leaves out what was checked before")
            yield commit
            for parent in reversed(commit.parents):
                waiting.pop(parent, None)  # the last that was named comes first, and each waits once
                if parent not in seen:
                    waiting[parent] = None

    def files(self, commit: Commit) -> list[File]:
        """All files of the commit's tree, sorted by path. Submodules are refused, names that climb out as well."""
        trees: dict[str, _Tree] = {}
        self._measure(commit.tree, 0, trees)
        result: list[File] = []
        _walk(commit.tree, "", trees, result)
        return sorted(result, key=lambda file: file.path)

    def blob(self, blob_id: str) -> bytes:
        kind, data = self._read(blob_id.encode(), _MAX_BLOB)
        if kind != b"blob":
            raise MalformedError(f"object {blob_id}", got=kind.decode(), expected="a blob")
        return data

    def _measure(self, tree_id: str, level: int, trees: dict[str, _Tree]) -> _Tree:
        """Read each tree once, however often it is in others, and what it comes to before any path of it is made.

        Ten folders with the same ten folders in them, ten levels deep, are ten objects and ten thousand million paths.
        """
        if tree_id in trees:
            return trees[tree_id]
        if level > _MAX_DEPTH:
            raise MalformedError(f"tree {tree_id}", got=f"folders deeper than {_MAX_DEPTH}", expected="fewer")
        kind, data = self._read(tree_id.encode(), _MAX_TREE)
        if kind != b"tree":
            raise MalformedError(f"object {tree_id}", got=kind.decode(), expected="a tree")
        rows = parse_tree(tree_id, data)
        count = paths = depth = 0
        for mode, name, object_id in rows:
            count += 1
            paths += len(name)
            if mode == _FOLDER:
                below = self._measure(object_id, level + 1, trees)
                count += below.count
                paths += below.paths + below.count * (len(name) + 1)
                depth = max(depth, below.depth + 1)
            elif mode not in _FILES:
                raise MalformedError(f"tree {tree_id}: {visible(name)}", got=f"mode {mode:o}",
                                     expected="files and folders; submodules are not built by custody yet")
            if count > _MAX_ENTRIES:  # folders count: ten empty ones in ten, in ten, … are few objects
                raise MalformedError(f"tree {tree_id}", got=f"over {_MAX_ENTRIES} files and folders", expected="fewer")
            if paths > _MAX_PATHS:
                raise MalformedError(f"tree {tree_id}", got=f"paths of over {_MAX_PATHS} bytes", expected="fewer")
        if level + depth > _MAX_DEPTH:
            raise MalformedError(f"tree {tree_id}", got=f"folders deeper than {_MAX_DEPTH}", expected="fewer")
        trees[tree_id] = tree = _Tree(rows, count, paths, depth)
        return tree

    def _read(self, object_id: bytes, most: int) -> tuple[bytes, bytes]:
        """Raises MalformedError for more than `most` bytes, before they are there; a loose object may have 512 MiB."""
        self._sizes.check(object_id, most)
        try:
            number, raw = self._repo.object_store.get_raw(object_id)  # type: ignore[arg-type]
        except (KeyError, ValueError):
            raise NotFoundError(f"{self.place}: no object {object_id.decode('ascii', 'replace')}",
                                hint="a shallow clone lacks history: git fetch --unshallow") from None
        except _BROKEN as error:
            raise MalformedError(f"{self.place}: object {object_id.decode('ascii', 'replace')}",
                                 got=visible(str(error) or type(error).__name__), expected="an object that git wrote",
                                 hint="git fsck") from None
        if len(raw) > most:
            raise MalformedError(f"object {object_id.decode()}", got=f"{len(raw)} bytes", expected=f"at most {most}")
        kind = _TYPES.get(number, b"?")
        if hashlib.sha1(b"%b %d\0" % (kind, len(raw)) + raw, usedforsecurity=False).hexdigest().encode() != object_id:
            raise VerificationError(f"{self.place}: the bytes of {object_id.decode()} do not hash to its id")
        return kind, raw


def _walk(tree_id: str, folder: str, trees: dict[str, _Tree], result: list[File]) -> None:
    for mode, name, object_id in trees[tree_id].rows:
        if mode == _FOLDER:
            _walk(object_id, f"{folder}{name}/", trees, result)
        else:
            result.append(File(folder + name, mode, object_id))
