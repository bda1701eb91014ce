"""SPDX 3.0.1 JSON-LD, read (spdx.github.io/spdx-spec/v3.0.1, "Serialization").

Read is what the specification's own serialisation looks like, one `@graph` of elements; JSON-LD of other shapes is not
expanded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
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
from custody.formats.spdx3writer import FORMS, PHASES, PURPOSES, PURPOSES_OF_FILES, SCOPES
from custody.formats.spdxwriter import NOT_CATALOGUED
from custody.kit import digest as digests
from custody.kit import strictjson
from custody.kit.members import objects_of, text_of

MARK = b"spdx.org/rdf/3."
_MAX_ELEMENTS = 2_000_000
_PLACE = re.compile(r"found in ([^;]+?)(?: of layer ([^\s;]+))?(?: within ([^;]+?))?(?: by ([^;]+?))?(?=; |\Z)")
_OWNER = re.compile(r"(?:\A|; )bundled in (pkg:[^\s;]+)")
_SOURCE = re.compile(r"built package from: (\S+)(?: (\S+))?\Z")
_FORM = re.compile(r"(?:\A|; )(is many files|is a part of a file)(?=; |\Z)")
_KNOWN = frozenset((
    "SpdxDocument", "software_Sbom", "software_File", "software_Package", "Relationship", "LifecycleScopedRelationship",
    "CreationInfo", "Person", "Organization", "Tool", "SoftwareAgent", "Agent", "simplelicensing_LicenseExpression",
    "simplelicensing_SimpleLicensingText"))
_PACKAGE = frozenset(("type", "spdxId", "creationInfo", "name", "software_packageVersion", "software_packageUrl",
                      "software_primaryPurpose", "software_downloadLocation", "software_homePage", "suppliedBy",
                      "software_copyrightText", "originatedBy", "description", "comment", "software_sourceInfo",
                      "summary", "verifiedUsing", "externalIdentifier", "externalRef"))


def read(data: bytes, where: str = "SBOM") -> Catalog:
    """The packages of a document. Raises MalformedError, UnsupportedError."""
    document = strictjson.loads(data, where)
    return read_document(document, digests.sha256(data), where)


def read_document(document: Any, digest: str, where: str = "SBOM") -> Catalog:
    """As `read`, of the plain data."""
    graph = document.get("@graph") if isinstance(document, dict) else None
    if not isinstance(graph, list) or len(graph) > _MAX_ELEMENTS:
        raise MalformedError(where, got="something else", expected='an SPDX 3 document, with "@graph"')
    elements = {str(element.get("spdxId")): element for element in graph
                if isinstance(element, dict) and element.get("spdxId")}
    infos = [element for element in graph if isinstance(element, dict) and element.get("type") == "CreationInfo"]
    info = infos[0] if infos else {}
    if not str(info.get("specVersion", "")).startswith("3.0"):
        raise UnsupportedError(f"{where}: specVersion", f"{info.get('specVersion')!r} is not 3.0")
    unread = Counter(f"elements of type {text_of(element, 'type')}" for element in elements.values()
                     if text_of(element, "type") not in _KNOWN)
    entries = [element for element in elements.values() if element.get("type") == "software_Package"]
    system = next((entry for entry in entries if entry.get("software_primaryPurpose") == "operatingSystem"), None)
    distribution = None
    if system is not None:
        distribution = Distribution(
            id=heard(text_of(system, "name")), version=text_of(system, "software_packageVersion"),
            name=text_of(system, "summary") or text_of(system, "name"))
    roots = {root for element in elements.values() if element.get("type") == "software_Sbom"
             for root in _names(element.get("rootElement"))}
    licenses = _licenses(elements)
    subject: dict[str, Any] = {}
    packages: dict[str, Package] = {}
    ids: dict[str, str] = {}
    unidentified = []
    for entry in entries:
        unread.update(f"software_Package.{key}" for key in entry.keys() - _PACKAGE)
        identifier = text_of(entry, "spdxId")
        if identifier in roots or entry.get("software_primaryPurpose") == "container":
            subject = subject or entry
            continue
        try:
            package = _read_package(entry, distribution, elements) if entry.get("software_packageUrl") else None
        except CustodyError:
            package = None
        if package is not None:
            packages.setdefault(package.purl, package)
            ids[identifier] = package.purl
        elif entry is not system:
            unidentified.append(_detailed(Package(type="", name=text_of(entry, "name"), purl="",
                                                  version=text_of(entry, "software_packageVersion")), entry, elements))
    packages = _related(elements, packages, ids, licenses, text_of(subject, "spdxId"), unread)
    described: dict[str, Any] = next(
        (element for element in elements.values() if element.get("type") == "SpdxDocument"), {})
    unknowns = [parse_unknown(part.removeprefix(NOT_CATALOGUED))
                for part in text_of(described, "comment").split("; ") if part.startswith(NOT_CATALOGUED)]
    if unidentified:
        unknowns = [unknown for unknown in unknowns if unknown.kind != _WITHOUT]
        unknowns.append(Unknown(kind=_WITHOUT, count=len(unidentified),
                                examples=tuple(package.name for package in unidentified[:3])))
    authors = [elements[ref] for ref in _names(info.get("createdBy")) if ref in elements]
    return Catalog(
        name=text_of(subject, "name") or text_of(described, "name") or where, digest=digest, kind="sbom",
        distribution=distribution, packages=tuple(packages.values()), unknowns=tuple(unknowns),
        origin=text_of(subject, "software_downloadLocation"),
        unidentified=tuple(unidentified), document=Document(
            format=f"SPDX-{text_of(info, 'specVersion')}", identifier=text_of(described, "spdxId"),
            created=text_of(info, "created"), version=text_of(subject, "software_packageVersion"),
            supplier=_who(subject.get("suppliedBy"), elements),
            authors=tuple(f"{text_of(element, 'type')}: {_who(text_of(element, 'spdxId'), elements)}"
                          for element in authors if element.get("type") in ("Person", "Organization")),
            about=next((kind for kind, purpose in PURPOSES.items()
                        if purpose == subject.get("software_primaryPurpose")), ""),
            digest=next((f"{text_of(entry, 'algorithm')}:{text_of(entry, 'hashValue')}"
                         for entry in objects_of(subject, "verifiedUsing")), ""),
            phase=_phase(elements), complete=", ".join(dict.fromkeys(
                text_of(element, "completeness") for element in elements.values() if element.get("completeness"))),
            tools=tuple(" ".join(text_of(elements[ref], "name").rpartition("-")[::2]).strip()
                        for ref in _names(info.get("createdUsing")) if ref in elements),
            unread=tuple(sorted(unread.items()))))


def _phase(elements: dict[str, dict[str, Any]]) -> str:
    """CycloneDX's word for the kind of the SBOM."""
    kinds = [kind for element in elements.values() if element.get("type") == "software_Sbom"
             for kind in _names(element.get("software_sbomType"))]
    return next((PHASES[kind] for kind in kinds if kind in PHASES), "")


