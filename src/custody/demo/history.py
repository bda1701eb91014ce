"""A git repository of the shop, its commits signed as `git commit -S` with an SSH key signs them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dulwich.objects import Blob, Commit, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from custody.formats import sshsig
from custody.kit.clock import system_clock


@dataclass(slots=True)
class Author:
    email: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def allowed_signer(self) -> str:
        blob = base64.b64encode(sshsig.ed25519_blob(self.key.public_key())).decode()
        return f'{self.email} namespaces="git" ssh-ed25519 {blob}\n'


class History:
    """Writes commits as objects, without a working tree."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._repo = Repo.init_bare(str(folder))
        self.folder = folder
        self._repo.refs.set_symbolic_ref(Ref(b"HEAD"), Ref(b"refs/heads/main"))

    def close(self) -> None:
        self._repo.close()

    def commit(self, files: dict[str, bytes], message: str, author: Author, *, sign: bool = True,
               branch: str = "main", parent: str | None = None) -> str:
        """One commit of exactly these files on a branch; returns its id."""
        commit = Commit()
        commit.tree = self._tree(files)
        ref = Ref(f"refs/heads/{branch}".encode())
        if parent is not None:
            commit.parents = [parent.encode()]  # type: ignore[list-item]
        elif ref in self._repo.refs:
            commit.parents = [self._repo.refs[ref]]
        commit.author = commit.committer = f"{author.email.partition('@')[0]} <{author.email}>".encode()
        commit.author_time = commit.commit_time = int(system_clock().timestamp())
        commit.author_timezone = commit.commit_timezone = 0
        commit.message = message.encode() + b"\n"
        if sign:
            payload = commit.as_raw_string()
            commit.gpgsig = sshsig.sign_ed25519(author.key, payload, "git").to_armor().rstrip("\n").encode()
        self._repo.object_store.add_object(commit)
        self._repo.refs[ref] = commit.id
        return commit.id.decode()

    def _tree(self, files: dict[str, bytes]) -> bytes:  # type: ignore[type-arg,unused-ignore]
        tree = Tree()
        folders: dict[str, dict[str, bytes]] = {}
        for path, data in files.items():
            head, slash, rest = path.partition("/")
            if slash:
                folders.setdefault(head, {})[rest] = data
                continue
            blob = Blob.from_string(data)
            self._repo.object_store.add_object(blob)
            tree.add(head.encode(), 0o100644, blob.id)
        for name, inner in folders.items():
            tree.add(name.encode(), 0o40000, self._tree(inner))  # type: ignore[arg-type]
        self._repo.object_store.add_object(tree)
        return tree.id


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts}
