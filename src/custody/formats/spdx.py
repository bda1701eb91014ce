"""SPDX 2.2 and 2.3 (spdx.github.io/spdx-spec/v2.3): read from any tool's documents; `spdxwriter` writes them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec

from custody.ecosystems import heard
from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats.bom import (
    Catalog,
    Distribution,
    Document,
    Location,
    Package,
    Unknown,
    from_purl,
    parse_unknown,
)
from custody.formats.spdxwriter import NOT_CATALOGUED, NOTHING, SCOPES, write
from custody.kit import strictjson
from custody.kit.digest import sha256
from custody.kit.members import list_of

__all__ = ["read", "read_document", "write"]

_MAX_PACKAGES = 500_000
_SOURCE = re.compile(r"(?:\A|; )built package from: (\S+)(?: ([^\s;]+))?")
_OWNER = re.compile(r"(?:\A|; )installed by (pkg:[^\s;]+)")
_BUNDLED = re.compile(r"(?:\A|; )bundled in (pkg:[^\s;]+)")
_PLACE = re.compile(r"(?:\A|; )found in ([^;]+?)(?: of layer ([^\s;]+))?(?=;|\Z)")
_CREATOR = re.compile(r"(Tool|Person|Organization): (.*)\Z", re.DOTALL)
_TOP = frozenset(("spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo", "comment",
                  "packages", "relationships", "hasExtractedLicensingInfos", "documentDescribes"))
_PACKAGE = frozenset(("SPDXID", "name", "downloadLocation", "filesAnalyzed", "primaryPackagePurpose", "copyrightText",
                      "licenseConcluded", "licenseDeclared", "supplier", "originator", "versionInfo", "externalRefs",
                      "sourceInfo", "comment", "checksums", "homepage", "description", "summary"))
"""What is read of each; anything else is counted as unread."""
_PLAIN_RELATIONS = frozenset(("DESCRIBES", "DESCRIBED_BY", "CONTAINS", "CONTAINED_BY"))
_SYSTEM = ("OPERATING_SYSTEM", "OPERATING-SYSTEM")
"""In JSON, and in tag-value and in what tools before 2.3's schema wrote."""
_ABOUT = {"CONTAINER": "container", "SOURCE": "directory", "FILE": "file", "ARCHIVE": "rootfs"}
_WITHOUT = "package without a package URL"


def read(data: bytes, where: str = "SBOM") -> Catalog:
    """The packages that have a package URL; those without one, and what custody said that it did not catalogue, are
    counted. Raises MalformedError, UnsupportedError.
    """
    return read_document(strictjson.loads(data, where), sha256(data), where)


