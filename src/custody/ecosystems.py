"""The ecosystems of packages, one row each: what package URLs, advisories, version orders, catalogers and Trivy call
them, and by which rules their names are one.

`formats`, `versions`, `sbom` and `vulns` read these rows. A new ecosystem is a row here, and in `versions` or
`sbom.dependencies` a rule only where none that is there fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Order = Literal["alpm", "apk", "brew", "cocoapods", "conda", "deb", "dotted", "generic", "gentoo", "luarocks", "maven",
                "nix", "nuget", "packagist", "pep440", "perl", "pub", "rpm", "rubygems", "semver", "vcpkg"]
"""How versions are put in order: a key of `versions.ORDERS`."""
Resolver = Literal["names", "site", "node_modules", "file", "archive", "stated"]
"""How a package's needs are found in an image: a key of `sbom.dependencies.RESOLVERS`."""


def as_written(name: str) -> str:
    return name


def python(name: str) -> str:
    """PyPA specification "Names and normalization"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _crates(name: str) -> str:
    """Capitals and '-' or '_' make no other crate."""
    return name.lower().replace("_", "-")


def _repository(name: str) -> str:
    """A repository's address, of which package URLs have host and path."""
    return name.lower().removeprefix("https://").removesuffix(".git")


_folded = str.lower
"""Where no two packages differ in capitals only: the registry says so, or package URLs have no capitals there.

Go: paths with capitals are others to Go, but package URLs and some records spell them without; no two modules are told
apart by them. npm: only packages of before 2014 have capitals.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What OSV's advisories say of an ecosystem (OSV schema, "Defined ecosystems" and "package")."""

    osv: str = ""
    """Its name without a release; empty where OSV has none, or where the distribution has one."""
    order: Order | None = None
    """None where nobody knows the order of its versions."""
    compared: Callable[[str], str] = as_written
    """The name as it is compared, by its registry's rule for which names are one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ecosystem(Spoken):
    """One type of package URLs; empty where custody knows none for OSV's name."""

    type: str
    grouped: bool = False
    """Whether the namespace is a part of the name that people use: `@babel/core`, `github.com/gorilla/mux`."""
    joint: str = "/"
    """What advisories have between namespace and name."""
    resolver: Resolver = "stated"
    trivy: str = ""
    """What Trivy calls packages of this type, where that is not the type."""
    epochs: bool = False
    """Whether versions have an epoch in front, `1:2.0`, which some package URLs have in a qualifier."""
    epoch_apart: bool = False
    """Whether the package URL of such a version has the epoch in that qualifier."""
    system: bool = False
    """Whether these are a distribution's packages: which advisories speak of them depends on whose they are."""
    vendor: str = ""
    """Of a distribution's package in an image without os-release: the ID that it would have."""

    def split(self, name: str) -> tuple[str, str]:
        """The package URL's namespace and name of a name as people write it."""
        namespace, _, last = name.rpartition("/") if self.grouped else ("", "", name)
        return namespace, last

    def full(self, namespace: str | None, name: str) -> str:
        """The name as people write it."""
        return f"{namespace}/{name}" if namespace and self.grouped else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution(Spoken):
    """One whose advisories OSV has."""

    ids: tuple[str, ...] = ()
    """Its IDs of os-release(5), and what other tools have as namespaces of its package URLs; without one it is not
    recognised yet."""
    namespace: str = ""
    """Of its package URLs, where that is not the ID (purl-spec, and the vendor's own advisories)."""
    release: Callable[[str], str] | None = None
    """What stands behind the colon for a version; None where there are no releases."""
    by_source: bool = True
    """Whether its advisories name what a package was built from, and not the package itself."""
    vendors: tuple[str, ...] = ()
    """How the vendor of its packages begins, in small letters, where that is not the ID; see `sbom.ownership`."""


def _major(version: str) -> str:
    return version.partition(".")[0]


def _alpine(version: str) -> str:
    return "v" + ".".join(version.split(".")[:2])


def _suse(version: str) -> str:
    """`15.5` is service pack 5 of 15; from 16 on there are none."""
    major, _, pack = version.partition(".")
    return "Linux Enterprise Server " + (version if not pack or int(major or 0) > 15 else f"{major} SP{pack}")


def _opensuse(version: str) -> str:
    """Tumbleweed's versions are dates."""
    return "Tumbleweed" if version.isdigit() and len(version) == 8 else f"Leap {version}"


def _ubuntu(version: str) -> str:
    parts = version.split(".")
    long_term = len(parts) > 1 and parts[1] == "04" and parts[0].isdigit() and int(parts[0]) % 2 == 0
    return version + (":LTS" if long_term else "")


