"""SPDX tag-value (SPDX specification 2.3, "Tag-value format"): the documents of SPDX JSON, a line for each field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.errors import MalformedError
from custody.formats import spdx
from custody.formats.bom import Catalog
from custody.kit.digest import sha256
from custody.kit.visible import visible

MARK = re.compile(rb"^[ \t]*SPDXVersion:", re.MULTILINE)
_LINE = re.compile(r"([A-Za-z]+):[ \t]*(.*)\Z", re.DOTALL)
_DOCUMENT = (("SPDXVersion", "spdxVersion"), ("DataLicense", "dataLicense"), ("SPDXID", "SPDXID"),
             ("DocumentName", "name"), ("DocumentNamespace", "documentNamespace"))
_PACKAGE = (("PackageName", "name"), ("SPDXID", "SPDXID"), ("PackageVersion", "versionInfo"),
            ("PackageSupplier", "supplier"), ("PackageOriginator", "originator"),
            ("PackageDownloadLocation", "downloadLocation"), ("PrimaryPackagePurpose", "primaryPackagePurpose"),
            ("PackageHomePage", "homepage"), ("PackageLicenseConcluded", "licenseConcluded"),
            ("PackageLicenseDeclared", "licenseDeclared"))
_TEXTS = (("PackageSourceInfo", "sourceInfo"), ("PackageCopyrightText", "copyrightText"),
          ("PackageSummary", "summary"), ("PackageDescription", "description"), ("PackageComment", "comment"))
_IN_PACKAGE = {**dict(_PACKAGE), **dict(_TEXTS)}
_AT_TOP = {**dict(_DOCUMENT), "DocumentComment": "comment"}
_OF_LICENSES = {"LicenseID": "licenseId", "LicenseName": "name", "ExtractedText": "extractedText"}
_OTHER_PARTS = {"FileName": "files", "SnippetSPDXID": "snippets", "Annotator": "annotations", "Reviewer": "revieweds",
                "ExternalDocumentRef": "externalDocumentRefs"}
"""What begins a part that is only counted."""
_OTHER_TAGS = ("File", "Snippet", "Annotation", "Review", "LicenseInfoInFile", "LicenseComments",
               "LicenseCrossReference",
               "LicenseConcluded", "LicenseComment", "CreatorComment", "PackageVerificationCode", "Package",
               "ExternalRef", "BuiltDate", "ReleaseDate", "ValidUntilDate", "SPDXREF")


def write(document: dict[str, Any]) -> bytes:
    """The lines of a document that `spdxwriter.write` made."""
    return "".join(f"{line}\n" for line in _lines(document)).encode(errors="backslashreplace")


def _lines(document: dict[str, Any]) -> Iterator[str]:
    for tag, key in _DOCUMENT:
        yield f"{tag}: {_plain(document[key])}"
    if "comment" in document:
        yield f"DocumentComment: {_text(document['comment'])}"
    info = document["creationInfo"]
    yield f"LicenseListVersion: {info['licenseListVersion']}"
    for creator in info["creators"]:
        yield f"Creator: {_plain(creator)}"
    yield f"Created: {info['created']}"
    for package in document["packages"]:
        yield ""
        for tag, key in _PACKAGE:
            if key in package:
                value = _plain(package[key])
                yield f"{tag}: {value.replace('_', '-') if key == 'primaryPackagePurpose' else value}"
            if tag == "PrimaryPackagePurpose":
                yield "FilesAnalyzed: false"
                for checksum in package.get("checksums", ()):
                    yield f"PackageChecksum: {checksum['algorithm']}: {_plain(checksum['checksumValue'])}"
        for tag, key in _TEXTS:
            if key in package:
                yield f"{tag}: {_text(package[key])}"
        for ref in package.get("externalRefs", ()):
            yield f"ExternalRef: {ref['referenceCategory']} {ref['referenceType']} {_plain(ref['referenceLocator'])}"
    yield ""
    for relation in document["relationships"]:
        yield (f"Relationship: {relation['spdxElementId']} {relation['relationshipType']} "
               f"{relation['relatedSpdxElement']}")
        if "comment" in relation:
            yield f"RelationshipComment: {_text(relation['comment'])}"
    for entry in document.get("hasExtractedLicensingInfos", ()):
        yield ""
        yield f"LicenseID: {entry['licenseId']}"
        yield f"ExtractedText: {_text(entry['extractedText'])}"
        yield f"LicenseName: {_plain(entry['name'])}"


def _plain(value: str) -> str:
    """On one line, whatever is in it: a name cannot begin another field, nor a text that takes the next lines in."""
    if value.lstrip()[:6].lower() == "<text>":
        value = "<\\x74ext>" + value.lstrip()[6:]
    return value if value.isprintable() else visible(value)


def _text(value: str) -> str:
    return "<text>" + visible(value, "\n\t").replace("</text>", "<\\x2ftext>") + "</text>"


def read(data: bytes, where: str = "SBOM") -> Catalog:
    """As `spdx.read`. Raises MalformedError, with the line, and UnsupportedError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedError(where, got=f"byte {error.start} that is not UTF-8", expected="UTF-8") from None
    return spdx.read_document(_document(text, where), sha256(data), where)


