"""Go modules that lie in an image as `go mod download` unpacked them: `GOMODCACHE/MODULE@VERSION/`.

What is stated of one is a digest of all its files, `h1:` (golang.org/x/mod/sumdb/dirhash, "Hash1"): in the `go.sum` of
whoever was built there (Go Modules Reference, "go.sum files"), and in the cache beside the archive that it was unpacked
from (`cache/download/MODULE/@v/VERSION.ziphash`). The same that `go mod verify` compares. It says that some file is not
what it was, and not which.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from custody.sbom.limits import Account, FullError
from custody.sbom.proof.statements import GO_CACHE
from custody.sbom.proof.sums import Sums
from custody.sbom.proof.tree import Folder, Leaf, Tree

_FILES = 2_000_000
_H1 = re.compile(r"h1:[A-Za-z0-9+/]{43}=\Z")
_STORED = re.compile(r"(?P<cache>(?:.*/)?)cache/download/(?P<module>.+)/@v/(?P<version>[^/]+)\.ziphash\Z")
_CAPITAL = re.compile(r"!([a-z])")


@dataclass(slots=True)
class Module:
    """What is said of the files of one module, once it is known where they are."""

    name: str
    version: str
    said: set[tuple[str, str]] = field(default_factory=set)
    """Files that state an `h1:…`, and which."""

    @property
    def owner(self) -> str:
        return f"golang {self.name} {self.version}"


def gosum(content: bytes) -> Iterator[tuple[str, str, str]]:
    """Module, version and `h1:…` of each line about a module's files; lines about its go.mod alone are left out."""
    for number, line in enumerate(content.decode("utf-8", "surrogateescape").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3:
            raise ValueError(f"line {number} is no module, version and digest")
        module, version, digest = words
        if version.endswith("/go.mod") or not digest.startswith("h1:"):
            continue  # digests of kinds to come are passed over, as Go does
        yield module, version, _checked(digest, f"line {number}")


def ziphash(path: str, content: bytes) -> tuple[str, str, str, str]:
    """The folder of the cache, module, version and `h1:…`."""
    match = _STORED.match(path)
    if match is None:
        raise ValueError("no file of Go's cache")
    return (match["cache"], _unescaped(match["module"]), _unescaped(match["version"]),
            _checked(content.decode("ascii", "replace").strip(), "the digest"))


def folder(cache: str, module: str, version: str) -> str:
    """Go Modules Reference, "Module cache": a capital is written as `!` and the small letter."""
    return cache + "@".join(re.sub("[A-Z]", lambda match: "!" + match[0].lower(), text) for text in (module, version))


def caches(tree: Tree) -> list[str]:
    """Folders `pkg/mod/` of an image, near its root and in homes."""
    places = ["", "go", "root/go", "usr/local/go", "usr/share/gocode", "opt/go"]
    _, homes = tree.resolve("home")
    places += [f"home/{name}/go" for name in homes] if isinstance(homes, dict) else []
    return [f"{place}/{GO_CACHE}".lstrip("/") for place in places
            if isinstance(tree.resolve(f"{place}/{GO_CACHE}".strip("/"))[1], dict)]


def wanting(modules: Mapping[str, Module], tree: Tree, sums: Sequence[Sums]) -> Iterator[tuple[int, str]]:
    """Layer and path of the files that no SHA-256 was made of."""
    room = Account(_FILES, "files of Go modules")
    for place in modules:
        try:
            for path, node in _files(tree, place, room):
                if node.target is None and path not in sums[node.layer].beyond and _sha256(sums, path, node) is None:
                    yield node.layer, path
        except FullError:  # said by `compare`
            return


def compare(place: str, module: Module, tree: Tree, sums: Sequence[Sums], room: Account) -> tuple[str, str, int | None]:
    """`same`, `changed` or `unread`; why; and the topmost layer that any of the files is from."""
    lines: list[tuple[bytes, bytes]] = []
    top: int | None = None
    prefix = f"{module.name}@{module.version}/"
    try:
        for path, node in _files(tree, place, room):
            top = node.layer if top is None else max(top, node.layer)
            name = prefix + path[len(place) + 1:]
            if node.target is not None:
                return "changed", f"{path} is a symbolic link, of which modules have none", node.layer
            if "\n" in name:
                return "changed", "a file's name has a line break, of which modules have none", node.layer
            if (digest := _sha256(sums, path, node)) is None:
                return "unread", sums[node.layer].beyond.get(path, f"{path} was not read to its end"), node.layer
            lines.append((name.encode("utf-8", "surrogateescape"), digest))
    except FullError as limit:
        return "unread", f"files {limit}", top
    whole = hashlib.sha256(b"".join(b"%s  %s\n" % (digest.hex().encode(), name) for name, digest in sorted(lines)))
    made = "h1:" + base64.b64encode(whole.digest()).decode()
    for where, stated in sorted(module.said):
        if stated != made:
            return "changed", f"its files have {made}, and {where} says {stated}", top
    return "same", "", top


def exists(tree: Tree, place: str) -> bool:
    return isinstance(tree.resolve(place)[1], dict)


def _files(tree: Tree, place: str, room: Account) -> Iterator[tuple[str, Leaf]]:
    """Files and symbolic links in a folder and in those below."""
    _, start = tree.resolve(place)
    waiting: list[tuple[str, Folder]] = [(place, start)] if isinstance(start, dict) else []
    while waiting:
        path, inside = waiting.pop()
        room.take(len(inside))
        for name, node in inside.items():
            if isinstance(node, dict):
                waiting.append((f"{path}/{name}", node))
            else:
                yield f"{path}/{name}", node


def _sha256(sums: Sequence[Sums], path: str, node: Leaf) -> bytes | None:
    return next((digest for digest in sums[node.layer].digests.get(path, ()) if len(digest) == 32), None)


def _unescaped(text: str) -> str:
    return _CAPITAL.sub(lambda match: match[1].upper(), text)


def _checked(digest: str, where: str) -> str:
    if not _H1.match(digest):  # 43 signs and one of padding are 32 bytes
        raise ValueError(f"{where} is no h1: of 32 bytes in base64")
    return digest