ECOSYSTEMS = {row.type: row for row in (
    Ecosystem(type="deb", system=True, epochs=True, vendor="debian", resolver="names"),
    Ecosystem(type="apk", system=True, vendor="alpine", resolver="names"),
    Ecosystem(type="rpm", system=True, epochs=True, epoch_apart=True, resolver="names"),
    Ecosystem(type="alpm", order="alpm", system=True, vendor="arch", resolver="names"),
    Ecosystem(type="ebuild", order="gentoo", system=True, grouped=True, vendor="gentoo"),
    Ecosystem(type="opkg", order="deb", system=True, vendor="openwrt", resolver="names"),
    Ecosystem(type="brew", order="brew"), Ecosystem(type="nix", order="nix", resolver="names"),
    Ecosystem(type="snap"),
    Ecosystem(type="pypi", osv="PyPI", order="pep440", compared=python, resolver="site", trivy="python-pkg"),
    Ecosystem(type="npm", osv="npm", order="semver", compared=_folded, grouped=True, resolver="node_modules",
              trivy="node-pkg"),
    Ecosystem(type="cargo", osv="crates.io", order="semver", compared=_crates, resolver="file", trivy="rustbinary"),
    Ecosystem(type="golang", osv="Go", order="semver", compared=_folded, grouped=True, resolver="file",
              trivy="gobinary"),
    Ecosystem(type="maven", osv="Maven", order="maven", grouped=True, joint=":", resolver="archive", trivy="jar"),
    Ecosystem(type="gem", osv="RubyGems", order="rubygems", compared=_folded),
    Ecosystem(type="nuget", osv="NuGet", order="nuget", compared=_folded, resolver="file"),
    Ecosystem(type="composer", osv="Packagist", order="packagist", compared=_folded, grouped=True, resolver="file"),
    Ecosystem(type="hex", osv="Hex", order="semver", compared=_folded),
    Ecosystem(type="pub", osv="Pub", order="pub", compared=_folded),
    Ecosystem(type="cran", osv="CRAN", order="dotted", compared=_folded),
    Ecosystem(type="hackage", osv="Hackage", order="dotted", compared=_folded),
    Ecosystem(type="bitnami", osv="Bitnami", order="semver", compared=_folded),
    Ecosystem(type="julia", osv="Julia", order="semver"),
    Ecosystem(type="generic", order="generic"),
    Ecosystem(type="swift", osv="SwiftURL", order="semver", compared=_repository, grouped=True),
    Ecosystem(type="github", osv="GitHub Actions", order="semver", compared=_folded, grouped=True),
    Ecosystem(type="terraform", grouped=True), Ecosystem(type="jsr", grouped=True),
    Ecosystem(type="conda", order="conda"),
    Ecosystem(type="otp"), Ecosystem(type="luarocks", order="luarocks"), Ecosystem(type="cocoapods", order="cocoapods"),
    Ecosystem(type="opam", order="deb"),
    Ecosystem(type="conan", order="generic"), Ecosystem(type="vcpkg", order="vcpkg"),
    Ecosystem(type="pear"), Ecosystem(type="pecl"),
    Ecosystem(type="cpan", order="perl", grouped=True))}
"""By the type of package URLs."""

_DISTRIBUTIONS = (
    Distribution(osv="Debian", order="deb", compared=_folded, ids=("debian",), release=_major),
    Distribution(osv="Ubuntu", order="deb", compared=_folded, ids=("ubuntu",), release=_ubuntu),
    Distribution(osv="Echo", order="deb", compared=_folded, ids=("echo",)),
    Distribution(osv="Alpine", order="apk", compared=_folded, ids=("alpine",), release=_alpine),
    Distribution(osv="Wolfi", order="apk", compared=_folded, ids=("wolfi",)),
    Distribution(osv="Chainguard", order="apk", compared=_folded, ids=("chainguard",)),
    Distribution(osv="MinimOS", order="apk", compared=_folded, ids=("minimos",)),
    Distribution(osv="AlmaLinux", order="rpm", ids=("almalinux", "alma"), release=_major, by_source=False),
    Distribution(osv="Rocky Linux", order="rpm", ids=("rocky", "rocky-linux"), release=_major),
    # Of these two OSV's names are of repositories or products, which no image states: see `canonical`.
    Distribution(osv="Red Hat", order="rpm", ids=("rhel", "redhat"), namespace="redhat", by_source=False,
                 release=_major, vendors=("red hat",)),
    Distribution(osv="SUSE", order="rpm", ids=("sles", "sled", "suse"), namespace="suse", release=_suse,
                 vendors=("suse",)),
    Distribution(osv="openSUSE", order="rpm", ids=("opensuse-leap", "opensuse-tumbleweed", "opensuse"),
                 namespace="opensuse", release=_opensuse, vendors=("opensuse", "suse")),
    Distribution(osv="openEuler", order="rpm", ids=("openeuler",), vendors=("http://openeuler",)),
    Distribution(osv="Mageia", order="rpm", ids=("mageia",), release=_major),
    Distribution(osv="Azure Linux", order="rpm", ids=("azurelinux", "mariner", "cbl-mariner"), release=_major,
                 vendors=("microsoft",)),
    Distribution(osv="Photon OS", order="rpm", ids=("photon",), by_source=False, release=as_written,
                 vendors=("vmware", "broadcom")),
    # Of these OSV has no advisories: what is imported from their publishers goes by these names.
    Distribution(osv="Oracle Linux", order="rpm", ids=("ol", "oracle"), by_source=False, release=_major,
                 vendors=("oracle",)),
    Distribution(osv="Amazon Linux", order="rpm", ids=("amzn", "amazon"), by_source=False, release=_major,
                 vendors=("amazon",)),
    Distribution(osv="Fedora", order="rpm", ids=("fedora",), by_source=False, release=_major),
    Distribution(osv="CentOS", order="rpm", ids=("centos",), by_source=False, release=_major),
    Distribution(osv="Arch Linux", order="alpm", ids=("arch", "archarm"), namespace="arch", by_source=False),
    Distribution(osv="Gentoo", order="gentoo", ids=("gentoo",), by_source=False),
    Distribution(osv="Alpaquita"), Distribution(osv="BellSoft Hardened Containers"))

