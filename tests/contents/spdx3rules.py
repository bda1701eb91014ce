"""SPDX 3.0.1 asked of a document as it lies there, without custody's own reader: what the model (spdx-spec v3.0.1,
"model") says of the classes that custody writes: their properties and how often, vocabularies, and that every reference
leads somewhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

_ELEMENT = {"spdxId": 1, "creationInfo": 1, "name": 0, "summary": 0, "description": 0, "comment": 0,
            "verifiedUsing": 0, "externalRef": 0, "externalIdentifier": 0, "extension": 0}
_ARTIFACT = {**_ELEMENT, "originatedBy": 0, "suppliedBy": 0, "builtTime": 0, "releaseTime": 0, "validUntilTime": 0,
             "standardName": 0, "supportLevel": 0, "software_primaryPurpose": 0, "software_additionalPurpose": 0,
             "software_copyrightText": 0, "software_attributionText": 0, "software_contentIdentifier": 0}
_RELATIONSHIP = {**_ELEMENT, "from": 1, "to": 1, "relationshipType": 1, "completeness": 0, "startTime": 0, "endTime": 0}
_COLLECTION = {**_ELEMENT, "element": 0, "rootElement": 1, "profileConformance": 0}
CLASSES: Mapping[str, Mapping[str, int]] = {
    "CreationInfo": {"@id": 1, "specVersion": 1, "created": 1, "createdBy": 1, "createdUsing": 0, "comment": 0},
    "Tool": _ELEMENT, "Person": _ELEMENT, "Organization": _ELEMENT, "SoftwareAgent": _ELEMENT, "Agent": _ELEMENT,
    "SpdxDocument": {**_COLLECTION, "dataLicense": 0, "import": 0, "namespaceMap": 0},
    "software_Sbom": {**_COLLECTION, "context": 0, "software_sbomType": 0},
    "software_Package": {**_ARTIFACT, "name": 1, "software_packageVersion": 0, "software_packageUrl": 0,
                         "software_homePage": 0, "software_downloadLocation": 0, "software_sourceInfo": 0},
    "software_File": {**_ARTIFACT, "name": 1, "software_fileKind": 0, "contentType": 0},
    "Relationship": _RELATIONSHIP, "LifecycleScopedRelationship": {**_RELATIONSHIP, "scope": 0},
    "simplelicensing_LicenseExpression": {**_ELEMENT, "simplelicensing_licenseExpression": 1,
                                          "simplelicensing_licenseListVersion": 0, "simplelicensing_customIdToUri": 0},
    "simplelicensing_SimpleLicensingText": {**_ELEMENT, "simplelicensing_licenseText": 1},
    "Hash": {"algorithm": 1, "hashValue": 1, "comment": 0}, "DictionaryEntry": {"key": 1, "value": 0},
    "ExternalIdentifier": {"externalIdentifierType": 1, "identifier": 1, "comment": 0, "identifierLocator": 0,
                           "issuingAuthority": 0},
    "ExternalRef": {"externalRefType": 0, "locator": 0, "contentType": 0, "comment": 0}}
"""The properties of each class, its parents' too: 1 for those that must be there."""
_LISTS = {"createdBy", "createdUsing", "to", "element", "rootElement", "profileConformance", "verifiedUsing",
          "externalRef", "externalIdentifier", "originatedBy", "software_additionalPurpose", "software_sbomType",
          "locator", "simplelicensing_customIdToUri"}
"""Properties that may be there more than once: these are written as lists, and no others."""
_REFERENCES = {"creationInfo", "createdBy", "createdUsing", "from", "to", "element", "rootElement", "originatedBy",
               "suppliedBy", "dataLicense"}
_AGENTS = {"Person", "Organization", "SoftwareAgent", "Agent"}
_LICENSES = {"simplelicensing_LicenseExpression", "simplelicensing_SimpleLicensingText"}
_PURPOSES = {"application", "archive", "bom", "configuration", "container", "data", "device", "diskImage",
             "deviceDriver", "documentation", "evidence", "executable", "file", "filesystemImage", "firmware",
             "framework", "install", "library", "manifest", "model", "module", "operatingSystem", "other", "patch",
             "platform", "requirement", "source", "specification", "test"}
