"""CycloneDX 1.6 JSON (ECMA-424): written from a catalog, and read from any tool's 1.2 to 1.7 documents."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from custody.ecosystems import of_type
from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats import purl
from custody.formats.bom import Catalog, Distribution, Location, Package, Unknown, from_purl, parse_unknown
from custody.formats.licenses import is_expression, is_identifier
from custody.kit import strictjson
from custody.kit.canonical import canonical
from custody.kit.clock import format_rfc3339
from custody.kit.digest import sha256

_MAX_COMPONENTS = 500_000
_PREFIX = "custody:"
_READABLE = ("1.2", "1.3", "1.4", "1.5", "1.6", "1.7")
_ALGORITHMS = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}


def write(catalog: Catalog, now: datetime, tool_version: str) -> dict[str, Any]:
    """The document as plain data; the same catalog and time give the same document, serial number included."""
    subject = f"{catalog.kind}:{catalog.digest}"
    packages = sorted(catalog.packages, key=lambda package: package.purl)
    by_purl = {package.purl: _component(package) for package in packages}
    components = []
    for package in packages:
        # Trivy takes a document with two kinds of distribution packages for broken: copies stand inside their holder.
        if package.copied and package.bundled_in in by_purl:
            by_purl[package.bundled_in].setdefault("components", []).append(by_purl[package.purl])
        else:
            components.append(by_purl[package.purl])
    if catalog.distribution:
        components.insert(0, {"bom-ref": "os", "type": "operating-system", "name": catalog.distribution.id,
                              "version": catalog.distribution.version, "description": catalog.distribution.name})
    known = {package.purl for package in catalog.packages}
    dependencies = [{"ref": subject, "dependsOn": sorted(component["bom-ref"] for component in components)}]
    dependencies += [{"ref": package.purl, "dependsOn": sorted(set(package.requires) & known)}
                     for package in packages if package.requires]
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", "bomFormat": "CycloneDX", "specVersion": "1.6",
        "serialNumber": "", "version": 1,
        "metadata": {
            "timestamp": format_rfc3339(now.replace(microsecond=0)),
            "tools": {"components": [{"type": "application", "name": "custody", "version": tool_version}]},
            "component": {
                "bom-ref": subject, "type": "container", "name": catalog.name, "version": catalog.digest,
                "properties": [*({"name": _PREFIX + "layer", "value": layer.digest} for layer in catalog.layers),
                               *({"name": _PREFIX + "unknown", "value": str(unknown)}
                                 for unknown in catalog.unknowns)]}},
        "components": components, "dependencies": dependencies,
        "compositions": [{"aggregate": "incomplete" if catalog.unknowns else "unknown", "assemblies": [subject]}]}
    document["serialNumber"] = "urn:uuid:" + str(uuid.UUID(hex=sha256(canonical(document))[7:39], version=5))
    return document


def _component(package: Package) -> dict[str, Any]:
    group, name = of_type(package.type).split(package.name)
    result: dict[str, Any] = {"bom-ref": package.purl, "type": "library", "name": name}
    if group:
        result["group"] = group
    if package.version:
        result["version"] = package.version
    if package.supplier:
        result["supplier"] = {"name": package.supplier}
    if package.hashes:
        result["hashes"] = [{"alg": _ALGORITHMS[kind], "content": value} for kind, value in package.hashes
                            if kind in _ALGORITHMS]
    if len(package.licenses) == 1 and not is_identifier(package.licenses[0]) and is_expression(package.licenses[0]):
        result["licenses"] = [{"expression": package.licenses[0]}]
    elif package.licenses:
        result["licenses"] = [{"license": {"id" if is_identifier(name) else "name": name}} for name in package.licenses]
    result["purl"] = package.purl
    properties = [("source", package.source), ("sourceVersion", package.source_version), ("owner", package.owner),
                  ("bundledIn", package.bundled_in)]
    if any(value for _, value in properties):
        result["properties"] = [{"name": _PREFIX + key, "value": value} for key, value in properties if value]
    if package.locations:
        result["evidence"] = {"occurrences": [
            {"location": place.path, "additionalContext": f"layer {place.layer}"} if place.layer
            else {"location": place.path} for place in package.locations]}
    return result


def read(data: bytes, where: str = "SBOM", *, excluded: bool = True) -> Catalog:
    """The packages that have a package URL; components without one, and what the SBOM itself says that it does not
    list, are counted. Without `excluded`, components of that scope and those in them are left out: they were there for
    the build or for tests. Raises MalformedError, UnsupportedError.
    """
    document = strictjson.loads(data, where)
    if not isinstance(document, dict) or document.get("bomFormat") != "CycloneDX":
        raise MalformedError(where, got="something else", expected='a CycloneDX document, with "bomFormat"')
    if document.get("specVersion") not in _READABLE:
        raise UnsupportedError(f"{where}: specVersion", f"{document.get('specVersion')!r} is not one of {_READABLE}")
    subject = _object(_object(document, "metadata"), "component")
    components = list(_flat(document.get("components"), f"{where}: components", excluded))
    system = next((component for component in components if component.get("type") == "operating-system"), None)
    distribution = None
    if system is not None:
        distribution = Distribution(id=_text(system, "name"), version=_text(system, "version"),
                                    name=_text(system, "description") or _text(system, "name"))
    edges = {edge["ref"]: edge["dependsOn"] for edge in _list(document, "dependencies")
             if isinstance(edge, dict) and isinstance(edge.get("ref"), str) and isinstance(edge.get("dependsOn"), list)}
    spelled = {component["bom-ref"]: _canonical(component["purl"]) for component in components
               if isinstance(component.get("bom-ref"), str) and isinstance(component.get("purl"), str)}
    packages: dict[str, Package] = {}
    without = []
    for component in components:
        try:
            package = _package(component, distribution, edges, spelled) if component.get("purl") else None
        except CustodyError:
            package = None
        if package is None and component.get("type") not in ("operating-system", "file"):
            without.append(_text(component, "name"))
        elif package is not None and package.purl not in packages:
            packages[package.purl] = package
    unknowns = [unknown for stated in _list(subject, "properties") if isinstance(stated, dict)
                and stated.get("name") == _PREFIX + "unknown" and (unknown := parse_unknown(_text(stated, "value")))]
    if without:
        unknowns.append(Unknown(kind="component without a package URL", count=len(without),
                                examples=tuple(without[:3])))
    incomplete = sum(isinstance(composition, dict) and str(composition.get("aggregate")).startswith("incomplete")
                     for composition in _list(document, "compositions"))
    if incomplete and not unknowns:  # another tool's: it does not say of what there is more
        unknowns.append(Unknown(kind="composition that the SBOM calls incomplete", count=incomplete))
    return Catalog(name=_text(subject, "name") or where, digest=sha256(data), kind="sbom", distribution=distribution,
                   packages=tuple(packages.values()), unknowns=tuple(unknowns))


def _canonical(text: str) -> str:
    try:
        return str(purl.parse(text))
    except CustodyError:
        return text


def _flat(value: Any, where: str, excluded: bool, depth: int = 0) -> Iterator[dict[str, Any]]:
    if value is None:
        return
    if not isinstance(value, list) or len(value) > _MAX_COMPONENTS or depth > 32:
        raise MalformedError(where, got=value, expected=f"a list of at most {_MAX_COMPONENTS} components")
    for component in value:
        if not isinstance(component, dict):
            raise MalformedError(where, got=component, expected="a component")
        if excluded or component.get("scope") != "excluded":
            yield component
            yield from _flat(component.get("components"), where, excluded, depth + 1)


def _package(component: dict[str, Any], distribution: Distribution | None, edges: dict[str, list[Any]],
             spelled: dict[str, str]) -> Package:
    properties = {str(entry.get("name")): str(entry.get("value")) for entry in _list(component, "properties")
                  if isinstance(entry, dict)}
    package = from_purl(
        component.get("purl"), distribution, version=_text(component, "version"),
        source=properties.get(_PREFIX + "source") or properties.get("aquasecurity:trivy:SrcName") or "",
        source_version=properties.get(_PREFIX + "sourceVersion") or _trivy_version(properties))
    licenses = []
    for entry in _list(component, "licenses"):
        if isinstance(entry, dict):
            license_ = _object(entry, "license")
            licenses.append(entry.get("expression") or license_.get("id") or license_.get("name") or "")
    evidence = _object(component, "evidence")
    places = tuple(Location(_text(entry, "location"), _text(entry, "additionalContext").removeprefix("layer "))
                   for entry in _list(evidence, "occurrences") if isinstance(entry, dict))
    supplier = _object(component, "supplier")
    hashes = tuple((kind, _text(entry, "content")) for entry in _list(component, "hashes") if isinstance(entry, dict)
                   for kind, spelling in _ALGORITHMS.items() if spelling == entry.get("alg"))
    requires = (spelled.get(ref) for ref in edges.get(_text(component, "bom-ref"), ()) if isinstance(ref, str))
    return msgspec.structs.replace(
        package, supplier=_text(supplier, "name"), hashes=hashes, locations=places,
        licenses=tuple(text for text in licenses if isinstance(text, str) and text),
        requires=tuple(ref for ref in requires if ref), owner=properties.get(_PREFIX + "owner", ""),
        bundled_in=properties.get(_PREFIX + "bundledIn", ""))


def _trivy_version(properties: dict[str, str]) -> str:
    part = {key: properties.get(f"aquasecurity:trivy:Src{key}", "") for key in ("Epoch", "Version", "Release")}
    if not part["Version"]:
        return ""
    return (f"{part['Epoch']}:" if part["Epoch"] not in ("", "0") else "") + part["Version"] + (
        f"-{part['Release']}" if part["Release"] else "")


def _object(entry: dict[str, Any], key: str) -> dict[str, Any]:
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _list(entry: dict[str, Any], key: str) -> list[Any]:
    value = entry.get(key)
    return value if isinstance(value, list) else []
