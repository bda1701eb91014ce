"""A bill of materials: which packages are in an image, and where; CycloneDX and SPDX documents are written from it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

import msgspec

from custody import ecosystems
from custody.ecosystems import namespace, of_osv, of_release, of_type
from custody.formats import purl as purls
from custody.formats import rpmheader
from custody.formats.purl import PackageUrl

Form = Literal["", "archive", "program", "data", "files", "part"]
"""As what a package is there: one file, which is an archive, a program or neither; many files; a part of a file that it
was compiled or copied into. Empty: not known, or only asked for."""


class Location(msgspec.Struct, frozen=True):
    """The file that shows that a package is there."""

    path: str
    """Without a leading slash."""
    layer: str = ""
    """Digest of the layer blob, as the manifest names it; empty where the SBOM did not say."""
    within: str = ""
    """Where in the file: the names of archives and members, joined by `!`; empty where it is the file itself."""
    evidence: str = ""
    """What in the file says so, where it is not all of it: `version string at 0x1f00`."""


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one package. Two places with the same package URL are one package with two locations."""

    type: str
    """Package URL type: `deb`, `pypi`, `npm`, `cargo`, `golang`, …"""
    name: str
    """As the ecosystem's users write it, namespace included: `@babel/core`, `github.com/gorilla/mux`."""
    version: str
    purl: str
    ecosystem: str | None = None
    """The OSV ecosystem whose advisories speak of it, `Debian:12`; None where OSV has none."""
    source: str = ""
    """What it was built from: a distribution's source package; else its name as advisories have it."""
    source_version: str = ""
    licenses: tuple[str, ...] = ()
    supplier: str = ""
    hashes: tuple[tuple[str, str], ...] = ()
    """(`sha256`, hexadecimal) of the package's archive, where something states it."""
    locations: tuple[Location, ...] = ()
    requires: tuple[str, ...] = ()
    """Package URLs of the packages of this image that it depends on."""
    bundled_in: str = ""
    """Package URL of the package that it was copied or compiled into, as that package's own SBOM says."""
    owner: str = ""
    """Package URL of the distribution's package that installed it; advisories for that package speak for it."""
    cpes: tuple[str, ...] = ()
    """CPE 2.3 names that its publisher or a hand-made table states; never guessed."""
    scope: str = ""
    """What it is there for, where no place says that it is to run: `dev`, `test`, `optional`, `build`."""
    declared: bool = False
    """Lock files and manifests ask for it, and no place says that it is installed."""
    author: str = ""
    """Who wrote it, where that is said apart from who supplies it: an SBOM of another tool."""
    description: str = ""
    homepage: str = ""
    download: str = ""
    """Where its archive is to be had: an address, or SPDX's words for a repository."""
    copyright: str = ""
    repository: str = ""
    """Where its source code is to be had, an address."""
    form: Form = ""
    file: str = ""
    """The name of the file that it is, without folders; `hashes` are those of it then."""

    @property
    def copied(self) -> bool:
        """A distribution's package that is a copy inside another: not installed, and no sign of which OS it is."""
        return bool(self.bundled_in) and of_type(self.type).system

    @property
    def advised(self) -> tuple[str, str]:
        """The name and the version that the advisories of its ecosystem speak of."""
        row = of_osv(self.ecosystem) if self.ecosystem else None
        if isinstance(row, ecosystems.Distribution) and not row.by_source:
            return self.name, self.version
        return self.source, self.source_version or self.version


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was seen and not catalogued."""

    kind: str
    count: int
    examples: tuple[str, ...] = ()
    owner: str = ""
    """Package URL of the distribution's package that installed all of it; empty where none did."""

    def __str__(self) -> str:
        """As custody's SBOMs write it: `Java archive: 2, installed by pkg:deb/debian/…`."""
        return f"{self.kind}: {self.count}" + (f", installed by {self.owner}" if self.owner else "")


