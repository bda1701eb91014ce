"""BSI TR-03183-2 2.1.0 asked of a CycloneDX document as it lies there, without custody's own reader or `sbom score`.

Each row says how many of how many have it. Section 4: formats. 5.2.1: fields of the SBOM; 5.2.2: of each component;
5.2.3, 5.2.4: what must be there where it exists. 3.1, 8.1: no vulnerabilities; dependencies with how complete they are.
A component that is no single file (3.2.2) has no file's fields: `custody:form` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")
_PAGE = re.compile(r"https?://[^\s]+\Z")
_OPERATORS = frozenset(("AND", "OR", "WITH"))
Rows = Mapping[str, tuple[int, int]]


def components(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    def below(listed: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        for component in listed:
            if component["type"] != "operating-system":
                yield component
            yield from below(component.get("components", []))

    return list(below(document.get("components", [])))


def rows(document: Mapping[str, Any]) -> Rows:
    listed = components(document)
    files = [component for component in listed if _property(component, "custody:form") not in ("files", "part")]
    metadata = document.get("metadata", {})
    told = {entry["ref"] for entry in document.get("dependencies", [])}
    judged = {ref for entry in document.get("compositions", []) for ref in entry.get("dependencies", [])}

    def of(among: list[Mapping[str, Any]], holds: Any) -> tuple[int, int]:
        return sum(bool(holds(component)) for component in among), len(among)

    def one(holds: object) -> tuple[int, int]:
        return int(bool(holds)), 1

    return {
        "4 format": one(document.get("bomFormat") == "CycloneDX" and tuple(
            map(int, document.get("specVersion", "0.0").split("."))) >= (1, 6)),
        "5.2.1 creator": one(any(map(_reached, [*metadata.get("authors", []), metadata.get("manufacturer", {})]))),
        "5.2.1 timestamp": one(_moment(metadata.get("timestamp", ""))),
        "5.2.2 component creator": of(listed, lambda component: any(map(_reached, (
            component.get("manufacturer", {}), component.get("supplier", {}), *component.get("authors", []))))),
        "5.2.2 component name": of(listed, lambda component: component.get("name")),
        "5.2.2 component version": of(listed, lambda component: component.get("version")),
        "5.2.2 filename": of(files, lambda component: "/" not in (_property(component, "bsi:component:filename")
                                                                  or "/")),
        "5.2.2 dependencies": of(listed, lambda component: component["bom-ref"] in told),
        "5.2.2 completeness": one(told and all(
            component["bom-ref"] in judged or component["bom-ref"] in told for component in listed) and any(
                entry.get("aggregate") for entry in document.get("compositions", []))),
        "5.2.2 distribution licences": of(listed, _licensed),
        "5.2.2 hash of the deployable component": of(files, lambda component: any(
            len(_sha512(reference)) == 128 for reference in component.get("externalReferences", [])
            if reference["type"] in ("distribution", "distribution-intake"))),
        "5.2.2 executable": of(files, lambda component: _property(component, "bsi:component:executable") in (
            "executable", "non-executable")),
        "5.2.2 archive": of(files, lambda component: _property(component, "bsi:component:archive") in (
            "archive", "no archive")),
        "5.2.2 structured": of(files, lambda component: _property(component, "bsi:component:structured") in (
            "structured", "unstructured")),
        "5.2.3 SBOM-URI": one(re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", document.get("serialNumber", ""))),
        "5.2.4 other unique identifiers": of(listed, lambda component: component.get("purl") or component.get("cpe")),
        "3.1 no vulnerabilities": one("vulnerabilities" not in document)}


def _property(component: Mapping[str, Any], name: str) -> str:
    return next((entry["value"] for entry in component.get("properties", []) if entry["name"] == name), "")


def _reached(who: Mapping[str, Any]) -> bool:
    """By mail, or where there is none by a page."""
    mails = [who.get("email", ""), *(contact.get("email", "") for contact in who.get("contact", []))]
    return any(map(_MAIL.match, mails)) or any(map(_PAGE.match, who.get("url", [])))


def _moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _licensed(component: Mapping[str, Any]) -> bool:
    """Identifiers of the SPDX list, or one expression of words that may be (section 6.1)."""
    licenses = component.get("licenses", [])
    return bool(licenses) and all(
        "id" in entry.get("license", {}) or all(
            word in _OPERATORS or re.fullmatch(r"[A-Za-z0-9.+-]+|(DocumentRef-[\w.-]+:)?LicenseRef-[\w.-]+", word)
            for word in entry.get("expression", "(").replace("(", " ").replace(")", " ").split() or [" "])
        for entry in licenses)


def _sha512(reference: Mapping[str, Any]) -> str:
    return next((entry["content"] for entry in reference.get("hashes", []) if entry["alg"] == "SHA-512"), "")
