"""What is seen and not read yet: it is counted, so that no scan is silent about it."""

from __future__ import annotations

from collections.abc import Container

from custody.sbom.catalogers.cataloger import Counted, named
from custody.sbom.catalogers.chisel import NO_SOURCE
from custody.sbom.catalogers.nix import STORE

_ABOVE = ("", "../", "../../", "../../../")


def _unlocked(kind: str, lock: str, *manifests: str) -> Counted:
    """A project whose lock file is neither beside its manifest nor above it, as workspaces have it."""
    return Counted(kind=f"{kind} project without a lock file", unless=tuple(above + lock for above in _ABOVE),
                   once=True, declares=True, paths=(named(*manifests, pattern=rf"(?!{_OTHERS})(?:.*/)?[^/]+"),))


_OTHERS = r"(?:.*/)?(?:node_modules|vendor|site-packages|gems|Pods|Carthage)/"
"""Folders of packages of others, which ship the manifests that they were made by."""
COUNTED = (
    Counted(kind="Python package without metadata", unless=("METADATA",), once=True, paths=(
        named("RECORD", "WHEEL", pattern=r".*\.dist-info/(?:RECORD|WHEEL)"),)),
    Counted(kind="npm package without package.json", unless=("package.json",), once=True, paths=(
        named("index.js", "index.cjs", "index.mjs",
              pattern=r"(?:.*/)?node_modules/(?:@[^/]+/)?[^/.@][^/]*/index\.[cm]?js"),)),
    Counted(kind="apk packages without a database",
            unless=("../../lib/apk/db/installed", "../../usr/lib/apk/db/installed"),
            paths=(named("world", pattern=r"(?:.*/)?etc/apk/world"),)),
    Counted(kind=NO_SOURCE, unless=("../dpkg/status",)),
    Counted(kind=STORE),
    _unlocked("Cargo", "Cargo.lock", "Cargo.toml"),
    _unlocked("Bundler", "Gemfile.lock", "Gemfile"),
    _unlocked("Composer", "composer.lock", "composer.json"),
    _unlocked("Gradle", "gradle.lockfile", "build.gradle", "build.gradle.kts"),
    _unlocked("Mix", "mix.lock", "mix.exs"),
    _unlocked("pub", "pubspec.lock", "pubspec.yaml"),
    _unlocked("Swift", "Package.resolved", "Package.swift"),
    _unlocked("CocoaPods", "Podfile.lock", "Podfile"))
_BY_KIND = {row.kind: row for row in COUNTED}
_NONE = Counted(kind="")


def explained(kind: str, path: str, files: Container[str]) -> bool:
    """Whether another file says what the file is a sign of."""
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
