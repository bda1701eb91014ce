"""Who says what: one subject in several SBOMs, our own scan and those of its builder and its publisher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from custody.formats import purl as purls
from custody.formats.bom import Catalog


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One package on which the sources do not agree."""

    type: str
    name: str
    said: dict[str, tuple[str, ...]]
    """By source the versions that it lists; none where it does not list the package."""

    @property
    def kind(self) -> str:
        """`version` where all list it; `missing` where one does not."""
        return "version" if all(self.said.values()) else "missing"


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    sources: tuple[str, ...]
    agreed: int
    """Names of packages of which all list the same versions."""
    rows: tuple[Row, ...]
    silent: dict[str, tuple[str, ...]]
    """By source the types of which it lists no package, while another does: it may not look for them."""

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = msgspec.to_builtins(self)
        for entry, row in zip(document["rows"], self.rows, strict=True):
            entry["kind"] = row.kind
        return document


def agree(catalogs: Mapping[str, Catalog]) -> Agreement:
    """Packages by type and name; qualifiers of package URLs, which tools choose differently, are not compared."""
    listed: dict[tuple[str, str], dict[str, set[str]]] = {}
    types: dict[str, set[str]] = {source: set() for source in catalogs}
    for source, catalog in catalogs.items():
        for package in catalog.packages:
            url = purls.parse(package.purl)
            name = f"{url.namespace}/{url.name}" if url.namespace else url.name
            listed.setdefault((package.type, name), {}).setdefault(source, set()).add(package.version)
            types[source].add(package.type)
    every = set().union(*types.values())
    rows = []
    agreed = 0
    for (kind, name), by_source in sorted(listed.items()):
        if len(by_source) == len(catalogs) and len({frozenset(versions) for versions in by_source.values()}) == 1:
            agreed += 1
        else:
            rows.append(Row(type=kind, name=name, said={
                source: tuple(sorted(by_source.get(source, ()))) for source in catalogs}))
    return Agreement(sources=tuple(catalogs), agreed=agreed, rows=tuple(rows), silent={
        source: tuple(sorted(every - known)) for source, known in types.items() if every - known})
