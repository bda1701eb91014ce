"""Alpine packages: `lib/apk/db/installed` (apk-tools, "Apk installed database")."""

from __future__ import annotations

import re

from custody.sbom.catalogers.fact import OWNS, Fact
from custody.sbom.catalogers.python import split_license

_DEPENDENCY = re.compile(r"(?:[a-z]+:)?[^<>=~ ]+")


def read(_path: str, content: bytes) -> tuple[Fact, ...]:
    result = []
    for block in content.decode("utf-8", "replace").split("\n\n"):
        fields: dict[str, str] = {}
        files: list[str] = []
        folder = ""
        for line in block.split("\n"):
            key, value = line[:1], line[2:]
            if key == "F":
                folder = value
            elif key == "R":
                files.append(f"{folder}/{value}" if folder else value)
            elif line[1:2] == ":":
                fields.setdefault(key, value)
        name, version = fields.get("P"), fields.get("V")
        if not name or not version:
            continue
        needs = [match[0] for word in fields.get("D", "").split()
                 if word[:1] != "!" and (match := _DEPENDENCY.match(word))]
        gives = [match[0] for word in fields.get("p", "").split() if (match := _DEPENDENCY.match(word))]
        result.append(Fact(type="apk", name=name, version=version, arch=fields.get("A", ""),
                           source=fields.get("o", name), source_version=version, supplier=fields.get("m", ""),
                           licenses=split_license(fields.get("L", "")), requires=tuple(needs), provides=tuple(gives)))
        if files:
            result.append(Fact(type=OWNS, name=name, requires=tuple(files)))
    return tuple(result)
