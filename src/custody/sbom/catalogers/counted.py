"""What is seen and not read yet: it is counted, so that no scan is silent about it."""

from __future__ import annotations

from collections.abc import Container

from custody.sbom.catalogers.cataloger import Counted, ending, inside, named

STORE = "Nix store path"
"""Each once a layer: no single file stands for it, so that nobody looks for a name."""

COUNTED = (
    Counted(kind="Java runtime", listed=r"/release\Z", paths=(
        named("release", pattern=r"(?:.*/)?(?:java|jvm|jre|jdk|openjdk)[^/]*/(?:[^/]+/)?release"),)),
    Counted(kind="Ruby gem", listed=r"/[^/]+\.gemspec\Z|/specifications/", paths=(
        ending("gemspec", pattern=r"(?:.*/)?specifications/.*", examples=("specifications/a.gemspec",)),)),
    Counted(kind="Composer packages", listed=r"/composer/installed\.json\Z", paths=(
        named("installed.json", pattern=r"(?:.*/)?composer/installed\.json",
              examples=("composer/installed.json",)),
        named("composer.lock"))),
    Counted(kind="PEAR package", listed=r"\.reg\Z", paths=(ending("reg", pattern=r"(?:.*/)?php/\.registry/.*"),)),
    Counted(kind="R package", listed=r"/library/[^/]+/DESCRIPTION\Z", paths=(
        named("DESCRIPTION", pattern=r".*library/(?:[^/]+/){1,3}DESCRIPTION"),)),
    Counted(kind="Python package without metadata", unless=("METADATA",), once=True, paths=(
        named("RECORD", "WHEEL", pattern=r".*\.dist-info/(?:RECORD|WHEEL)"),)),
    Counted(kind="Python egg", paths=(ending("egg", pattern=r".*[^/]\.egg"),)),
    Counted(kind="Python package in development", paths=(ending("egg-link", pattern=r".*[^/]\.egg-link"),)),
    Counted(kind="npm package without package.json", unless=("package.json",), once=True, paths=(
        named("index.js", "index.cjs", "index.mjs",
              pattern=r"(?:.*/)?node_modules/(?:@[^/]+/)?[^/.@][^/]*/index\.[cm]?js"),)),
    Counted(kind="apk packages without a database",
            unless=("../../lib/apk/db/installed", "../../usr/lib/apk/db/installed"),
            paths=(named("world", pattern=r"(?:.*/)?etc/apk/world"),)),
    Counted(kind="Chisel manifest", paths=(named("manifest.wall", pattern=r"(?:.*/)?chisel/manifest\.wall"),)),
    Counted(kind="pacman package", paths=(named("desc", pattern=r"var/lib/pacman/local/[^/]+/desc"),)),
    Counted(kind="Portage package", paths=(named("CONTENTS", pattern=r"var/db/pkg/.*/CONTENTS"),)),
    Counted(kind="opkg database", paths=(
        inside("opkg", pattern=r"(?:.*/)?(?:var|usr)/lib/opkg/status", examples=("opkg/status",)),)),
    Counted(kind="opkg package", paths=(
        ending("control", pattern=r".*lib/opkg/info/[^/]*\.control", examples=("info/a.control",)),)),
    Counted(kind="conda package", paths=(
        inside("conda-meta", pattern=r".*\.json", examples=("conda-meta/a.json",)),)),
    Counted(kind="Erlang application", listed=r"/ebin/[^/]+\.app\Z", paths=(
        ending("app", pattern=r"(?:.*/)?ebin/[^/]+\.app", examples=("ebin/a.app",)),)),
    Counted(kind="Lua rocks", listed=r"\.rockspec\Z", paths=(
        named("manifest", pattern=r".*/rocks[^/]*/manifest", examples=("rocks/manifest",)), ending("rockspec"))),
    Counted(kind="Linux kernel module", listed=r"\.ko(?:\.[a-z]+)?\Z", paths=(
        ending("ko", pattern=r".*[^/]\.ko"), ending("gz", "xz", "zst", pattern=r".*\.ko\.(?:gz|xz|zst)"))),
    Counted(kind="Conan package", paths=(named("conaninfo.txt"),)),
    Counted(kind="snap", paths=(named("snap.yaml", pattern=r"(?:.*/)?meta/snap\.yaml"),)),
    Counted(kind="Bitnami component", paths=(ending("spdx", pattern=r"opt/bitnami/(?:.*/)?\.spdx-[^/]+"),)),
    Counted(kind="Homebrew formula", paths=(ending("rb", pattern=r"(?:.*/)?Cellar/[^/]+/[^/]+/\.brew/[^/]+"),)),
    Counted(kind=STORE))
_BY_KIND = {row.kind: row for row in COUNTED}
_NONE = Counted(kind="")


def explained(kind: str, path: str, files: Container[str]) -> bool:
    """Whether another file says what this one is a sign of."""
    folder = path.rpartition("/")[0]
    for name in _BY_KIND.get(kind, _NONE).unless:
        place = folder
        while name.startswith("../"):
            place, name = place.rpartition("/")[0], name[3:]
        if (f"{place}/{name}" if place else name) in files:
            return True
    return False


def once(kind: str) -> bool:
    """Whether the files of one folder stand for one package."""
    return _BY_KIND.get(kind, _NONE).once


def beside(kind: str) -> bool:
    """Whether it is unknown only where another file is not beside it."""
    return bool(_BY_KIND.get(kind, _NONE).unless)
