"""SPDX 3.0.1 JSON-LD from a catalog (spdx.github.io/spdx-spec/v3.0.1, "Serialization"): one `@graph` of elements."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from custody.ecosystems import of_type, spoken
from custody.errors import CustodyError
from custody.formats import upstream
from custody.formats.bom import Catalog, Document, Form, Package
from custody.formats.licenselist import VERSION
from custody.formats.licenses import combined
from custody.formats.spdxwriter import NOT_CATALOGUED, NOTHING, OWNERSHIP, agent, apart
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.kit.visible import visible

LOSES = frozenset(("declared",))
PHASES = {"analyzed": "post-build", "build": "build", "source": "pre-build", "design": "design",
           "deployed": "operations", "runtime": "operations"}
_CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
_INFO = "_:creationInfo"
PURPOSES = {"container": "container", "directory": "source", "file": "file", "rootfs": "archive"}
SCOPES = {"dev": "development", "test": "test", "build": "build"}
_ALGORITHMS = frozenset(("md5", "sha1", "sha224", "sha256", "sha384", "sha512"))
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+\Z")
"""RFC 3986: what the model's anyURI may be."""
_MAIL = re.compile(r"(.*?)(?: ?[<(]([^<>()\s@]+@[^<>()\s]+)[>)])?\Z", re.DOTALL)
PURPOSES_OF_FILES: dict[Form, list[str]] = {
    "archive": ["executable", "archive", "container"], "program": ["executable", "firmware"], "data": ["firmware"]}
"""BSI TR-03183-2 2.1.0, 8.2: a container is what it calls structured, firmware what is not."""
_PURPOSE_OF_PURPOSES = "software_additionalPurpose field is used to indicate the properties of BSI TR-03183-2"
FORMS: dict[Form, str] = {"files": "is many files", "part": "is a part of a file"}


