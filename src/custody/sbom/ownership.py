"""Which of the distribution's packages installed a file, as the lists of dpkg(1), apk and distroless images say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from custody.ecosystems import distribution, of_type
from custody.formats.bom import Distribution
from custody.sbom.catalogers import Fact
from custody.sbom.catalogers.fact import OWNS
from custody.sbom.filesystem import Visible
from custody.sbom.layerfacts import LayerFacts

_NOT_A_DISTRIBUTIONS = re.compile(r"(?:opt|usr/local|srv|home|root)/")
"""Where no package of a distribution installs anything (FHS 3.0, "/opt" and "/usr/local"; Debian Policy 9.1)."""
_OTHERS = re.compile(r"nodesource|pgdg|sury|bitnami|ppa[0-9]", re.IGNORECASE)
"""What well-known repositories of others write into the versions of packages that the distribution has too."""
_MERGED = ("usr/bin/", "usr/sbin/", "usr/lib/", "usr/lib32/", "usr/lib64/")
_COMPANY = re.compile(r"(?:[\s,.]+(?:project|linux|os|enterprise|software|products|foundation|america|aws|corporation|"
                      r"inc|llc|gmbh|se|org|com))*[\s,.]*(?:<[^<>]*>)?\Z")
"""What may stand behind a distribution's name where it is a vendor: no `Fedora Copr - user a`, no `AlmaLinux fans`."""
_UBUNTU = re.compile(r"[@.](?:ubuntu|canonical)\.com>?\s*\Z")


def owners(files: Mapping[str, Visible], layers: Sequence[LayerFacts],
           system: Distribution | None) -> dict[str, str]:
    """The name of the package that installed each file, by path; of packages that are the distribution's, only.

    Not where a layer put another file in its place without that package: it was there below, and the layer that has it
    now says nothing of the package that had it. Package managers write their lists in the layer of the files.
    """
    facts = {path: seen.facts for path, seen in files.items()}
    foreign = {fact.name for told in facts.values() for fact in told
               if fact.installed and _foreign(fact, system)}
    foreign |= {name for path, name in _listed(facts) if _NOT_A_DISTRIBUTIONS.match(path)}
    owned = {place: name for path, name in _listed(facts) if name not in foreign for place in _spelled(path)}
    by_layer: dict[int, set[tuple[str, str]]] = {}
    for path in [path for path in owned if path in files]:
        top = files[path].layer
        if not any(path in layer.found for layer in layers[:top]):
            continue
        if top not in by_layer:
            by_layer[top] = {(place, name) for listed, name in _listed(layers[top].found)
                             for place in _spelled(listed)}
        if (path, owned[path]) not in by_layer[top]:
            del owned[path]
    return owned


def installed(files: Mapping[str, Visible]) -> set[str]:
    """The paths of what any package of a package manager installed, whoever made it."""
    facts = {path: seen.facts for path, seen in files.items()}
    return {place for path, _ in _listed(facts) for place in _spelled(path)}


def _spelled(path: str) -> tuple[str, ...]:
    """A path of a list, and the path that the file has where `/bin` is no link to `/usr/bin`: dpkg's lists of both are
    read as those of the merged."""
    return (path, path[4:]) if path.startswith(_MERGED) else (path,)


def _listed(facts: Mapping[str, Sequence[Fact]]) -> Iterator[tuple[str, str]]:
    """Files, and the package in whose list each is; in distroless images `status.d/base.md5sums` is the list of the
    package that `status.d/base` describes, whatever its name.
    """
    for place, told in facts.items():
        for fact in told:
            if fact.type == OWNS:
                beside = facts.get(place.removesuffix(".md5sums"), ()) if place.endswith(".md5sums") else ()
                name = next((package.name for package in beside if package.installed), fact.name)
                yield from ((path, name) for path in fact.requires)


def _foreign(fact: Fact, system: Distribution | None) -> bool:
    """Whether a package says of itself that it is not the distribution's.

    Ubuntu's archive puts its own address into every package. Debian's does not: a maintainer there says nothing.
    Every distribution of RPM packages has a vendor in them, but for Amazon's, whose releases say so.
    """
    identifier = system.id if system else of_type(fact.type).vendor
    row = distribution(identifier)
    vendor = fact.vendor.lower()
    if vendor and not any(vendor.startswith(own) and _COMPANY.match(vendor, len(own))
                          for own in (identifier, *(row.vendors if row else ()))):
        return True
    if fact.type == "rpm" and not vendor and not (identifier == "amzn" and ".amzn" in fact.version):
        return True
    if identifier == "ubuntu" and not _UBUNTU.search(fact.supplier[-320:]):
        return True
    return bool(_OTHERS.search(fact.version)) or (identifier == "debian" and "ubuntu" in fact.version)