_WITHOUT = "package without a package URL"


def _related(elements: dict[str, dict[str, Any]], packages: dict[str, Package], ids: dict[str, str],
             licenses: dict[str, str], subject: str, unread: Counter[str]) -> dict[str, Package]:
    edges: dict[str, set[str]] = {}
    owners: dict[str, str] = {}
    scopes: dict[str, str] = {}
    declared: dict[str, list[str]] = {}
    files: dict[str, dict[str, Any]] = {}
    words = {word: scope for scope, word in SCOPES.items()}
    for relation in elements.values():
        if relation.get("type") not in ("Relationship", "LifecycleScopedRelationship"):
            continue
        kind, origin = text_of(relation, "relationshipType"), text_of(relation, "from")
        targets = _names(relation.get("to"))
        known = [ids[target] for target in targets if target in ids]
        if kind == "hasDeclaredLicense":
            declared.setdefault(ids.get(origin, ""), []).extend(
                licenses[target] for target in targets if target in licenses)
        elif kind in ("dependsOn", "hasOptionalDependency"):
            scope = "optional" if kind == "hasOptionalDependency" else words.get(text_of(relation, "scope"), "")
            if origin == subject:
                scopes.update(dict.fromkeys(known, scope) if scope else {})
            elif origin in ids:
                edges.setdefault(ids[origin], set()).update(known)
        elif kind == "hasDistributionArtifact" and origin in ids:
            files.update((ids[origin], elements[target]) for target in targets if target in elements)
        elif kind == "other" and origin in ids and text_of(relation, "comment").startswith("ownership-by-file-overlap"):
            owners.update(dict.fromkeys(known, ids[origin]))
        elif kind not in ("contains", "describes"):
            unread[f"relationships {kind}"] += 1
    return {purl: msgspec.structs.replace(
        package, requires=tuple(sorted(edges.get(purl, ()))), owner=owners.get(purl, ""), scope=scopes.get(purl, ""),
        licenses=tuple(declared.get(purl, ())), **_filed(package, files.get(purl)))
        for purl, package in packages.items()}


