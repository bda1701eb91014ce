"""What each kind of file says about packages: one module per ecosystem, pure functions from bytes to facts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO

from custody.errors import CustodyError
from custody.sbom.catalogers import apk, binaries, dpkg, embedded, npm, osrelease, python
from custody.sbom.catalogers.fact import Fact, unknown

__all__ = ["VERSION", "Fact", "choose", "read", "unknown"]

VERSION = 3
"""Raised with every change of what a cataloger finds or of `Fact`; layers that were cached before are read again."""

_READERS: dict[str, Callable[[str, bytes], tuple[Fact, ...]]] = {
    "apk": apk.read, "dpkg": dpkg.read, "dpkg files": dpkg.read_list, "dpkg copyright": dpkg.read_copyright,
    "python": python.read, "npm": npm.read, "os-release": osrelease.read, "embedded SBOM": embedded.read,
}
_PATHS: dict[str, tuple[str, re.Pattern[str]]] = {
    "status": ("dpkg", re.compile(r"(?:.*/)?var/lib/dpkg/status\Z")),
    "installed": ("apk", re.compile(r"(?:.*/)?lib/apk/db/installed\Z")),
    "METADATA": ("python", re.compile(r".*\.dist-info/METADATA\Z")),
    "PKG-INFO": ("python", re.compile(r".*\.egg-info/PKG-INFO\Z")),
    "copyright": ("dpkg copyright", re.compile(r"usr/share/doc/[^/]+/copyright\Z")),
    "package.json": ("npm", re.compile(r".*")),
    "os-release": ("os-release", re.compile(r"(?:etc|usr/lib)/os-release\Z")),
    # Seen and not read yet: they are counted, never passed over in silence.
    "Packages": ("?rpm database", re.compile(r"(?:var/lib|usr/lib/sysimage|usr/share)/rpm/Packages\Z")),
    "Packages.db": ("?rpm database", re.compile(r"(?:var/lib|usr/lib/sysimage|usr/share)/rpm/Packages\.db\Z")),
    "rpmdb.sqlite": ("?rpm database", re.compile(r"(?:var/lib|usr/lib/sysimage|usr/share)/rpm/rpmdb\.sqlite\Z")),
    "container-manifest-2": ("?rpm database", re.compile(r"var/lib/rpmmanifest/.*")),
    "installed.json": ("?Composer packages", re.compile(r".*vendor/composer/installed\.json\Z")),
    "desc": ("?pacman package", re.compile(r"var/lib/pacman/local/[^/]+/desc\Z")),
    "CONTENTS": ("?Portage package", re.compile(r"var/db/pkg/.*/CONTENTS\Z")),
    "DESCRIPTION": ("?R package", re.compile(r".*/R/(?:site-)?library/[^/]+/DESCRIPTION\Z")),
}
_ENDINGS: dict[str, tuple[str, re.Pattern[str]]] = {
    "egg-info": ("python", re.compile(r".*")),
    "list": ("dpkg files", re.compile(r"var/lib/dpkg/info/[^/]+\.list\Z")),
    "json": ("embedded SBOM", re.compile(r".*\.dist-info/sboms/.+\Z")),
    "jar": ("?Java archive", re.compile(r".*")),
    "war": ("?Java archive", re.compile(r".*")),
    "ear": ("?Java archive", re.compile(r".*")),
    "gemspec": ("?Ruby gem", re.compile(r".*/specifications/.*")),
}


def choose(path: str) -> str | None:
    """Which cataloger reads a file of this name; `?` and a kind for what is only counted; None for all the rest."""
    folder, _, base = path.rpartition("/")
    rule = _PATHS.get(base) or _ENDINGS.get(base.rpartition(".")[2])
    if rule is not None and rule[1].match(path):
        return rule[0]
    if folder == "var/lib/dpkg/status.d" and not base.endswith(".md5sums"):
        return "dpkg"
    return "?.NET dependencies" if base.endswith(".deps.json") else None


def read(cataloger: str, path: str, content: bytes | BinaryIO) -> tuple[Fact, ...]:
    """The facts in one file. What cannot be read is a fact too: an `unknown` that says so."""
    try:
        return _READERS[cataloger](path, content) if isinstance(content, bytes) else binaries.read(content)
    except (CustodyError, ValueError):
        return (unknown(f"unreadable {cataloger} file"),)
