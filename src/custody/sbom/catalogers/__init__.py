"""What each kind of file says about packages: one module per ecosystem, pure functions from bytes to facts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from custody.errors import CustodyError
from custody.kit import strictjson
from custody.sbom.catalogers import apk, binaries, counted, dotnet, dpkg, embedded, npm, osrelease, python
from custody.sbom.catalogers.fact import Fact, linked, unknown, weight

__all__ = ["HEADS", "LARGEST", "MOST", "VERSION", "Fact", "choose", "linked", "read", "store_path", "unknown", "weight",
           "work"]

VERSION = 10
"""Raised with every change of what a cataloger finds or of `Fact`; layers that were cached before are read again."""

_READERS: dict[str, Callable[[str, bytes], Iterable[Fact]]] = {
    "apk": apk.read, "dpkg": dpkg.read, "dpkg files": dpkg.read_list, "dpkg sums": dpkg.read_sums,
    "dpkg copyright": dpkg.read_copyright, "python": python.read, "npm": npm.read, "os-release": osrelease.read,
    "embedded SBOM": embedded.read, ".NET assembly": dotnet.read,
}
MOST = 4 << 20
"""Bytes that a file of metadata may have, for those that are not in `LARGEST`; larger ones are an `unknown`."""
LARGEST = {"dpkg": 16 << 20, "apk": 32 << 20, "dpkg files": 16 << 20, "dpkg sums": 16 << 20,
           "os-release": 16 << 10, ".NET assembly": 64 << 10}
_JSON = {"npm": 0.25, "embedded SBOM": 4.0}
"""What of the memory that it takes is charged: a component of an SBOM is read, and its package URL, in some 50 µs."""
_LINE, _FILE = 48, {"os-release": 256 << 10}
HEADS = frozenset((".NET assembly",))
"""Only as many bytes as `LARGEST` says are read of these, however large they are."""
_JAVA = ("?Java archive", re.compile(r"(?s).*"))
_PROGRAM = ("?program without a package", re.compile(r"(?s)(?:.*/)?s?bin/[^/]+\Z"))
_PATHS: dict[str, tuple[str, re.Pattern[str]]] = {
    "status": ("dpkg", re.compile(r"(?s)(?:.*/)?lib/dpkg/status\Z")),
    "installed": ("apk", re.compile(r"(?s)(?:.*/)?lib/apk/db/installed\Z")),
    "METADATA": ("python", re.compile(r"(?is).*dist-info/metadata\Z")),
    "PKG-INFO": ("python", re.compile(r"(?is).*(?:egg|dist)-info/pkg-info\Z")),
    "copyright": ("dpkg copyright", re.compile(r"(?s)usr/share/doc/[^/]+/copyright\Z")),
    "package.json": ("npm", re.compile(r"(?s).*")),
    "os-release": ("os-release", re.compile(r"(?s)(?:etc|usr/lib)/os-release\Z")),
    # Seen and not read yet: they are counted, never passed over in silence.
    "Packages": ("?rpm database", re.compile(r"(?s)(?:var/lib|usr/lib/sysimage|usr/share)/rpm/Packages\Z")),
    "Packages.db": ("?rpm database", re.compile(r"(?s)(?:var/lib|usr/lib/sysimage|usr/share)/rpm/Packages\.db\Z")),
    "rpmdb.sqlite": ("?rpm database", re.compile(r"(?s)(?:var/lib|usr/lib/sysimage|usr/share)/rpm/rpmdb\.sqlite\Z")),
    "container-manifest-2": ("?rpm database", re.compile(r"(?s)var/lib/rpmmanifest/.*")),
    "installed.json": ("?Composer packages", re.compile(r"(?s).*vendor/composer/installed\.json\Z")),
    "desc": ("?pacman package", re.compile(r"(?s)var/lib/pacman/local/[^/]+/desc\Z")),
    "CONTENTS": ("?Portage package", re.compile(r"(?s)var/db/pkg/.*/CONTENTS\Z")),
    "DESCRIPTION": ("?R package", re.compile(r"(?s).*/R/(?:site-)?library/[^/]+/DESCRIPTION\Z")),
    "composer.lock": ("?Composer packages", re.compile(r"(?s).*")),
    "release": ("?Java runtime", re.compile(r"(?s)(?:.*/)?(?:java|jvm|jre|jdk|openjdk)[^/]*/(?:[^/]+/)?release\Z")),
    "manifest": ("?Lua rocks", re.compile(r"(?s).*/rocks[^/]*/manifest\Z")),
    "conaninfo.txt": ("?Conan package", re.compile(r"(?s).*")),
    "snap.yaml": ("?snap", re.compile(r"(?s)(?:.*/)?meta/snap\.yaml\Z")),
    "version.php": ("?WordPress", re.compile(r"(?s)(?:.*/)?wp-includes/version\.php\Z")),
    # Programs that images install by hand; those of Go and Rust are read, those of a distribution are its own.
    **dict.fromkeys(("node", "php", "php-fpm", "ruby", "perl", "nginx", "httpd", "redis-server", "valkey-server",
                     "postgres", "mysqld", "mariadbd", "mongod", "haproxy", "memcached", "envoy", "erl", "julia"),
                    _PROGRAM),
    **{f"python{version}": _PROGRAM for version in ("2.7", *(f"3.{minor}" for minor in range(4, 21)))},
}
_ENDINGS: dict[str, tuple[str, re.Pattern[str]]] = {
    "egg-info": ("python", re.compile(r"(?s).*")),
    "list": ("dpkg files", re.compile(r"(?s)var/lib/dpkg/info/[^/]+\.list\Z")),
    "json": ("embedded SBOM", re.compile(r"(?s).*\.dist-info/sboms/.+\Z")),
    **dict.fromkeys(("jar", "war", "ear", "par", "sar", "nar", "kar", "hpi", "jpi", "aar", "lpkg"), _JAVA),
    "gemspec": ("?Ruby gem", re.compile(r"(?s)(?:.*/)?specifications/.*")),
    "md5sums": ("dpkg sums", re.compile(r"(?s)var/lib/dpkg/status\.d/[^/]+\Z")),
    "app": ("?Erlang application", re.compile(r"(?s)(?:.*/)?ebin/[^/]+\.app\Z")),
    "rockspec": ("?Lua rocks", re.compile(r"(?s).*")),
    "reg": ("?PEAR package", re.compile(r"(?s)(?:.*/)?php/\.registry/.*")),
    "spdx": ("?Bitnami component", re.compile(r"(?s)opt/bitnami/(?:.*/)?\.spdx-[^/]+\Z")),
    "php": ("?WordPress plugin", re.compile(r"(?s)(?:.*/)?wp-content/plugins/(?P<name>[^/]+)/(?P=name)\.php\Z")),
    "gguf": ("?machine learning model", re.compile(r"(?s).*")),
    "rb": ("?Homebrew formula", re.compile(r"(?s)(?:.*/)?Cellar/[^/]+/[^/]+/\.brew/[^/]+\Z")),
    "dll": (".NET assembly", re.compile(r"(?s).*")),
    "exe": (".NET assembly", re.compile(r"(?s).*")),
}
_FOLDERS: dict[str, tuple[str, re.Pattern[str]]] = {
    "conda-meta": ("?conda package", re.compile(r"(?s).*\.json\Z")),
    "opkg": ("?opkg database", re.compile(r"(?s)(?:.*/)?(?:var|usr)/lib/opkg/status\Z")),
}
_STORE = re.compile(r"(?s)nix/store/[0-9a-z]+-[^/]+")


def choose(path: str) -> str | None:
    """Which cataloger reads a file of this name; `?` and a kind for what is only counted; None for all the rest."""
    folder, _, base = path.rpartition("/")
    ending, holder = base.rpartition(".")[2].lower(), folder.rpartition("/")[2]
    for rule in (_PATHS.get(base), _ENDINGS.get(ending), _FOLDERS.get(holder)):
        if rule is not None and rule[1].match(path):
            return rule[0]
    if folder.endswith("lib/dpkg/status.d") and f"/{folder}".endswith("/lib/dpkg/status.d"):
        return None if base.endswith(".md5sums") else "dpkg"
    return "?.NET dependencies" if base.endswith(".deps.json") else counted.choose(path)


def work(cataloger: str, content: bytes) -> int:
    """What it takes to read a file, in bytes, before it is read: some ten nanoseconds each at most.

    A line counts for 48 bytes more, a file for 512 and an os-release for 256 KiB; JSON as a part of the memory that it
    takes, or more.
    """
    if cataloger in _JSON:
        return _FILE.get(cataloger, 512) + int(strictjson.weight(content) * _JSON[cataloger])
    return _FILE.get(cataloger, 512) + len(content) + _LINE * content.count(b"\n")


def store_path(path: str) -> str | None:
    """The Nix store path that a file is in: `nix/store/<hash>-<name>`, which no single file stands for."""
    match = _STORE.match(path) if path.startswith("nix/store/") else None
    return match[0] if match else None


def read(cataloger: str, path: str, content: bytes | BinaryIO,
         charge: Callable[[Fact], None] | None = None,
         spend: Callable[[int], None] = lambda _: None) -> tuple[Fact, ...]:
    """The facts in one file. What cannot be read is a fact too: an `unknown` that says so.

    `charge` is called with each as it comes, and raises where there are too many; `spend` with the `work` on a program.
    """
    facts: list[Fact] = []
    source = _facts(cataloger, path, content, spend)
    while True:
        try:
            fact = next(source, None)
        except (CustodyError, ValueError):
            return (unknown(f"unreadable {cataloger} file"),)
        if fact is None:
            return tuple(facts)
        if charge is not None:
            charge(fact)
        facts.append(fact)


def _facts(cataloger: str, path: str, content: bytes | BinaryIO, spend: Callable[[int], None]) -> Iterator[Fact]:
    yield from _READERS[cataloger](path, content) if isinstance(content, bytes) else binaries.read(content, spend)