class _Graph:
    """The elements in their order; agents and licences once each."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.elements: list[dict[str, Any]] = []
        self._agents: dict[str, str] = {}
        self._licenses: dict[tuple[str, ...], str] = {}
        self._words: set[str] = set()

    def add(self, kind: str, local: str, **fields: Any) -> str:
        identifier = self.namespace + local
        self.elements.append({"type": kind, "spdxId": identifier, "creationInfo": _INFO, **fields})
        return identifier

    def agent(self, text: str, *, organization: bool = False) -> str:
        """The identifier of who is named `Name <mail>`."""
        known = self._agents.get(text)
        if known is None:
            kind, _, name = agent(text, organization=organization).partition(": ")
            match = _MAIL.match(name)
            fields: dict[str, Any] = {"name": match[1] if match and match[1] else name}
            if match and match[2]:
                fields["externalIdentifier"] = [{"type": "ExternalIdentifier", "externalIdentifierType": "email",
                                                 "identifier": match[2]}]
            known = self._agents[text] = self.add(kind, f"agent-{len(self._agents) + 1}", **fields)
        return known

    def license(self, names: tuple[str, ...]) -> str:
        known = self._licenses.get(names)
        if known is None:
            text, words = combined(names)
            fields: dict[str, Any] = {"simplelicensing_licenseExpression": text,
                                      "simplelicensing_licenseListVersion": f"{VERSION}.0"}
            if words:
                fields["simplelicensing_customIdToUri"] = [
                    {"type": "DictionaryEntry", "key": key, "value": self.namespace + key} for key in words]
            known = self._licenses[names] = self.add(
                "simplelicensing_LicenseExpression", f"license-{len(self._licenses) + 1}", **fields)
            for key, word in words.items():
                if key not in self._words:
                    self._words.add(key)
                    self.add("simplelicensing_SimpleLicensingText", key, name=word, simplelicensing_licenseText=word)
        return known

    def relate(self, origin: str, kind: str, targets: list[str], **fields: str) -> None:
        if targets:
            scoped = "scope" in fields
            self.add("LifecycleScopedRelationship" if scoped else "Relationship",
                     f"relationship-{len(self.elements) + 1}", relationshipType=kind, to=targets,
                     **{"from": origin}, **fields)


def write(catalog: Catalog, now: datetime, tool_version: str) -> dict[str, Any]:
    """The document as plain data; the same catalog and time give the same document, identifiers included."""
    said = catalog.document or Document()
    created = _moment(said.created) or format_rfc3339(now.replace(microsecond=0))
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", catalog.name).strip("-") or "image"
    catalog = msgspec.structs.replace(catalog, packages=tuple(
        sorted(catalog.packages, key=lambda package: package.purl)))
    content = msgspec.structs.replace(catalog, digest=said.digest or catalog.digest, kind=said.about or catalog.kind,
                                      document=msgspec.structs.replace(said, identifier="", unread=(), format=""))
    unique = uuid.UUID(hex=sha256(msgspec.json.encode([content, created, tool_version])).hexdigest()[:32], version=5)
    graph = _Graph(f"https://spdx.org/spdxdocs/custody/{name}-{unique}#")
    tools = [graph.add("Tool", f"tool-{number}", name=tool) for number, tool in enumerate(
        (f"custody-{tool_version}", *(tool for tool in said.tools if not tool.startswith("custody "))), 1)]
    authors = [graph.agent(author) for author in said.authors if _names(author)]
    if not authors:  # the standard requires an agent, and nobody has said who that is
        authors = [graph.add("SoftwareAgent", "agent-custody", name="custody")]
    fields: dict[str, Any] = {}
    algorithm, _, value = (said.digest if catalog.kind == "sbom" else catalog.digest).partition(":")
    if value:
        fields["verifiedUsing"] = [{"type": "Hash", "algorithm": algorithm, "hashValue": value}]
    if _names(said.supplier):
        fields["suppliedBy"] = graph.agent(said.supplier, organization=True)
    if _ADDRESS.match(catalog.origin):
        fields["software_downloadLocation"] = catalog.origin
    subject = graph.add("software_Package", "image", name=catalog.name,
                        software_packageVersion=said.version or catalog.digest,
                        software_primaryPurpose=PURPOSES.get(said.about or catalog.kind, "container"), **fields)
    ids = _packages(catalog, graph, subject)
    comment = "; ".join(f"{NOT_CATALOGUED}{apart(str(unknown))}" for unknown in catalog.unknowns)
    kind = next((kind for kind, phase in PHASES.items() if phase == said.phase), "analyzed")
    sbom = graph.add("software_Sbom", "sbom", rootElement=[subject], element=ids, software_sbomType=[kind])
    graph.add("SpdxDocument", "document", name=catalog.name, rootElement=[sbom],
              profileConformance=["core", "software", "simpleLicensing"],
              dataLicense=graph.license(("CC0-1.0",)), **({"comment": comment} if comment else {}))
    info = {"type": "CreationInfo", "@id": _INFO, "specVersion": "3.0.1", "created": created, "createdBy": authors,
            "createdUsing": tools}
    return {"@context": _CONTEXT, "@graph": [info, *graph.elements]}


def _names(text: str) -> bool:
    """Whether somebody is named."""
    return agent(text) != NOTHING


def _moment(text: str) -> str:
    """As the model's DateTime is written: in UTC, without parts of a second; empty for what is no time."""
    try:
        return format_rfc3339(parse_rfc3339(text).astimezone(UTC).replace(microsecond=0)) if text else ""
    except CustodyError:
        return ""


