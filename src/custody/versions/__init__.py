"""The order of versions in each ecosystem: one module each, whose `key()` sorts as the ecosystem's own tool does.

Ecosystems are named as OSV does (https://ossf.github.io/osv-schema/, "Defined ecosystems"); a release behind a colon,
as in `Debian:12`, does not matter here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.versions import apk, deb, dotted, maven, packagist, pep440, rpm, rubygems, semver

_LONGEST = 1024
_KEYS: dict[str, Callable[[str], Any]] = {
    "Debian": deb.key, "Ubuntu": deb.key, "Echo": deb.key,
    "Alpine": apk.key, "Wolfi": apk.key, "Chainguard": apk.key, "MinimOS": apk.key,
    "AlmaLinux": rpm.key, "Rocky Linux": rpm.key, "Red Hat": rpm.key, "openSUSE": rpm.key, "SUSE": rpm.key,
    "openEuler": rpm.key, "Mageia": rpm.key, "Azure Linux": rpm.key,
    "npm": semver.key, "Go": semver.key, "crates.io": semver.key, "Hex": semver.key, "SwiftURL": semver.key,
    "Bitnami": semver.key, "Julia": semver.key, "Pub": semver.key_with_build, "NuGet": semver.nuget_key,
    "PyPI": pep440.key, "Maven": maven.key, "RubyGems": rubygems.key, "Packagist": packagist.key,
    "CRAN": dotted.key, "Hackage": dotted.key, "GHC": dotted.key,
}


def known(ecosystem: str) -> bool:
    return ecosystem.partition(":")[0] in _KEYS


@lru_cache(maxsize=65536)
def key(ecosystem: str, version: str) -> Any:
    """An orderable: smaller is older. Raises MalformedError for what is no version there, UnsupportedError."""
    chosen = _KEYS.get(ecosystem.partition(":")[0])
    if chosen is None:
        raise UnsupportedError(f"ecosystem {ecosystem}", "the order of its versions is not known")
    if len(version) > _LONGEST:
        raise MalformedError(f"{ecosystem} version", got=version, expected=f"at most {_LONGEST} characters")
    try:
        return chosen(version)
    except ValueError as error:
        raise MalformedError(f"{ecosystem} version", got=version, expected=f"a version ({error})") from None


def compare(ecosystem: str, left: str, right: str) -> int:
    """-1, 0 or 1: whether `left` is older than, equal to or newer than `right`. Raises as `key` does."""
    one, two = key(ecosystem, left), key(ecosystem, right)
    return -1 if one < two else 1 if two < one else 0
