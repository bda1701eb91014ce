"""Lays an image's layers over each other: which facts are still there when all are applied (image-spec layer.md).

Every entry goes where a runtime unpacks it: its folder is looked up in what is there already, symbolic links and all,
below the image's root (containerd: fs.RootPath). Only what catalogers found and symbolic links are carried; of the
rest, the names suffice to know what they replace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from custody.errors import MalformedError
from custody.sbom.catalogers import Fact, choose
from custody.sbom.catalogers.fact import UNKNOWN
from custody.sbom.layers import LayerFacts
from custody.sbom.limits import Account, FullError, Limits

_MAX_LINKS = 255
"""Followed for one name, as containerd does."""
_NODE, _FOLDER = 180, 240
"""Bytes that a name takes at least, and a folder more than a file."""


@dataclass(frozen=True, slots=True)
class Visible:
    """The facts of one file, and which layer (from 0, the lowest) it comes from."""

    facts: tuple[Fact, ...]
    layer: int


class _Node:
    """A name in the tree: a folder, a symbolic link, or a file that says something."""

    __slots__ = ("children", "link", "seen")

    def __init__(self) -> None:
        self.children: dict[str, _Node] | None = None
        self.link: str | None = None
        self.seen: Visible | None = None


class Filesystem:
    """The tree of what is known of an image when some of its layers are applied."""

    def __init__(self, limits: Limits | None = None) -> None:
        bounds = limits or Limits()
        self._root = _Node()
        self._memory = Account(bounds.tree, "bytes of folders and symbolic links", bounds.tree // 4)
        self._unread = bounds.unread
        self.beyond: dict[str, list[str]] = {}
        """Files whose facts the tree has no room for, by what is said of them."""
        self._steps = Account(bounds.steps, "parts of names behind symbolic links")

    def apply(self, layer: LayerFacts, place: int) -> None:
        """Raises MalformedError for links in circles on the way to an entry, and beyond the limits."""
        for path in layer.removed:
            folder, _, base = path.rpartition("/")
            self._remove(self.resolve(folder), base)
        for path in layer.emptied:
            node = self._node(self.resolve(path))
            for name, child in (node.children or {}).items() if node is not None else ():
                self._forget(child, name)
            if node is not None:
                self._memory.charge(-_FOLDER if node.children is not None else 0, "image")
                node.children = None
        last: str | None = None
        real, parent = "", self._node("")
        for line in layer.lines():
            is_folder = line.endswith("/") and "//" not in line
            path, mark, target = (line[:-1], "", "") if is_folder else line.partition("//")
            folder, _, base = path.rpartition("/")
            if folder != last:
                last, (real, parent) = folder, self._locate(folder)
            node = parent.children.get(base) if parent is not None and parent.children else None
            facts = () if mark or is_folder else layer.found.get(path, ())
            if facts and facts[0].type == UNKNOWN and facts[0].source:
                facts = self._linked(facts[0].source, path) or facts
            if node is not None and not (is_folder and node.link is None and node.seen is None):
                self._remove(real, base)  # all but a folder where one was
                last = None  # it may have been on the way to what was looked up
            if facts or mark:
                self._add(f"{real}/{base}" if real else base, Visible(facts, place) if facts else None,
                          target if mark else None)
                last = None

    def _linked(self, target: str, path: str) -> tuple[Fact, ...]:
        """What a file of a layer below says, where it has a name that the same cataloger read it by."""
        folder, _, base = target.rpartition("/")
        _, parent = self._locate(folder)
        node = parent.children.get(base) if parent is not None and parent.children else None
        return node.seen.facts if node is not None and node.seen is not None and choose(target) == choose(path) else ()

    def files(self) -> dict[str, Visible]:
        """All files that say something, by path."""
        result: dict[str, Visible] = {}
        waiting = [("", self._root)]
        while waiting:
            path, node = waiting.pop()
            if node.seen is not None:
                result[path] = node.seen
            for name, child in (node.children or {}).items():
                waiting.append((f"{path}/{name}" if path else name, child))
        return result

    def resolve(self, path: str, *, last: bool = True) -> str:
        """The path below the root without symbolic links in it; `last`: its last part is followed too.

        Raises MalformedError where more than 255 links are followed.
        """
        return self._locate(path, last=last)[0]

    def _locate(self, path: str, *, last: bool = True) -> tuple[str, _Node | None]:
        """As `resolve`, and what is known there."""
        node = self._root
        parts = path.split("/") if path else []
        for place, part in enumerate(parts):
            below = node.children.get(part) if node.children else None
            if below is None:
                return path, None  # there are no links where nothing is known
            if below.link is not None and (last or place + 1 < len(parts)):
                real = self._follow(parts, last)
                return real, self._node(real)
            node = below
        return path, node

    def _follow(self, parts: list[str], last: bool) -> str:
        real: list[str] = []
        nodes: list[_Node | None] = [self._root]  # of the root and of each part of `real`
        waiting = parts[::-1]
        links = 0
        self._steps.charge(len(waiting), "image")
        while waiting:
            part = waiting.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if real:
                    real.pop()
                    nodes.pop()
                continue
            above = nodes[-1]
            node = above.children.get(part) if above is not None and above.children else None
            if node is None or node.link is None or (not waiting and not last):
                real.append(part)
                nodes.append(node)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise MalformedError(f"image: {'/'.join([*real, part])}", got=f"more than {_MAX_LINKS} symbolic links",
                                     expected="a way that ends")
            target = node.link.split("/")
            self._steps.charge(len(target), "image")
            waiting.extend(reversed(target))
            if node.link.startswith("/"):
                real, nodes = [], nodes[:1]
        return "/".join(real)

    def find(self, path: str) -> str | None:
        """As `resolve`, and None where the links end nowhere: for a file that may as well not be there."""
        try:
            return self.resolve(path)
        except MalformedError:
            return None

    def _node(self, path: str) -> _Node | None:
        node: _Node | None = self._root
        for part in path.split("/") if path else ():
            node = node.children.get(part) if node is not None and node.children else None
            if node is None:
                return None
        return node

    def _add(self, path: str, seen: Visible | None, link: str | None) -> None:
        """Raises MalformedError for a link that there is no room for: nobody knows then where other names lead."""
        try:
            self._make(path, seen, link)
        except FullError as limit:
            paths = self.beyond.setdefault(f"file {limit}", [])
            if len(paths) < self._unread:
                paths.append(path)

    def _make(self, path: str, seen: Visible | None, link: str | None) -> None:
        node = self._root
        for part in path.split("/"):
            if node.children is None:
                self._charge(_FOLDER, link)
                node.children = {}
            child = node.children.get(part)
            if child is None:
                self._charge(_NODE + len(part) + len(link or ""), link)
                child = node.children[part] = _Node()
            node = child
        node.seen, node.link = seen, link

    def _charge(self, amount: int, link: str | None) -> None:
        if link is None:
            self._memory.take(amount)
        else:
            self._memory.charge(amount, "image")

    def _remove(self, folder: str, base: str) -> None:
        parent = self._node(folder)
        if parent is not None and parent.children is not None:
            self._forget(parent.children.pop(base, None), base)

    def _forget(self, node: _Node | None, name: str) -> None:
        """Credit what a tree took that is gone."""
        waiting = [] if node is None else [(name, node)]
        while waiting:
            part, node = waiting.pop()
            took = _NODE + len(part) + len(node.link or "") + (_FOLDER if node.children is not None else 0)
            self._memory.charge(-took, "image")
            waiting.extend((node.children or {}).items())


def squash(layers: Sequence[LayerFacts], limits: Limits | None = None) -> Filesystem:
    """The whole image."""
    tree = Filesystem(limits)
    for place, layer in enumerate(layers):
        tree.apply(layer, place)
    return tree
