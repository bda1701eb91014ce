"""Modules of RPM distributions: which of several streams of a package an advisory speaks of.

Streams of one module, `nodejs:16` and `nodejs:18`, are packages of one name that are mended one by one, and a package
outside modules is mended by itself (Fedora, "Modularity"; dnf.modularity). Their builds have `.module` in the release.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from custody.errors import CustodyError
from custody.formats import purl
from custody.formats.bom import Package
from custody.formats.osv import Affected

_BUILT = re.compile(r"\.module[_+]")
_STREAM = re.compile(r"(?<![^\s(])([A-Za-z0-9][\w.+-]*):([\w.+-]*[\w+])")
_LABELS = ("rpmmod", "modularitylabel")
"""The qualifiers that hold a package's module: custody's, which grype reads too, and Trivy's."""


def stream(package: Package) -> tuple[str, str] | None:
    """Module and stream of a package, as its package URL says; None where it says none."""
    text = package.purl
    if not any(label in text.lower() for label in _LABELS):
        return None
    try:
        qualifiers = purl.parse(text).qualifiers
    except CustodyError:
        return None
    label = next((qualifiers[key] for key in _LABELS if key in qualifiers), "")
    module, colon, rest = label.partition(":")
    return (module, rest.partition(":")[0]) if colon and module else None


class Build(NamedTuple):
    """What tells a package of RPM from builds of its name in other streams."""

    stream: tuple[str, str] | None
    built: bool
    """Whether its release says that it is of a module."""


def build(package: Package) -> Build | None:
    """None of what is no package of RPM."""
    return Build(stream(package), bool(_BUILT.search(package.version))) if package.type == "rpm" else None


def of_another(build: Build, affected: Affected, summary: str) -> bool:
    """Whether an advisory, by the versions that mend it and by its `summary`, is about another build than this.

    In or out of modules by the release; between streams by what the summary names, `Important: nodejs:16 security
    update`. Where either does not say, it may be about this one.
    """
    own, built = build
    if affected.module:
        return ":".join(own) != affected.module if own is not None else not built
    if own is None and not built:
        stated = [version for span in affected.ranges for _, version in span.events]
        if not any(".module" in version for version in stated):
            return False  # neither the package nor the entry is of a module, as most are
    mended = {bool(_BUILT.search(version)) for span in affected.ranges for kind, version in span.events
              if kind in ("fixed", "last_affected")}
    if len(mended) != 1:
        return False
    # A label and a release that contradict each other are no word of either: it may be a build in or out of modules.
    if built == (own is not None) and built not in mended:
        return True
    named = dict.fromkeys(_STREAM.findall(summary)) if own else {}
    streams = {name for module, name in named if own and module == own[0]}
    return bool(own and streams and own[1] not in streams)
