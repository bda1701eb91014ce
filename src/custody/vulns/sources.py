"""Where advisories come from: one row a kind of document, recognised by its content. `store` knows none by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from custody.formats import epss, kev, osv
from custody.formats.advisories import (
    alma,
    csaf,
    csafadvisory,
    debiantracker,
    nvd,
    oval,
    photon,
    rocky,
    secdb,
    ubuntu,
    updateinfo,
)
from custody.formats.advisories.snapshot import Snapshot
from custody.formats.epss import EpssScores
from custody.formats.kev import ExploitedCatalogue
from custody.formats.osv import Advisory

Said = Advisory | Snapshot | ExploitedCatalogue | EpssScores


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One kind of document that says what is known of vulnerabilities."""

    one: str
    many: str
    """What people read where no document is one, or there is none: `an OSV record`, `OSV records`."""
    files: str
    """What people have it in."""
    recognises: Callable[[bytes], bool]
    """Whether a document wants to be one; asked of the rows in their order."""
    read: Callable[[bytes, str], Iterable[Said]]
    """What it says, given its bytes and its name. Raises MalformedError, UnsupportedError: all of it counts or none."""
    largest: int
    """Bytes of a document; a longer one is cut off for `read` to refuse."""
    whole: bool = False
    """Whether a broken one ends the import; one of many records is left out and counted."""


def _one(read: Callable[[bytes, str], Said]) -> Callable[[bytes, str], Iterable[Said]]:
    return lambda data, name: [read(data, name)]


SOURCES = (
    Source(one="a catalogue of exploited vulnerabilities", many="catalogues of exploited vulnerabilities",
           files="CISA's known_exploited_vulnerabilities.json", recognises=kev.is_catalogue,
           read=_one(kev.read), largest=kev.MAX_SIZE, whole=True),
    Source(one="EPSS scores", many="EPSS scores", files="FIRST's epss_scores-current.csv.gz",
           recognises=epss.is_scores, read=_one(epss.read), largest=epss.MAX_SIZE, whole=True),
    Source(one="a CSAF document of a distribution", many="CSAF documents of distributions",
           files="Red Hat's and SUSE's CSAF", recognises=csaf.is_document, read=csafadvisory.read,
           largest=csafadvisory.MAX_SIZE),
    Source(one="Debian's tracker", many="Debian's tracker", files="Debian's security tracker",
           recognises=debiantracker.is_tracker, read=_one(debiantracker.read), largest=debiantracker.MAX_SIZE,
           whole=True),
    Source(one="a security database of apk packages", many="security databases of apk packages",
           files="Alpine's, Wolfi's and Chainguard's secdb", recognises=secdb.is_secdb, read=_one(secdb.read),
           largest=secdb.MAX_SIZE, whole=True),
    Source(one="Ubuntu's notices", many="Ubuntu's notices", files="Ubuntu's database.json",
           recognises=ubuntu.is_notices, read=_one(ubuntu.read_notices), largest=ubuntu.MAX_SIZE, whole=True),
    Source(one="a CVE of Ubuntu's tracker", many="CVEs of Ubuntu's tracker", files="Ubuntu's CVE tracker",
           recognises=ubuntu.is_tracked, read=_one(ubuntu.read_tracked), largest=ubuntu.MAX_SIZE),
    Source(one="AlmaLinux's errata", many="AlmaLinux's errata", files="AlmaLinux's errata.full.json",
           recognises=alma.is_errata, read=alma.read, largest=alma.MAX_SIZE, whole=True),
    Source(one="Rocky Linux's errata", many="Rocky Linux's errata", files="pages of Rocky Linux's errata",
           recognises=rocky.is_errata, read=rocky.read, largest=rocky.MAX_SIZE, whole=True),
    Source(one="an updateinfo.xml", many="updateinfo.xml", files="updateinfo.xml of Amazon, Oracle, Fedora, …",
           recognises=updateinfo.is_updateinfo, read=updateinfo.read, largest=updateinfo.MAX_SIZE, whole=True),
    Source(one="OVAL definitions", many="OVAL definitions", files="OVAL of Oracle Linux and Azure Linux",
           recognises=oval.is_definitions, read=_one(oval.read), largest=oval.MAX_SIZE, whole=True),
    Source(one="Photon OS' feed", many="Photon OS' feeds", files="Photon OS' cve_data_photon5.0.json",
           recognises=photon.is_feed, read=_one(photon.read), largest=photon.MAX_SIZE, whole=True),
    Source(one="a feed of NVD", many="feeds of NVD", files="NVD's API 2.0 feeds", recognises=nvd.is_feed,
           read=nvd.read, largest=nvd.MAX_SIZE, whole=True),
    # The last: whatever nobody else recognises is told what an OSV record must have.
    Source(one="an OSV record", many="OSV records", files="a folder of OSV records, osv.dev's all.zip",
           recognises=lambda _: True, read=_one(osv.read), largest=osv.MAX_SIZE))


_UNTOLD = 64 << 20
"""Bytes of a document whose beginning does not say what it is: no publisher's large ones are so."""


def of(data: bytes) -> Source:
    """The first that recognises a document."""
    return next(source for source in SOURCES if source.recognises(data))


def limit(head: bytes) -> int:
    """How long a document may be that begins so, of which only a later part may tell what it is."""
    source = of(head)
    return source.largest if source is not SOURCES[-1] or len(head) < 4096 else _UNTOLD
