"""Nix's store: what a path `nix/store/HASH-NAME-VERSION[-OUTPUT]` says of itself (Nix, "Store path", and nixpkgs,
"Package naming"), and which paths need which, as Nix's database has it (Nix, `schema.sql`).

No file stands for a path: `sbom.layers` asks once a layer. A change of `package` raises `_FORM` of `sbom.catalog`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.fact import UNKNOWN, Fact, unknown
from custody.sbom.databases import sqlite

STORE = "Nix store path"
"""One of which its name says no version: sources, hooks, patches, and what was put together of others."""
_NAME = re.compile(r"nix/store/(?P<hash>[0-9a-z]+)-(?P<name>.+?)-(?P<version>[0-9][^-]*(?:-[^/]*)?)\Z")
_OUTPUTS = re.compile(r"-(?P<output>bin|data|debug|dev|devdoc|devman|dist|doc|info|lib|man|modules|out|py|static|"
                      r"terminfo)\Z")
_RECIPES = (".drv", ".drv.chroot", ".lock")


def package(path: str) -> Fact | None:
    """The package of a store path; an `unknown` where it does not say; None for a recipe."""
    if path.endswith(_RECIPES):
        return None
    match = _NAME.match(path)
    if match is None:
        return unknown(STORE)
    version, qualifiers = match["version"], [("outputhash", match["hash"])]
    if output := _OUTPUTS.search(version):
        version = version[:output.start()]
        qualifiers.append(("output", output["output"]))
    return Fact(type="nix", name=match["name"], version=version, qualifiers=tuple(qualifiers))


def read_database(file: BinaryIO, spend: Callable[[int], None]) -> Iterator[Fact]:
    """`nix/var/nix/db/db.sqlite`: the valid paths, with the paths that they refer to."""
    bases: dict[int, str] = {}
    for number, path, *_ in sqlite.rows(file, "ValidPaths", spend):
        if not isinstance(number, int) or not isinstance(path, bytes):
            raise ValueError("a store path that is no text")
        bases[number] = path.decode("utf-8", "replace").removeprefix("/nix/store/")
    file.seek(0)
    needs: dict[int, list[str]] = {}
    for referrer, reference, *_ in sqlite.rows(file, "Refs", spend):
        if isinstance(referrer, int) and isinstance(reference, int) and referrer != reference and reference in bases:
            needs.setdefault(referrer, []).append(bases[reference])
    for number, base in bases.items():
        fact = None if "/" in base else package(f"nix/store/{base}")
        if fact is not None and fact.type != UNKNOWN:  # such a one is counted where it lies
            yield msgspec.structs.replace(fact, provides=(base,), requires=tuple(sorted(needs.get(number, ()))))


def read_journal(_path: str, content: bytes) -> Iterator[Fact]:
    if content:
        yield unknown("Nix database whose last changes are in a journal")


DATABASE = Cataloger(name="Nix database", version=1, types=("nix",), stream=read_database, largest=1 << 30, paths=(
    named("db.sqlite", pattern=r"nix/var/nix/db/db\.sqlite"),), places=("nix/var/nix/db",))
JOURNAL = Cataloger(name="Nix journal", version=1, read=read_journal, largest=32, head=True, paths=(
    named("db.sqlite-wal", pattern=r"nix/var/nix/db/db\.sqlite-wal"),))
