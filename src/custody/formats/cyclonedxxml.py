"""CycloneDX XML: the JSON documents of `cyclonedxwriter` in the order of the XML schemas, and read into their shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from custody.errors import UnsupportedError
from custody.formats import cyclonedx
from custody.formats.bom import Catalog
from custody.formats.xmltree import Element, parse
from custody.kit.digest import sha256

MARK = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?bom\b[^>]*cyclonedx\.org/schema/bom/")
_NAMESPACE = "http://cyclonedx.org/schema/bom/"
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_QUOTED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\r": "&#13;",
                         "\t": "&#9;"})


def write(document: dict[str, Any]) -> bytes:
    """The XML of a document that `cyclonedxwriter.write` made."""
    head = (f'<bom xmlns="{_NAMESPACE}{document["specVersion"]}" serialNumber={_quoted(document["serialNumber"])} '
            f'version="{document["version"]}">')
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', head, *_metadata(document["metadata"]), "  <components>"]
    for component in document["components"]:
        lines += _component(component, "    ")
    lines += ["  </components>", "  <dependencies>"]
    for edge in document["dependencies"]:
        lines.append(f"    <dependency ref={_quoted(edge['ref'])}>")
        lines += [f"      <dependency ref={_quoted(ref)}/>" for ref in edge.get("dependsOn", ())]
        lines.append("    </dependency>")
    lines += ["  </dependencies>", "  <compositions>"]
    for composition in document["compositions"]:
        lines += ["    <composition>", f"      <aggregate>{composition['aggregate']}</aggregate>"]
        for members, member in (("assemblies", "assembly"), ("dependencies", "dependency")):
            if members in composition:
                lines += [f"      <{members}>", *(
                    f"        <{member} ref={_quoted(ref)}/>" for ref in composition[members]), f"      </{members}>"]
        lines.append("    </composition>")
    return ("\n".join([*lines, "  </compositions>", "</bom>"]) + "\n").encode()


def _metadata(metadata: dict[str, Any]) -> Iterator[str]:
    yield "  <metadata>"
    yield f"    <timestamp>{metadata['timestamp']}</timestamp>"
    if "lifecycles" in metadata:
        yield "    <lifecycles>"
        for lifecycle in metadata["lifecycles"]:
            yield f"      <lifecycle><phase>{_escaped(lifecycle['phase'])}</phase></lifecycle>"
        yield "    </lifecycles>"
    yield "    <tools>"
    tools = metadata["tools"]
    if isinstance(tools, dict):
        yield "      <components>"
        for tool in tools["components"]:
            yield from _component(tool, "        ")
        yield "      </components>"
    else:
        for tool in tools:
            yield f"      <tool>{_elements(tool, 'name', 'version')}</tool>"
    yield "    </tools>"
    if "authors" in metadata:
        yield f"    <authors>{_people(metadata['authors'])}</authors>"
    yield from _component(metadata["component"], "    ")
    if "supplier" in metadata:
        yield f"    <supplier>{_organization(metadata['supplier'])}</supplier>"
    yield "  </metadata>"


def _component(component: dict[str, Any], indent: str) -> Iterator[str]:
    """Its parts in the order of the schema, which is a sequence."""
    ref = f" bom-ref={_quoted(component['bom-ref'])}" if "bom-ref" in component else ""
    yield f'{indent}<component type="{component["type"]}"{ref}>'
    inner = indent + "  "
    for name in ("supplier", "manufacturer"):
        if name in component:
            yield f"{inner}<{name}>{_organization(component[name])}</{name}>"
    if "authors" in component:
        yield f"{inner}<authors>{_people(component['authors'])}</authors>"
    for name in ("author", "group", "name", "version", "description", "scope"):
        if name in component:
            yield f"{inner}<{name}>{_escaped(component[name])}</{name}>"
    if "hashes" in component:
        yield inner + _hashes(component["hashes"])
    if "licenses" in component:
        yield f"{inner}<licenses>{''.join(map(_license, component['licenses']))}</licenses>"
    for name in ("copyright", "cpe", "purl"):
        if name in component:
            yield f"{inner}<{name}>{_escaped(component[name])}</{name}>"
    if "externalReferences" in component:
        yield f"{inner}<externalReferences>" + "".join(
            f"<reference type={_quoted(entry['type'])}><url>{_escaped(entry['url'])}</url>"
            f"{_hashes(entry['hashes']) if 'hashes' in entry else ''}</reference>"
            for entry in component["externalReferences"]) + "</externalReferences>"
    if component.get("properties"):
        yield f"{inner}<properties>"
        for entry in component["properties"]:
            yield f"{inner}  <property name={_quoted(entry['name'])}>{_escaped(entry['value'])}</property>"
        yield f"{inner}</properties>"
    if "components" in component:
        yield f"{inner}<components>"
        for below in component["components"]:
            yield from _component(below, inner + "  ")
        yield f"{inner}</components>"
    if "evidence" in component:
        yield from _evidence(component["evidence"], inner)
    yield f"{indent}</component>"


def _hashes(entries: list[dict[str, str]]) -> str:
    return "<hashes>" + "".join(f"<hash alg={_quoted(entry['alg'])}>{_escaped(entry['content'])}</hash>"
                                for entry in entries) + "</hashes>"


def _evidence(evidence: dict[str, Any], indent: str) -> Iterator[str]:
    yield f"{indent}<evidence>"
    identities = evidence["identity"]
    for identity in identities if isinstance(identities, list) else [identities]:
        methods = "".join(f"<method>{_elements(method, 'technique', 'confidence')}</method>"
                          for method in identity["methods"])
        yield (f"{indent}  <identity>{_elements(identity, 'field', 'confidence')}<methods>{methods}</methods>"
               "</identity>")
    yield f"{indent}  <occurrences>" + "".join(
        f"<occurrence>{_elements(place, 'location', 'additionalContext')}</occurrence>"
        for place in evidence["occurrences"]) + "</occurrences>"
    yield f"{indent}</evidence>"


def _license(entry: dict[str, Any]) -> str:
    license_ = entry.get("license", entry)
    declared = f' acknowledgement="{license_["acknowledgement"]}"' if "acknowledgement" in license_ else ""
    if "expression" in entry:
        return f"<expression{declared}>{_escaped(entry['expression'])}</expression>"
    return f"<license{declared}>{_elements(license_, 'id', 'name')}</license>"


def _organization(entry: dict[str, Any]) -> str:
    contacts = "".join(f"<contact>{_elements(contact, 'name', 'email')}</contact>"
                       for contact in entry.get("contact", ()))
    return _elements(entry, "name") + "".join(f"<url>{_escaped(url)}</url>" for url in entry.get("url", ())) + contacts


def _people(people: list[dict[str, str]]) -> str:
    return "".join(f"<author>{_elements(person, 'name', 'email')}</author>" for person in people)


def _elements(entry: dict[str, Any], *names: str) -> str:
    return "".join(f"<{name}>{_escaped(str(entry[name]))}</{name}>" for name in names if name in entry)


def _escaped(text: str) -> str:
    if _ILLEGAL.search(text):
        text = _ILLEGAL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted(text: str) -> str:
    if _ILLEGAL.search(text):
        text = _ILLEGAL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
    return f'"{text.translate(_QUOTED)}"'


def read(data: bytes, where: str = "SBOM", *, excluded: bool = True) -> Catalog:
    """As `cyclonedx.read`. Raises MalformedError, UnsupportedError."""
    root = parse(data, where)
    if root.name != "bom" or not root.namespace.startswith(_NAMESPACE):
        raise UnsupportedError(where, f"is no CycloneDX document, but {root.name} of {root.namespace!r}")
    document: dict[str, Any] = {"bomFormat": "CycloneDX", "specVersion": root.namespace.removeprefix(_NAMESPACE)}
    if "serialNumber" in root.attributes:
        document["serialNumber"] = root.attributes["serialNumber"]
    for child in root.children:
        document[child.name] = _TOP.get(child.name, _anything)(child)
    return cyclonedx.read_document(document, sha256(data), where, excluded=excluded)


def _anything(element: Element) -> Any:
    return element.text or {child.name: child.text for child in element.children}


def _read_metadata(element: Element) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for child in element.children:
        if child.name == "tools":
            listed = child.child("components")
            result["tools"] = [_texts(tool) for tool in child.children if tool.name == "tool"] if listed is None else {
                "components": [_read_component(tool) for tool in listed.children]}
        elif child.name == "component":
            result["component"] = _read_component(child)
        elif child.name in ("authors", "lifecycles"):
            result[child.name] = [_texts(entry) for entry in child.children]
        elif child.name == "supplier":
            result["supplier"] = _read_organization(child)
        else:
            result[child.name] = _anything(child)
    return result


def _read_components(element: Element) -> list[dict[str, Any]]:
    return [_read_component(child) for child in element.children]


def _read_component(element: Element) -> dict[str, Any]:
    result: dict[str, Any] = dict(element.attributes)
    for child in element.children:
        result[child.name] = _IN_COMPONENT.get(child.name, _anything)(child)
    return result


def _read_organization(element: Element) -> dict[str, Any]:
    return {"name": element.value("name"),
            "contact": [_texts(child) for child in element.children if child.name == "contact"]}


def _texts(element: Element) -> dict[str, str]:
    return {child.name: child.text for child in element.children}


def _read_licenses(element: Element) -> list[dict[str, Any]]:
    return [{"expression": child.text} if child.name == "expression" else {"license": _texts(child)}
            for child in element.children]


def _read_evidence(element: Element) -> dict[str, Any]:
    occurrences = element.child("occurrences")
    return {} if occurrences is None else {"occurrences": [_texts(child) for child in occurrences.children]}


def _read_dependencies(element: Element) -> list[dict[str, Any]]:
    return [{"ref": child.attributes.get("ref", ""),
             "dependsOn": [needed.attributes.get("ref", "") for needed in child.children]}
            for child in element.children]


def _read_compositions(element: Element) -> list[dict[str, Any]]:
    return [{"aggregate": child.value("aggregate")} for child in element.children]


_IN_COMPONENT: dict[str, Callable[[Element], Any]] = {
    "supplier": _read_organization, "manufacturer": _read_organization,
    "authors": lambda element: [_texts(child) for child in element.children],
    "hashes": lambda element: [{"alg": child.attributes.get("alg", ""), "content": child.text}
                               for child in element.children],
    "licenses": _read_licenses, "components": _read_components, "evidence": _read_evidence,
    "externalReferences": lambda element: [{"type": child.attributes.get("type", ""), "url": child.value("url")}
                                           for child in element.children],
    "properties": lambda element: [{"name": child.attributes.get("name", ""), "value": child.text}
                                   for child in element.children]}
_TOP: dict[str, Callable[[Element], Any]] = {
    "metadata": _read_metadata, "components": _read_components, "dependencies": _read_dependencies,
    "compositions": _read_compositions}
