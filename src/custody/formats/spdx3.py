"""SPDX 3.0.1 JSON-LD (spdx.github.io/spdx-spec/v3.0.1, "Serialization"): written from a catalog, and read.

Read is what the specification's own serialisation looks like, one `@graph` of elements; JSON-LD of other shapes is not
expanded.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from custody.ecosystems import heard, of_type, spoken
from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats import upstream
from custody.formats.bom import (
    Catalog,
    Distribution,
    Document,
    Form,
    Location,
    Package,
    Unknown,
    from_purl,
    parse_unknown,
)
from custody.formats.licenselist import VERSION
from custody.formats.licenses import combined
from custody.formats.spdxwriter import NOT_CATALOGUED, OWNERSHIP, agent, apart
from custody.kit import digest as digests
from custody.kit import strictjson
from custody.kit.clock import format_rfc3339
from custody.kit.visible import visible

MARK = b"spdx.org/rdf/3."
LOSES = frozenset(("declared",))
_PHASES = {"analyzed": "post-build", "build": "build", "source": "pre-build", "design": "design",
           "deployed": "operations", "runtime": "operations"}
_CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
_INFO = "_:creationInfo"
_MAX_ELEMENTS = 2_000_000
_PURPOSES = {"container": "container", "directory": "source", "file": "file", "rootfs": "archive"}
_SCOPES = {"dev": "development", "test": "test", "build": "build"}
_ALGORITHMS = frozenset(("md5", "sha1", "sha224", "sha256", "sha384", "sha512"))
_MAIL = re.compile(r"(.*?)(?: ?[<(]([^<>()\s]+@[^<>()\s]+)[>)])?\Z", re.DOTALL)
_PLACE = re.compile(r"found in ([^;]+?)(?: of layer ([^\s;]+))?(?: within ([^;]+?))?(?: by ([^;]+?))?(?=; |\Z)")
_OWNER = re.compile(r"(?:\A|; )bundled in (pkg:[^\s;]+)")
_SOURCE = re.compile(r"built package from: (\S+)(?: (\S+))?\Z")
_PURPOSES_OF_FILES: dict[Form, list[str]] = {
    "archive": ["executable", "archive", "container"], "program": ["executable", "firmware"], "data": ["firmware"]}
"""BSI TR-03183-2 2.1.0, 8.2: a container is what it calls structured, firmware what is not."""
_PURPOSE_OF_PURPOSES = "software_additionalPurpose field is used to indicate the properties of BSI TR-03183-2"
_FORMS: dict[Form, str] = {"files": "is many files", "part": "is a part of a file"}
_FORM = re.compile(r"(?:\A|; )(is many files|is a part of a file)(?=; |\Z)")
_KNOWN = frozenset((
    "SpdxDocument", "software_Sbom", "software_File", "software_Package", "Relationship", "LifecycleScopedRelationship",
    "CreationInfo", "Person", "Organization", "Tool", "SoftwareAgent", "Agent", "simplelicensing_LicenseExpression",
    "simplelicensing_SimpleLicensingText"))
_PACKAGE = frozenset(("type", "spdxId", "creationInfo", "name", "software_packageVersion", "software_packageUrl",
                      "software_primaryPurpose", "software_downloadLocation", "software_homePage", "suppliedBy",
                      "software_copyrightText", "originatedBy", "description", "comment", "software_sourceInfo",
                      "summary", "verifiedUsing", "externalIdentifier", "externalRef"))


class _Graph:
    """The elements in their order; agents and licences once each."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.elements: list[dict[str, Any]] = []
        self._agents: dict[str, str] = {}
        self._licenses: dict[tuple[str, ...], str] = {}

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
                if not any(element["spdxId"] == self.namespace + key for element in self.elements[-200:]):
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
    created = said.created or format_rfc3339(now.replace(microsecond=0))
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", catalog.name).strip("-") or "image"
    catalog = msgspec.structs.replace(catalog, packages=tuple(
        sorted(catalog.packages, key=lambda package: package.purl)))
    content = msgspec.structs.replace(catalog, digest=said.digest or catalog.digest, kind=said.about or catalog.kind,
                                      document=msgspec.structs.replace(said, identifier="", unread=(), format=""))
    unique = uuid.UUID(hex=sha256(msgspec.json.encode([content, created, tool_version])).hexdigest()[:32], version=5)
    graph = _Graph(f"https://spdx.org/spdxdocs/custody/{name}-{unique}#")
    tools = [graph.add("Tool", f"tool-{number}", name=tool) for number, tool in enumerate(
        (f"custody-{tool_version}", *(tool for tool in said.tools if not tool.startswith("custody "))), 1)]
    authors = [graph.agent(author) for author in said.authors]
    if not authors:  # the standard requires an agent, and nobody has said who that is
        authors = [graph.add("SoftwareAgent", "agent-custody", name="custody")]
    fields: dict[str, Any] = {}
    algorithm, _, value = (said.digest if catalog.kind == "sbom" else catalog.digest).partition(":")
    if value:
        fields["verifiedUsing"] = [{"type": "Hash", "algorithm": algorithm, "hashValue": value}]
    if said.supplier:
        fields["suppliedBy"] = graph.agent(said.supplier, organization=True)
    if catalog.origin:
        fields["software_downloadLocation"] = catalog.origin
    subject = graph.add("software_Package", "image", name=catalog.name,
                        software_packageVersion=said.version or catalog.digest,
                        software_primaryPurpose=_PURPOSES.get(said.about or catalog.kind, "container"), **fields)
    ids = _packages(catalog, graph, subject)
    comment = "; ".join(f"{NOT_CATALOGUED}{apart(str(unknown))}" for unknown in catalog.unknowns)
    kind = next((kind for kind, phase in _PHASES.items() if phase == said.phase), "analyzed")
    sbom = graph.add("software_Sbom", "sbom", rootElement=[subject], element=ids, software_sbomType=[kind])
    graph.add("SpdxDocument", "document", name=catalog.name, rootElement=[sbom],
              profileConformance=["core", "software", "simpleLicensing"],
              dataLicense=graph.license(("CC0-1.0",)), **({"comment": comment} if comment else {}))
    info = {"type": "CreationInfo", "@id": _INFO, "specVersion": "3.0.1", "created": created, "createdBy": authors,
            "createdUsing": tools}
    return {"@context": _CONTEXT, "@graph": [info, *graph.elements]}


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
        if scope in _SCOPES:
            graph.relate(subject, "dependsOn", members, scope=_SCOPES[scope])
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
    stated = (("software_downloadLocation", package.download), ("software_homePage", package.homepage),
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
    if package.supplier:
        fields["suppliedBy"] = graph.agent(package.supplier, organization=system)
    if package.author:
        fields["originatedBy"] = [graph.agent(package.author)]
    if package.hashes:
        fields["verifiedUsing"] = [{"type": "Hash", "algorithm": kind, "hashValue": value}
                                   for kind, value in package.hashes if kind in _ALGORITHMS]
    if package.cpes:
        fields["externalIdentifier"] = [{"type": "ExternalIdentifier", "externalIdentifierType": "cpe23",
                                         "identifier": cpe} for cpe in package.cpes]
    if package.repository:
        fields["externalRef"] = [{"type": "ExternalRef", "externalRefType": "sourceArtifact",
                                  "locator": [package.repository]}]
    identifier = graph.add("software_Package", local, **fields)
    if package.form in _PURPOSES_OF_FILES:
        file = graph.add("software_File", f"{local}-file", name=package.file or package.name,
                         software_additionalPurpose=_PURPOSES_OF_FILES[package.form], comment=_PURPOSE_OF_PURPOSES,
                         **({"verifiedUsing": fields["verifiedUsing"]} if "verifiedUsing" in fields else {}))
        graph.relate(identifier, "hasDistributionArtifact", [file], completeness="complete")
    if package.licenses:
        graph.relate(identifier, "hasDeclaredLicense", [graph.license(package.licenses)])
    return identifier


def _comment(package: Package) -> str:
    info = [_FORMS[package.form]] if package.form in _FORMS else []
    info += [f"bundled in {package.bundled_in}"] if package.bundled_in else []
    info += [f"found in {_shown(place.path)}" + (f" of layer {place.layer}" if place.layer else "")
             + (f" within {_shown(place.within)}" if place.within else "")
             + (f" by {_shown(place.evidence)}" if place.evidence else "") for place in package.locations[:10]]
    return "; ".join(info)


def _shown(text: str) -> str:
    return (text if text.isprintable() else visible(text)).replace(";", "\\x3b")


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
    unread = Counter(f"elements of type {_text(element, 'type')}" for element in elements.values()
                     if _text(element, "type") not in _KNOWN)
    entries = [element for element in elements.values() if element.get("type") == "software_Package"]
    system = next((entry for entry in entries if entry.get("software_primaryPurpose") == "operatingSystem"), None)
    distribution = None
    if system is not None:
        distribution = Distribution(id=heard(_text(system, "name")), version=_text(system, "software_packageVersion"),
                                    name=_text(system, "summary") or _text(system, "name"))
    roots = {root for element in elements.values() if element.get("type") == "software_Sbom"
             for root in _names(element.get("rootElement"))}
    licenses = _licenses(elements)
    subject: dict[str, Any] = {}
    packages: dict[str, Package] = {}
    ids: dict[str, str] = {}
    unidentified = []
    for entry in entries:
        unread.update(f"software_Package.{key}" for key in entry.keys() - _PACKAGE)
        identifier = _text(entry, "spdxId")
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
            unidentified.append(_detailed(Package(type="", name=_text(entry, "name"), purl="",
                                                  version=_text(entry, "software_packageVersion")), entry, elements))
    packages = _related(elements, packages, ids, licenses, _text(subject, "spdxId"), unread)
    described: dict[str, Any] = next(
        (element for element in elements.values() if element.get("type") == "SpdxDocument"), {})
    unknowns = [parse_unknown(part.removeprefix(NOT_CATALOGUED))
                for part in _text(described, "comment").split("; ") if part.startswith(NOT_CATALOGUED)]
    if unidentified:
        unknowns = [unknown for unknown in unknowns if unknown.kind != _WITHOUT]
        unknowns.append(Unknown(kind=_WITHOUT, count=len(unidentified),
                                examples=tuple(package.name for package in unidentified[:3])))
    authors = [elements[ref] for ref in _names(info.get("createdBy")) if ref in elements]
    return Catalog(
        name=_text(subject, "name") or _text(described, "name") or where, digest=digest, kind="sbom",
        distribution=distribution, packages=tuple(packages.values()), unknowns=tuple(unknowns),
        origin=_text(subject, "software_downloadLocation"),
        unidentified=tuple(unidentified), document=Document(
            format=f"SPDX-{_text(info, 'specVersion')}", identifier=_text(described, "spdxId"),
            created=_text(info, "created"), version=_text(subject, "software_packageVersion"),
            supplier=_who(subject.get("suppliedBy"), elements),
            authors=tuple(f"{_text(element, 'type')}: {_who(_text(element, 'spdxId'), elements)}" for element in authors
                          if element.get("type") in ("Person", "Organization")),
            about=next((kind for kind, purpose in _PURPOSES.items()
                        if purpose == subject.get("software_primaryPurpose")), ""),
            digest=next((f"{_text(entry, 'algorithm')}:{_text(entry, 'hashValue')}"
                         for entry in _objects(subject, "verifiedUsing")), ""),
            phase=_phase(elements), complete=", ".join(dict.fromkeys(
                _text(element, "completeness") for element in elements.values() if element.get("completeness"))),
            tools=tuple(" ".join(_text(elements[ref], "name").rpartition("-")[::2]).strip()
                        for ref in _names(info.get("createdUsing")) if ref in elements),
            unread=tuple(sorted(unread.items()))))


def _phase(elements: dict[str, dict[str, Any]]) -> str:
    """CycloneDX's word for the kind of the SBOM."""
    kinds = [kind for element in elements.values() if element.get("type") == "software_Sbom"
             for kind in _names(element.get("software_sbomType"))]
    return next((_PHASES[kind] for kind in kinds if kind in _PHASES), "")


_WITHOUT = "package without a package URL"


def _related(elements: dict[str, dict[str, Any]], packages: dict[str, Package], ids: dict[str, str],
             licenses: dict[str, str], subject: str, unread: Counter[str]) -> dict[str, Package]:
    edges: dict[str, set[str]] = {}
    owners: dict[str, str] = {}
    scopes: dict[str, str] = {}
    declared: dict[str, list[str]] = {}
    files: dict[str, dict[str, Any]] = {}
    words = {word: scope for scope, word in _SCOPES.items()}
    for relation in elements.values():
        if relation.get("type") not in ("Relationship", "LifecycleScopedRelationship"):
            continue
        kind, origin = _text(relation, "relationshipType"), _text(relation, "from")
        targets = _names(relation.get("to"))
        known = [ids[target] for target in targets if target in ids]
        if kind == "hasDeclaredLicense":
            declared.setdefault(ids.get(origin, ""), []).extend(
                licenses[target] for target in targets if target in licenses)
        elif kind in ("dependsOn", "hasOptionalDependency"):
            scope = "optional" if kind == "hasOptionalDependency" else words.get(_text(relation, "scope"), "")
            if origin == subject:
                scopes.update(dict.fromkeys(known, scope) if scope else {})
            elif origin in ids:
                edges.setdefault(ids[origin], set()).update(known)
        elif kind == "hasDistributionArtifact" and origin in ids:
            files.update((ids[origin], elements[target]) for target in targets if target in elements)
        elif kind == "other" and origin in ids and _text(relation, "comment").startswith("ownership-by-file-overlap"):
            owners.update(dict.fromkeys(known, ids[origin]))
        elif kind not in ("contains", "describes"):
            unread[f"relationships {kind}"] += 1
    return {purl: msgspec.structs.replace(
        package, requires=tuple(sorted(edges.get(purl, ()))), owner=owners.get(purl, ""), scope=scopes.get(purl, ""),
        licenses=tuple(declared.get(purl, ())), **_filed(package, files.get(purl)))
        for purl, package in packages.items()}


def _filed(package: Package, file: dict[str, Any] | None) -> dict[str, Any]:
    """What is said of the one file that a package is."""
    if file is None:
        return {}
    purposes = file.get("software_additionalPurpose")
    hashes = [(_text(entry, "algorithm"), _text(entry, "hashValue")) for entry in _objects(file, "verifiedUsing")]
    return {"file": _text(file, "name"),
            "hashes": tuple(dict.fromkeys((*package.hashes, *(pair for pair in hashes if all(pair))))),
            "form": next((form for form, stated in _PURPOSES_OF_FILES.items() if stated == purposes), package.form)}


def _licenses(elements: dict[str, dict[str, Any]]) -> dict[str, str]:
    """By identifier what each licence is called: an expression, or the words that stand for one that is on no list."""
    result = {}
    for identifier, element in elements.items():
        if element.get("type") == "simplelicensing_LicenseExpression":
            text = _text(element, "simplelicensing_licenseExpression")
            entries = element.get("simplelicensing_customIdToUri")
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict) and entry.get("key") == text:
                    text = _text(elements.get(str(entry.get("value")), {}), "name") or text
            result[identifier] = text
        elif str(element.get("type")).startswith("expandedlicensing_") and _text(element, "name"):
            result[identifier] = _text(element, "name")
    return {identifier: text for identifier, text in result.items() if text and text != "NOASSERTION"}


