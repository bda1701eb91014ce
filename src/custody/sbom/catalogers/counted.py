"""What is seen in odd places and not read: it is counted, so that no scan is silent about it."""

from __future__ import annotations

import re
from collections.abc import Container

_DATABASE = "?rpm database"
_PROGRAM = "?program without a package"
_WHEEL = "?Python package without metadata"
_MODULE = "?npm package without package.json"
_WORLD = "?apk packages without a database"
_NAMES: dict[str, tuple[str, re.Pattern[str]]] = {
    "Packages": (_DATABASE, re.compile(r"(?:.*/)?rpm/Packages\Z", re.DOTALL)),
    "Packages.db": (_DATABASE, re.compile(r"(?:.*/)?rpm/Packages\.db\Z", re.DOTALL)),
    "rpmdb.sqlite": (_DATABASE, re.compile(r".*", re.DOTALL)),
    "container-manifest-2": (_DATABASE, re.compile(r".*", re.DOTALL)),
    "manifest.wall": ("?Chisel manifest", re.compile(r"(?:.*/)?chisel/manifest\.wall\Z", re.DOTALL)),
    "installed.json": ("?Composer packages", re.compile(r"(?:.*/)?composer/installed\.json\Z", re.DOTALL)),
    "DESCRIPTION": ("?R package", re.compile(r".*library/(?:[^/]+/){1,3}DESCRIPTION\Z", re.DOTALL)),
    "RECORD": (_WHEEL, re.compile(r".*\.dist-info/RECORD\Z", re.DOTALL)),
    "WHEEL": (_WHEEL, re.compile(r".*\.dist-info/WHEEL\Z", re.DOTALL)),
    "PKG-INFO": ("python", re.compile(r"(?:.*/)?EGG-INFO/PKG-INFO\Z", re.DOTALL)),
    "world": (_WORLD, re.compile(r"(?:.*/)?etc/apk/world\Z", re.DOTALL)),
    **dict.fromkeys(("index.js", "index.cjs", "index.mjs"), (
        _MODULE, re.compile(r"(?:.*/)?node_modules/(?:@[^/]+/)?[^/.@][^/]*/index\.[cm]?js\Z", re.DOTALL))),
    **dict.fromkeys(("busybox", "bash", "curl", "wget", "openssl", "sqlite3", "jq", "xz", "zstd", "lighttpd", "proftpd",
                     "fluent-bit", "ffmpeg", "deno", "bun", "dart", "swipl", "gcc", "mysql", "psql"),
                    (_PROGRAM, re.compile(r"(?!nix/store/)(?:.*/)?s?bin/[^/]+\Z", re.DOTALL))),
}
_ENDINGS = {"egg": "?Python egg", "egg-link": "?Python package in development", "ko": "?Linux kernel module",
            "ko.gz": "?Linux kernel module", "ko.xz": "?Linux kernel module", "ko.zst": "?Linux kernel module"}
_ANY_CASE = {**dict.fromkeys(("jar", "war", "ear"), "?Java archive"),
             **dict.fromkeys(("dll", "exe"), ".NET assembly")}
_UNLESS = {_WHEEL[1:]: ("METADATA",), _MODULE[1:]: ("package.json",),
           _WORLD[1:]: ("../../lib/apk/db/installed", "../../usr/lib/apk/db/installed")}
"""What is unknown only where none of these files, which were read, is beside it."""


def choose(path: str) -> str | None:
    """As `catalogers.choose` does, for what that one does not know."""
    folder, _, base = path.rpartition("/")
    rule = _NAMES.get(base)
    if rule is not None and rule[1].match(path):
        return rule[0]
    stem, _, ending = base.rpartition(".")
    if stem.endswith(".ko"):
        ending = "ko." + ending
    if stem and (kind := _ENDINGS.get(ending) or _ANY_CASE.get(ending.lower())):
        return kind
    return "?opkg package" if base.endswith(".control") and folder.endswith("lib/opkg/info") else None


def explained(kind: str, path: str, files: Container[str]) -> bool:
    """Whether another file says what this one is a sign of."""
    folder = path.rpartition("/")[0]
    for name in _UNLESS.get(kind, ()):
        place = folder
        while name.startswith("../"):
            place, name = place.rpartition("/")[0], name[3:]
        if (f"{place}/{name}" if place else name) in files:
            return True
    return False


def once(kind: str) -> bool:
    """Whether the files of one folder stand for one package."""
    return kind in (_WHEEL[1:], _MODULE[1:])


def beside(kind: str) -> bool:
    """Whether it is unknown only where another file is not beside it."""
    return kind in _UNLESS
