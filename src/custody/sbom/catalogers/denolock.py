"""deno.lock (docs.deno.com, "Integrity checking"), versions 2 to 5: packages of npm and JSR, and modules by address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.documents import Table, hexadecimal, integrity, json_object, table, word, words
from custody.sbom.catalogers.fact import Fact, unknown

_IDENTITY = re.compile(r"(@[^/@]+/[^@]+|[^@]+)@([^_]+)(?:_.*)?\Z", re.DOTALL)


def read(path: str, content: bytes) -> Iterator[Fact]:
    document = json_object(path, content)
    if "version" not in document:
        raise ValueError("a lock file without a version")
    old = table(document.get("packages"))  # of version 3
    npm = table(document.get("npm") or old.get("npm"))
    npm = table(npm.get("packages")) if "specifiers" in npm and "packages" in npm else npm  # of version 2
    yield from _packages("npm", npm)
    yield from _packages("jsr", table(document.get("jsr") or old.get("jsr")))
    if table(document.get("remote")):
        yield unknown("Deno modules by address")


def _packages(kind: str, packages: Table) -> Iterator[Fact]:
    by_name: dict[str, list[str]] = {}
    for key in packages:
        if match := _IDENTITY.match(key):
            by_name.setdefault(match[1], []).append(match[2])
    for key, value in packages.items():
        row = table(value)
        match = _IDENTITY.match(key)
        if match is None:
            raise ValueError(f"{key[:60]!r} is no package")
        stated = word(row.get("integrity"))
        yield Fact(type=kind, name=match[1], version=match[2],
                   requires=tuple(dict.fromkeys(_needs(kind, row.get("dependencies"), by_name))),
                   hashes=integrity(stated) if kind == "npm" else hexadecimal("sha256", stated))


def _needs(kind: str, needed: Any, by_name: dict[str, list[str]]) -> Iterator[str]:
    """`a`, where there is one of it, or `a@1.0.0_peers`; up to version 4 a map from names to such."""
    for text in needed.values() if isinstance(needed, dict) else words(needed):
        bare = word(text).removeprefix(f"{kind}:")
        match = _IDENTITY.match(bare)
        if match and match[2] in by_name.get(match[1], ()):
            yield f"{match[1]}@{match[2]}"
        else:
            name = match[1] if match else bare
            if len(by_name.get(name, ())) == 1:
                yield f"{name}@{by_name[name][0]}"


CATALOGER = Cataloger(name="deno lock", version=1, types=("npm", "jsr"), read=read, declares=True, parsed=0.25,
                      largest=32 << 20, paths=(named("deno.lock"),))
