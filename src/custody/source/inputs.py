"""What a revision takes in from others, and how each of it could be exchanged: lock files, manifests, build files.

Each `Concern` has a rule's name. An error stops; a warning is a suspicion that one fact alone gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from custody.errors import CustodyError
from custody.source import addresses, buildfiles, locked, manifests, names
from custody.source.locked import Locked

RULES = {
    "unreadable": "a lock file that cannot be read",
    "hash-missing": "nothing says which bytes a package must have",
    "mutable-url": "what it names can be replaced",
    "foreign-url": "it is from neither the ecosystem's registry nor an allowed one",
    "name-mismatch": "its address is of another package or version",
    "dependency-confusion": "an internal name that a public registry may answer for",
    "lock-injection": "the same version has other bytes or another address than in the base revision",
    "lock-alone": "the lock file changed, and no manifest beside it did",
    "out-of-step": "a manifest asks for what its lock file does not have",
    "install-script": "a program that runs when it is installed appeared",
    "typosquat": "its name is nearly a popular one",
    "cooldown": "it was released only now",
    "withdrawn": "its registry does not have it, or not any more",
    "new-transitive": "a package appeared that no manifest asks for",
    "base-image": "an image by a tag, which can be moved",
    "unpinned-script": "a program is fetched and run, and nothing says which bytes it must have",
    "workflow-injection": "text of strangers becomes a part of a program, or their code runs with secrets",
    "workflow-new": "a workflow appeared",
    "binary-appeared": "bytes that nobody can review appeared",
}


@dataclass(frozen=True, slots=True)
class Concern:
    """`line` is 0 where it is of the whole file."""

    rule: str
    path: str
    message: str
    level: Literal["error", "warning"] = "error"
    package: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.path}{f':{self.line}' if self.line else ''}: {self.rule}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What the caller says of a team's inputs."""

    registries: frozenset[str] = frozenset()
    """Hosts, beside the ecosystems' own, that packages may be from."""
    private: tuple[str, ...] = ()
    """Patterns of internal names: `@myorg/*`, `myorg-*`."""
    cooldown: timedelta | None = None
    popular: frozenset[str] = frozenset()


@dataclass(slots=True)
class Inputs:
    """What was found."""

    packages: dict[str, list[Locked]] = field(default_factory=dict)
    """By lock file."""
    concerns: list[Concern] = field(default_factory=list)
    undated: int = 0
    """Packages whose age the lock files do not say; counted only where a cooldown is asked for."""


def inspect(files: Mapping[str, Callable[[], bytes]], base: Mapping[str, Callable[[], bytes]] | None,
            ids: Mapping[str, str], base_ids: Mapping[str, str], expected: Expectations, now: datetime) -> Inputs:
    """`files` are a revision's by path, read when they are called; `ids` say which are the same in the `base`."""
    inputs = Inputs()
    locks = [path for path in files if path.rpartition("/")[2] in locked.READERS]
    asked = manifests.asked(files)
    for path in locks:
        try:
            entries = locked.read(path, files[path]())
        except (CustodyError, ValueError) as error:
            inputs.concerns.append(Concern("unreadable", path, str(error)))
            continue
        inputs.packages[path] = entries
        content = files[path]()
        folder = path.rpartition("/")[0]
        before = _before(path, base)
        judged = [*_entries(path, entries, before, expected, manifests.scopes(files, folder), now),
                  *_appeared(path, entries, before, asked),
                  *(Concern("out-of-step", path, f"{manifest} asks for {name}, which is not locked")
                    for manifest, name in manifests.missing(files, path, entries))]
        inputs.concerns += [_placed(concern, content) for concern in judged]
        if before is not None and ids.get(path) != base_ids.get(path) and not any(
                ids.get(manifest) != base_ids.get(manifest) for manifest in manifests.beside(files, path)):
            inputs.concerns.append(Concern("lock-alone", path, RULES["lock-alone"], "warning"))
        if expected.cooldown is not None:
            inputs.undated += sum(entry.released is None and not entry.own for entry in entries)
    for rule, path, line, level, message in (*manifests.indexes(files, expected.private),
                                             *buildfiles.judge(files, ids, base_ids if base is not None else None)):
        inputs.concerns.append(Concern(rule, path, message, level, line=line))
    return inputs


