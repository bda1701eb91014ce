"""Lays an image's layers over each other: which facts are still there when all are applied (image-spec layer.md).

Every entry goes where runtimes unpack it: its folder is looked up in what is there already, symbolic links and all,
below the image's root (containerd: fs.RootPath). Only what catalogers found and symbolic links are carried; of the
rest, the names suffice to know what they replace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from custody.errors import MalformedError
from custody.sbom.catalogers import Fact, choose
from custody.sbom.catalogers.fact import UNKNOWN
from custody.sbom.layerfacts import LayerFacts, member
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
    """A name in the tree: a folder, a symbolic link, or a file that says something.

    A link of a layer below has children where a layer above has entries behind it: overlayfs has a folder there.
    """

    __slots__ = ("children", "link", "place", "seen", "used")

    def __init__(self) -> None:
        self.children: dict[str, _Node] | None = None
        self.link: str | None = None
        self.seen: Visible | None = None
        self.place = self.used = -1
        """The layers that put it here, and that had an entry unpacked through it."""


class Filesystem:
    """The tree of what is known of an image when some of its layers are applied.

    Runtimes differ where an entry or a whiteout is behind a symbolic link of a layer below: unpacked over what is there
    it goes where the link leads; unpacked beside it, as containerd and Docker do for overlayfs, a folder takes the
    link's place and hides nothing else. What either of them has is here.
    """

    def __init__(self, limits: Limits | None = None, declared: bool = False) -> None:
        """`declared`: of a folder of sources, in which lock files and manifests are read too."""
        bounds = limits or Limits()
        self._declared = declared
        self._root = _Node()
        self._memory = Account(bounds.tree, "bytes of folders and symbolic links", bounds.tree // 4)
        self._unread = bounds.unread
        self.beyond: dict[str, list[str]] = {}
        """Files whose facts the tree has no room for, by what is said of them."""
        self._steps = Account(bounds.steps, "parts of names behind symbolic links")
        self._place = -1
        self.unpacked: list[dict[str, list[str]]] = []
        """For each layer the files that links on their way give a telling name, and that name."""

    def apply(self, layer: LayerFacts, place: int) -> None:
        """Raises MalformedError for links in circles on the way to an entry, for a link that entries of a layer went
        through before others of it took its place, and beyond the limits.
        """
        self._place = place
        telling: dict[str, list[str]] = {}
        self.unpacked.append(telling)
        last: str | None = None
        real = upper = ""
        parent = self._node("")
        for line in layer.lines():
            path, kind, target = member(line)
            folder, _, base = path.rpartition("/")
            if folder != last:
                last, real = folder, self.resolve(folder)
                upper = folder if real == folder else self.resolve(folder, own=True)
                parent = self._node(upper)
            if base.startswith(".wh."):
                last = None
                self._whiteout(parent, base)
                continue
            if kind == "link":
                linked = self._node(self.resolve(target, last=False))
                if linked is not None and linked.link is not None:
                    kind, target = "symlink", linked.link
            link = target if kind == "symlink" else None
            seen = None
            if kind in ("file", "link"):
                name = f"{real}/{base}" if real else base
                if name != path and choose(name, self._declared) not in (None, choose(path, self._declared)):
                    telling.setdefault(path, []).append(name)
                facts = layer.found.get(path, ())
                if facts and facts[0].type == UNKNOWN and facts[0].source:
                    facts = self._linked(facts[0].source, path) or facts
                seen = Visible(facts, place) if facts else None
            node = parent.children.get(base) if parent is not None and parent.children else None
            if node is not None and not (kind == "directory" and node.link is None and node.seen is None):
                if kind == "directory" and node.link is not None:
                    self._unlink(node, path)
                elif node.link is None or node.link != link:  # all but a folder where one was
                    self._replace(parent, base, path)
                last = None  # it may have been on the way to what was looked up
            if seen is not None or link is not None:
                self._add(f"{upper}/{base}" if upper else base, seen, link)
                last = None
                if upper != real:
                    self._behind(f"{real}/{base}" if real else base, seen, link)

    def _linked(self, target: str, path: str) -> tuple[Fact, ...]:
        """What a file of a layer below says, where it has a name that the same cataloger read it by."""
        folder, _, base = target.rpartition("/")
        _, parent = self._locate(folder)
        node = parent.children.get(base) if parent is not None and parent.children else None
        if node is None or node.seen is None or choose(target, self._declared) != choose(path, self._declared):
            return ()
        return node.seen.facts

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

    def links(self) -> Iterator[str]:
        """The paths of all symbolic links."""
        waiting = [("", self._root)]
        while waiting:
            path, node = waiting.pop()
            if node.link is not None:
                yield path
            waiting.extend((f"{path}/{name}" if path else name, child) for name, child in (node.children or {}).items())

    def resolve(self, path: str, *, last: bool = True, own: bool = False) -> str:
        """The path below the root without symbolic links in it; `last`: its last part is followed too; `own`: only
        links of the layer that is applied are followed.

        Raises MalformedError where more than 255 links are followed.
        """
        return self._locate(path, last=last, own=own)[0]

    def _locate(self, path: str, *, last: bool = True, own: bool = False) -> tuple[str, _Node | None]:
        """As `resolve`, and what is known there."""
        node = self._root
        parts = path.split("/") if path else []
        for place, part in enumerate(parts):
            below = node.children.get(part) if node.children else None
            if below is None:
                return path, None  # there are no links where nothing is known
            if self._leads(below, own) and (last or place + 1 < len(parts)):
                real = self._follow(parts, last, own)
                return real, self._node(real)
            node = below
        return path, node

    def _leads(self, node: _Node, own: bool) -> bool:
        return node.link is not None and not (own and node.place != self._place)

    def _follow(self, parts: list[str], last: bool, own: bool) -> str:
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
            if node is None or node.link is None or not self._leads(node, own) or (not waiting and not last):
                real.append(part)
                nodes.append(node)
                continue
            node.used = self._place
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
                self._charge(_NODE + len(part), link)
                child = node.children[part] = _Node()
            node = child
        self._memory.charge(len(link or "") - len(node.link or ""), "image")
        node.seen, node.link, node.place = seen, link, self._place

    def _charge(self, amount: int, link: str | None) -> None:
        if link is None:
            self._memory.take(amount)
        else:
            self._memory.charge(amount, "image")

    def _behind(self, path: str, seen: Visible | None, link: str | None) -> None:
        """Put an entry where a link of a layer below leads, beside what was there."""
        node = self._node(path)
        if node is None:
            self._add(path, seen, link)
        elif seen is not None:
            before = node.seen.facts if node.seen is not None else ()
            node.seen = Visible((*seen.facts, *(fact for fact in before if fact not in seen.facts)), seen.layer)

    def _whiteout(self, parent: _Node | None, base: str) -> None:
        """Take away what layers below have (image-spec layer.md, "Whiteouts", "Opaque Whiteout")."""
        if parent is None or not parent.children:
            return
        if base == ".wh..wh..opq":
            for name in list(parent.children):
                self._strip(parent, name)
        elif not base.startswith(".wh..wh."):  # the others are bookkeeping of AUFS
            self._strip(parent, base[4:])

    def _strip(self, parent: _Node, base: str) -> None:
        """Remove a name and all beneath it but for what the layer that is applied put there."""
        order: list[tuple[_Node, str, _Node]] = []
        node = (parent.children or {}).get(base)
        waiting = [] if node is None else [(parent, base, node)]
        while waiting:
            above, name, node = waiting.pop()
            order.append((above, name, node))
            waiting.extend((node, below, child) for below, child in (node.children or {}).items())
        for above, name, node in reversed(order):
            if node.place != self._place:
                self._memory.charge(-len(node.link or ""), "image")
                node.seen = node.link = None
                if not node.children and above.children is not None:
                    del above.children[name]
                    self._memory.charge(-_taken(name, node), "image")

    def _unlink(self, node: _Node, path: str) -> None:
        if node.link is None:
            return
        if node.used == self._place:
            raise MalformedError(f"image: {path}", got="an entry in the place of a symbolic link that others of its "
                                 "layer went through", expected="names that mean one file in a layer")
        self._memory.charge(-len(node.link), "image")
        node.link = None

    def _replace(self, parent: _Node | None, base: str, path: str) -> None:
        """Remove a name and all beneath it. Credits what a tree took that is gone."""
        node = parent.children.pop(base, None) if parent is not None and parent.children is not None else None
        waiting = [] if node is None else [(base, node)]
        while waiting:
            part, node = waiting.pop()
            self._unlink(node, path)
            self._memory.charge(-_taken(part, node), "image")
            waiting.extend((node.children or {}).items())


def _taken(name: str, node: _Node) -> int:
    """Bytes that a name was charged with, its link aside."""
    return _NODE + len(name) + (_FOLDER if node.children is not None else 0)


def squash(layers: Sequence[LayerFacts], limits: Limits | None = None, declared: bool = False) -> Filesystem:
    """The whole image, or folder."""
    tree = Filesystem(limits, declared)
    for place, layer in enumerate(layers):
        tree.apply(layer, place)
    return tree
