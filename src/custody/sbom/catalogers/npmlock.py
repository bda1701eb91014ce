"""npm's lock files, `package-lock.json` and `npm-shrinkwrap.json` (npm docs, "package-lock.json"), versions 1 to 3."""

from __future__ import annotations

from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.documents import Table, integrity, json_object, table, word, words
from custody.sbom.catalogers.fact import Fact, unknown

_DEEPEST = 200
_STEPS = 50_000_000


def read(path: str, content: bytes) -> Iterator[Fact]:
    document = json_object(path, content)
    if isinstance(document.get("packages"), dict):
        yield from _flat(document)
    elif isinstance(document.get("dependencies"), dict):
        yield from _nested(document)
    elif "lockfileVersion" not in document:
        raise ValueError("a lock file without packages")


def _flat(document: Table) -> Iterator[Fact]:
    """Versions 2 and 3: each package by the folder that it goes to."""
    entries = {place: row for place, row in document["packages"].items() if isinstance(row, dict)}
    if any(place.count("/") > 5 * _DEEPEST for place in entries):
        raise ValueError("packages in packages, too deep")
    spelled: dict[str, str] = {}
    for place, row in entries.items():
        target = table(entries.get(word(row.get("resolved")))) if row.get("link") is True else row
        name = word(target.get("name")) or (word(document.get("name")) if not place else
                                            place.rpartition("node_modules/")[2] if "node_modules/" in place else "")
        version = word(target.get("version")) or ("" if place else word(document.get("version")))
        if name and version:
            spelled[place] = f"{name}@{version}"
    steps = 0
    for place, row in entries.items():
        if row.get("link") is True:
            continue
        if place not in spelled:
            if "node_modules/" in place:
                yield unknown("npm package without a name and a version")
            continue
        needed = [name for key in ("dependencies", "optionalDependencies", "peerDependencies",
                                   *(() if "node_modules/" in place else ("devDependencies",)))
                  for name in table(row.get(key))]
        above = list(_above(place))
        steps += len(needed) * len(above)
        if steps > _STEPS:
            raise ValueError("a lock file with too many dependencies")
        requires = [spelled[near] for name in dict.fromkeys(needed)
                    if (near := next((folder for way in above if (folder := f"{way}node_modules/{name}") in spelled),
                                     None)) is not None]
        name, _, version = spelled[place].rpartition("@")
        yield Fact(type="npm", name=name, version=version.removeprefix("v"), requires=tuple(requires),
                   hashes=integrity(word(row.get("integrity"))), licenses=tuple(words(row.get("license"))),
                   scope=_scope(row))


def _above(place: str) -> Iterator[str]:
    """The folders whose node_modules Node looks in, from the package's own up: `a/node_modules/b/`, `a/`, ``."""
    while place:
        if not place.endswith("node_modules"):
            yield f"{place}/"
        place = place.rpartition("/")[0]
    yield ""


def _scope(row: Table) -> str:
    """`devOptional` is a dependency of development, or an optional one of the rest."""
    if row.get("dev") is True:
        return "dev"
    return "optional" if row.get("optional") is True or row.get("devOptional") is True else ""


def _nested(document: Table) -> Iterator[Fact]:
    """Version 1: packages in the packages whose node_modules they are in."""
    top = table(document["dependencies"])
    waiting: list[tuple[Table, tuple[Table, ...]]] = [(top, (top,))]
    if (name := word(document.get("name"))) and (version := word(document.get("version"))):
        yield Fact(type="npm", name=name, version=version, requires=tuple(
            f"{known[0]}@{known[1]}" for key, row in top.items() if (known := _identity(key, table(row)))))
    steps = 0
    while waiting:
        rows, scopes = waiting.pop()
        if len(scopes) > _DEEPEST:
            raise ValueError("packages in packages, too deep")
        for key, value in rows.items():
            row = table(value)
            inner = table(row.get("dependencies"))
            ways = (*scopes, inner) if inner else scopes
            if inner:
                waiting.append((inner, ways))
            identity = _identity(key, row)
            if identity is None:
                yield unknown("npm package without a name and a version")
                continue
            requires = []
            steps += len(table(row.get("requires"))) * len(ways)
            if steps > _STEPS:
                raise ValueError("a lock file with too many dependencies")
            for needed in table(row.get("requires")):
                chosen = next((way[needed] for way in reversed(ways) if needed in way), None)
                if chosen is not None and (known := _identity(needed, table(chosen))):
                    requires.append(f"{known[0]}@{known[1]}")
            yield Fact(type="npm", name=identity[0], version=identity[1], requires=tuple(requires), scope=_scope(row),
                       hashes=integrity(word(row.get("integrity"))))


def _identity(key: str, row: Table) -> tuple[str, str] | None:
    """Name and version; an alias is what it stands for (`npm:string-width@4.2.3`), a repository has no version."""
    version = word(row.get("version"))
    if version.startswith("npm:"):
        key, _, version = version[4:].rpartition("@")
    elif ":" in version or "/" in version:
        version = ""
    return (key, version) if key and (version or row.get("version")) else None


CATALOGER = Cataloger(name="npm lock", version=1, types=("npm",), read=read, declares=True, parsed=0.25,
                      largest=64 << 20, paths=(named("package-lock.json", "npm-shrinkwrap.json",
                                                     ".package-lock.json"),))