def _read_package(entry: dict[str, Any], distribution: Distribution | None,
                  elements: dict[str, dict[str, Any]]) -> Package:
    comment = _text(entry, "comment")
    source, bundle = _SOURCE.match(_text(entry, "software_sourceInfo")), _OWNER.search(comment)
    package = from_purl(
        entry.get("software_packageUrl"), distribution, version=_text(entry, "software_packageVersion"),
        source=source[1] if source else "", source_version=(source[2] or "") if source else "",
        locations=tuple(Location(*place) for place in _PLACE.findall(comment)))
    stated = _FORM.search(comment)
    return _detailed(msgspec.structs.replace(
        package, bundled_in=bundle[1] if bundle else "",
        form=next((form for form, words in _FORMS.items() if stated and words == stated[1]), "")), entry, elements)


def _detailed(package: Package, entry: dict[str, Any], elements: dict[str, dict[str, Any]]) -> Package:
    hashes = [(_text(entry_, "algorithm"), _text(entry_, "hashValue")) for entry_ in _objects(entry, "verifiedUsing")]
    cpes = [_text(identifier, "identifier") for identifier in _objects(entry, "externalIdentifier")
            if identifier.get("externalIdentifierType") == "cpe23"]
    text = {key: "" if _text(entry, key) == "NOASSERTION" else _text(entry, key) for key in (
        "software_downloadLocation", "software_homePage", "software_copyrightText", "description")}
    authors = [_who(ref, elements) for ref in _names(entry.get("originatedBy"))]
    return msgspec.structs.replace(
        package, supplier=_who(entry.get("suppliedBy"), elements), author=", ".join(filter(None, authors)),
        hashes=tuple(pair for pair in hashes if all(pair)), cpes=tuple(filter(None, cpes)),
        download=text["software_downloadLocation"], homepage=text["software_homePage"],
        copyright=text["software_copyrightText"], description=text["description"],
        repository=next((locator for ref in _objects(entry, "externalRef") for locator in _names(ref.get("locator"))
                         if ref.get("externalRefType") in ("sourceArtifact", "vcs")), ""))


def _who(ref: object, elements: dict[str, dict[str, Any]]) -> str:
    element = elements.get(ref, {}) if isinstance(ref, str) else {}
    mail = next((_text(identifier, "identifier") for identifier in _objects(element, "externalIdentifier")
                 if identifier.get("externalIdentifierType") == "email"), "")
    name = _text(element, "name")
    return f"{name} <{mail}>" if name and mail and name != mail else name or mail


def _names(value: object) -> Iterable[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _objects(entry: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = entry.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""
