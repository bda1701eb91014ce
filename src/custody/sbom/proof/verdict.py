"""Compares the files that are visible in an image with what its packages say of them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from custody.errors import CustodyError
from custody.formats.bom import Difference, Package, Proof
from custody.sbom.limits import Account, FullError
from custody.sbom.proof import gomodules, statements
from custody.sbom.proof.statements import READERS, Diversion, Statement
from custody.sbom.proof.sums import NAMES, Sums
from custody.sbom.proof.tree import Folder, Leaf, Tree

_STATEMENTS, _KEPT, _PARSED = 3_000_000, 10_000, 1 << 30
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "usr/bin", "usr/sbin", "usr/lib", "usr/lib32", "usr/lib64",
           "usr/libexec")
_AMONG = tuple(top + "/" for top in _SYSTEM)
_MANAGERS = ("deb", "apk", "rpm", "alpm")
"""How the names of the system's packages begin in statements."""
_MADE = re.compile(r".*(?:\.pyc|\.cache|/locale-archive|/modules\.[^/]+|/giomodule\.cache|/fonts\.(?:dir|scale))\Z")
"""What packages make of their own files when they are installed, and so do not list."""
_COMPILED = re.compile(r"(.*?)(?:__pycache__/)?([^/.]+)(?:\.[^/]*)?\.pyc\Z")
_ORDER = ("changed", "added", "unread", "unowned", "configuration", "missing")


@dataclass(slots=True)
class Stated:
    """What is said of one path of the image, once links are followed."""

    statements: list[Statement]
    places: list[int]
    """The layers of the lists that say it."""


@dataclass(slots=True)
class Read:
    """The visible lists of an image."""

    by_path: dict[str, Stated] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    owners: set[str] = field(default_factory=set)
    systems: bool = False
    """Whether there is a package manager of the system that lists its files."""
    modules: dict[str, gomodules.Module] = field(default_factory=dict)
    """Go modules whose files are there, by their folder."""


def read(tree: Tree, sums: Sequence[Sums]) -> Read:
    """All that visible lists state, by where it is now."""
    said = Read()
    room, parsed = Account(_STATEMENTS, "files in lists of installed files"), Account(_PARSED, "bytes of such lists")
    visible = [(path, place) for place, layer in enumerate(sums) for path in layer.stating
               if tree.resolve(path, last=False)[1] == Leaf(place, None)]
    said.unreadable += [f"{path}: {reason}" for place, layer in enumerate(sums)
                        for path, reason in layer.beyond.items()
                        if statements.kind(path) and tree.resolve(path, last=False)[1] == Leaf(place, None)]
    diverted = _diversions(visible, sums)
    caches = gomodules.caches(tree)
    for path, place in sorted(visible):
        if path.endswith("/diversions"):
            continue
        try:
            if statements.kind(path) in ("gosum", "ziphash"):
                _modules(path, sums[place], tree, caches, said, (room, parsed))
                continue
            for statement in _statements(path, sums[place], parsed):
                if not statement.digest and " " in statement.owner and not statement.path.startswith(_AMONG):
                    said.systems = True
                    continue  # that it is nobody's is asked of programs and libraries only
                room.take(1)
                moved = diverted.get(statement.path)
                target = moved.moved if moved is not None and moved.by != statement.owner else statement.path
                where, _ = tree.resolve(target, last=False)
                stated = said.by_path.get(where)
                if stated is None:
                    stated = said.by_path[where] = Stated([], [])
                stated.statements.append(statement)
                stated.places.append(place)
                if statement.digest:
                    said.owners.add(statement.owner)
                said.systems = said.systems or " " in statement.owner
        except FullError as limit:
            said.unreadable.append(f"{path}: {limit}")
        except (CustodyError, ValueError) as error:
            said.unreadable.append(f"{path}: {error}")
    return said


def wanting(said: Read, tree: Tree, sums: Sequence[Sums]) -> dict[int, dict[str, tuple[str, ...]]]:
    """By layer, files that no digest was made of which a package states: they are to be read again."""
    needed: dict[int, dict[str, tuple[str, ...]]] = {}
    for path, stated in said.by_path.items():
        lengths = {len(statement.digest) for statement in stated.statements if statement.digest}
        if not lengths:
            continue
        _, real, node = _seen(tree, path)
        if isinstance(node, Leaf) and node.target is None and real not in sums[node.layer].beyond:
            made = {len(digest) for digest in sums[node.layer].digests.get(real, ())}
            if not lengths <= made:
                needed.setdefault(node.layer, {})[real] = tuple(NAMES[length] for length in sorted(lengths))
    for place, path in gomodules.wanting(said.modules, tree, sums):
        algorithms = needed.setdefault(place, {})
        algorithms[path] = tuple(sorted({*algorithms.get(path, ()), "sha256"}))
    return needed