def _filed(package: Package, file: dict[str, Any] | None) -> dict[str, Any]:
    """The file that a package is, as it is stated."""
    if file is None:
        return {}
    purposes = file.get("software_additionalPurpose")
    hashes = [(text_of(entry, "algorithm"), text_of(entry, "hashValue")) for entry in objects_of(file, "verifiedUsing")]
    return {"file": text_of(file, "name"),
            "hashes": tuple(dict.fromkeys((*package.hashes, *(pair for pair in hashes if all(pair))))),
            "form": next((form for form, stated in PURPOSES_OF_FILES.items() if stated == purposes), package.form)}


def _licenses(elements: dict[str, dict[str, Any]]) -> dict[str, str]:
    """By identifier what each licence is called: an expression, or the words that stand for one that is on no list."""
    result = {}
    for identifier, element in elements.items():
        if element.get("type") == "simplelicensing_LicenseExpression":
            text = text_of(element, "simplelicensing_licenseExpression")
            entries = element.get("simplelicensing_customIdToUri")
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict) and entry.get("key") == text:
                    text = text_of(elements.get(str(entry.get("value")), {}), "name") or text
            result[identifier] = text
        elif str(element.get("type")).startswith("expandedlicensing_") and text_of(element, "name"):
            result[identifier] = text_of(element, "name")
    return {identifier: text for identifier, text in result.items() if text and text != "NOASSERTION"}


def _read_package(entry: dict[str, Any], distribution: Distribution | None,
                  elements: dict[str, dict[str, Any]]) -> Package:
    comment = text_of(entry, "comment")
    source, bundle = _SOURCE.match(text_of(entry, "software_sourceInfo")), _OWNER.search(comment)
    package = from_purl(
        entry.get("software_packageUrl"), distribution, version=text_of(entry, "software_packageVersion"),
        source=source[1] if source else "", source_version=(source[2] or "") if source else "",
        locations=tuple(Location(*place) for place in _PLACE.findall(comment)))
    stated = _FORM.search(comment)
    return _detailed(msgspec.structs.replace(
        package, bundled_in=bundle[1] if bundle else "",
        form=next((form for form, words in FORMS.items() if stated and words == stated[1]), "")), entry, elements)


def _detailed(package: Package, entry: dict[str, Any], elements: dict[str, dict[str, Any]]) -> Package:
    hashes = [(text_of(stated, "algorithm"), text_of(stated, "hashValue"))
              for stated in objects_of(entry, "verifiedUsing")]
    cpes = [text_of(identifier, "identifier") for identifier in objects_of(entry, "externalIdentifier")
            if identifier.get("externalIdentifierType") == "cpe23"]
    text = {key: "" if text_of(entry, key) == "NOASSERTION" else text_of(entry, key) for key in (
        "software_downloadLocation", "software_homePage", "software_copyrightText", "description")}
    authors = [_who(ref, elements) for ref in _names(entry.get("originatedBy"))]
    return msgspec.structs.replace(
        package, supplier=_who(entry.get("suppliedBy"), elements), author=", ".join(filter(None, authors)),
        hashes=tuple(pair for pair in hashes if all(pair)), cpes=tuple(filter(None, cpes)),
        download=text["software_downloadLocation"], homepage=text["software_homePage"],
        copyright=text["software_copyrightText"], description=text["description"],
        repository=next((locator for ref in objects_of(entry, "externalRef") for locator in _names(ref.get("locator"))
                         if ref.get("externalRefType") in ("sourceArtifact", "vcs")), ""))


def _who(ref: object, elements: dict[str, dict[str, Any]]) -> str:
    element = elements.get(ref, {}) if isinstance(ref, str) else {}
    mail = next((text_of(identifier, "identifier") for identifier in objects_of(element, "externalIdentifier")
                 if identifier.get("externalIdentifierType") == "email"), "")
    name = text_of(element, "name")
    return f"{name} <{mail}>" if name and mail and name != mail else name or mail


def _names(value: object) -> Iterable[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
