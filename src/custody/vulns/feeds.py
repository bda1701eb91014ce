"""Where publishers keep their advisories, one row an address, by the names that people type for `custody db update`.

A mirror keeps each address under its own: `https://mirror.example/advisories/` + `packages.wolfi.dev/os/security.json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from custody.errors import UsageError
from custody.kit.near import near

Kind = Literal["document", "osv", "csaf", "rolie", "provider", "nvd"]
"""One document or archive; an ecosystem of osv.dev, with `all.zip`, `modified_id.csv` and a file a record; a folder of
CSAF documents with `changes.csv` (CSAF 2.0, section 7.1.13), a ROLIE feed of them (7.1.15), a `provider-metadata.json`
that names either (7.1.8); NVD's API."""
_KINDS: Mapping[str, Kind] = {"osv/": "osv", "csaf/": "csaf", "rolie/": "rolie", "provider/": "provider",
                              "nvd/": "nvd"}
"""What the names of people's own addresses begin with, where those are no single document."""
_OSV = "https://osv-vulnerabilities.storage.googleapis.com"
_SECDB = "https://secdb.alpinelinux.org"


def publishers(name: str) -> frozenset[str] | None:
    """Whose advisories a feed of this name has (`Advisory.source`, or its beginning before `/`); None: anybody's, of an
    address that people call by a name of their own.
    """
    known = ("osv",) if name.startswith("osv/") else _PUBLISHERS.get(name)
    return None if known is None else frozenset(known)


class Address(NamedTuple):
    url: str
    kind: Kind = "document"
    sidecar: str = ""
    """Behind the URL, where the publisher has a SHA-256 of it: `.sha256`; `.meta` is NVD's, of what it unpacks to."""


_ECOSYSTEMS = ("PyPI", "npm", "Go", "Maven", "crates.io", "RubyGems", "NuGet", "Packagist", "Hex", "Pub", "CRAN",
               "Hackage", "SwiftURL", "GitHub Actions", "Bitnami", "Julia", "Debian", "Ubuntu", "Alpine", "AlmaLinux",
               "Rocky Linux", "Red Hat", "SUSE", "openSUSE", "Wolfi", "Chainguard", "MinimOS", "Mageia", "openEuler",
               "Photon OS", "Azure Linux", "Echo")
FEEDS: Mapping[str, tuple[Address, ...]] = {
    "kev": (Address("https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"),),
    "epss": (Address("https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"),),
    "debian": (Address("https://security-tracker.debian.org/tracker/data/json"),),
    "ubuntu": (Address("https://usn.ubuntu.com/usn-db/database.json.bz2"),),
    "alpine": tuple(Address(f"{_SECDB}/{release}/{repository}.json") for release in
                    ("v3.18", "v3.19", "v3.20", "v3.21", "v3.22", "edge") for repository in ("main", "community")),
    "wolfi": (Address("https://packages.wolfi.dev/os/security.json"),),
    "chainguard": (Address("https://packages.cgr.dev/chainguard/security.json"),),
    "redhat": (Address("https://security.access.redhat.com/data/csaf/v2/vex/", "csaf"),),
    "suse": (Address("https://ftp.suse.com/pub/projects/security/csaf-vex/", "csaf"),),
    "alma": tuple(Address(f"https://errata.almalinux.org/{release}/errata.full.json") for release in (8, 9, 10)),
    "oracle": (Address("https://linux.oracle.com/security/oval/com.oracle.elsa-all.xml.bz2"),),
    "photon": tuple(Address(f"https://packages.vmware.com/photon/photon_cve_metadata/cve_data_photon{release}.json")
                    for release in ("3.0", "4.0", "5.0")),
    "azure": tuple(Address("https://raw.githubusercontent.com/microsoft/AzureLinuxVulnerabilityData/main/"
                           f"{name}-oval.xml") for name in ("cbl-mariner-2.0", "azurelinux-3.0")),
    "nvd": tuple(Address(f"https://nvd.nist.gov/feeds/json/cve/2.0/nvdcve-2.0-{year}.json.gz", sidecar=".meta")
                 for year in (*range(2002, 2027), "modified")),
    "nvd-api": (Address("https://services.nvd.nist.gov/rest/json/cves/2.0", "nvd"),),
    **{f"osv/{name}": (Address(f"{_OSV}/{name.replace(' ', '%20')}/", "osv"),) for name in _ECOSYSTEMS}}
"""By what people call them."""
_PUBLISHERS: Mapping[str, tuple[str, ...]] = {
    "kev": (), "epss": (), "debian": ("debian-tracker",), "ubuntu": ("ubuntu-usn",), "alpine": ("alpine-secdb",),
    "wolfi": ("wolfi-secdb",), "chainguard": ("chainguard-secdb",), "redhat": ("redhat-csaf",), "suse": ("suse-csaf",),
    "alma": ("alma-errata",), "oracle": ("oracle",), "photon": ("photon",), "azure": ("azure-linux",), "nvd": ("nvd",),
    "nvd-api": ("nvd",)}
USUAL = ("kev", "epss", "debian", "alpine", "wolfi", "osv/PyPI", "osv/npm", "osv/Go", "osv/Maven", "osv/crates.io",
         "osv/RubyGems", "osv/NuGet", "osv/Packagist")
"""What is asked where nobody says what."""


def chosen(names: Iterable[str], own: Mapping[str, str], mirror: str | None) -> list[tuple[str, Address]]:
    """Each address of those feeds with the feed's name; `own` names people's own. Raises UsageError."""
    rows: list[tuple[str, Address]] = []
    by_spelling = {name.lower(): name for name in (*FEEDS, *own)}
    for asked in names:
        name = by_spelling.get(asked.lower()) or by_spelling.get(f"osv/{asked.lower()}")
        if name is None:
            raise UsageError(f"{asked}: no feed of that name",
                             hint=near(asked, by_spelling.values(), "custody db update --list names all"))
        addresses = (Address(own[name], _kind(name)),) if name in own else (
            FEEDS[name])
        rows += [(name, address._replace(url=mirrored(address.url, mirror))) for address in addresses]
    return rows


def _kind(name: str) -> Kind:
    return next((kind for beginning, kind in _KINDS.items() if name.startswith(beginning)), "document")


def mirrored(url: str, mirror: str | None) -> str:
    if not mirror:
        return url
    parts = urlsplit(url)
    return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}"
