"""npm packages as they are installed: every package.json with a name and a version (npm docs, "package.json")."""

from __future__ import annotations

import re
from typing import Any

from custody.kit import strictjson
from custody.kit.addresses import address
from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.fact import Fact, asked_for, unknown

_INSTALLED = re.compile(r"(?:.*/)?node_modules/(?:@[^/]+/)?[^/.@][^/]*/package\.json\Z", re.DOTALL)
_LOCAL = ("file:", "link:", "portal:", "workspace:", ".", "/", "~")
"""How a dependency begins that is a folder of the project's own (npm docs, "package.json", "Local Paths")."""
_HOSTS = {"github": "github.com", "gitlab": "gitlab.com", "bitbucket": "bitbucket.org"}
_SHORT = re.compile(r"(?:(github|gitlab|bitbucket):)?([A-Za-z0-9][\w.-]{0,100}/[\w.-]{1,100})\Z")
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
        return (unknown("npm package without a name and a version"),) if _INSTALLED.match(path) else _asked(
            path, document)
    requires: dict[str, None] = {}
    for key in ("dependencies", "optionalDependencies"):
        if isinstance(needed := document.get(key), dict):
            requires.update(dict.fromkeys(needed))
    return (Fact(type="npm", name=name, version=version.strip().removeprefix("v"), licenses=tuple(_licenses(document)),
                 supplier=_made_by(document), requires=tuple(requires),
                 homepage=address(document.get("homepage")), repository=_repository(document.get("repository"))),
            *_asked(path, document))


def _asked(path: str, document: dict[str, Any]) -> tuple[Fact, ...]:
    """What a project needs, which its lock file or `node_modules` lists, where it has one."""
    needed = document.get("dependencies")
    if not isinstance(needed, dict) or "node_modules/" in path:
        return ()
    names = [str(value).removeprefix("npm:").rpartition("@")[0] or name if str(value).startswith("npm:") else name
             for name, value in needed.items() if not str(value).startswith(_LOCAL)]
    return (asked_for("npm dependency without an exact version", (f"npm/{name}" for name in names)),) if names else ()


def _licenses(document: dict[str, Any]) -> list[str]:
    stated = document.get("license") or document.get("licenses") or []
    names = []
    for license_ in stated if isinstance(stated, list) else [stated]:
        name = license_.get("type") if isinstance(license_, dict) else license_
        if isinstance(name, str) and name:
            names.append(name)
    return names


def _made_by(document: dict[str, Any]) -> str:
    """Its author, else the first who is named among those who maintain it or contributed."""
    stated = [document.get("author"), *(people[0] for key in ("maintainers", "contributors")
                                        if isinstance(people := document.get(key), list) and people)]
    return next(filter(None, map(_person, stated)), "")


def _repository(stated: Any) -> str:
    """An address, or `[HOST:]OWNER/NAME` (npm docs, "repository")."""
    text = stated.get("url") if isinstance(stated, dict) else stated
    if not isinstance(text, str):
        return ""
    if match := _SHORT.match(text):
        return f"https://{_HOSTS[match[1] or 'github']}/{match[2]}"
    return address(text)


def _person(author: Any) -> str:
    if isinstance(author, dict):
        name, email = author.get("name"), author.get("email")
        return f"{name} <{email}>" if name and email else str(name or email or "")
    return author if isinstance(author, str) else ""


CATALOGER = Cataloger(name="npm", version=2, types=("npm",), read=read, parsed=0.25, paths=(named("package.json"),),
                      listed=r"/package\.json\Z")
