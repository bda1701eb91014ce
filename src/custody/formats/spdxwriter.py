"""SPDX 2.3 (spdx.github.io/spdx-spec/v2.3) written from a catalog: plain data that JSON and tag-value are made of."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from custody.ecosystems import of_type, spoken
from custody.formats import upstream
from custody.formats.bom import Catalog, Document, Package
from custody.formats.licenselist import VERSION
from custody.formats.licenses import combined
from custody.kit.clock import format_rfc3339
from custody.kit.visible import visible

NOTHING = "NOASSERTION"
NOT_CATALOGUED = "not catalogued: "
OWNERSHIP = "ownership-by-file-overlap: the distribution's package installed the files that show the other package"
"""How syft begins this comment, by which grype leaves the owned package to the distribution's advisories."""
SCOPES = {"dev": "DEV_DEPENDENCY_OF", "test": "TEST_DEPENDENCY_OF", "build": "BUILD_DEPENDENCY_OF",
          "optional": "OPTIONAL_DEPENDENCY_OF"}
LOSES = frozenset(("evidence", "within", "declared", "phase", "repository", "form", "file"))
_SUBJECT, _SYSTEM = "SPDXRef-Image", "SPDXRef-OperatingSystem"
_PURPOSES = {"container": "CONTAINER", "directory": "SOURCE", "file": "FILE", "rootfs": "ARCHIVE"}
_PLAIN = re.compile(r"[^\s;]+\Z")
_HIDDEN = re.compile(r"[;\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DOWNLOAD = re.compile(r"(?:(?:git|hg|svn|bzr)\+)?(?:https?|git|ssh|ftp|sftp|svn|file)(?:\+[a-z]+)?://[^\s]+\Z|"
                       r"(?:git|hg|svn|bzr)\+[a-z+]+:[^\s]+\Z")
_CPE = re.compile(r"cpe:2\.3:[aho*-](?::[^\s:\\]*(?:\\.[^\s:\\]*)*){10}\Z")


def _relation(element: str, kind: str, related: str) -> dict[str, str]:
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related}


def write(catalog: Catalog, now: datetime, tool_version: str) -> dict[str, Any]:
    """The document as plain data; the same catalog and time give the same document, namespace included."""
    said = catalog.document or Document()
    extracted: dict[str, str] = {}
    algorithm, _, value = (said.digest if catalog.kind == "sbom" else catalog.digest).partition(":")
    subject: dict[str, Any] = {
        "SPDXID": _SUBJECT, "name": catalog.name, "versionInfo": said.version or catalog.digest,
        "downloadLocation": catalog.origin if _DOWNLOAD.match(catalog.origin) else NOTHING, "filesAnalyzed": False,
        "primaryPackagePurpose": _PURPOSES.get(said.about or catalog.kind, "CONTAINER"),
        "supplier": agent(said.supplier, organization=True), "licenseConcluded": NOTHING, "licenseDeclared": NOTHING,
        "copyrightText": NOTHING}
    if value:
        subject["checksums"] = [{"algorithm": algorithm.upper(), "checksumValue": value}]
    packages = [subject]
    relations = [_relation("SPDXRef-DOCUMENT", "DESCRIBES", _SUBJECT)]
    if system := catalog.distribution:
        packages.append({
            "SPDXID": _SYSTEM, "name": spoken(system.id), "versionInfo": system.version, "summary": system.name,
            "downloadLocation": NOTHING, "filesAnalyzed": False, "primaryPackagePurpose": "OPERATING_SYSTEM",
            "licenseConcluded": NOTHING, "licenseDeclared": NOTHING, "copyrightText": NOTHING})
        relations.append(_relation(_SUBJECT, "CONTAINS", _SYSTEM))
    in_order = sorted(catalog.packages, key=lambda package: package.purl)
    refs = {package.purl: "SPDXRef-Package-" + sha256(package.purl.encode()).hexdigest()[:24] for package in in_order}
    licenses: dict[tuple[str, ...], str] = {}
    owned = []
    for package in in_order:
        ref = refs[package.purl]
        packages.append(_package(package, ref, licenses, extracted))
        relations.append(_relation(_SUBJECT, "CONTAINS", ref))
        relations += [_relation(ref, "DEPENDS_ON", refs[needed]) for needed in sorted(package.requires)
                      if needed in refs]
        if package.scope in SCOPES:
            relations.append(_relation(ref, SCOPES[package.scope], _SUBJECT))
        if package.owner in refs:
            owned.append({**_relation(refs[package.owner], "OTHER", ref), "comment": OWNERSHIP})
    for number, package in enumerate(catalog.unidentified, 1):
        ref = f"SPDXRef-Unidentified-{number}"
        packages.append(_package(package, ref, licenses, extracted))
        relations.append(_relation(_SUBJECT, "CONTAINS", ref))
    document: dict[str, Any] = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": catalog.name,
        "documentNamespace": "",
        "creationInfo": {"created": said.created or format_rfc3339(now.replace(microsecond=0)),
                         "creators": creators(said, tool_version), "licenseListVersion": VERSION},
        "comment": "; ".join(f"{NOT_CATALOGUED}{apart(str(unknown))}" for unknown in catalog.unknowns),
        "packages": packages,
        "relationships": [*relations, *owned]}
    if not document["comment"]:
        del document["comment"]
    if extracted:
        document["hasExtractedLicensingInfos"] = [
            {"licenseId": key, "name": text, "extractedText": text} for key, text in sorted(extracted.items())]
    document["documentNamespace"] = namespace(catalog, document)
    return document


