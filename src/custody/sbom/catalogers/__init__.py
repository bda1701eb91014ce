"""What each kind of file says about packages: one module a kind, pure functions from bytes to facts.

A new cataloger is a module here with a `Cataloger` in it, and a row in `CATALOGERS`; the row of its ecosystem is in
`custody.ecosystems`.
"""

from __future__ import annotations

import csv
import lzma
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import BinaryIO

from custody.errors import CustodyError
from custody.sbom.catalogers import (  # one a line, so that two who add one do not meet
    apk,
    assemblies,
    binaries,
    bitnami,
    chisel,
    dotnet,
    dotnetprojects,
    dpkg,
    embedded,
    homebrew,
    java,
    javaprojects,
    jvm,
    kernel,
    languages,
    models,
    nix,
    npm,
    opkg,
    osrelease,
    packed,
    pacman,
    portage,
    python,
    rpm,
    snap,
    wordpress,
)
from custody.sbom.catalogers.cataloger import Cataloger, Counted, Table, Wanted
from custody.sbom.catalogers.counted import COUNTED
from custody.sbom.catalogers.fact import Fact, linked, unknown, weight
from custody.sbom.catalogers.listed import Telling

__all__ = ["CATALOGERS", "LARGEST", "Fact", "cataloger", "choose", "examples", "linked", "places", "read", "store_path",
           "table", "unknown", "versions", "weight"]

CATALOGERS = (
    apk.CATALOGER,
    dpkg.PACKAGES,
    dpkg.COPYRIGHT,
    python.CATALOGER,
    python.RECORD,
    npm.CATALOGER,
    osrelease.CATALOGER,
    embedded.CATALOGER,
    assemblies.CATALOGER,
    dotnet.DEPENDENCIES,
    dotnet.LOCK,
    dotnetprojects.CONFIG,
    dotnetprojects.CENTRAL,
    dotnetprojects.PROJECT,
    binaries.CATALOGER,
    wordpress.CATALOGER,
    models.CATALOGER,
    rpm.MANIFEST,
    rpm.JOURNAL,
    java.CATALOGER,
    *languages.CATALOGERS,
    pacman.CATALOGER,
    portage.LICENSE,
    opkg.CATALOGER,
    snap.CATALOGER,
    homebrew.CATALOGER,
    nix.DATABASE,
    nix.JOURNAL,
    bitnami.CATALOGER,
    kernel.CATALOGER,
    kernel.FOLDER,
    kernel.MODULE,
    packed.CATALOGER,
    jvm.CATALOGER,
    javaprojects.MAVEN,
    javaprojects.GRADLE,
    javaprojects.SBT,
    javaprojects.IVY,
)
_BROKEN = (CustodyError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError, EOFError, csv.Error,
           lzma.LZMAError, struct.error, zlib.error)
"""What a reader raises for bytes that it cannot read, and what one raises that did not foresee them: that file is
unknown then, and the others of the image are not."""
_STORE = re.compile(r"(?s)nix/store/[0-9a-z]+-[^/]+")


def table(catalogers: Sequence[Cataloger] = CATALOGERS, counted: Sequence[Counted] = COUNTED, *,
          declared: bool = False) -> Table:
    """These catalogers, and those of dpkg's and RPM's lists, in which they say what to look for; without `declared`
    only those that read what is installed. Raises ValueError.
    """
    catalogers = [row for row in catalogers if declared or not row.declares]
    counted = [row for row in counted if declared or not row.declares]
    rows: tuple[Wanted, ...] = (*catalogers, *counted)
    telling = Telling("|".join(row.listed for row in rows if row.listed))
    lists = (dpkg.Lists, rpm.Database, pacman.Lists, portage.Packages, opkg.Lists, chisel.Manifest)
    return Table((*catalogers, *(row for make in lists for row in make(telling).catalogers)), counted)


_TABLE, _FOLDERS = table(), table(declared=True)
LARGEST = max(row.largest for row in _FOLDERS.rows.values() if not row.seeks)
"""Bytes of a file that several catalogers read."""


def choose(path: str, declared: bool = False) -> str | None:
    """Which cataloger reads a file of this name; `?` and a kind for what is only counted; None for all the rest.

    `declared`: in a folder of sources, where lock files and manifests are read too.
    """
    return (_FOLDERS if declared else _TABLE).choose(path)


def cataloger(name: str) -> Cataloger:
    return _TABLE.rows.get(name) or _FOLDERS.rows[name]


def versions() -> dict[str, str]:
    """By the name of each cataloger its version; behind `?` that of all kinds that are counted."""
    return _TABLE.versions


def places() -> Sequence[str]:
    """Well-known folders and files that a symbolic link anywhere on their way may lead to."""
    return _TABLE.places


def examples(folder: str) -> tuple[str, ...]:
    """Names in a folder of this name, or end of a name, for which a cataloger cares because of the folder."""
    return _TABLE.examples.get(folder, ())


def store_path(path: str) -> str | None:
    """The Nix store path that a file is in: `nix/store/<hash>-<name>`, which no single file stands for."""
    match = _STORE.match(path) if path.startswith("nix/store/") else None
    return match[0] if match else None


def read(name: str, path: str, content: bytes | BinaryIO, charge: Callable[[Fact], None] | None = None,
         spend: Callable[[int], None] = lambda _: None) -> tuple[Fact, ...]:
    """The facts that the cataloger finds in one file. What cannot be read is a fact too: an `unknown` that says so.

    `charge` is called with each as it comes, and raises where there are too many; `spend` with the `work` on a program.
    """
    facts: list[Fact] = []
    source = cataloger(name).facts(path, content, spend)
    while True:
        try:
            fact = next(source, None)
        except _BROKEN:
            return (unknown(f"unreadable {name} file"),)
        if fact is None:
            return tuple(facts)
        if charge is not None:
            charge(fact)
        facts.append(fact)