BY_OSV: dict[str, Spoken] = {row.osv: row for row in (
    *ECOSYSTEMS.values(), *_DISTRIBUTIONS, Spoken(osv="GHC", order="dotted"),
    # Not OSV's: products by the names of NVD's dictionary, `a:nodejs:node.js`, whose versions are of any kind.
    Spoken(osv="CPE", order="generic", compared=_folded),
    Spoken(osv="VSCode", compared=_folded)) if row.osv}
"""By OSV's name, without a release."""
_BY_ID = {name: row for row in _DISTRIBUTIONS for name in row.ids}
_OTHER = Ecosystem(type="")


def of_type(kind: str) -> Ecosystem:
    """The row of a package URL's type; of one that has none, a row that says nothing."""
    return ECOSYSTEMS.get(kind, _OTHER)


def of_osv(ecosystem: str) -> Spoken | None:
    """The row of an ecosystem as advisories name it, `Debian:12`; None where custody has none."""
    return BY_OSV.get(ecosystem.partition(":")[0])


def distribution(identifier: str) -> Distribution | None:
    """The row of a distribution by its ID of os-release(5); None where custody has none."""
    return _BY_ID.get(identifier)


_TRIVY = {"rhel": "redhat", "almalinux": "alma", "amzn": "amazon", "ol": "oracle", "mariner": "cbl-mariner"}
_FROM_TRIVY = {name: identifier for identifier, name in _TRIVY.items()}


def spoken(identifier: str) -> str:
    """What Trivy calls a distribution, by its ID of os-release(5): in an SBOM it knows it by no other name."""
    return _TRIVY.get(identifier, identifier)


def heard(name: str) -> str:
    """The ID of a distribution that an SBOM calls as Trivy does."""
    return _FROM_TRIVY.get(name, name)


def namespace(identifier: str) -> str:
    """What the package URLs of a distribution's packages have in front of the name, by its ID of os-release(5)."""
    row = _BY_ID.get(identifier)
    return (row.namespace if row else "") or identifier


def of_release(identifier: str, version: str) -> str | None:
    """What OSV calls a release of a distribution: `Debian:12`; None where it has none, or the version is not known."""
    row = _BY_ID.get(identifier)
    if row is None:
        return None
    if row.release is None:
        return row.osv
    return f"{row.osv}:{row.release(version)}" if version else None


_RED_HAT = re.compile(r"Red Hat:enterprise_linux:([0-9]+)(?:\.[0-9]+)?(?:::[a-z_]+)?\Z")
_SUSE = re.compile(r"SUSE:Linux Enterprise (?:Server|Desktop|Module for [^:]+|Software Development Kit)"
                   r" ([0-9]+(?:\.[0-9]+)?(?: SP[0-9]+)?)(?:-LTSS)?\Z")


def canonical(ecosystem: str) -> str:
    """An advisory's ecosystem as `of_release` calls it: a repository's or a module's is its release's.

    Extended support (`rhel_eus`, `Ubuntu:Pro`, …) is another product, and stays apart.
    """
    if match := _RED_HAT.match(ecosystem):
        return f"Red Hat:{match[1]}"
    if match := _SUSE.match(ecosystem):
        return f"SUSE:Linux Enterprise Server {match[1]}"
    return ecosystem


def normalise(ecosystem: str, name: str) -> str:
    """The name as its ecosystem's advisories are compared."""
    row = of_osv(ecosystem)
    return name if row is None else row.compared(name)
