"""Orders of versions: one module each, whose `key()` sorts as the ecosystem's own tool does.

Ecosystems are named as OSV does (https://ossf.github.io/osv-schema/, "Defined ecosystems"); a release behind a colon,
as in `Debian:12`, does not matter here. What OSV has no name for is named by its type of package URLs: `conda`. Which
has which order is in its row of `custody.ecosystems`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from custody.ecosystems import Order, of_osv, of_type
from custody.errors import MalformedError, UnsupportedError
from custody.versions import (
    alpm,
    apk,
    brew,
    cocoapods,
    conda,
    deb,
    dotted,
    generic,
    gentoo,
    luarocks,
    maven,
    nix,
    packagist,
    pep440,
    perl,
    rpm,
    rubygems,
    semver,
    sorting,
    vcpkg,
)

KEYS = 3
"""Counts changes of what `sortable` gives: keys that were kept before are made anew."""
_LONGEST = 1024
ORDERS: dict[Order, Callable[[str], Any]] = {
    "alpm": alpm.key, "apk": apk.key, "brew": brew.key, "cocoapods": cocoapods.key, "conda": conda.key, "deb": deb.key,
    "dotted": dotted.key, "generic": generic.key, "gentoo": gentoo.key, "luarocks": luarocks.key, "maven": maven.key,
    "nix": nix.key,
    "nuget": semver.nuget_key, "packagist": packagist.key, "pep440": pep440.key, "perl": perl.key,
    "pub": semver.key_with_build, "rpm": rpm.key, "rubygems": rubygems.key, "semver": semver.key,
    "vcpkg": vcpkg.key}
_SORTABLE = ORDERS | {"brew": brew.sortable, "luarocks": luarocks.sortable, "maven": maven.sortable,
                      "vcpkg": vcpkg.sortable}
_LONGEST_KEY = 1024


@lru_cache(maxsize=65536)
def key(ecosystem: str, version: str) -> Any:
    """An orderable: smaller is older. Raises MalformedError for what is no version there, UnsupportedError."""
    order = _order(ecosystem)
    if order is None:
        raise UnsupportedError(f"ecosystem {ecosystem}", "the order of its versions is not known")
    if len(version) > _LONGEST:
        raise MalformedError(f"{ecosystem} version", got=version, expected=f"at most {_LONGEST} characters")
    try:
        return ORDERS[order](version)
    except ValueError as error:
        raise MalformedError(f"{ecosystem} version", got=version, expected=f"a version ({error})") from None


def compare(ecosystem: str, left: str, right: str) -> int:
    """-1, 0 or 1: whether `left` is older than, equal to or newer than `right`. Raises as `key` does."""
    older, newer = key(ecosystem, left), key(ecosystem, right)
    return -1 if older < newer else 1 if newer < older else 0


@lru_cache(maxsize=65536)
def sortable(ecosystem: str, version: str) -> bytes | None:
    """Bytes of which the smaller are the older version, and the same bytes the same: at most 1,024.

    None for what has no place in a row of all versions: no version there, an ecosystem whose order is not known, a
    key too long. Such a version may be older or newer than any, which `compare` may still say.
    """
    order = _order(ecosystem)
    if order is None or len(version) > _LONGEST:
        return None
    try:
        encoded = sorting.encode(_SORTABLE[order](version))
    except ValueError:
        return None
    return encoded if len(encoded) <= _LONGEST_KEY else None


def _order(ecosystem: str) -> Order | None:
    row = of_osv(ecosystem)
    return row.order if row is not None else of_type(ecosystem).order