def parse_unknown(text: str) -> Unknown:
    """What `str()` of an Unknown says; text that is something else stands for one of which nobody knows more."""
    if match := _UNKNOWN.match(text):
        return Unknown(kind=match[1], count=int(match[2]), owner=match[3] or "")
    return Unknown(kind=" ".join(text.split())[:200] or "something", count=1)


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """os-release(5) of the image."""

    id: str
    version: str
    name: str


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    diff_id: str
    entries: int
    size: int
    """Bytes of the uncompressed tar."""


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the executables and shared libraries, and how many of their bytes, a package answers for."""

    programs: int
    identified: int
    size: int
    identified_size: int

    @property
    def share(self) -> float:
        """Of the bytes, from 0 to 1; 1 where there is no program."""
        return self.identified_size / self.size if self.size else 1.0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is not what a package says it installed."""

    path: str
    state: Literal["changed", "configuration", "missing", "added", "unowned", "unread"]
    """`configuration`: changed where it is meant to be; `added`: in a package's own folder, and not in its list;
    `unowned`: among the system's programs and libraries, and in no package's list; `unread`: not hashed."""
    package: str = ""
    """Package URL; how the list names it where it is not catalogued; empty for what no package says anything of."""
    layer: str = ""
    """Digest of the layer that the file, or its absence, is from; empty for a folder, and where nobody knows."""
    reason: str = ""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What became of comparing an image's files with what its packages say of them."""

    stated: int
    """Files of which a package states a digest; a Go module, of which one digest of all its files is stated, is one."""
    same: int
    differences: tuple[Difference, ...] = ()
    counts: tuple[tuple[str, int], ...] = ()
    """By state, also of those beyond the `differences` that are kept."""
    unproven: tuple[tuple[str, int], ...] = ()
    """By type, packages that no list on this machine states digests for."""
    unreadable: tuple[str, ...] = ()
    """Lists of installed files that could not be read: nothing is known of what they state."""

    def count(self, state: str) -> int:
        return dict(self.counts).get(state, 0)


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What an SBOM says of itself; of a catalog that no SBOM was written from yet, what is to be said there."""

    format: str = ""
    """`CycloneDX 1.6`, `SPDX-2.3`, `syft 16.1.13`."""
    identifier: str = ""
    """Serial number or namespace."""
    created: str = ""
    """RFC 3339."""
    authors: tuple[str, ...] = ()
    """Persons and organisations, not programs: `Ann <ann@example.org>`, `Organization: ACME (sbom@acme.example)`."""
    tools: tuple[str, ...] = ()
    """`syft 1.57.0`."""
    supplier: str = ""
    """Of what the SBOM is about."""
    version: str = ""
    """Of what the SBOM is about."""
    about: str = ""
    """The subject's kind, in the words of `Catalog.kind`."""
    digest: str = ""
    """Of what the SBOM is about, where it states one: `sha256:…`."""
    phase: str = ""
    """When in its life it was looked at, in CycloneDX's words: `build`, `post-build`, `operations`."""
    complete: str = ""
    """How complete the SBOM calls its relationships, in the format's words: `incomplete`, `unknown`, `noAssertion`."""
    graph: int = 0
    """Of how many components it says what they need, be it nothing; 0 where the format does not say so of each."""
    unreached: tuple[str, ...] | None = None
    """Components of which it does not say how their makers or suppliers are reached, by mail or by a page; None where
    that is not known of the format."""
    unlicensed: tuple[str, ...] | None = None
    """Components of which it does not say licences by identifiers or expressions of SPDX alone; as above."""
    layers: tuple[str, ...] = ()
    """Digests of the image's layers from the base up, where an SBOM lists them."""
    unread: tuple[tuple[str, int], ...] = ()
    """What the document has that a catalog does not keep: fields by their names in the format, and how often."""


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found in one image, or read from one SBOM."""

    name: str
    digest: str
    """Of the image's manifest; of a folder, over its files that tell of packages (`sbom.folder`); of a file; of the
    SBOM's bytes where only that is there."""
    kind: str = "container"
    """`container`, `rootfs`, `directory`, `file`, `sbom`; `lock files`."""
    origin: str = ""
    """Where a git checkout is from, `git+https://example.org/app.git@COMMIT`; empty where that is not known."""
    distribution: Distribution | None = None
    packages: tuple[Package, ...] = ()
    layers: tuple[Layer, ...] = ()
    unknowns: tuple[Unknown, ...] = ()
    coverage: Coverage | None = None
    """None where only an SBOM was read that does not say."""
    proof: Proof | None = None
    """None where nobody asked for it."""
    unidentified: tuple[Package, ...] = ()
    """Components of an SBOM that have no package URL: nothing can be looked up for them, and `unknowns` counts them."""
    document: Document | None = None


def identify(purl: PackageUrl, distribution: Distribution | None = None) -> tuple[str | None, str]:
    """The OSV ecosystem of a package and the name that its advisories use; for a distribution's package, its own name.

    The release is that of the distribution given, if the package is one of its own; else the purl's `distro` says it.
    """
    row = of_type(purl.type)
    if not row.system:
        return row.osv or None, f"{purl.namespace}{row.joint}{purl.name}" if purl.namespace else purl.name
    distro = purl.qualifiers.get("distro", "")
    stated, dash, release = distro.rpartition("-")
    stated, release = (stated, _CODENAMES.get(release, release)) if dash else (distro, _CODENAMES.get(distro, ""))
    who = stated if row.grouped else purl.namespace or stated
    if stated and namespace(stated) == who:
        who = stated
    if distribution and who in (distribution.id, namespace(distribution.id)):
        who, release = distribution.id, distribution.version
    return of_release(who, release), row.full(purl.namespace, purl.name)


def from_purl(text: object, distribution: Distribution | None, *, version: str = "", source: str = "",
              source_version: str = "", locations: tuple[Location, ...] = ()) -> Package:
    """A package of an SBOM by its package URL, as text or as it was read; `source` and syft's `upstream` qualifier say
    what it was built from. Raises MalformedError.
    """
    purl = text if isinstance(text, PackageUrl) else purls.parse(text, "package URL")
    row = of_type(purl.type)
    ecosystem, name = identify(purl, distribution)
    upstream, _, upstream_version = purl.qualifiers.get("upstream", "").partition("@")
    version = purl.version or version
    epoch = f"{purl.qualifiers['epoch']}:" if row.epochs and purl.qualifiers.get("epoch") else ""
    if ":" not in version:
        version = epoch + version
    if row.epoch_apart and (built := rpmheader.source(upstream)):
        upstream, upstream_version = built.name, epoch + built.version
    if row.system and "upstream" in purl.qualifiers:  # syft's; purl-spec knows none, and it names the same package
        purl = replace(purl, qualifiers={key: value for key, value in purl.qualifiers.items() if key != "upstream"})
    return Package(type=purl.type, name=row.full(purl.namespace, purl.name), version=version, purl=str(purl),
                   ecosystem=ecosystem, source=source or upstream or name,
                   source_version=source_version or upstream_version or version, locations=locations)


_UNKNOWN = re.compile(r"([^\n]{1,200}): ([0-9]{1,9})(?:, installed by (pkg:[^\s,;]+))?\Z")
_CODENAMES = {"jessie": "8", "stretch": "9", "buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13",
              "forky": "14", "xenial": "16.04", "bionic": "18.04", "focal": "20.04", "jammy": "22.04", "noble": "24.04"}
"""What a package URL may say instead of a number, as purl-spec's own examples do."""