def _seen(tree: Tree, path: str) -> tuple[Folder | Leaf | None, str, Folder | Leaf | None]:
    """What has this name; and where that leads, and what is there."""
    where, named = tree.resolve(path, last=False)
    return (named, where, named) if isinstance(named, Leaf) and named.target is None else (named, *tree.resolve(path))


def judge(said: Read, tree: Tree, sums: Sequence[Sums], packages: Sequence[Package], digests: Sequence[str]) -> Proof:
    """`digests` are the layers'; a folder has none."""
    identity = _Identity(packages)
    differences: list[Difference] = []
    counts: Counter[str] = Counter()
    stated = same = 0

    def note(difference: Difference) -> None:
        counts[difference.state] += 1
        if counts[difference.state] <= _KEPT:
            differences.append(difference)

    def layer(place: int | None) -> str:
        return digests[place] if place is not None and digests else ""

    for path, told in said.by_path.items():
        digested = _vouching([(statement, place) for statement, place in
                              zip(told.statements, told.places, strict=True) if statement.digest])
        if not digested:
            continue
        stated += 1
        package = identity.purl(digested[-1][0].owner)
        named, real, node = _seen(tree, path)
        if isinstance(named, Leaf) and named.target is not None and any(
                _is_link(named.target, entry) for entry, _ in digested):
            same += 1
        elif node is None and named is None:
            note(Difference(path=path, state="missing", package=package, layer=layer(_taken_by(tree, path))))
        elif not isinstance(node, Leaf):
            note(Difference(path=path, state="changed", package=package, reason=(
                "it is a folder" if node is not None else "it is a symbolic link to nothing"),
                layer=layer(named.layer if isinstance(named, Leaf) else None)))
        elif (reason := sums[node.layer].beyond.get(real)) is not None:
            note(Difference(path=path, state="unread", package=package, layer=layer(node.layer), reason=reason))
        elif any(entry.digest in sums[node.layer].digests.get(real, ()) for entry, _ in digested):
            same += 1
        elif not sums[node.layer].digests.get(real):
            note(Difference(path=path, state="unread", package=package, layer=layer(node.layer),
                            reason="it was not read to its end"))
        else:
            top = named.layer if isinstance(named, Leaf) else node.layer
            note(Difference(
                path=path, state="configuration" if all(entry.config for entry, _ in digested) else "changed",
                package=package, layer=layer(top), reason=(
                    f"it is a symbolic link to {real}" if real != path else
                    "another layer than its package's put it there" if digests and top not in
                    {place for _, place in digested} else "its digest is another")))
    files = Account(_STATEMENTS, "files of Go modules")
    for place, module in said.modules.items():
        state, reason, highest = gomodules.compare(place, module, tree, sums, files)
        stated += 1
        if state == "same":
            same += 1
        else:
            note(Difference(path=place, state="changed" if state == "changed" else "unread", reason=reason,
                            package=identity.purl(module.owner), layer=layer(highest)))
    for difference in (*_added(said, tree, identity, layer), *_unowned(said, tree, identity, layer)):
        note(difference)
    proven = {identity.purl(owner) for owner in (*said.owners, *(module.owner for module in said.modules.values()))}
    return Proof(
        stated=stated, same=same, counts=tuple((state, counts[state]) for state in _ORDER if counts[state]),
        differences=tuple(sorted(differences, key=lambda entry: (_ORDER.index(entry.state), entry.path))),
        unproven=tuple(sorted(Counter(package.type for package in packages if package.purl not in proven).items())),
        unreadable=tuple(said.unreadable))


def _vouching(digested: list[tuple[Statement, int]]) -> list[tuple[Statement, int]]:
    """Where a package of the system states a file, no other list speaks for it: anybody may write a RECORD."""
    return [entry for entry in digested if entry[0].owner.partition(" ")[0] in _MANAGERS] or digested


