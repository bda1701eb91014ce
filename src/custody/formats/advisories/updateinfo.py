"""`updateinfo.xml` of rpm repositories: Amazon's ALAS, and the errata of AlmaLinux, Rocky Linux, Oracle, Fedora.

A release is known by what its packages were built for (`.amzn2023`, `.el9`, `.fc41`), the distribution by the name of
the update; what is mended is in the references. Amazon's extras and live patches are other repositories: apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.errors import MalformedError
from custody.formats.advisories.fields import Fixes, moment, summary, until
from custody.formats.advisories.markup import Element, elements
from custody.formats.osv import Advisory, Affected, cve_of

MAX_SIZE = 512 << 20
_FAMILIES = (("ALAS", "amazon-alas", "Amazon Linux"), ("RLSA", "rocky-errata", "Rocky Linux"),
             ("RLBA", "rocky-errata", "Rocky Linux"), ("RLEA", "rocky-errata", "Rocky Linux"),
             ("ALSA", "alma-errata", "AlmaLinux"), ("ALBA", "alma-errata", "AlmaLinux"),
             ("ALEA", "alma-errata", "AlmaLinux"), ("ELSA", "oracle", "Oracle Linux"),
             ("ELBA", "oracle", "Oracle Linux"), ("ELEA", "oracle", "Oracle Linux"), ("FEDORA", "fedora", "Fedora"),
             ("RHSA", "redhat-updateinfo", "Red Hat"), ("RHBA", "redhat-updateinfo", "Red Hat"),
             ("RHEA", "redhat-updateinfo", "Red Hat"))
_BUILT = re.compile(r"[._+](?:amzn|el|fc)([0-9]+)")
_EXTRA = re.compile(r"ALAS(?:2023|2022|2)?([A-Z][A-Z0-9.-]*?)-[0-9]{4}-")


def is_updateinfo(data: bytes) -> bool:
    head = data[:65536]
    return b"<updates" in head and b"<update " in head


def read(data: bytes, where: str) -> Iterator[Advisory]:
    for update in elements(data, ("update",), where):
        if update.attributes.get("type") == "security":
            yield _advisory(update, where)


def _advisory(update: Element, where: str) -> Advisory:
    name = update.first("id").text
    here = f"{where}: {name or 'update'}"
    source, family = next(((source, family) for prefix, source, family in _FAMILIES if name.startswith(prefix)),
                          ("", ""))
    if not family:
        raise MalformedError(here, got=name, expected="an update of Amazon, AlmaLinux, Rocky Linux, Oracle or Fedora")
    extra = _EXTRA.match(name)
    fixes = Fixes()
    for package in update.below("package"):
        stated = package.attributes
        if stated.get("arch") in ("src", "nosrc"):
            continue
        if not all(stated.get(key) for key in ("name", "version", "release")):
            raise MalformedError(f"{here}.package", got=stated, expected="name, version and release")
        built = _BUILT.search(stated["release"])
        if built is None:  # of no release that can be told
            continue
        ecosystem = f"{family}:{built[1]}" + (f":{extra[1].lower()}" if extra else "")
        by = "binary" if family == "Rocky Linux" else ""
        fixes.add(Affected(ecosystem, stated["name"], by=by),  # type: ignore[arg-type]
                  until(f"{stated.get('epoch') or '0'}:{stated['version']}-{stated['release']}"))
    cves = [identifier for reference in update.below("reference")
            if (identifier := reference.attributes.get("id", "")) and cve_of(identifier)]
    cves += re.findall(r"CVE-[0-9]{4}-[0-9]{4,19}", update.first("title").text) if not cves else []
    dates = [moment(day, f"{here}.{tag}") for tag in ("updated", "issued")
             if (day := update.first(tag).attributes.get("date", ""))]
    if not dates:
        raise MalformedError(f"{here}.issued", got=None, expected="the date on which it was issued")
    word = update.first("severity").text
    return Advisory(id=name, modified=dates[0], withdrawn=False, aliases=(), published=dates[-1],
                    summary=summary(update.first("title").text, update.first("description").text), severity=(),
                    ratings=(word,) if word and word.lower() != "none" else (), affected=fixes.affected(),
                    upstream=tuple(dict.fromkeys(cves)), source=source)