def _before(path: str, base: Mapping[str, Callable[[], bytes]] | None) -> dict[tuple[str, str], Locked] | None:
    """What the base has in the same file; nothing where it could not be read there."""
    if base is None:
        return None
    try:
        return {(entry.name, entry.version): entry for entry in locked.read(path, base[path]())} if path in base else {}
    except (CustodyError, ValueError):
        return {}


def _entries(path: str, entries: list[Locked], before: dict[tuple[str, str], Locked] | None, expected: Expectations,
             scopes: frozenset[str], now: datetime) -> Iterator[Concern]:
    known = names.popular(expected.popular)
    used = {name for name, _ in before or ()}
    scripted = {name for (name, _), entry in (before or {}).items() if entry.scripts}
    gems = [entry for entry in entries if entry.type == "gem" and not entry.own]
    unsummed = bool(gems) and not any(entry.digests for entry in gems)
    if unsummed:  # Bundler before 2.6 writes none: once for all
        yield Concern("hash-missing", path, f"{len(gems)} gems and no CHECKSUMS: bundle lock --add-checksums")
    for entry in entries:
        if entry.own:
            continue
        label = f"{entry.name} {entry.version}".strip()

        def concern(rule: str, message: str, level: Literal["error", "warning"] = "error", *,
                    label: str = label) -> Concern:
            return Concern(rule, path, f"{label}: {message}", level, label)

        facts: list[str] = []
        if not entry.digests and not addresses.pinned(entry) and not unsummed:
            yield concern("hash-missing", "no digest, so any bytes would do")
        if reason := addresses.mutable(entry):
            facts.append("it is from an address that can be replaced")
            yield concern("mutable-url", reason)
        if reason := addresses.foreign(entry, expected.registries):
            facts.append("it is not from the registry")
            yield concern("foreign-url", reason)
        if reason := addresses.another(entry):
            yield concern("name-mismatch", reason)
        if reason := addresses.confused(entry, expected.private, expected.registries, scopes):
            yield concern("dependency-confusion", reason)
        old = (before or {}).get((entry.name, entry.version))
        if old is not None and ((old.digests and set(old.digests).isdisjoint(entry.digests))
                                or addresses.host(old.url) != addresses.host(entry.url)):
            place = old.url or "the registry"
            yield concern("lock-injection", f"the base revision has the same version from {place} with other bytes"
                          if old.url == entry.url else
                          f"got {entry.url or 'the registry'}, the base revision has it from {place}")
        if before is not None and entry.scripts and old is None and entry.name not in scripted:
            facts.append("it runs a program when it is installed")
            yield concern("install-script", "runs a program when it is installed, and " + (
                "the version before did not" if entry.name in used else "is new"))
        if expected.cooldown is not None and entry.released is not None and now - entry.released < expected.cooldown:
            facts.append("it was released only now")
            yield concern("cooldown", f"released {entry.released:%Y-%m-%d}, expected {expected.cooldown.days} days ago")
        if near := names.squats(entry.name, known.get(entry.type, expected.popular)):
            if before is not None and entry.name not in used:
                facts.append("it is new in this revision")
            yield concern("typosquat", f"is nearly {near}" + "".join(f", and {fact}" for fact in facts),
                          "error" if facts else "warning")


def _appeared(path: str, entries: list[Locked], before: dict[tuple[str, str], Locked] | None,
              asked: frozenset[str]) -> Iterator[Concern]:
    if not before:
        return
    used = {name for name, _ in before}
    for entry in entries:
        if entry.name not in used and entry.name.lower() not in asked and not entry.own and entry.type != "golang":
            label = f"{entry.name} {entry.version}"
            yield Concern("new-transitive", path, f"{label}: no manifest asks for it, and the base revision does not "
                          "have it", "warning", label)


def _placed(concern: Concern, content: bytes) -> Concern:
    """With the first line that names the package."""
    name = concern.package.partition(" ")[0].encode()
    place = content.find(name) if name else -1
    return concern if place < 0 else Concern(concern.rule, concern.path, concern.message, concern.level,
                                             concern.package, content.count(b"\n", 0, place) + 1)
