"""pnpm-lock.yaml (pnpm.io; pnpm's package `@pnpm/lockfile.types`), versions 5 to 9."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.documents import Table, indented, integrity, table, word
from custody.sbom.catalogers.fact import Fact, unknown

_SLASHES = re.compile(r"(?:[^/@]*/)??((?:@[^/]+/)?[^/@]+)/([0-9][^/_(]*)(?:_.*)?", re.DOTALL)
"""`/name/1.0.0_peers`, of version 5; a registry of another's in front of it."""
_GROUPS = ("dependencies", "optionalDependencies")


def read(_path: str, content: bytes) -> Iterator[Fact]:
    document = indented(content)
    if "lockfileVersion" not in document:
        raise ValueError("a lock file without lockfileVersion")
    packages, snapshots = table(document.get("packages")), table(document.get("snapshots"))
    importers = {**table(document.get("importers"))} or {".": document}
    runs = _running(importers, snapshots or packages)
    identities = {key: _identity(key, table(packages.get(key)) or table(packages.get(key.partition("(")[0])))
                  for key in (snapshots or packages)}
    seen: set[tuple[str, str]] = set()
    for key, value in (snapshots or packages).items():
        row = table(value)
        stated = {**table(packages.get(key.partition("(")[0])), **row}
        identity = identities[key]
        if identity is None:
            yield unknown("npm package without a name and a version")
            continue
        seen.add(identity)
        requires = [f"{known[0]}@{known[1]}" for group in _GROUPS for name, asked in table(row.get(group)).items()
                    if (known := identities.get(_key(name, word(asked), identities) or ""))]
        dev = word(stated.get("dev")) == "true" if "dev" in stated else bool(runs) and key not in runs
        yield Fact(type="npm", name=identity[0], version=identity[1], requires=tuple(dict.fromkeys(requires)),
                   hashes=integrity(word(table(stated.get("resolution")).get("integrity"))),
                   scope="dev" if dev else "optional" if word(stated.get("optional")) == "true" else "")
    for key in packages if snapshots else ():
        if (identity := _identity(key, table(packages[key]))) and identity not in seen:
            yield Fact(type="npm", name=identity[0], version=identity[1])


def _identity(key: str, row: Table) -> tuple[str, str] | None:
    """Name and version of a package by its key; of an archive or a repository the row says them, or nobody."""
    name, version = word(row.get("name")), word(row.get("version"))
    bare = key.partition("(")[0].lstrip("/")
    at = bare.rfind("@", 1)
    if match := _SLASHES.fullmatch(bare):
        name, version = name or match[1], version or match[2]
    elif at > 0 and not bare[at + 1:].startswith(("http", "git", "file", "link")) and "/" not in bare[at + 1:]:
        name, version = name or bare[:at], version or bare[at + 1:]
    elif at > 0:
        name = name or bare[:at].rpartition("//")[2]
    return (name, version) if name else None


def _key(name: str, asked: str, known: Table) -> str | None:
    """The key of the package that a need was met with: a version, or a key itself where that is of another name."""
    choices = (f"{name}@{asked}", f"/{name}@{asked}", f"/{name}/{asked}", asked, f"/{asked}")
    return next((choice for choice in choices if choice in known), None)


def _running(importers: Table, packages: Table) -> set[str]:
    """The keys of what is needed to run, from the projects on; version 9 does not say `dev` of packages."""
    waiting = []
    for project in importers.values():
        for group in _GROUPS:
            for name, value in table(table(project).get(group)).items():
                asked = word(value) or word(table(value).get("version"))
                if (key := _key(name, asked, packages)) is not None:
                    waiting.append(key)
    running: set[str] = set()
    while waiting:
        key = waiting.pop()
        if key not in running:
            running.add(key)
            waiting += [needed for group in _GROUPS for name, asked in table(table(packages[key]).get(group)).items()
                        if (needed := _key(name, word(asked), packages)) is not None]
    return running


CATALOGER = Cataloger(name="pnpm lock", version=1, types=("npm",), read=read, declares=True, largest=32 << 20, effort=4,
                      paths=(named("pnpm-lock.yaml"),))