def _document(text: str, where: str) -> dict[str, Any]:
    """The document in the shape that its JSON would have."""
    document: dict[str, Any] = {"packages": [], "relationships": [], "hasExtractedLicensingInfos": []}
    info: dict[str, Any] = {"creators": []}
    section = "document"
    package: dict[str, Any] = {}
    licence: dict[str, Any] = {}
    for number, tag, value in _fields(text, where):
        if tag == "PackageName":
            section, package = "package", {"name": value}
            document["packages"].append(package)
        elif tag == "LicenseID":
            section, licence = "licence", {"licenseId": value}
            document["hasExtractedLicensingInfos"].append(licence)
        elif tag in _OTHER_PARTS:
            section = "other" if tag != "ExternalDocumentRef" else section
            document.setdefault(_OTHER_PARTS[tag], []).append(value)
        elif tag == "Relationship":
            words = value.split(None, 2)
            if len(words) != 3:
                raise MalformedError(f"{where}: line {number}", got=value, expected="Relationship: A KIND B")
            document["relationships"].append({"spdxElementId": words[0], "relationshipType": words[1],
                                              "relatedSpdxElement": words[2]})
        elif tag == "RelationshipComment" and document["relationships"]:
            document["relationships"][-1]["comment"] = value
        elif tag == "Creator":
            info["creators"].append(value)
        elif tag in ("Created", "LicenseListVersion"):
            info[tag[0].lower() + tag[1:]] = value
        elif section == "package" and _package_field(package, tag, value):
            continue
        elif section == "licence" and tag in _OF_LICENSES:
            licence[_OF_LICENSES[tag]] = value
        elif section == "document" and tag in _AT_TOP:
            document[_AT_TOP[tag]] = value
        elif section == "package" and tag.startswith(_OTHER_TAGS):
            package[tag] = value
        elif not tag.startswith((*_OTHER_TAGS, "SPDXID")):
            raise MalformedError(f"{where}: line {number}", got=tag, expected="a tag of SPDX 2.3")
    document["creationInfo"] = info
    return document


def _package_field(package: dict[str, Any], tag: str, value: str) -> bool:
    """Whether the tag is one that is read, and then it is."""
    if tag in _IN_PACKAGE:
        package[_IN_PACKAGE[tag]] = value
    elif tag == "FilesAnalyzed":
        package["filesAnalyzed"] = value == "true"
    elif tag == "PackageChecksum":
        algorithm, _, digest = value.partition(":")
        package.setdefault("checksums", []).append({"algorithm": algorithm.strip(), "checksumValue": digest.strip()})
    elif tag == "ExternalRef":
        words = value.split(None, 2)
        if len(words) == 3:
            package.setdefault("externalRefs", []).append({
                "referenceCategory": words[0], "referenceType": words[1], "referenceLocator": words[2]})
    else:
        return False
    return True


def _fields(text: str, where: str) -> Iterator[tuple[int, str, str]]:
    """Line, tag and value of each field; comments and empty lines are none."""
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line.strip())
        if match is None:
            raise MalformedError(f"{where}: line {number}", got=line, expected="Tag: value")
        tag, value = match[1], match[2]
        if value.startswith("<text>"):
            parts = [value.removeprefix("<text>")]
            while not parts[-1].rstrip().endswith("</text>"):
                _, more = next(lines, (0, None))
                if more is None:
                    raise MalformedError(f"{where}: line {number}", got=f"{tag} that does not end", expected="</text>")
                parts.append(more)
            value = "\n".join(parts).rstrip().removesuffix("</text>")
        yield number, tag, value