def read_document(document: Any, digest: str, where: str = "SBOM") -> Catalog:
    """As `read`, of the plain data of a JSON document, or of a tag-value document in its shape."""
    if not isinstance(document, dict) or not isinstance(document.get("spdxVersion"), str):
        raise MalformedError(where, got="something else", expected='an SPDX document, with "spdxVersion"')
    if document["spdxVersion"] not in ("SPDX-2.2", "SPDX-2.3"):
        raise UnsupportedError(f"{where}: spdxVersion", f"{document['spdxVersion']!r} is neither SPDX-2.2 nor SPDX-2.3")
    entries = document.get("packages") or []
    if not isinstance(entries, list) or len(entries) > _MAX_PACKAGES or not all(isinstance(e, dict) for e in entries):
        raise MalformedError(f"{where}: packages", got=entries, expected=f"a list of at most {_MAX_PACKAGES} packages")
    system = next((e for e in entries if e.get("primaryPackagePurpose") in _SYSTEM), None)
    distribution = system and Distribution(
        id=heard(str(system.get("name", ""))), version=str(system.get("versionInfo", "")),
        name=str(system.get("summary") or system.get("name", "")))
    extracted = {str(entry.get("licenseId")): str(entry.get("name") or entry.get("extractedText") or "")
                 for entry in list_of(document, "hasExtractedLicensingInfos") if isinstance(entry, dict)}
    extracted = {key: text for key, text in extracted.items() if text not in ("", NOTHING)}
    unread = Counter(document.keys() - _TOP)
    roots = _described(document)
    subject: dict[str, Any] = {}
    packages: dict[str, Package] = {}
    ids: dict[str, str] = {}
    unidentified = []
    for entry in entries:
        unread.update(f"packages[].{key}" for key in entry.keys() - _PACKAGE)
        if entry.get("licenseConcluded") not in (None, "", "NONE", NOTHING, entry.get("licenseDeclared")):
            unread["packages[].licenseConcluded"] += 1
        try:
            package = _read_package(entry, distribution, extracted, unread)
        except CustodyError:
            package = None
        if package is not None:
            packages.setdefault(package.purl, package)
            ids[str(entry.get("SPDXID"))] = package.purl
        elif entry.get("primaryPackagePurpose") == "CONTAINER" or (
                str(entry.get("SPDXID")) in roots and len(roots) == 1 and len(entries) > 1):
            subject = subject or entry
        elif entry is not system:
            unidentified.append(_without(entry, extracted))
    packages = _related(document, packages, ids, str(subject.get("SPDXID")), unread)
    unknowns = [parse_unknown(part.removeprefix(NOT_CATALOGUED))
                for part in str(document.get("comment", "")).split("; ") if part.startswith(NOT_CATALOGUED)]
    if unidentified:
        unknowns = [unknown for unknown in unknowns if unknown.kind != _WITHOUT]
        unknowns.append(Unknown(kind=_WITHOUT, count=len(unidentified),
                                examples=tuple(package.name for package in unidentified[:3])))
    return Catalog(
        name=str(document.get("name") or where), origin=_said(subject.get("downloadLocation")),
        digest=digest, kind="sbom", distribution=distribution,
        packages=tuple(packages.values()), unknowns=tuple(unknowns), unidentified=tuple(unidentified),
        document=_document(document, subject, unread))


def _described(document: dict[str, Any]) -> set[str]:
    """What the document is about."""
    described = {str(ref) for ref in list_of(document, "documentDescribes")}
    for relation in list_of(document, "relationships"):
        if isinstance(relation, dict) and relation.get("relationshipType") == "DESCRIBES" and (
                relation.get("spdxElementId") == document.get("SPDXID")):
            described.add(str(relation.get("relatedSpdxElement")))
    return described


def _related(document: dict[str, Any], packages: dict[str, Package], ids: dict[str, str], subject: str,
             unread: Counter[str]) -> dict[str, Package]:
    """The packages with what relationships say of them."""
    edges: dict[str, set[str]] = {}
    owners: dict[str, str] = {}
    scopes: dict[str, str] = {}
    by_kind = {kind: scope for scope, kind in SCOPES.items()}
    for relation in list_of(document, "relationships"):
        if not isinstance(relation, dict):
            continue
        kind = str(relation.get("relationshipType"))
        element, related = (ids.get(str(relation.get(key))) for key in ("spdxElementId", "relatedSpdxElement"))
        if element and related and kind == "DEPENDS_ON":
            edges.setdefault(element, set()).add(related)
        elif element and related and kind == "DEPENDENCY_OF":
            edges.setdefault(related, set()).add(element)
        elif element and related and kind == "OTHER" and (
                str(relation.get("comment", "")).startswith("ownership-by-file-overlap")):
            owners[related] = element
        elif element and kind in by_kind and (related or relation.get("relatedSpdxElement") == subject):
            scopes[element] = by_kind[kind]
            if related:
                edges.setdefault(related, set()).add(element)
        elif kind not in _PLAIN_RELATIONS:
            unread[f"relationships[] {kind}"] += 1
    return {purl: msgspec.structs.replace(
        package, requires=tuple(sorted(edges.get(purl, ()))), scope=scopes.get(purl, ""),
        owner=package.owner or owners.get(purl, "")) for purl, package in packages.items()}


