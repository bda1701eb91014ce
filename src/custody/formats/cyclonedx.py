"""CycloneDX (ECMA-424): read from any tool's 1.2 to 1.7 documents, JSON or XML; `cyclonedxwriter` writes them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from custody.ecosystems import heard
from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats import purl
from custody.formats.bom import (
    Catalog,
    Coverage,
    Distribution,
    Document,
    Form,
    Location,
    Package,
    Unknown,
    from_purl,
    parse_unknown,
)
from custody.formats.cyclonedxwriter import ALGORITHMS, FORMS, PREFIX, write
from custody.formats.licenses import combined, is_expression, is_identifier
from custody.formats.purl import PackageUrl
from custody.kit import strictjson
from custody.kit.digest import sha256
from custody.kit.members import list_of, object_of, text_of

__all__ = ["read", "read_document", "write"]

_MAX_COMPONENTS = 500_000
_READABLE = ("1.2", "1.3", "1.4", "1.5", "1.6", "1.7")
_TOP = frozenset(("$schema", "bomFormat", "specVersion", "serialNumber", "version", "metadata", "components",
                  "dependencies", "compositions"))
_METADATA = frozenset(("timestamp", "tools", "authors", "component", "supplier", "lifecycles"))
_COMPONENT = frozenset(("bom-ref", "type", "name", "group", "version", "supplier", "author", "authors", "description",
                        "scope", "hashes", "licenses", "copyright", "cpe", "purl", "externalReferences", "properties",
                        "evidence", "components", "publisher", "manufacturer"))
"""What is read of each; anything else is counted as unread."""
_REFERENCES = {"website": "homepage", "distribution": "download", "source-distribution": "repository",
               "vcs": "repository"}
_KINDS = {spelling: kind for kind, spelling in ALGORITHMS.items()}
_FILE = "bsi:component:filename"
_FORMS: dict[tuple[str, ...], Form] = {tuple(row[1:]): row[0] for row in FORMS}
_PROPERTIES = (PREFIX, "syft:", "aquasecurity:trivy:", _FILE)
_OF_FORM = tuple(f"bsi:component:{name}" for name in ("executable", "archive", "structured"))
_COVERAGE = re.compile(r"([0-9]{1,12}) of ([0-9]{1,12}) programs, ([0-9]{1,18}) of ([0-9]{1,18}) bytes\Z")
_SCOPES = {"excluded": "dev", "optional": "optional"}


def read(data: bytes, where: str = "SBOM", *, excluded: bool = True) -> Catalog:
    """The packages that have a package URL; components without one, and what the SBOM itself says that it does not
    list, are counted. Without `excluded`, components of that scope and those in them are left out: they were there for
    the build or for tests. Raises MalformedError, UnsupportedError.
    """
    document = strictjson.loads(data, where)
    return read_document(document, sha256(data), where, excluded=excluded)


def read_document(document: Any, digest: str, where: str = "SBOM", *, excluded: bool = True) -> Catalog:
    """As `read`, of the plain data of a JSON document, or of an XML document in its shape."""
    if not isinstance(document, dict) or document.get("bomFormat") != "CycloneDX":
        raise MalformedError(where, got="something else", expected='a CycloneDX document, with "bomFormat"')
    if document.get("specVersion") not in _READABLE:
        raise UnsupportedError(f"{where}: specVersion", f"{document.get('specVersion')!r} is not one of {_READABLE}")
    metadata = object_of(document, "metadata")
    subject = object_of(metadata, "component")
    components = list(_flat(document.get("components"), f"{where}: components", excluded))
    system = next((component for component in components if component.get("type") == "operating-system"), None)
    distribution = None
    if system is not None:
        distribution = Distribution(id=heard(text_of(system, "name")), version=text_of(system, "version"),
                                    name=text_of(system, "description") or text_of(system, "name"))
    edges = {edge["ref"]: edge["dependsOn"] for edge in list_of(document, "dependencies")
             if isinstance(edge, dict) and isinstance(edge.get("ref"), str) and isinstance(edge.get("dependsOn"), list)}
    identities = [_identity(component) for component in components]
    spelled = {component["bom-ref"]: identity or component["purl"]
               for component, identity in zip(components, identities, strict=True)
               if isinstance(component.get("bom-ref"), str) and isinstance(component.get("purl"), str)}
    packages: dict[str, Package] = {}
    unidentified: list[Package] = []
    unread = Counter(f"{key}" for key in document.keys() - _TOP)
    unread.update(f"metadata.{key}" for key in metadata.keys() - _METADATA)
    for component, identity in zip(components, identities, strict=True):
        kind = component.get("type")
        _count(component, unread)
        if identity is not None:
            package = _package(component, identity, distribution, edges, spelled)
            if package.purl not in packages:
                packages[package.purl] = package
        elif kind == "file":
            unread["components[] of type file"] += 1
        elif kind != "operating-system":
            unidentified.append(_unidentified(component))
    parts = [component for component in components if component.get("type") != "operating-system"]
    unknowns = [parse_unknown(text_of(stated, "value")) for stated in list_of(subject, "properties")
                if isinstance(stated, dict) and stated.get("name") == PREFIX + "unknown"]
    if unidentified:
        unknowns = [unknown for unknown in unknowns if unknown.kind != _WITHOUT]
        unknowns.append(Unknown(kind=_WITHOUT, count=len(unidentified),
                                examples=tuple(package.name for package in unidentified[:3])))
    incomplete = sum(isinstance(composition, dict) and str(composition.get("aggregate")).startswith("incomplete")
                     for composition in list_of(document, "compositions"))
    if incomplete and not unknowns:  # another tool's: it does not say of what there is more
        unknowns.append(Unknown(kind="composition that the SBOM calls incomplete", count=incomplete))
    stated = (_coverage(text_of(entry, "value")) for entry in list_of(subject, "properties")
              if isinstance(entry, dict) and entry.get("name") == PREFIX + "coverage")
    coverage = next(filter(None, stated), None)
    origin = next((text_of(entry, "url") for entry in list_of(subject, "externalReferences")
                   if isinstance(entry, dict) and entry.get("type") == "vcs"), "")
    return Catalog(name=text_of(subject, "name") or where, origin=origin, coverage=coverage,
                   digest=digest, kind="sbom", distribution=distribution,
                   packages=tuple(packages.values()), unknowns=tuple(unknowns), unidentified=tuple(unidentified),
                   document=msgspec.structs.replace(
                       _document(document, metadata, subject, unread),
                       graph=sum(isinstance(edge, dict) and isinstance(ref := edge.get("ref"), str) and ref in spelled
                                 for edge in list_of(document, "dependencies")),
                       unreached=tuple(_called(part) for part in parts if not _reached(part)),
                       unlicensed=tuple(_called(part) for part in parts if not _licensed(part))))


_MAIL, _PAGE = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z"), re.compile(r"https?://\S+\Z")
_LICENSE = PREFIX + "license"
_WITHOUT = "component without a package URL"


def _coverage(text: str) -> Coverage | None:
    match = _COVERAGE.match(text)
    return Coverage(identified=int(match[1]), programs=int(match[2]), identified_size=int(match[3]),
                    size=int(match[4])) if match else None


def _document(document: dict[str, Any], metadata: dict[str, Any], subject: dict[str, Any],
              unread: Counter[str]) -> Document:
    tools: list[Any] = list_of(metadata, "tools")
    if isinstance(metadata.get("tools"), dict):
        tools = [*list_of(metadata["tools"], "components"), *list_of(metadata["tools"], "services")]
    supplier = object_of(subject, "supplier") or object_of(metadata, "supplier")
    phases = [text_of(phase, "phase") for phase in list_of(metadata, "lifecycles") if isinstance(phase, dict)]
    return Document(
        format=f"CycloneDX {document['specVersion']}", identifier=text_of(document, "serialNumber"),
        created=text_of(metadata, "timestamp"), supplier=text_of(supplier, "name"), version=text_of(subject, "version"),
        authors=tuple(name for author in list_of(metadata, "authors") if isinstance(author, dict)
                      and (name := _person(author))),
        tools=tuple(f"{text_of(tool, 'name')} {text_of(tool, 'version')}".strip() for tool in tools
                    if isinstance(tool, dict) and text_of(tool, "name")),
        layers=tuple(text_of(entry, "value") for entry in list_of(subject, "properties")
                     if isinstance(entry, dict) and entry.get("name") == PREFIX + "layer"),
        complete=", ".join(dict.fromkeys(text_of(entry, "aggregate") for entry in list_of(document, "compositions")
                                         if isinstance(entry, dict) and entry.get("aggregate"))),
        about={"container": "container", "file": "directory"}.get(text_of(subject, "type"), ""),
        digest=next((f"{kind}:{text_of(entry, 'content')}" for entry in list_of(subject, "hashes")
                     if isinstance(entry, dict) for kind, spelling in ALGORITHMS.items()
                     if spelling == entry.get("alg")), ""),
        phase=phases[0] if phases else "", unread=tuple(sorted(unread.items())))


def _called(component: dict[str, Any]) -> str:
    return text_of(component, "purl") or f"{text_of(component, 'name')} {text_of(component, 'version')}".strip()


def _reached(component: dict[str, Any]) -> bool:
    who = [object_of(component, "manufacturer"), object_of(component, "supplier"),
           *(entry for entry in list_of(component, "authors") if isinstance(entry, dict))]
    return any(_MAIL.match(text_of(person, "email")) for entry in who
               for person in (entry, *(part for part in list_of(entry, "contact") if isinstance(part, dict)))) or any(
        isinstance(page, str) and _PAGE.match(page) for entry in who for page in list_of(entry, "url"))


def _licensed(component: dict[str, Any]) -> bool:
    entries = list_of(component, "licenses")
    return bool(entries) and all(isinstance(entry, dict) and (
        is_expression(text) if (text := text_of(entry, "expression"))
        else is_identifier(text_of(object_of(entry, "license"), "id"))) for entry in entries)


def _person(entry: dict[str, Any]) -> str:
    name, mail = text_of(entry, "name"), text_of(entry, "email")
    return f"{name} <{mail}>" if name and mail else name or mail


def _organization(entry: dict[str, Any]) -> str:
    contacts = [text_of(contact, "email") for contact in list_of(entry, "contact") if isinstance(contact, dict)]
    return _person({"name": entry.get("name"), "email": next(filter(None, contacts), None)})


def _count(component: dict[str, Any], unread: Counter[str]) -> None:
    """What of a component a catalog does not keep."""
    for key in component.keys() - _COMPONENT:
        unread[f"components[].{key}"] += 1
    for entry in list_of(component, "externalReferences"):
        if isinstance(entry, dict) and text_of(entry, "type") not in _REFERENCES:
            unread[f"components[].externalReferences of type {text_of(entry, 'type')}"] += 1
    if "properties" in component:
        stated = [(text_of(entry, "name"), text_of(entry, "value")) for entry in list_of(component, "properties")
                  if isinstance(entry, dict)]
        kept = (*_PROPERTIES, *_OF_FORM) if _form(dict(stated)) else _PROPERTIES
        for name, _ in stated:
            if not name.startswith(kept):
                unread[f"components[].properties {name}"] += 1
    if component.get("type") not in ("library", "operating-system", "file"):
        unread[f"components[].type {text_of(component, 'type')}"] += 1


def _unidentified(component: dict[str, Any]) -> Package:
    group, name = text_of(component, "group"), text_of(component, "name")
    return msgspec.structs.replace(
        _described(Package(type="", name=f"{group}/{name}" if group else name, version=text_of(component, "version"),
                           purl=""), component, {}), requires=())


def _identity(component: dict[str, Any]) -> PackageUrl | None:
    """Its package URL; None where it has none that is one."""
    text = component.get("purl")
    try:
        return purl.parse(text, "package URL") if text else None
    except CustodyError:
        return None


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


def _package(component: dict[str, Any], identity: PackageUrl, distribution: Distribution | None,
             edges: dict[str, list[Any]], spelled: dict[str, PackageUrl | str]) -> Package:
    properties = {str(entry.get("name")): str(entry.get("value")) for entry in list_of(component, "properties")
                  if isinstance(entry, dict)}
    package = from_purl(
        identity, distribution, version=text_of(component, "version"),
        source=properties.get(PREFIX + "source") or properties.get("aquasecurity:trivy:SrcName") or "",
        source_version=properties.get(PREFIX + "sourceVersion") or _trivy_version(properties))
    requires = tuple(str(spelled[ref]) for ref in edges.get(text_of(component, "bom-ref"), ()) if isinstance(ref, str)
                     and spelled.get(ref))
    if properties or requires:
        package = msgspec.structs.replace(
            package, requires=requires, owner=properties.get(PREFIX + "owner", ""),
            bundled_in=properties.get(PREFIX + "bundledIn", ""),
            declared=properties.get(PREFIX + "declared") == "true")
    return _described(package, component, properties)


def _described(package: Package, component: dict[str, Any], properties: dict[str, str]) -> Package:
    """What is said of a component beside its package URL."""
    said: dict[str, Any] = {name: text for name in ("description", "copyright") if (text := text_of(component, name))}
    if supplier := (_organization(object_of(component, "supplier"))
                    or _organization(object_of(component, "manufacturer")) or text_of(component, "publisher")):
        said["supplier"] = supplier
    if "licenses" in component:
        licenses = [(entry.get("expression") or (name := object_of(entry, "license")).get("id") or name.get("name"))
                    for entry in list_of(component, "licenses") if isinstance(entry, dict)]
        said["licenses"] = tuple(text for text in licenses if isinstance(text, str) and text)
        words = tuple(text_of(entry, "value") for entry in list_of(component, "properties")
                      if isinstance(entry, dict) and entry.get("name") == _LICENSE)
        if words and (combined(words)[0],) == said["licenses"]:
            said["licenses"] = words
    if "hashes" in component:
        said["hashes"] = tuple((_KINDS[kind], text_of(entry, "content")) for entry in list_of(component, "hashes")
                               if isinstance(entry, dict) and isinstance(kind := entry.get("alg"), str)
                               and kind in _KINDS)
    if "externalReferences" in component:
        said |= {_REFERENCES[kind]: url for entry in list_of(component, "externalReferences")
                 if isinstance(entry, dict) and isinstance(kind := entry.get("type"), str) and kind in _REFERENCES
                 and not ((url := text_of(entry, "url")).startswith("file:") and _FILE in properties)}
    authors = [_person(entry) for entry in list_of(component, "authors") if isinstance(entry, dict)]
    if author := ", ".join(filter(None, authors)) or text_of(component, "author"):
        said["author"] = author
    cpes = [text_of(component, "cpe"), *(text_of(entry, "value") for entry in list_of(component, "properties")
                                       if isinstance(entry, dict) and entry.get("name") == "syft:cpe23")]
    if any(cpes):
        said["cpes"] = tuple(filter(None, cpes))
    if scope := properties.get(PREFIX + "scope") or _SCOPES.get(text_of(component, "scope"), ""):
        said["scope"] = scope
    if properties:
        said |= {"file": properties.get(_FILE, ""), "form": _form(properties)}
    return msgspec.structs.replace(package, locations=_places(component, properties), **said)


def _form(properties: dict[str, str]) -> Form:
    stated = properties.get(PREFIX + "form")
    if stated in ("files", "part"):
        return "files" if stated == "files" else "part"
    return _FORMS.get(tuple(properties.get(name, "") for name in _OF_FORM), "")


def _places(component: dict[str, Any], properties: dict[str, str]) -> tuple[Location, ...]:
    places = []
    number = 0
    while path := properties.get(f"syft:location:{number}:path"):
        places.append(Location(path.lstrip("/"), properties.get(f"syft:location:{number}:layerID", "")))
        number += 1
    if places:
        return tuple(places)
    for entry in list_of(object_of(component, "evidence"), "occurrences"):
        if isinstance(entry, dict):
            context = dict(line.partition(" ")[::2] for line in text_of(entry, "additionalContext").splitlines())
            places.append(Location(text_of(entry, "location"), context.get("layer", ""), context.get("within", ""),
                                   context.get("evidence", "")))
    return tuple(places)


def _trivy_version(properties: dict[str, str]) -> str:
    part = {key: properties.get(f"aquasecurity:trivy:Src{key}", "") for key in ("Epoch", "Version", "Release")}
    if not part["Version"]:
        return ""
    return (f"{part['Epoch']}:" if part["Epoch"] not in ("", "0") else "") + part["Version"] + (
        f"-{part['Release']}" if part["Release"] else "")
