"""SPDX 2.3 JSON (spdx.github.io/spdx-spec/v2.3): written from a catalog, and read from any tool's 2.2 and 2.3."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Any

import msgspec

from custody.ecosystems import of_type
from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats.bom import Catalog, Distribution, Package, Unknown, from_purl, parse_unknown
from custody.formats.licenses import is_expression
from custody.kit import strictjson
from custody.kit.canonical import canonical
from custody.kit.clock import format_rfc3339
from custody.kit.digest import sha256
from custody.kit.visible import visible

_MAX_PACKAGES = 500_000
_PLAIN = re.compile(r"[^\s;]+\Z")
_SOURCE = re.compile(r"(?:\A|; )built package from: (\S+)(?: ([^\s;]+))?")
_OWNER = re.compile(r"(?:\A|; )installed by (pkg:[^\s;]+)")
_BUNDLED = re.compile(r"(?:\A|; )bundled in (pkg:[^\s;]+)")
_NOTHING = "NOASSERTION"
_NOT_CATALOGUED = "not catalogued: "


def write(catalog: Catalog, now: datetime, tool_version: str) -> dict[str, Any]:
    """The document as plain data; the same catalog and time give the same document, namespace included."""
    subject = "SPDXRef-Image"
    texts: dict[str, str] = {}
    packages: list[dict[str, Any]] = [{
        "SPDXID": subject, "name": catalog.name, "versionInfo": catalog.digest, "downloadLocation": _NOTHING,
        "filesAnalyzed": False, "primaryPackagePurpose": "CONTAINER", "supplier": _NOTHING,
        "licenseConcluded": _NOTHING, "licenseDeclared": _NOTHING, "copyrightText": _NOTHING,
        "checksums": [{"algorithm": "SHA256", "checksumValue": catalog.digest.partition(":")[2]}]}]
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", subject)]
    if catalog.distribution:
        packages.append({
            "SPDXID": "SPDXRef-OperatingSystem", "name": catalog.distribution.id,
            "versionInfo": catalog.distribution.version, "summary": catalog.distribution.name,
            "downloadLocation": _NOTHING, "filesAnalyzed": False, "primaryPackagePurpose": "OPERATING-SYSTEM",
            "licenseConcluded": _NOTHING, "licenseDeclared": _NOTHING, "copyrightText": _NOTHING})
        relations.append((subject, "CONTAINS", "SPDXRef-OperatingSystem"))
    known = {package.purl for package in catalog.packages}
    for package in sorted(catalog.packages, key=lambda package: package.purl):
        packages.append(_package(package, texts))
        relations.append((subject, "CONTAINS", _ref(package.purl)))
        relations += [(_ref(package.purl), "DEPENDS_ON", _ref(needed))
                      for needed in sorted(set(package.requires) & known)]
    document: dict[str, Any] = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": catalog.name,
        "documentNamespace": "", "creationInfo": {"created": format_rfc3339(now.replace(microsecond=0)),
                                                  "creators": [f"Tool: custody-{tool_version}"]},
        "comment": "; ".join(f"{_NOT_CATALOGUED}{unknown}" for unknown in catalog.unknowns),
        "packages": packages,
        "relationships": [{"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related}
                          for element, kind, related in relations]}
    if not document["comment"]:
        del document["comment"]
    if texts:
        document["hasExtractedLicensingInfos"] = [
            {"licenseId": key, "name": text, "extractedText": text} for key, text in sorted(texts.items())]
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", catalog.name).strip("-") or "image"
    unique = uuid.UUID(hex=sha256(canonical(document))[7:39], version=5)
    document["documentNamespace"] = f"https://spdx.org/spdxdocs/custody/{name}-{unique}"
    return document


def _ref(purl: str) -> str:
    return "SPDXRef-Package-" + sha256(purl.encode())[7:31]


def _package(package: Package, texts: dict[str, str]) -> dict[str, Any]:
    stated = []
    for text in package.licenses:
        if not is_expression(text):
            key = "LicenseRef-" + sha256(text.encode())[7:19]
            texts[key] = text
            stated.append(key)
        else:
            stated.append(f"({text})" if len(package.licenses) > 1 and " " in text else text)
    info = []
    if _PLAIN.match(package.source) and _PLAIN.match(package.source_version or "-") and (
            package.source, package.source_version) != (package.name, package.version):
        info.append(f"built package from: {package.source} {package.source_version}".strip())
    if package.owner:
        info.append(f"installed by {package.owner}")
    if package.bundled_in:
        info.append(f"bundled in {package.bundled_in}")
    # A path that says "; installed by …" must not be read as if custody had said so.
    info += [f"found in {visible(place.path).replace(';', chr(92) + 'x3b')}"
             + (f" of layer {place.layer}" if place.layer else "")
             for place in package.locations[:10]]
    result: dict[str, Any] = {
        "SPDXID": _ref(package.purl), "name": package.name, "downloadLocation": _NOTHING, "filesAnalyzed": False,
        "primaryPackagePurpose": "LIBRARY", "copyrightText": _NOTHING, "licenseConcluded": _NOTHING,
        "licenseDeclared": " AND ".join(stated) or _NOTHING,
        "supplier": _supplier(package),
        # Trivy takes a document with two kinds of distribution packages for broken; it does not look at OTHER.
        "externalRefs": [{"referenceCategory": "OTHER" if package.copied else "PACKAGE-MANAGER",
                          "referenceType": "purl", "referenceLocator": package.purl}]}
    if package.version:
        result["versionInfo"] = package.version
    if info:
        result["sourceInfo"] = "; ".join(info)
    if package.hashes:
        result["checksums"] = [{"algorithm": kind.upper(), "checksumValue": value} for kind, value in package.hashes]
    return result


def _supplier(package: Package) -> str:
    if not package.supplier:
        return _NOTHING
    name, angle, email = package.supplier.partition("<")
    kind = "Organization" if of_type(package.type).system else "Person"
    email = email.strip("<> ")
    return f"{kind}: {name.strip() or email}" + (f" ({email})" if angle and name.strip() else "")


def read(data: bytes, where: str = "SBOM") -> Catalog:
    """The packages that have a package URL; those without one, and what custody said that it did not catalogue, are
    counted. Raises MalformedError, UnsupportedError.
    """
    document = strictjson.loads(data, where)
    if not isinstance(document, dict) or not isinstance(document.get("spdxVersion"), str):
        raise MalformedError(where, got="something else", expected='an SPDX document, with "spdxVersion"')
    if document["spdxVersion"] not in ("SPDX-2.2", "SPDX-2.3"):
        raise UnsupportedError(f"{where}: spdxVersion", f"{document['spdxVersion']!r} is neither SPDX-2.2 nor SPDX-2.3")
    entries = document.get("packages") or []
    if not isinstance(entries, list) or len(entries) > _MAX_PACKAGES or not all(isinstance(e, dict) for e in entries):
        raise MalformedError(f"{where}: packages", got=entries, expected=f"a list of at most {_MAX_PACKAGES} packages")
    system = next((e for e in entries if e.get("primaryPackagePurpose") == "OPERATING-SYSTEM"), None)
    distribution = system and Distribution(id=str(system.get("name", "")), version=str(system.get("versionInfo", "")),
                                           name=str(system.get("summary") or system.get("name", "")))
    packages: dict[str, Package] = {}
    ids: dict[str, str] = {}
    without = []
    for entry in entries:
        try:
            package = _read_package(entry, distribution)
        except CustodyError:
            package = None
        if package is not None:
            packages.setdefault(package.purl, package)
            ids[str(entry.get("SPDXID"))] = package.purl
        elif entry.get("primaryPackagePurpose") not in ("OPERATING-SYSTEM", "CONTAINER"):
            without.append(str(entry.get("name", "")))
    edges: dict[str, set[str]] = {}
    for relation in _list(document, "relationships"):
        if isinstance(relation, dict):
            element, related = (ids.get(str(relation.get(key))) for key in ("spdxElementId", "relatedSpdxElement"))
            if element and related and relation.get("relationshipType") == "DEPENDS_ON":
                edges.setdefault(element, set()).add(related)
            elif element and related and relation.get("relationshipType") == "DEPENDENCY_OF":
                edges.setdefault(related, set()).add(element)
    unknowns = [unknown for part in str(document.get("comment", "")).split("; ") if part.startswith(_NOT_CATALOGUED)
                and (unknown := parse_unknown(part.removeprefix(_NOT_CATALOGUED)))]
    if without:
        unknowns.append(Unknown(kind="package without a package URL", count=len(without), examples=tuple(without[:3])))
    return Catalog(
        name=str(document.get("name") or where), digest=sha256(data), kind="sbom", distribution=distribution,
        packages=tuple(msgspec.structs.replace(package, requires=tuple(sorted(edges.get(package.purl, ()))))
                       for package in packages.values()),
        unknowns=tuple(unknowns))


def _read_package(entry: dict[str, Any], distribution: Distribution | None) -> Package | None:
    refs = [ref for ref in _list(entry, "externalRefs")
            if isinstance(ref, dict) and ref.get("referenceType") == "purl"]
    if not refs:
        return None
    if entry.get("primaryPackagePurpose") == "CONTAINER":
        return None
    info = str(entry.get("sourceInfo", ""))
    source, owner, bundle = _SOURCE.search(info), _OWNER.search(info), _BUNDLED.search(info)
    package = from_purl(refs[0].get("referenceLocator"), distribution, version=str(entry.get("versionInfo", "")),
                        source=source[1] if source else "", source_version=(source[2] or "") if source else "")
    license_ = entry.get("licenseDeclared")
    return msgspec.structs.replace(
        package, supplier=str(entry.get("supplier", "")).partition(": ")[2], owner=owner[1] if owner else "",
        bundled_in=bundle[1] if bundle else "",
        licenses=(license_,) if isinstance(license_, str) and license_ not in ("", "NONE", _NOTHING) else ())


def _list(entry: dict[str, Any], key: str) -> list[Any]:
    value = entry.get(key)
    return value if isinstance(value, list) else []
