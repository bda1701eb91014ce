"""Databases of packages, and os-release, that symbolic links put where no cataloger would look."""

from __future__ import annotations

from collections.abc import Sequence

from custody.sbom.catalogers import choose
from custody.sbom.filesystem import Filesystem
from custody.sbom.layers import LayerFacts

OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
"""In the order in which os-release(5) has them read."""
_FILES = (*OS_RELEASE, "var/lib/dpkg/status", "lib/apk/db/installed", "usr/lib/apk/db/installed")
_FOLDERS = ("var/lib/dpkg", "var/lib/dpkg/info", "var/lib/dpkg/status.d", "lib/apk/db", "usr/lib/apk/db", "var/lib/rpm",
            "usr/lib/sysimage/rpm", "usr/share/rpm")
_BASES = ("status", "a.list", "a", "installed", "Packages", "Packages.db", "rpmdb.sqlite")


def behind_links(tree: Filesystem, layers: Sequence[LayerFacts]) -> list[dict[str, str]]:
    """For each layer the files that links give the name of a database, and that name; mostly none."""
    folders = {path: name for name in _FOLDERS if (path := tree.find(name)) is not None and path != name
               and any(choose(f"{path}/{base}") != choose(f"{name}/{base}") for base in _BASES)}
    files = {path: name for name in _FILES if (path := tree.find(name)) is not None and path != name
             and choose(path) != choose(name)}
    if not folders and not files:
        return [{} for _ in layers]
    return [_in_layer(tree, layer, folders, files) for layer in layers]


def _in_layer(tree: Filesystem, layer: LayerFacts, folders: dict[str, str],
              files: dict[str, str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    last, real = "", tree.find("")
    for path in layer.lines():
        if path.endswith("/") or "//" in path:
            continue
        folder, _, base = path.rpartition("/")
        if folder != last:
            last, real = folder, tree.find(folder)
        if real is None:
            continue
        name = files.get(f"{real}/{base}" if real else base)
        if name is None and real in folders:
            name = f"{folders[real]}/{base}"
        if name is not None and choose(name) not in (None, choose(path)):
            wanted[path] = name
    return wanted