def namespace(catalog: Catalog, document: dict[str, Any]) -> str:
    """An address that no other document has, and the same document has again if it is written again."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", catalog.name).strip("-") or "image"
    unique = uuid.UUID(hex=sha256(msgspec.json.encode(document)).hexdigest()[:32], version=5)
    return f"https://spdx.org/spdxdocs/custody/{name}-{unique}"


def creators(said: Document, tool_version: str) -> list[str]:
    """Tools and authors as SPDX 2 names them: `Tool: custody-0.1.0`, `Person: Ann (ann@example.org)`."""
    tools = [f"Tool: custody-{tool_version}"]
    tools += [f"Tool: {'-'.join(tool.split())}" for tool in said.tools if not tool.startswith("custody ")]
    return [*tools, *(agent(author) for author in said.authors)]


def agent(name: str, *, organization: bool = False) -> str:
    """`Organization: Name (mail)` of `Name <mail>`, or of what is in SPDX's words already."""
    name = " ".join(name.split())
    if not name or name == NOTHING:
        return NOTHING
    if name.startswith(("Organization: ", "Person: ")):
        return name
    name, angle, mail = name.partition("<")
    mail = mail.strip("<> ")
    kind = "Organization" if organization else "Person"
    return f"{kind}: {name.strip() or mail}" + (f" ({mail})" if angle and name.strip() else "")


def _package(package: Package, ref: str, licenses: dict[tuple[str, ...], str],
             extracted: dict[str, str]) -> dict[str, Any]:
    if package.licenses not in licenses:
        text, words = combined(package.licenses)
        extracted.update(words)
        licenses[package.licenses] = text or NOTHING
    system = of_type(package.type).system
    result: dict[str, Any] = {
        "SPDXID": ref, "name": package.name,
        "downloadLocation": package.download if _DOWNLOAD.match(package.download) else NOTHING,
        "filesAnalyzed": False, "primaryPackagePurpose": "LIBRARY", "copyrightText": package.copyright or NOTHING,
        "licenseConcluded": NOTHING, "licenseDeclared": licenses[package.licenses],
        "supplier": agent(package.supplier, organization=system)}
    if package.author:
        result["originator"] = agent(package.author)
    if package.version:
        result["versionInfo"] = package.version
    if package.purl:
        # Trivy takes a document with two kinds of distribution packages for broken; it does not look at OTHER.
        result["externalRefs"] = [{
            "referenceCategory": "OTHER" if package.copied else "PACKAGE-MANAGER", "referenceType": "purl",
            "referenceLocator": upstream.purl(package) if system else package.purl}]
    if package.cpes:
        result.setdefault("externalRefs", []).extend(
            {"referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": cpe}
            for cpe in package.cpes if _CPE.match(cpe))
    # Trivy takes all that stands behind the name for the version.
    if system and upstream.differs(package) and _PLAIN.match(package.source) and (
            _PLAIN.match(package.source_version or "-")):
        result["sourceInfo"] = f"built package from: {package.source} {package.source_version}".strip()
    if comment := _comment(package):
        result["comment"] = comment
    if package.hashes:
        result["checksums"] = [{"algorithm": kind.upper(), "checksumValue": value} for kind, value in package.hashes]
    if package.homepage:
        result["homepage"] = package.homepage
    if package.description:
        result["description"] = package.description
    return result


def _comment(package: Package) -> str:
    info = []
    if package.owner:
        info.append(f"installed by {package.owner}")
    if package.bundled_in:
        info.append(f"bundled in {package.bundled_in}")
    info += [f"found in {apart(place.path)}" + (f" of layer {apart(place.layer)}" if place.layer else "")
             for place in package.locations[:10]]
    return "; ".join(info)


def apart(text: str) -> str:
    """A path that says "; installed by …" must not be read as if custody had said so."""
    return visible(text).replace(";", "\\x3b") if _HIDDEN.search(text) else text
