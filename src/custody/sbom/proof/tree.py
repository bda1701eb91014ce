"""All names of an image, its layers laid over each other as overlayfs does it: a name is what the topmost layer says.

A symbolic link of a lower layer on the way is no way for an upper one: who unpacks a layer does not see it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from custody.sbom.layerfacts import LayerFacts, member
from custody.sbom.limits import FullError

_NODES = 4_000_000
_CACHED = 200_000
_NO_NAMES = frozenset(("", ".", ".."))
_HOPS = 40
"""MAXSYMLINKS of Linux."""


class Leaf(NamedTuple):
    """A file or symbolic link."""

    layer: int
    target: str | None
    """Of a symbolic link."""


Folder = dict[str, "Folder | Leaf"]


class Tree:
    """Raises FullError for more names than are kept."""

    def __init__(self) -> None:
        self.root: Folder = {}
        self.gone: dict[str, int] = {}
        """Names that a layer took away, and which."""
        self._names = 0
        self._folders: dict[str, tuple[str, Folder] | None] = {}
        """Where the folders that were asked for are; only once all layers are applied."""

    def apply(self, layer: LayerFacts, place: int) -> None:
        """Before anything is resolved. Whiteouts first: they are of what is below, wherever in the layer they stand."""
        for line in layer.lines():
            if ".wh." in line:
                path, _, _ = member(line)
                folder, _, base = path.rpartition("/")
                if base == ".wh..wh..opq":
                    self._remove(folder, place, inside=True)
                elif base.startswith(".wh.") and not base.startswith(".wh..wh."):
                    self._remove(f"{folder}/{base[4:]}" if folder else base[4:], place)
        last, parent, leaf = "", self.root, Leaf(place, None)
        for line in layer.lines():
            path, kind, target = member(line)
            folder, _, base = path.rpartition("/")
            if not path or base.startswith(".wh."):
                continue
            if folder != last:
                last, parent = folder, self._folder(folder)
            if kind == "directory":
                if not isinstance(parent.get(base), dict):
                    self._take()
                    parent[base] = {}
            else:
                self._take()
                parent[base] = Leaf(place, target) if kind == "symlink" else leaf

    def resolve(self, path: str, *, last: bool = True) -> tuple[str, Folder | Leaf | None]:
        """Where a path leads, and what is there; `last`: what it names itself may be a link that is followed."""
        folder, _, base = path.rpartition("/")
        known = self._folders.get(folder)
        if known is None and folder not in self._folders and len(self._folders) < _CACHED:
            real, node = self._resolve(folder)
            known = self._folders[folder] = (real, node) if isinstance(node, dict) else None
        if known is None or base in _NO_NAMES:
            return self._resolve(path, last=last)
        inside = known[1].get(base)
        if last and isinstance(inside, Leaf) and inside.target is not None:
            return self._resolve(path)
        if known[0] != folder:
            path = f"{known[0]}/{base}" if known[0] else base
        return path, inside

    def _resolve(self, path: str, *, last: bool = True) -> tuple[str, Folder | Leaf | None]:
        parts = path.split("/")[::-1]
        done: list[str] = []
        folders: list[Folder] = [self.root]
        hops = 0
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if done:
                    done.pop()
                    folders.pop()
                continue
            node = folders[-1].get(part)
            if isinstance(node, Leaf) and node.target is not None and (parts or last):
                hops += 1
                if hops > _HOPS:
                    return path, None
                if node.target.startswith("/"):
                    done, folders = [], [self.root]
                parts += node.target.split("/")[::-1]
            elif isinstance(node, dict):
                done.append(part)
                folders.append(node)
            elif node is None or parts:
                return "/".join([*done, part, *parts[::-1]]), None
            else:
                return "/".join([*done, part]), node
        return "/".join(done), folders[-1]

    def files(self, below: str = "") -> Iterator[tuple[str, Leaf]]:
        """The files in a folder and in those below, without links."""
        _, start = self.resolve(below)
        waiting: list[tuple[str, Folder]] = [(below, start)] if isinstance(start, dict) else []
        while waiting:
            path, folder = waiting.pop()
            for name, node in folder.items():
                inner = f"{path}/{name}" if path else name
                if isinstance(node, dict):
                    waiting.append((inner, node))
                elif node.target is None:
                    yield inner, node

    def _folder(self, path: str) -> Folder:
        folder = self.root
        for part in path.split("/") if path else ():
            node = folder.get(part)
            if not isinstance(node, dict):
                self._take()
                node = folder[part] = {}
            folder = node
        return folder

    def _take(self) -> None:
        self._names += 1
        if self._names > _NODES:
            raise FullError(f"beyond the image's {_NODES} names of files")

    def _remove(self, path: str, place: int, *, inside: bool = False) -> None:
        folder, _, base = path.rpartition("/")
        parent = self.root
        for part in folder.split("/") if folder else ():
            node = parent.get(part)
            if not isinstance(node, dict):
                return
            parent = node
        gone = parent.get(base) if base else self.root
        if gone is None:
            return
        self.gone[path] = place
        if not inside:
            parent.pop(base, None)
        elif isinstance(gone, dict):
            gone.clear()
