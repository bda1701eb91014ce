"""npm packages as they are installed: every package.json with a name and a version (npm docs, "package.json")."""

from __future__ import annotations

import re
from typing import Any

from custody.kit import strictjson
from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.fact import Fact, unknown

_INSTALLED = re.compile(r"(?:.*/)?node_modules/(?:@[^/]+/)?[^/.@][^/]*/package\.json\Z", re.DOTALL)
_MAX_WEIGHT = 32 << 20
"""Bytes that it takes once it is parsed."""


def read(path: str, content: bytes) -> tuple[Fact, ...]:
    if strictjson.weight(content) > _MAX_WEIGHT:
        raise ValueError("package.json with too many values")
    document = strictjson.loads(content.removeprefix(b"\xef\xbb\xbf"), path)
    if not isinstance(document, dict):
        raise ValueError("package.json is not an object")
    name, version = document.get("name"), document.get("version")
    if not isinstance(name, str) or not isinstance(version, str) or not name or not version:
        # Elsewhere it is a marker such as {"type": "module"}, or an application that is not published.
        return (unknown("npm package without a name and a version"),) if _INSTALLED.match(path) else ()
    requires: dict[str, None] = {}
    for key in ("dependencies", "optionalDependencies"):
        if isinstance(needed := document.get(key), dict):
            requires.update(dict.fromkeys(needed))
    return (Fact(type="npm", name=name, version=version.strip().removeprefix("v"), licenses=tuple(_licenses(document)),
                 supplier=_person(document.get("author")), requires=tuple(requires)),)


def _licenses(document: dict[str, Any]) -> list[str]:
    stated = document.get("license") or document.get("licenses") or []
    names = []
    for license_ in stated if isinstance(stated, list) else [stated]:
        name = license_.get("type") if isinstance(license_, dict) else license_
        if isinstance(name, str) and name:
            names.append(name)
    return names


def _person(author: Any) -> str:
    if isinstance(author, dict):
        name, email = author.get("name"), author.get("email")
        return f"{name} <{email}>" if name and email else str(name or email or "")
    return author if isinstance(author, str) else ""


CATALOGER = Cataloger(name="npm", version=1, types=("npm",), read=read, parsed=0.25, paths=(named("package.json"),),
                      listed=r"/package\.json\Z")
