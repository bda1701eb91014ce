"""Alpine packages: `lib/apk/db/installed` (apk-tools, "Apk installed database")."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.kit.addresses import address
from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.fact import OWNS, Fact, unknown
from custody.sbom.catalogers.python import split_license
from custody.sbom.catalogers.stanza import stanzas

_DEPENDENCY = re.compile(r"(?:[a-z]+:)?[^<>=~ ]+")
_SPELLED = 16 << 20
"""Characters in the names of all packages' files with their folders, which the database leaves out."""
_FIELD = 256 << 10


def read(_path: str, content: bytes) -> Iterator[Fact]:
    spelled = 0
    for block in stanzas(content):
        fields: dict[str, str] = {}
        files: list[str] = []
        folder = ""
        twice = False
        for line in block.split("\n"):
            if line == "\r":
                raise ValueError("an empty line with a carriage return, which ends a package for some readers only")
            line = line.removesuffix("\r")
            key, value = line[:1], line[2:]
            if key == "F":
                folder = value
            elif key == "R":
                spelled += len(folder) + len(value)
                if spelled > _SPELLED:
                    raise ValueError("names of files that are too long when they are spelled out")
                files.append(f"{folder}/{value}" if folder else value)
            elif line[1:2] == ":":
                if len(value) > _FIELD:
                    raise ValueError(f"a field of {len(value)} characters, expected at most {_FIELD}")
                twice = twice or (key in fields and key in "PV")
                fields.setdefault(key, value)
        name, version = fields.get("P"), fields.get("V")
        if not name or not version or twice:
            yield unknown("apk package without one name and one version")
        if not name or not version:
            continue
        needs = [match[0] for word in fields.get("D", "").split()
                 if word[:1] != "!" and (match := _DEPENDENCY.match(word))]
        gives = [match[0] for word in fields.get("p", "").split() if (match := _DEPENDENCY.match(word))]
        yield Fact(type="apk", name=name, version=version, arch=fields.get("A", ""),
                   source=fields.get("o", name), source_version=version, supplier=fields.get("m", ""),
                   licenses=split_license(fields.get("L", "")), requires=tuple(needs), provides=tuple(gives),
                   homepage=address(fields.get("U", "")))
        if files:
            yield Fact(type=OWNS, name=name, requires=tuple(files))


CATALOGER = Cataloger(
    name="apk", version=1, types=("apk",), read=read, largest=32 << 20,
    paths=(named("installed", pattern=r"(?:.*/)?lib/apk/db/installed", examples=("db/installed",)),),
    places=("lib/apk/db", "usr/lib/apk/db", "lib/apk/db/installed", "usr/lib/apk/db/installed"))