def _packages(catalog: Catalog, graph: _Graph, subject: str) -> list[str]:
    """The packages and what relates them; their identifiers."""
    in_order = catalog.packages
    ids = {package.purl: f"{graph.namespace}package-{sha256(package.purl.encode()).hexdigest()[:24]}"
           for package in in_order}
    listed = []
    if system := catalog.distribution:
        listed.append(graph.add("software_Package", "os", name=spoken(system.id), summary=system.name,
                                software_packageVersion=system.version, software_primaryPurpose="operatingSystem"))
    start = len(graph.namespace)
    listed += [_package(package, graph, ids[package.purl][start:]) for package in in_order]
    listed += [_package(package, graph, f"unidentified-{number}")
               for number, package in enumerate(catalog.unidentified, 1)]
    by_scope: dict[str, list[str]] = {}
    for package in in_order:
        by_scope.setdefault(package.scope, []).append(ids[package.purl])
    graph.relate(subject, "contains", listed,
                 completeness="incomplete" if catalog.unknowns else "noAssertion")
    for scope, members in by_scope.items():
        if scope in SCOPES:
            graph.relate(subject, "dependsOn", members, scope=SCOPES[scope])
        elif scope == "optional":
            graph.relate(subject, "hasOptionalDependency", members)
    for package in in_order:
        if package.requires:
            graph.relate(ids[package.purl], "dependsOn", [ids[needed] for needed in package.requires if needed in ids])
        if package.owner in ids:
            graph.relate(ids[package.owner], "other", [ids[package.purl]], comment=OWNERSHIP)
    return listed


def _package(package: Package, graph: _Graph, local: str) -> str:
    fields: dict[str, Any] = {"name": package.name, "software_primaryPurpose": "library"}
    download, homepage, repository = (address if _ADDRESS.match(address) else "" for address in (
        package.download, package.homepage, package.repository))
    stated = (("software_downloadLocation", download), ("software_homePage", homepage),
              ("software_copyrightText", package.copyright), ("description", package.description),
              ("comment", _comment(package)))
    fields |= {key: value for key, value in stated if value}
    system = of_type(package.type).system
    if package.version:
        fields["software_packageVersion"] = package.version
    if package.purl:
        fields["software_packageUrl"] = upstream.purl(package) if system else package.purl
    if system and upstream.differs(package) and " " not in package.source:
        fields["software_sourceInfo"] = f"built package from: {package.source} {package.source_version}".strip()
    if _names(package.supplier):
        fields["suppliedBy"] = graph.agent(package.supplier, organization=system)
    if _names(package.author):
        fields["originatedBy"] = [graph.agent(package.author)]
    if package.hashes:
        fields["verifiedUsing"] = [{"type": "Hash", "algorithm": kind, "hashValue": value}
                                   for kind, value in package.hashes if kind in _ALGORITHMS]
    if package.cpes:
        fields["externalIdentifier"] = [{"type": "ExternalIdentifier", "externalIdentifierType": "cpe23",
                                         "identifier": cpe} for cpe in package.cpes]
    if repository:
        fields["externalRef"] = [{"type": "ExternalRef", "externalRefType": "sourceArtifact", "locator": [repository]}]
    identifier = graph.add("software_Package", local, **fields)
    if package.form in PURPOSES_OF_FILES:
        file = graph.add("software_File", f"{local}-file", name=package.file or package.name,
                         software_additionalPurpose=PURPOSES_OF_FILES[package.form], comment=_PURPOSE_OF_PURPOSES,
                         **({"verifiedUsing": fields["verifiedUsing"]} if "verifiedUsing" in fields else {}))
        graph.relate(identifier, "hasDistributionArtifact", [file], completeness="complete")
    if package.licenses:
        graph.relate(identifier, "hasDeclaredLicense", [graph.license(package.licenses)])
    return identifier


def _comment(package: Package) -> str:
    info = [FORMS[package.form]] if package.form in FORMS else []
    info += [f"bundled in {package.bundled_in}"] if package.bundled_in else []
    info += [f"found in {_shown(place.path)}" + (f" of layer {place.layer}" if place.layer else "")
             + (f" within {_shown(place.within)}" if place.within else "")
             + (f" by {_shown(place.evidence)}" if place.evidence else "") for place in package.locations[:10]]
    return "; ".join(info)


def _shown(text: str) -> str:
    return (text if text.isprintable() else visible(text)).replace(";", "\\x3b")
