"""What changed between two catalogs, and where the change came from: a layer, the base image, a lock file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from custody.formats import purl as purls
from custody.formats.bom import Catalog, Package

Kind = Literal["added", "removed", "changed", "altered"]
_COMPARED = ("licenses", "supplier", "hashes", "owner", "scope", "declared", "source_version")
"""What may differ while name and version are the same."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    kind: Kind
    """`changed` is of another version, `altered` of the same version with something else said of it."""
    type: str
    name: str
    before: tuple[str, ...] = ()
    """Versions."""
    after: tuple[str, ...] = ()
    fields: tuple[tuple[str, str, str], ...] = ()
    """What was altered: the field, as it was, as it is."""
    cause: str = ""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    before: str
    after: str
    changes: tuple[Change, ...]
    same: int
    """Packages of the same version in both."""

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


def compare(before: Catalog, after: Catalog) -> Difference:
    """Packages by type and name; of several versions of one name, those that both have are the same."""
    left, right = _by_name(before.packages), _by_name(after.packages)
    # Most formats cannot say that a package is only asked for.
    mute = any(catalog.kind == "sbom" and not any(package.declared for package in catalog.packages)
               for catalog in (before, after))
    compared = [field for field in _COMPARED if not (field == "declared" and mute)]
    shared = _shared(before, after)
    changes: list[Change] = []
    same = 0
    for key in sorted(left.keys() | right.keys()):
        old, new = left.get(key, {}), right.get(key, {})
        gone, came = sorted(old.keys() - new.keys()), sorted(new.keys() - old.keys())
        kind, name = key
        if gone and came:
            changes.append(Change(kind="changed", type=kind, name=name, before=tuple(gone), after=tuple(came),
                                  cause=_cause([new[version] for version in came], after, shared)))
        elif came:
            changes.append(Change(kind="added", type=kind, name=name, after=tuple(came),
                                  cause=_cause([new[version] for version in came], after, shared)))
        elif gone:
            changes.append(Change(kind="removed", type=kind, name=name, before=tuple(gone),
                                  cause=_cause([old[version] for version in gone], before, shared)))
        for version in sorted(old.keys() & new.keys()):
            same += 1
            if fields := tuple(_altered(old[version], new[version], compared)):
                changes.append(Change(kind="altered", type=kind, name=name, before=(version,), after=(version,),
                                      fields=fields, cause=_cause([new[version]], after, shared)))
    return Difference(before=before.name, after=after.name, changes=tuple(changes), same=same)


def _by_name(packages: Sequence[Package]) -> dict[tuple[str, str], dict[str, Package]]:
    """By type and name as package URLs spell it, the versions: two tools spell `Flask_Login` in two ways."""
    result: dict[tuple[str, str], dict[str, Package]] = {}
    for package in packages:
        url = purls.parse(package.purl)
        name = f"{url.namespace}/{url.name}" if url.namespace else url.name
        result.setdefault((package.type, name), {}).setdefault(package.version, package)
    return result


def _altered(old: Package, new: Package, compared: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for field in compared:
        was, now = getattr(old, field), getattr(new, field)
        if was != now:
            yield field, _text(was), _text(now)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(":".join(item) if isinstance(item, tuple) else str(item) for item in value)
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _order(catalog: Catalog) -> list[str]:
    """Digests of layers from the base up; an SBOM of custody lists them too."""
    if catalog.layers:
        return [layer.digest for layer in catalog.layers]
    return list(catalog.document.layers) if catalog.document else []


def _shared(before: Catalog, after: Catalog) -> int:
    """How many layers at the bottom are the same: a base image that did not change, or a part of it."""
    count = 0
    for left, right in zip(_order(before), _order(after), strict=False):
        if left != right:
            break
        count += 1
    return count


def _cause(packages: Sequence[Package], catalog: Catalog, shared: int) -> str:
    """Where the packages stand: the lock files that ask for them, or the layer that brought them."""
    places = [place for package in packages for place in package.locations]
    if not places:
        return ""
    if all(package.declared for package in packages):
        return "lock file " + ", ".join(dict.fromkeys(place.path for place in places))
    order = _order(catalog)
    numbers = sorted({order.index(place.layer) for place in places if place.layer in order})
    if not numbers:
        return places[0].path
    number = numbers[0]
    where = f"layer {number + 1} of {len(order)}"
    if number == 0 and shared == 0 and len(order) > 1:
        where = f"base image, {where}"
    return f"{where}: {places[0].path}"
