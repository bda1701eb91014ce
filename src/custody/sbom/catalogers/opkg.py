"""opkg's packages, of OpenWrt and Yocto: stanzas as dpkg writes them, in one `status` or a `.control` file each."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, ending, inside
from custody.sbom.catalogers.dpkg import alternatives, paragraphs
from custody.sbom.catalogers.fact import Fact, unknown
from custody.sbom.catalogers.listed import Telling

_GONE = frozenset(("not-installed", "config-files", "half-installed"))
_LICENSES = re.compile(r"\s*[&|,]\s*|\s+(?:and|or|AND|OR)\s+|\s+")


def read(_path: str, content: bytes) -> Iterator[Fact]:
    """`Status: install user installed` stands in `status` only: a control file is there while its package is."""
    for stanza, _ in paragraphs(content):
        state = (stanza.get("status") or "install user installed").lower().split()[-1]
        name, version = stanza.get("package"), stanza.get("version")
        if state in _GONE:
            continue
        if not name or not version:
            yield unknown("opkg package without a name or a version")
            continue
        source = stanza.get("sourcename") or name
        licenses = tuple(dict.fromkeys(word for word in _LICENSES.split(stanza.get("license", "")) if word))
        yield Fact(type="opkg", name=name, version=version, arch=stanza.get("architecture", ""), source=source,
                   source_version=version, supplier=stanza.get("maintainer", ""), licenses=licenses,
                   requires=tuple(alternatives(stanza.get("depends", ""))),
                   provides=tuple(alternatives(stanza.get("provides", ""))),
                   cpes=tuple(word for word in stanza.get("cpe-id", "").split() if word.startswith("cpe:2.3:")))


class Lists:
    """The cataloger of the lists of what packages installed."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self.catalogers = (Cataloger(
            name="opkg files", version=f"1 {telling.version}", read=self.read, largest=16 << 20,
            paths=(ending("list", pattern=r"(?:.*/)?lib/opkg/info/[^/]+\.list"),)),)

    def read(self, path: str, content: bytes) -> tuple[Fact, ...]:
        """A path in a line; Yocto's have a mode and more behind a tab."""
        lines = b"\n".join(line.partition(b"\t")[0] for line in content.split(b"\n"))
        name = path.rpartition("/")[2].removesuffix(".list")
        return self._telling.owned(name, self._telling.lines(lines))


CATALOGER = Cataloger(
    name="opkg", version=1, types=("opkg",), read=read, largest=16 << 20, places=("usr/lib/opkg", "var/lib/opkg"),
    paths=(inside("opkg", pattern=r"(?:.*/)?lib/opkg/status", examples=("opkg/status",)),
           ending("control", pattern=r"(?:.*/)?lib/opkg/info/[^/]*\.control", examples=("info/a.control",))))