def _document(document: dict[str, Any], subject: dict[str, Any], unread: Counter[str]) -> Document:
    info = document.get("creationInfo")
    info = info if isinstance(info, dict) else {}
    made = [match for creator in list_of(info, "creators") if (match := _CREATOR.match(str(creator)))]
    return Document(
        format=str(document["spdxVersion"]), identifier=str(document.get("documentNamespace", "")),
        created=str(info.get("created", "")), tools=tuple(
            " ".join(match[2].rpartition("-")[::2]).strip() for match in made if match[1] == "Tool"),
        authors=tuple(match[0] for match in made if match[1] != "Tool"), version=str(subject.get("versionInfo", "")),
        about=_ABOUT.get(str(subject.get("primaryPackagePurpose")), ""), digest=next((
            f"{str(entry.get('algorithm')).lower().replace('-', '')}:{entry.get('checksumValue')}"
            for entry in list_of(subject, "checksums") if isinstance(entry, dict)), ""),
        supplier=_agent(subject.get("supplier")), unread=tuple(sorted(unread.items())))


def _read_package(entry: dict[str, Any], distribution: Distribution | None, extracted: dict[str, str],
                  unread: Counter[str]) -> Package | None:
    refs = [ref for ref in list_of(entry, "externalRefs")
            if isinstance(ref, dict) and ref.get("referenceType") == "purl"]
    if not refs:
        return None
    if entry.get("primaryPackagePurpose") == "CONTAINER":
        return None
    info = "; ".join(filter(None, (str(entry.get("sourceInfo", "")), str(entry.get("comment", "")))))
    source, owner, bundle = _SOURCE.search(info), _OWNER.search(info), _BUNDLED.search(info)
    package = from_purl(refs[0].get("referenceLocator"), distribution, version=str(entry.get("versionInfo", "")),
                        source=source[1] if source else "", source_version=(source[2] or "") if source else "",
                        locations=tuple(Location(path, layer or "") for path, layer in _PLACE.findall(info)))
    for ref in list_of(entry, "externalRefs"):
        if isinstance(ref, dict) and ref.get("referenceType") not in ("purl", "cpe23Type"):
            unread[f"packages[].externalRefs {ref.get('referenceType')}"] += 1
    return _detailed(msgspec.structs.replace(
        package, owner=owner[1] if owner else "", bundled_in=bundle[1] if bundle else ""), entry, extracted)


def _without(entry: dict[str, Any], extracted: dict[str, str]) -> Package:
    return _detailed(Package(type="", name=str(entry.get("name", "")), version=str(entry.get("versionInfo", "")),
                             purl=""), entry, extracted)


def _detailed(package: Package, entry: dict[str, Any], extracted: dict[str, str]) -> Package:
    """What is said of a package beside its package URL."""
    license_ = entry.get("licenseDeclared")
    licenses: tuple[str, ...] = ()
    if isinstance(license_, str) and license_ not in ("", "NONE", NOTHING):
        licenses = (_named(license_, extracted),)
    hashes = tuple((str(entry.get("algorithm")).lower().replace("-", ""), str(entry.get("checksumValue")))
                   for entry in list_of(entry, "checksums") if isinstance(entry, dict))
    cpes = tuple(str(ref.get("referenceLocator")) for ref in list_of(entry, "externalRefs")
                 if isinstance(ref, dict) and ref.get("referenceType") == "cpe23Type")
    text = {key: value for key in ("homepage", "description", "copyrightText", "downloadLocation")
            if isinstance(value := entry.get(key), str) and value not in ("", "NONE", NOTHING)}
    return msgspec.structs.replace(
        package, supplier=_agent(entry.get("supplier")), author=_agent(entry.get("originator")), hashes=hashes,
        cpes=cpes, licenses=licenses, homepage=text.get("homepage", ""), description=text.get("description", ""),
        copyright=text.get("copyrightText", ""), download=text.get("downloadLocation", ""))


def _named(license_: str, extracted: dict[str, str]) -> str:
    """A single LicenseRef by the name that the document has for it; a longer expression stands as it is."""
    return extracted.get(license_, license_)


def _said(value: object) -> str:
    return value if isinstance(value, str) and value not in ("NONE", NOTHING) else ""


def _agent(text: object) -> str:
    """`Name <mail>` of `Person: Name (mail)`."""
    kind, colon, name = text.partition(": ") if isinstance(text, str) else ("", "", "")
    if not colon or kind not in ("Person", "Organization"):
        return ""
    return re.sub(r" \(([^()\s]+@[^()\s]+)\)\Z", r" <\1>", name)
