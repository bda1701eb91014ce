"""Compares the files that are visible in an image with what its packages say of them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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

    named: Folder | Leaf | None
    """What is there now; a link is not followed."""
    statements: list[tuple[Statement, int]]
    """With the layers of the lists that say it."""


class Open(NamedTuple):
    """A path of which something is stated, and the digest that was made of it does not say that it is so."""

    path: str
    stated: Sequence[tuple[Statement, int]]
    """Those that count, each with a digest."""
    named: Folder | Leaf | None
    real: str
    """Where links lead, and what is there."""
    node: Folder | Leaf | None


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
    same: int = 0
    """Paths that are what is stated of them."""
    open: list[Open] = field(default_factory=list)


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
                where, named = tree.resolve(target, last=False)
                stated = said.by_path.get(where)
                if stated is None:
                    said.by_path[where] = Stated(named, [(statement, place)])
                else:
                    stated.statements.append((statement, place))
                if statement.digest:
                    said.owners.add(statement.owner)
                said.systems = said.systems or " " in statement.owner
        except FullError as limit:
            said.unreadable.append(f"{path}: {limit}")
        except (CustodyError, ValueError) as error:
            said.unreadable.append(f"{path}: {error}")
    return said


def wanting(said: Read, tree: Tree, sums: Sequence[Sums]) -> dict[int, dict[str, tuple[str, ...]]]:
    """What is as stated is settled. By layer, files of which a package states a digest that was not made: they are to
    be read again.
    """
    needed: dict[int, dict[str, tuple[str, ...]]] = {}
    for path, told in said.by_path.items():
        stated = _vouching([entry for entry in told.statements if entry[0].digest])
        if not stated:
            continue
        named, real, node = told.named, path, told.named
        if not isinstance(named, Leaf) or named.target is not None:
            real, node = tree.resolve(path)
        if isinstance(node, Leaf) and node.target is None:
            made = sums[node.layer].digests.get(real, ())
            if _as_stated(stated, made):
                said.same += 1
                continue
            lengths = {len(statement.digest) for statement, _ in stated}
            if real not in sums[node.layer].beyond and not lengths <= {len(digest) for digest in made}:
                needed.setdefault(node.layer, {})[real] = tuple(NAMES[length] for length in sorted(lengths))
        said.open.append(Open(path, stated, named, real, node))
    for place, path in gomodules.wanting(said.modules, tree, sums):
        algorithms = needed.setdefault(place, {})
        algorithms[path] = tuple(sorted({*algorithms.get(path, ()), "sha256"}))
    return needed


def _as_stated(stated: Sequence[tuple[Statement, int]], made: Sequence[bytes]) -> bool:
    return any(statement.digest in made for statement, _ in stated)


def judge(said: Read, tree: Tree, sums: Sequence[Sums], packages: Sequence[Package], digests: Sequence[str]) -> Proof:
    """Once what is `wanting` was read; `digests` are the layers', a folder has none."""
    identity = _Identity(packages)
    differences: list[Difference] = []
    counts: Counter[str] = Counter()
    same = said.same
    stated = same + len(said.open)

    def note(difference: Difference) -> None:
        counts[difference.state] += 1
        if counts[difference.state] <= _KEPT:
            differences.append(difference)

    def layer(place: int | None) -> str:
        return digests[place] if place is not None and digests else ""

    for path, digested, named, real, node in said.open:
        package = identity.purl(digested[-1][0].owner)
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
        elif _as_stated(digested, sums[node.layer].digests.get(real, ())):
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
    if len(digested) < 2:
        return digested
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
        for statement, _ in told.statements:
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
