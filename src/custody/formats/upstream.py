"""Where syft, grype and Trivy look for what a distribution's package was built from: advisories speak of that.

Package URLs have no place for it: purl-spec lists no `upstream`, which syft writes and grype reads.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from custody.ecosystems import of_type
from custody.formats.bom import Package

_SYFT = {"deb": ("dpkg-db-entry", "source", "sourceVersion"), "apk": ("apk-db-entry", "originPackage", ""),
         "rpm": ("rpm-db-entry", "sourceRpm", ""), "alpm": ("alpm-db-entry", "basepackage", "")}
"""By type: what syft calls the record, and its fields for the source's name and version."""


def differs(package: Package) -> bool:
    """Whether it was built from something of another name or version; only distributions' packages are."""
    if package.source == package.name and package.source_version in (package.version, ""):
        return False
    return bool(package.source) and of_type(package.type).system


def purl(package: Package) -> str:
    """The package URL with syft's `upstream`, where there is something to say."""
    if not differs(package):
        return package.purl
    name = package.source
    if package.type == "rpm":
        name = source_rpm(package)
    elif package.source_version and package.source_version != package.version:
        name += f"@{package.source_version}"
    joint = "&" if "?" in package.purl else "?"
    return f"{package.purl}{joint}upstream={quote(name, safe='')}"


def module(package: Package) -> str:
    """The module stream of an RPM, `nodejs:18:…`, which syft's qualifier `rpmmod` states."""
    _, qualifier, value = package.purl.partition("rpmmod=")
    return unquote(value.partition("&")[0]) if qualifier and package.type == "rpm" else ""


def source_rpm(package: Package) -> str:
    """The name of the source archive, `openssl-3.0.7-1.el9.src.rpm`, of which the epoch is no part."""
    version = package.source_version or package.version
    return f"{package.source}-{version.partition(':')[2] or version}.src.rpm"


def syft_metadata(package: Package) -> tuple[str, list[tuple[str, str]]]:
    """What syft calls the record of the package's database, and those of its fields that grype asks for."""
    kind, name, version = _SYFT.get(package.type, ("", "", ""))
    if not kind or not differs(package):
        return "", []
    if package.type == "rpm":
        return kind, [(name, source_rpm(package))]
    fields = [(name, package.source)]
    if version and package.source_version != package.version:
        fields.append((version, package.source_version))
    return kind, fields


def trivy_properties(package: Package) -> list[tuple[str, str]]:
    """Name, and version in the parts that Trivy puts together again, of a source that `differs`; some may be empty."""
    version = package.source_version or package.version
    epoch, colon, rest = version.partition(":")
    if colon and epoch.isdigit():
        version = rest
    else:
        epoch = ""
    release = ""
    if package.type in ("deb", "rpm") and "-" in version:
        version, _, release = version.rpartition("-")
    return [("aquasecurity:trivy:SrcName", package.source), ("aquasecurity:trivy:SrcVersion", version),
            ("aquasecurity:trivy:SrcRelease", release), ("aquasecurity:trivy:SrcEpoch", epoch)]
