"""Files that symbolic links put where a cataloger looks: databases, os-release, metadata, programs of other names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from custody.sbom.catalogers import choose, counted, examples, places, unknown
from custody.sbom.filesystem import Filesystem
from custody.sbom.layerfacts import LayerFacts, member

Names = dict[str, list[str]]
"""For files of a layer by path the telling names that links give them."""
Kinds = dict[str, str]
"""For files of a layer by path the kind of what is only counted, by a name that links give them."""


def telling(tree: Filesystem, layers: Sequence[LayerFacts],
            declared: bool = False) -> tuple[list[Names], list[Kinds]]:
    """For each layer what links give a telling name; mostly nothing. `declared`: lock files and manifests tell too."""
    kind_of = partial(choose, declared=declared)
    files: dict[str, dict[object, str]] = {}
    folders: dict[str, dict[object, str]] = {}
    for name in places():
        if kind_of(name) is not None:
            _add(files, tree.find(name), name, kind_of)
        else:
            _add(folders, tree.find(name), name, partial(_probe, bases=_inside(name)))
    for name in tree.links():
        if kind_of(name) is not None:
            _add(files, tree.find(name), name, kind_of)
        if _inside(name):
            _add(folders, tree.find(name), name, partial(_probe, bases=_inside(name)))
    result = []
    for unpacked, layer in zip(tree.unpacked, layers, strict=True):
        names: Names = {path: list(ways) for path, ways in unpacked.items()}
        if files or folders:
            _in_layer(tree, layer, folders, files, names, kind_of)
        result.append(names)
    kinds = [_counted(names, kind_of) for names in result]
    return [{path: ways for path, ways in names.items() if ways} for names in result], kinds


def count(layer: LayerFacts, kinds: Mapping[str, str]) -> LayerFacts:
    """The layer with these files counted."""
    if not kinds:
        return layer
    return msgspec.structs.replace(layer, parts={**layer.parts, "symbolic links": {
        path: (*layer.found.get(path, ()), unknown(kind)) for path, kind in kinds.items()}})


def _inside(folder: str) -> tuple[str, ...]:
    base = folder.rpartition("/")[2].lower()
    return examples(base) or examples(base[-9:]) or examples(base[-8:])


def _probe(folder: str, bases: Sequence[str]) -> tuple[str | None, ...]:
    return tuple(choose(f"{folder}/{base}") for base in bases)


def _add(names: dict[str, dict[object, str]], real: str | None, name: str, kind_of: Callable[[str], object]) -> None:
    """The first name of each kind: any number of links may lead to one file, and the others say nothing more."""
    if real is not None and real != name and (kind := kind_of(name)) != kind_of(real):
        names.setdefault(real, {}).setdefault(kind, name)


def _in_layer(tree: Filesystem, layer: LayerFacts, folders: Mapping[str, Mapping[object, str]],
              files: Mapping[str, Mapping[object, str]], names: Names,
              kind_of: Callable[[str], str | None]) -> None:
    last, real = "", tree.find("")
    for line in layer.lines():
        path, kind, _ = member(line)
        if kind not in ("file", "link"):
            continue
        folder, _, base = path.rpartition("/")
        if folder != last:
            last, real = folder, tree.find(folder)
        if real is None:
            continue
        ways = [*files.get(f"{real}/{base}" if real else base, {}).values(),
                *(f"{way}/{base}" for way in folders.get(real, {}).values())]
        known = names.get(path, [])
        for way in ways:
            if kind_of(way) not in (None, kind_of(path)) and way not in known:
                known.append(way)
        if known:
            names[path] = known


def _counted(names: Names, kind_of: Callable[[str], str | None]) -> Kinds:
    """Takes out of `names` those by which a file is only counted: it need not be read for that."""
    kinds: Kinds = {}
    for path, ways in names.items():
        for way in ways:
            kind = kind_of(way) or ""
            if kind.startswith("?") and not counted.beside(kind[1:]):
                kinds.setdefault(path, kind[1:])
        ways[:] = [way for way in ways if not (kind_of(way) or "?").startswith("?")]
    return kinds
