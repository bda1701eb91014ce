"""CycloneDX 1.4 to 1.7 (ECMA-424) written from a catalog, as plain data that JSON and XML are made of."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from custody.ecosystems import of_type, spoken
from custody.formats import upstream
from custody.formats.bom import Catalog, Document, Form, Location, Package
from custody.formats.licenses import combined, is_expression, is_identifier
from custody.kit.addresses import owner, place
from custody.kit.clock import format_rfc3339
from custody.kit.digest import sha256

VERSIONS = ("1.4", "1.5", "1.6", "1.7")
DEFAULT = "1.6"
PREFIX = "custody:"
ALGORITHMS = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}
LOSES = {"1.4": frozenset(("within", "evidence", "phase")), "1.5": frozenset(("within", "evidence"))}
"""Fields of places that a version has no words for."""
_MAIL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
                   r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+\Z")
"""RFC 5321 and RFC 3986, as far as the schemas hold documents to them."""
FORMS: tuple[tuple[Form, str, str, str], ...] = (
    ("archive", "executable", "archive", "structured"), ("program", "executable", "no archive", "unstructured"),
    ("data", "non-executable", "no archive", "unstructured"))
"""What BSI TR-03183-2 2.1.0 calls a file of each form (8.1.4 to 8.1.6)."""
_EXCLUDED = frozenset(("dev", "test", "build"))
_KINDS = {"container": "container", "directory": "file", "file": "file", "rootfs": "file"}


@dataclass(slots=True)
class _Shared:
    """What many packages have in common, made once: they are most of a document."""

    licenses: dict[tuple[str, ...], list[dict[str, Any]]] = field(default_factory=dict)
    suppliers: dict[tuple[str, bool], dict[str, Any]] = field(default_factory=dict)
    evidence: dict[tuple[Location, ...], dict[str, Any]] = field(default_factory=dict)


_DIFFERENCES = 1000


def write(catalog: Catalog, now: datetime, tool_version: str, version: str = DEFAULT) -> dict[str, Any]:
    """The document as plain data; the same catalog and time give the same document, serial number included."""
    said = catalog.document or Document()
    subject = f"{said.about or catalog.kind}:{said.digest or catalog.digest}"
    packages = sorted(catalog.packages, key=lambda package: package.purl)
    shared = _Shared()
    by_purl = {package.purl: _component(package, package.purl, version, shared) for package in packages}
    components = []
    for package in packages:
        # Trivy takes a document with two kinds of distribution packages for broken: copies stand inside their holder.
        if package.copied and package.bundled_in in by_purl:
            by_purl[package.bundled_in].setdefault("components", []).append(by_purl[package.purl])
        else:
            components.append(by_purl[package.purl])
    components += [_component(package, f"unidentified:{number}", version, shared)
                   for number, package in enumerate(catalog.unidentified, 1)]
    if system := catalog.distribution:
        components.insert(0, {
            "bom-ref": "os", "type": "operating-system", "name": spoken(system.id), "version": system.version,
            "description": system.name, "properties": [
                {"name": "syft:distro:id", "value": system.id},
                {"name": "syft:distro:prettyName", "value": system.name},
                {"name": "syft:distro:versionID", "value": system.version}]})
    dependencies: list[dict[str, Any]] = [
        {"ref": subject, "dependsOn": sorted(component["bom-ref"] for component in components)}]
    compositions: list[dict[str, Any]] = [
        {"aggregate": "incomplete" if catalog.unknowns else "unknown", "assemblies": [subject]}]
    silent: list[str] = []
    for package in packages:
        if package.requires and (needed := by_purl.keys() & package.requires):
            dependencies.append({"ref": package.purl, "dependsOn": sorted(needed)})
            continue
        dependencies.append({"ref": package.purl})
        if catalog.kind == "sbom" or of_type(package.type).resolver == "stated":
            silent.append(package.purl)  # of all others it is known that they need nothing here
    if silent:
        compositions.append({"aggregate": "unknown", "dependencies": silent})
    document: dict[str, Any] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{version}.schema.json", "bomFormat": "CycloneDX",
        "specVersion": version, "serialNumber": "", "version": 1,
        "metadata": _metadata(catalog, said, subject, now, tool_version, version),
        "components": components, "dependencies": dependencies,
        "compositions": compositions}
    unique = sha256(msgspec.json.encode(document))[7:39]
    document["serialNumber"] = "urn:uuid:" + str(uuid.UUID(hex=unique, version=5))
    return document


def _metadata(catalog: Catalog, said: Document, subject: str, now: datetime, tool_version: str,
              version: str) -> dict[str, Any]:
    result: dict[str, Any] = {"timestamp": said.created or format_rfc3339(now.replace(microsecond=0))}
    if said.phase and version >= "1.5":
        result["lifecycles"] = [{"phase": said.phase}]
    tools = [("custody", tool_version), *((name, number) for name, _, number in (
        tool.rpartition(" ") if " " in tool else (tool, "", "") for tool in said.tools) if name != "custody")]
    listed = [{"name": name, **({"version": number} if number else {})} for name, number in tools]
    result["tools"] = listed if version == "1.4" else {
        "components": [{"type": "application", **tool} for tool in listed]}
    if said.authors:
        result["authors"] = [_contact(author) for author in said.authors]
    component: dict[str, Any] = {
        "bom-ref": subject, "type": _KINDS.get(said.about or catalog.kind, "application"), "name": catalog.name,
        "version": said.version or catalog.digest}
    result["component"] = component
    if said.supplier:
        component["supplier"] = result["supplier"] = {"name": said.supplier}
    if catalog.origin:
        component["externalReferences"] = [{"type": "vcs", "url": catalog.origin}]
    algorithm, _, value = (said.digest if catalog.kind == "sbom" else catalog.digest).partition(":")
    if algorithm in ALGORITHMS:
        component["hashes"] = [{"alg": ALGORITHMS[algorithm], "content": value}]
    component["properties"] = [
        *({"name": PREFIX + "layer", "value": digest}
          for digest in [layer.digest for layer in catalog.layers] or said.layers),
        *({"name": PREFIX + "unknown", "value": str(unknown)} for unknown in catalog.unknowns),
        *_proven(catalog)]
    if known := catalog.coverage:
        component["properties"].append({"name": PREFIX + "coverage", "value": (
            f"{known.identified} of {known.programs} programs, {known.identified_size} of {known.size} bytes")})
    return result


def _contact(author: str) -> dict[str, str]:
    """`Organization: Name (mail)` of SPDX, or `Name <mail>`."""
    author = author.removeprefix("Organization: ").removeprefix("Person: ")
    name, _, mail = author.rstrip(">)").partition("<" if "<" in author else "(")
    if not _MAIL.match(mail.strip()):  # several people in one field, or no address at all: the schema takes one
        return {"name": author}
    return {key: text for key, text in (("name", name.strip()), ("email", mail.strip())) if text}


def _organization(text: str, kind: str) -> dict[str, Any]:
    contact = _contact(text)
    if contact.keys() == {"name", "email"} and f"{contact['name']} <{contact['email']}>" == text:
        return {"name": contact["name"], "contact": [{"email": contact["email"]}]}
    if page := place(text, kind):
        return {"name": text, "url": [page]}
    return {"name": text}


def _component(package: Package, ref: str, version: str, shared: _Shared) -> dict[str, Any]:
    row = of_type(package.type)
    # The whole name as advisories have it, which is what syft writes and osv-scanner reads; Maven's group is apart.
    group, name = row.split(package.name) if row.grouped and row.joint != "/" else ("", package.name)
    result: dict[str, Any] = {"bom-ref": ref, "type": "library"}
    if package.supplier:
        key = package.supplier, package.type == "maven"
        supplier = shared.suppliers.get(key)
        if supplier is None:
            supplier = shared.suppliers[key] = _organization(package.supplier, package.type)
        result["supplier"] = supplier
        if version >= "1.6" and not package.author:  # who a package manager says maintains it, made it
            page = package.homepage or package.repository or owner(package.name, package.type)
            result["manufacturer"] = supplier if supplier.keys() != {"name"} or not _ADDRESS.match(page) else {
                **supplier, "url": [page]}  # whoever reads it is to reach somebody
    if package.author:
        if version >= "1.6":
            result["authors"] = [_contact(package.author)]
        else:
            result["author"] = package.author
    if group:
        result["group"] = group
    result["name"] = name
    if package.version:
        result["version"] = package.version
    if package.description:
        result["description"] = package.description
    if package.scope:
        result["scope"] = "excluded" if package.scope in _EXCLUDED else "optional"
    if package.hashes and (hashes := [{"alg": ALGORITHMS[kind], "content": value} for kind, value in package.hashes
                                      if kind in ALGORITHMS]):
        result["hashes"] = hashes
    if package.licenses:
        licenses = shared.licenses.get(package.licenses)
        if licenses is None:
            licenses = shared.licenses[package.licenses] = _licenses(package.licenses, version)
        result["licenses"] = licenses
    if package.copyright:
        result["copyright"] = package.copyright
    if package.cpes:
        result["cpe"] = package.cpes[0]
    if package.purl:
        result["purl"] = package.purl
    if (package.homepage or package.download or package.repository or package.file) and (
            references := _references(package, version)):
        result["externalReferences"] = references
    if properties := _properties(package, row.system, version):
        result["properties"] = properties
    if package.locations and version >= "1.5":
        evidence = shared.evidence.get(package.locations)
        if evidence is None:
            evidence = shared.evidence[package.locations] = _evidence(package, version)
        result["evidence"] = evidence
    return result


def _references(package: Package, version: str) -> list[dict[str, Any]]:
    references: list[dict[str, Any]] = [{"type": kind, "url": url} for kind, url in (
        ("website", package.homepage), ("vcs", package.repository),
        ("source-distribution", package.repository if version >= "1.6" else "")) if _ADDRESS.match(url)]
    where = package.download
    if package.file and not where and package.locations:
        place = package.locations[0]
        where = "file:///" + quote("!/".join(filter(None, (place.path, place.within))), safe=_SAFE, errors="replace")
    if _ADDRESS.match(where):
        deployed: dict[str, Any] = {"type": "distribution", "url": where}
        strong = [value for kind, value in package.hashes if kind == "sha512"]
        if strong:
            deployed["hashes"] = [{"alg": "SHA-512", "content": value} for value in strong]
        references.append(deployed)
    return references


def _properties(package: Package, system: bool, version: str) -> list[dict[str, str]]:
    properties: list[tuple[str, str]] = []
    if system and upstream.differs(package):
        properties += [(PREFIX + "source", package.source), (PREFIX + "sourceVersion", package.source_version)]
        kind, fields = upstream.syft_metadata(package)
        properties.append(("syft:package:metadataType", kind))
        properties += [(f"syft:metadata:{name}", value) for name, value in fields]
        properties += upstream.trivy_properties(package)
    if system and (module := upstream.module(package)):
        properties.append(("aquasecurity:trivy:Modularitylabel", module))
    if package.file:
        properties.append(("bsi:component:filename", package.file))
    if package.form:
        properties += _FORMS[package.form]
    if not all(map(is_expression, package.licenses)):  # the words behind each LicenseRef
        properties += [(PREFIX + "license", name) for name in package.licenses]
    if package.owner:
        properties.append((PREFIX + "owner", package.owner))
    if package.bundled_in:
        properties.append((PREFIX + "bundledIn", package.bundled_in))
    if package.scope:
        properties.append((PREFIX + "scope", package.scope))
    if package.declared:
        properties.append((PREFIX + "declared", "true"))
    if len(package.cpes) > 1:
        properties += [("syft:cpe23", cpe) for cpe in package.cpes[1:]]
    if version < "1.6":
        for number, place in enumerate(package.locations):
            properties.append((f"syft:location:{number}:path", "/" + place.path))
            if place.layer:
                properties.append((f"syft:location:{number}:layerID", place.layer))
    return [{"name": key, "value": value} for key, value in properties if value]


def _evidence(package: Package, version: str) -> dict[str, Any]:
    # Of an SBOM without places, nobody knows how its author came to it: there is no identity then.
    identity = _EVIDENT if any(place.evidence for place in package.locations) else _STATED
    if version == "1.5":
        return {"identity": identity[0], "occurrences": [{"location": place.path} for place in package.locations]}
    return {"identity": identity, "occurrences": [_occurrence(place) for place in package.locations]}


def _occurrence(place: Location) -> dict[str, Any]:
    context = f"layer {place.layer}" if place.layer else ""
    if place.within:
        context += f"\nwithin {_line(place.within)}"
    if place.evidence:
        context += f"\nevidence {_line(place.evidence)}"
    return {"location": place.path, "additionalContext": context.lstrip("\n")} if context else {"location": place.path}


def _line(text: str) -> str:
    return " ".join(text.splitlines())


def _licenses(names: tuple[str, ...], version: str) -> list[dict[str, Any]]:
    """Licences of the SPDX list; or, where one is no such identifier, one expression of all: the standard takes a list
    of licences or one expression, not both. What is not on the list is a LicenseRef (BSI TR-03183-2 2.1.0, 6.1).
    """
    declared = {"acknowledgement": "declared"} if version >= "1.6" else {}
    if all(map(is_identifier, names)):
        return [{"license": {"id": name, **declared}} for name in names]
    return [{"expression": combined(names)[0], **declared}]


_FORMS: Mapping[Form, tuple[tuple[str, str], ...]] = {
    "files": ((PREFIX + "form", "files"),), "part": ((PREFIX + "form", "part"),),
    **{form: tuple((f"bsi:component:{name}", value) for name, value in (
        ("executable", executable), ("archive", archive), ("structured", structured)))
       for form, executable, archive, structured in FORMS}}
"""BSI's taxonomy of properties is for components that are one file (TR-03183-2, 3.2.2)."""
_SAFE = "/!:@$&'()*+,;=~"
_STATED = [{"field": "purl", "confidence": 1, "methods": [{"technique": "manifest-analysis", "confidence": 1}]}]
_EVIDENT = [{"field": "purl", "confidence": 0.8, "methods": [{"technique": "binary-analysis", "confidence": 0.8}]}]
"""What its package manager, or its own metadata, says; and what was read out of a program."""


def _proven(catalog: Catalog) -> list[dict[str, Any]]:
    """What `--prove` says: the counts, and the first files that are not as their packages say."""
    proof = catalog.proof
    if proof is None:
        return []
    counts = ", ".join(f"{count} {state}" for state, count in proof.counts)
    return [{"name": PREFIX + "proof", "value": f"{proof.same} of {proof.stated} files as stated"
             + (f", {counts}" if counts else "")},
            *({"name": f"{PREFIX}proof:{entry.state}", "value": " ".join(
                part for part in (entry.path, entry.package, entry.layer) if part)}
              for entry in proof.differences[:_DIFFERENCES])]
