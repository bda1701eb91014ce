"""Lays an image's layers over each other: which facts are still there when all are applied (image-spec layer.md).

Only what catalogers found is carried; of the layers above, the names suffice to know what they replace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from custody.sbom.catalogers import Fact
from custody.sbom.layers import LayerFacts


@dataclass(frozen=True, slots=True)
class Visible:
    """The facts of one file, and which layer (from 0, the lowest) it comes from."""

    facts: tuple[Fact, ...]
    layer: int


def squash(layers: Sequence[LayerFacts]) -> dict[str, Visible]:
    """The files of the whole image that say something, by path."""
    result: dict[str, Visible] = {}
    for place, layer in enumerate(layers):
        if result:
            for path in list(_hidden(result, layer)):
                del result[path]
        for path, facts in layer.found.items():
            if facts:
                result[path] = Visible(facts, place)
    return result


def _hidden(below: dict[str, Visible], layer: LayerFacts) -> Iterator[str]:
    folders = {folder for path in below for folder in _ancestors(path)}
    files: set[str] = set()
    trees = set(layer.removed)
    files.update(layer.removed)
    for name in layer.lines():
        if name.endswith("/"):
            if name[:-1] in below:
                files.add(name[:-1])  # a folder where a file was
        elif name in below:
            files.add(name)
        elif name in folders:
            trees.add(name)  # a file where a folder was
    trees.update(layer.emptied)
    for path in below:
        if path in files or not trees.isdisjoint(_ancestors(path)):
            yield path


def _ancestors(path: str) -> Iterator[str]:
    """Every folder above a path, and the root, "", last."""
    while path:
        path = path.rpartition("/")[0]
        yield path
