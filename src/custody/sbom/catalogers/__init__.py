"""What each kind of file says about packages: one module per ecosystem, pure functions from bytes to facts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO

from custody.errors import CustodyError
from custody.sbom.catalogers import apk, binaries, counted, dotnet, dpkg, embedded, npm, osrelease, python
from custody.sbom.catalogers.fact import Fact, unknown

__all__ = ["VERSION", "Fact", "choose", "read", "store_path", "unknown"]

VERSION = 5
"""Raised with every change of what a cataloger finds or of `Fact`; layers that were cached before are read again."""

_READERS: dict[str, Callable[[str, bytes], tuple[Fact, ...]]] = {
    "apk": apk.read, "dpkg": dpkg.read, "dpkg files": dpkg.read_list, "dpkg sums": dpkg.read_sums,
    "dpkg copyright": dpkg.read_copyright, "python": python.read, "npm": npm.read, "os-release": osrelease.read,
    "embedded SBOM": embedded.read, ".NET assembly": dotnet.read,
}
_JAVA = ("?Java archive", re.compile(r".*"))
_PROGRAM = ("?program without a package", re.compile(r"(?:.*/)?s?bin/[^/]+\Z"))
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
    "composer.lock": ("?Composer packages", re.compile(r".*")),
    "release": ("?Java runtime", re.compile(r"(?:.*/)?(?:java|jvm|jre|jdk|openjdk)[^/]*/(?:[^/]+/)?release\Z")),
    "manifest": ("?Lua rocks", re.compile(r".*/rocks[^/]*/manifest\Z")),
    "conaninfo.txt": ("?Conan package", re.compile(r".*")),
    "snap.yaml": ("?snap", re.compile(r"(?:.*/)?meta/snap\.yaml\Z")),
    "version.php": ("?WordPress", re.compile(r"(?:.*/)?wp-includes/version\.php\Z")),
    # Programs that images install by hand; those of Go and Rust are read, those of a distribution are its own.
    **dict.fromkeys(("node", "php", "php-fpm", "ruby", "perl", "nginx", "httpd", "redis-server", "valkey-server",
                     "postgres", "mysqld", "mariadbd", "mongod", "haproxy", "memcached", "envoy", "erl", "julia"),
                    _PROGRAM),
    **{f"python{version}": _PROGRAM for version in ("2.7", *(f"3.{minor}" for minor in range(4, 21)))},
}
_ENDINGS: dict[str, tuple[str, re.Pattern[str]]] = {
    "egg-info": ("python", re.compile(r".*")),
    "list": ("dpkg files", re.compile(r"var/lib/dpkg/info/[^/]+\.list\Z")),
    "json": ("embedded SBOM", re.compile(r".*\.dist-info/sboms/.+\Z")),
    **dict.fromkeys(("jar", "war", "ear", "par", "sar", "nar", "kar", "hpi", "jpi", "aar", "lpkg"), _JAVA),
    "gemspec": ("?Ruby gem", re.compile(r"(?:.*/)?specifications/.*")),
    "md5sums": ("dpkg sums", re.compile(r"var/lib/dpkg/status\.d/[^/]+\Z")),
    "app": ("?Erlang application", re.compile(r"(?:.*/)?ebin/[^/]+\.app\Z")),
    "rockspec": ("?Lua rocks", re.compile(r".*")),
    "reg": ("?PEAR package", re.compile(r"(?:.*/)?php/\.registry/.*")),
    "spdx": ("?Bitnami component", re.compile(r"opt/bitnami/(?:.*/)?\.spdx-[^/]+\Z")),
    "php": ("?WordPress plugin", re.compile(r"(?:.*/)?wp-content/plugins/(?P<name>[^/]+)/(?P=name)\.php\Z")),
    "gguf": ("?machine learning model", re.compile(r".*")),
    "rb": ("?Homebrew formula", re.compile(r"(?:.*/)?Cellar/[^/]+/[^/]+/\.brew/[^/]+\Z")),
    "dll": (".NET assembly", re.compile(r".*")),
    "exe": (".NET assembly", re.compile(r".*")),
}
_FOLDERS: dict[str, tuple[str, re.Pattern[str]]] = {
    "conda-meta": ("?conda package", re.compile(r".*\.json\Z")),
    "opkg": ("?opkg database", re.compile(r"(?:.*/)?(?:var|usr)/lib/opkg/status\Z")),
}
_STORE = re.compile(r"nix/store/[0-9a-z]+-[^/]+")


def choose(path: str) -> str | None:
    """Which cataloger reads a file of this name; `?` and a kind for what is only counted; None for all the rest."""
    folder, _, base = path.rpartition("/")
    for rule in (_PATHS.get(base), _ENDINGS.get(base.rpartition(".")[2]), _FOLDERS.get(folder.rpartition("/")[2])):
        if rule is not None and rule[1].match(path):
            return rule[0]
    if folder == "var/lib/dpkg/status.d":
        return "dpkg"
    return "?.NET dependencies" if base.endswith(".deps.json") else counted.choose(path)


def store_path(path: str) -> str | None:
    """The Nix store path that a file is in: `nix/store/<hash>-<name>`, which no single file stands for."""
    match = _STORE.match(path) if path.startswith("nix/store/") else None
    return match[0] if match else None


def read(cataloger: str, path: str, content: bytes | BinaryIO) -> tuple[Fact, ...]:
    """The facts in one file. What cannot be read is a fact too: an `unknown` that says so."""
    try:
        return _READERS[cataloger](path, content) if isinstance(content, bytes) else binaries.read(content)
    except (CustodyError, ValueError):
        return (unknown(f"unreadable {cataloger} file"),)