_WORDS: Mapping[str, set[str]] = {
    "software_primaryPurpose": _PURPOSES, "software_additionalPurpose": _PURPOSES,
    "relationshipType": {"contains", "dependsOn", "hasDeclaredLicense", "hasConcludedLicense",
                         "hasDistributionArtifact", "hasOptionalDependency", "other"},
    "completeness": {"complete", "incomplete", "noAssertion"},
    "scope": {"design", "development", "build", "test", "runtime", "other"},
    "software_sbomType": {"design", "source", "build", "analyzed", "deployed", "runtime"},
    "profileConformance": {"core", "software", "simpleLicensing"},
    "externalIdentifierType": {"cpe22", "cpe23", "email", "packageUrl", "urlScheme", "other"},
    "externalRefType": {"sourceArtifact", "binaryArtifact", "vcs", "altWebPage", "securityOther", "other"},
    "algorithm": {"md5", "sha1", "sha224", "sha256", "sha384", "sha512"}, "specVersion": {"3.0.1"}}
"""Of vocabularies the words that custody may write."""
_SHAPES: Mapping[str, re.Pattern[str]] = {
    "created": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z"), "spdxId": re.compile(r"[a-z]+:[^\s<>\"{}|\\^`]+\Z"),
    "software_packageUrl": re.compile(r"pkg:\S+\Z"), "software_homePage": re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+\Z"),
    "software_downloadLocation": re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+\Z"), "hashValue": re.compile(r"[0-9a-f]+\Z"),
    "simplelicensing_licenseListVersion": re.compile(r"\d+\.\d+\.\d+\Z")}


def broken(document: Mapping[str, Any]) -> list[str]:
    """What is wrong, each with the element that it is in."""
    return list(_judged(document))


def _judged(document: Mapping[str, Any]) -> Iterator[str]:
    if document.get("@context") != "https://spdx.org/rdf/3.0.1/spdx-context.jsonld":
        yield "@context"
    graph = document["@graph"]
    by_id = {entry.get("spdxId") or entry.get("@id"): entry.get("type") for entry in graph}
    counts = Counter(entry.get("spdxId") or entry.get("@id") for entry in graph)
    yield from (f"{identifier}: {count} times" for identifier, count in counts.items() if count > 1)
    kinds = Counter(entry.get("type") for entry in graph)
    for kind in ("SpdxDocument", "CreationInfo", "software_Sbom"):
        if kinds[kind] != 1:
            yield f"{kinds[kind]} of {kind}"
    for entry in graph:
        yield from _of_class(entry, str(entry.get("spdxId") or entry.get("@id")), by_id)
        if entry.get("type", "").endswith("Relationship"):
            yield from _of_relationship(entry, by_id)


def _of_class(entry: Any, where: str, by_id: Mapping[str, str]) -> Iterator[str]:
    properties = CLASSES.get(entry.get("type"))
    if properties is None:
        yield f"{where}: type {entry.get('type')}"
        return
    yield from (f"{where}: {name} is none of {entry['type']}" for name in entry.keys() - properties.keys() - {"type"})
    yield from (f"{where}: no {name}" for name, least in properties.items() if least and not entry.get(name))
    for name, value in entry.items():
        if isinstance(value, list) != (name in _LISTS):
            yield f"{where}: {name} is {'a' if isinstance(value, list) else 'no'} list"
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                yield from _of_class(part, f"{where} {name}", by_id)
            elif not isinstance(part, str) or not part:
                yield f"{where}: {name} is no text"
            elif name in _REFERENCES and part not in by_id:
                yield f"{where}: {name} leads nowhere"
            elif part not in _WORDS.get(name, {part}) or (name in _SHAPES and not _SHAPES[name].match(part)):
                yield f"{where}: {name} {part}"
            elif name in ("createdBy", "suppliedBy", "originatedBy") and by_id[part] not in _AGENTS:
                yield f"{where}: {name} is no agent"
            elif name == "createdUsing" and by_id[part] != "Tool":
                yield f"{where}: {name} is no tool"


def _of_relationship(entry: Mapping[str, Any], by_id: Mapping[str, str]) -> Iterator[str]:
    to = {by_id.get(target) for target in entry.get("to", ())}
    if entry.get("relationshipType") == "hasDeclaredLicense" and (len(entry["to"]) != 1 or not to <= _LICENSES):
        yield f"{entry.get('spdxId')}: not of one licence"
    if entry.get("relationshipType") == "hasDistributionArtifact" and not to <= {"software_File", "software_Package"}:
        yield f"{entry.get('spdxId')}: not of files"