class _Identity:
    """Package URLs by how lists name the packages."""

    def __init__(self, packages: Sequence[Package]) -> None:
        self.folders = {location.path.rpartition("/")[0]: package.purl for package in packages
                        for location in package.locations}
        self.places = {location.path: package.purl for package in packages for location in package.locations}
        self._names: dict[str, str] = {}
        for package in packages:
            self._names[f"{package.type} {package.name}"] = package.purl
            self._names[f"{package.type} {package.name} {package.version.rpartition(':')[2]}"] = package.purl

    def purl(self, owner: str) -> str:
        return self._names.get(owner) or self.places.get(owner) or self.folders.get(owner) or owner


def _statements(path: str, layer: Sums, parsed: Account) -> Iterator[Statement]:
    file = layer.stating[path]
    file.seek(0)
    kind = statements.kind(path) or ""
    if kind == "rpm":
        return statements.packages(file, parsed.take)
    content = file.read()
    parsed.take(len(content))
    return READERS[kind](path, content)


def _modules(path: str, layer: Sums, tree: Tree, caches: Sequence[str], said: Read,
             accounts: tuple[Account, Account]) -> None:
    """What a file states of Go modules that are there; of others it is no word on this image."""
    room, parsed = accounts
    file = layer.stating[path]
    file.seek(0)
    content = file.read()
    parsed.take(len(content))
    stated: Iterator[tuple[str, str, str, str]] = (
        iter([gomodules.ziphash(path, content)]) if statements.kind(path) == "ziphash" else
        ((cache, *line) for line in gomodules.gosum(content) for cache in caches))
    for cache, name, version, digest in stated:
        room.take(1)
        place = gomodules.folder(cache, name, version)
        if gomodules.exists(tree, place):
            said.modules.setdefault(place, gomodules.Module(name, version)).said.add((path, digest))


def _diversions(visible: Sequence[tuple[str, int]], sums: Sequence[Sums]) -> Mapping[str, Diversion]:
    diverted: dict[str, Diversion] = {}
    for path, place in visible:
        if path.endswith("/diversions"):
            file = sums[place].stating[path]
            file.seek(0)
            diverted.update({entry.path: entry for entry in statements.diversions(file.read())})
    return diverted


def _is_link(target: str, statement: Statement) -> bool:
    """apk states the SHA-1 of what a symbolic link says."""
    said = hashlib.sha1(target.encode("utf-8", "surrogateescape"), usedforsecurity=False).digest()
    return statement.digest == said


def _taken_by(tree: Tree, path: str) -> int | None:
    while path:
        if path in tree.gone:
            return tree.gone[path]
        path = path.rpartition("/")[0]
    return None


def _added(said: Read, tree: Tree, identity: _Identity, layer: Callable[[int | None], str]) -> Iterator[Difference]:
    """Files in the folders that only packages of Python have, which none of their lists names.

    A compiled file beside its source is Python's own; one without is code that nobody states.
    """
    folders: dict[str, str] = {}
    for path, told in said.by_path.items():
        for statement in told.statements:
            if statement.owner.endswith(".dist-info"):
                site = statement.owner.rpartition("/")[0] + "/"
                top, slash, _ = path.removeprefix(site).partition("/")
                if path.startswith(site) and slash:
                    folders.setdefault(site + top, statement.owner)
    for folder, owner in folders.items():
        for path, leaf in tree.files(folder):
            if path in said.by_path or _compiled(tree, path):
                continue
            yield Difference(path=path, state="added", package=identity.purl(owner),
                             layer=layer(leaf.layer))


def _compiled(tree: Tree, path: str) -> bool:
    match = _COMPILED.match(path)
    return match is not None and "__pycache__/" in path and isinstance(
        tree.resolve(f"{match[1]}{match[2]}.py")[1], Leaf)


def _unowned(said: Read, tree: Tree, identity: _Identity, layer: Callable[[int | None], str]) -> Iterator[Difference]:
    """Files where only the system's packages install any, which no package at all answers for."""
    if not said.systems:
        return
    answered = {folder for folder in identity.folders if folder.count("/") > 2}
    for top in _SYSTEM:
        if tree.resolve(top)[0] != top:
            continue  # a link: its files have another name
        for path, leaf in tree.files(top):
            if path in said.by_path or path in identity.places or _MADE.match(path):
                continue
            if not any(above in answered for above in _above(path)):
                yield Difference(path=path, state="unowned", layer=layer(leaf.layer))


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
