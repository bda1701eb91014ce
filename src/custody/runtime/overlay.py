"""Lays listings of layers over each other: which file a path of the running image is (image-spec layer.md).

A name is that of the topmost layer, as overlayfs shows it. Where an entry goes through a symbolic link of a layer
below, runtimes differ: unpacked over what is there it goes where the link leads, unpacked beside it a folder takes the
link's place. Both are kept: a file that either of them has is a file of the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from custody.errors import MalformedError
from custody.runtime.layerfiles import FILE, FOLDER, HARD_LINK, SYMLINK, LayerFiles

_HOPS = 40
"""MAXSYMLINKS of Linux."""
_NODES = 2_000_000
_STEPS = 20_000_000


class Leaf(NamedTuple):
    """A file: where its digest stands in the listing of which layer. Of a device `row` is -1."""

    layer: int
    row: int
    mode: int


class Link(NamedTuple):
    layer: int
    target: str


Folder = dict[str, "Folder | Leaf | Link"]
Node = Folder | Leaf | Link


class Overlay:
    """Raises MalformedError for more names, or longer ways through links, than any image has."""

    def __init__(self) -> None:
        self.root: Folder = {}
        self.beside: list[tuple[str, Leaf]] = []
        """Files by where a link of a layer below leads."""
        self.links: dict[str, str] = {}
        """Symbolic links whose place an entry of a layer above took."""
        self._through: dict[str, str] = {}
        """Of the layer that is applied: folders in the place of links, and what those say."""
        self._nodes = self._steps = 0
        self._circled = False

    def apply(self, layer: LayerFiles, place: int) -> None:
        self._through = {}
        for name in layer.names:
            if ".wh." in name:
                self._whiteout(name)
        row, link = 0, 0
        modes = layer.modes
        last, parent, real = "", self.root, ""
        for number, name in enumerate(layer.names):
            kind = layer.kinds[number]
            target = ""
            at = -1
            if kind == FILE:
                at, row = row, row + 1
            elif kind in (SYMLINK, HARD_LINK):
                target, link = layer.targets[link], link + 1
            folder, _, base = name.rpartition("/")
            if base.startswith(".wh."):
                continue
            if folder != last:
                last = folder
                parent, real = self._folder(folder, place)
            if kind == FOLDER:
                if not isinstance(parent.get(base), dict):
                    self._forget(parent, base, name)
                    self._put(parent, base, {})
                    last = "\0"
                continue
            mode = modes[2 * number] | modes[2 * number + 1] << 8
            node: Leaf | Link = Link(place, target) if kind == SYMLINK else Leaf(place, at, mode)
            if kind == HARD_LINK:
                linked = self.find(target, last=False)
                if linked is None or isinstance(linked, dict):
                    continue  # no runtime unpacks a link to nothing
                node = linked
            if isinstance(parent.get(base), (dict, Link)) or isinstance(node, Link):
                last = "\0"  # it may have been on the way to what was looked up
            self._put(parent, base, node)
            if real != folder and isinstance(node, Leaf) and node.row >= 0:
                self.beside.append((f"{real}/{base}" if real else base, node))

    def find(self, path: str, *, last: bool = True) -> Node | None:
        """What is there; `last`: where its last part is a link, what that leads to."""
        return self.resolve(path, last=last)[1]

    def resolve(self, path: str, *, last: bool = True) -> tuple[str, Node | None]:
        """The path without links, and what is there."""
        parts = path.split("/")[::-1]
        self._circled = False
        done: list[str] = []
        folders: list[Folder] = [self.root]
        hops = 0
        while parts:
            self._steps += 1
            part = parts.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if done:
                    done.pop()
                    folders.pop()
                continue
            node = folders[-1].get(part)
            if isinstance(node, Link) and (parts or last):
                hops += 1
                if hops > _HOPS:
                    self._circled = True
                    return path, None
                if node.target.startswith("/"):
                    done, folders = [], [self.root]
                parts += node.target.split("/")[::-1]
            elif isinstance(node, dict):
                done.append(part)
                folders.append(node)
            else:
                return "/".join([*done, part, *parts[::-1]]), None if parts else node
        if self._steps > _STEPS:
            raise MalformedError("image", got=f"more than {_STEPS} parts of names behind links", expected="fewer")
        return "/".join(done), folders[-1]

    def members(self) -> Iterator[tuple[str, Leaf | Link]]:
        """All files and links."""
        waiting: list[tuple[str, Folder]] = [("", self.root)]
        while waiting:
            path, folder = waiting.pop()
            for name, node in folder.items():
                inner = f"{path}/{name}" if path else name
                if isinstance(node, dict):
                    waiting.append((inner, node))
                else:
                    yield inner, node

    def _folder(self, path: str, place: int) -> tuple[Folder, str]:
        """The folder that the layer's entries of this folder go into, and where links of layers below lead instead."""
        folder, way = self.root, ""
        for part in path.split("/") if path else ():
            way = f"{way}/{part}" if way else part
            node = folder.get(part)
            if isinstance(node, Link):
                if node.layer == place:  # of the layer itself: who unpacks it goes through it
                    above = way.rpartition("/")[0]
                    way = node.target if node.target.startswith("/") else f"{above}/{node.target}"
                    return self._behind(f"{way}{path[len(above) + len(part) + bool(above):]}", path)
                self._through[way] = self.links[way] = node.target
                node = None
            if not isinstance(node, dict):
                node = {}
                self._put(folder, part, node)
            folder = node
        return folder, self._unpacked(path) if self._through else path

    def _unpacked(self, path: str) -> str:
        """Where links lead of which the layer that is applied took the place too."""
        parts, done, hops = path.split("/")[::-1], list[str](), 0
        while parts and hops <= _HOPS:
            part = parts.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del done[-1:]
                continue
            way = "/".join([*done, part])
            target = self._through.get(way)
            if target is None:
                node = self.find(way, last=False)
                target = node.target if isinstance(node, Link) else None
            if target is None:
                done.append(part)
                continue
            hops += 1
            done = [] if target.startswith("/") else done
            parts += target.split("/")[::-1]
        return "/".join(done)

    def _behind(self, path: str, named: str) -> tuple[Folder, str]:
        resolved, node = self.resolve(path)
        real = self._unpacked(named) if self._through else named
        if isinstance(node, dict):
            return node, real
        if self._circled:
            raise MalformedError(f"image: {named}", got="symbolic links in circles", expected="a way that ends")
        return self._make(resolved), real

    def _make(self, path: str) -> Folder:
        folder = self.root
        for part in path.split("/") if path else ():
            node = folder.get(part)
            if not isinstance(node, dict):
                node = {}
                self._put(folder, part, node)
            folder = node
        return folder

    def _forget(self, parent: Folder, base: str, path: str) -> None:
        node = parent.get(base)
        if isinstance(node, Link):
            self.links[path] = node.target

    def _put(self, parent: Folder, base: str, node: Node) -> None:
        self._nodes += base not in parent
        if self._nodes > _NODES:
            raise MalformedError("image", got=f"more than {_NODES} names", expected="fewer")
        parent[base] = node

    def _whiteout(self, name: str) -> None:
        """Takes away what layers below have (image-spec layer.md, "Whiteouts")."""
        folder, _, base = name.rpartition("/")
        if not base.startswith(".wh.") or (base.startswith(".wh..wh.") and base != ".wh..wh..opq"):
            return
        if base in (".wh.", ".wh..", ".wh..."):
            raise MalformedError(name, got="a whiteout of nothing", expected=".wh. and a name")
        # Where a link of a layer below is on the way, nothing is taken away for sure; the topmost name counts.
        parent = self.root
        for part in folder.split("/") if folder else ():
            node = parent.get(part)
            if not isinstance(node, dict):
                return
            parent = node
        if base == ".wh..wh..opq":
            parent.clear()
        else:
            parent.pop(base[4:], None)


def merged(layers: Sequence[LayerFiles]) -> Overlay:
    """The whole image. Raises MalformedError."""
    overlay = Overlay()
    for place, layer in enumerate(layers):
        overlay.apply(layer, place)
    return overlay
