"""VEX in CycloneDX JSON: `vulnerabilities` with an `analysis`, in a document of their own or beside components.

(https://cyclonedx.org/capabilities/vex/, bom-1.6.schema.json.) What is affected is the `bom-ref` of a component of the
same document, or a BOM-Link `urn:cdx:SERIAL/VERSION#REF` into another.
"""

from __future__ import annotations

from typing import Any

from custody.errors import MalformedError
from custody.formats.vex.statement import Document, Product, Statement, Status, items, mapping, text
from custody.kit.clock import parse_rfc3339

_STATES: dict[str, Status] = {
    "resolved": "fixed", "resolved_with_pedigree": "fixed", "exploitable": "affected", "in_triage":
    "under_investigation", "false_positive": "not_affected", "not_affected": "not_affected"}
_JUSTIFICATIONS = {
    "code_not_present": "vulnerable_code_not_present", "code_not_reachable": "vulnerable_code_not_in_execute_path",
    "requires_configuration": "requires_configuration", "requires_dependency": "requires_dependency",
    "requires_environment": "requires_environment", **dict.fromkeys((
        "protected_by_compiler", "protected_at_runtime", "protected_at_perimeter", "protected_by_mitigating_control"),
        "inline_mitigations_already_exist")}
_MAX_DEPTH = 50


def of_json(document: dict[str, Any], where: str) -> Document:
    """Statements of the vulnerabilities that have an analysis. Raises MalformedError, naming the field."""
    metadata = mapping(document.get("metadata") or {}, f"{where}.metadata")
    time = text(metadata, "timestamp", f"{where}.metadata")
    if time:
        parse_rfc3339(time, f"{where}.metadata.timestamp")
    names: dict[str, tuple[str, ...]] = {}
    subject: tuple[str, ...] = ()
    main = metadata.get("component")
    if main is not None:
        subject = _names(mapping(main, f"{where}.metadata.component"), where)
        if ref := text(main, "bom-ref", where):
            names[ref] = subject
    _collect(document, names, where, 0)
    statements = []
    for place, value in enumerate(items(document, "vulnerabilities", where)):
        entry = mapping(value, f"{where}.vulnerabilities[{place}]")
        if entry.get("analysis") is not None:
            statements.append(_statement(entry, f"{where}.vulnerabilities[{place}]", f"vulnerabilities[{place}]",
                                         time, names, subject))
    tools = metadata.get("authors")
    author = text(mapping(tools[0], where), "name", where) if isinstance(tools, list) and tools else ""
    return Document(format=f"CycloneDX {document.get('specVersion')}", id=text(document, "serialNumber", where),
                    author=author, version=str(document.get("version", ""))[:64], time=time,
                    statements=tuple(statements))


def _collect(entry: dict[str, Any], names: dict[str, tuple[str, ...]], where: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise MalformedError(f"{where}.components", got=f"more than {_MAX_DEPTH} levels", expected="fewer")
    for value in items(entry, "components", where):
        component = mapping(value, f"{where}.components")
        if ref := text(component, "bom-ref", where):
            names[ref] = _names(component, where)
        _collect(component, names, where, depth + 1)


def _names(component: dict[str, Any], where: str) -> tuple[str, ...]:
    """Its package URL, its hashes and what it is called."""
    name, version = text(component, "name", where), text(component, "version", where)
    digests = [f"{text(value, 'alg', where).lower().replace('sha-', 'sha')}:{text(value, 'content', where)}"
               for value in items(component, "hashes", where) if isinstance(value, dict)]
    stated = [text(component, "purl", where), text(component, "cpe", where), *digests,
              version if version.startswith("sha256:") else "", name]
    return tuple(dict.fromkeys(text for text in stated if text))


def _statement(entry: dict[str, Any], where: str, place: str, time: str, names: dict[str, tuple[str, ...]],
               subject: tuple[str, ...]) -> Statement:
    analysis = mapping(entry["analysis"], f"{where}.analysis")
    state = analysis.get("state")
    if not isinstance(state, str) or state not in _STATES:
        raise MalformedError(f"{where}.analysis.state", got=state, expected=" or ".join(_STATES))
    stated = text(analysis, "justification", where)
    if stated and stated not in _JUSTIFICATIONS:
        raise MalformedError(f"{where}.analysis.justification", got=stated, expected=" or ".join(_JUSTIFICATIONS))
    own = text(analysis, "lastUpdated", where) or text(entry, "updated", where)
    if own:
        parse_rfc3339(own, f"{where}.analysis.lastUpdated")
    products: list[Product] = []
    unread = ""
    for number, value in enumerate(items(entry, "affects", where)):
        here = f"{where}.affects[{number}]"
        affects = mapping(value, here)
        ref = text(affects, "ref", here, needed=True)
        known = names.get(ref, (ref,))
        versions = items(affects, "versions", here)
        if versions:
            known, problem = _narrowed(known, versions, here)
            unread = unread or problem
        # Beside a subject, a component is that component in it, and of no other image.
        products.append(Product(names=subject, components=(known,)) if subject and known != subject and ref in names
                        else Product(names=known))
    responses = ", ".join(str(response) for response in items(analysis, "response", where))
    return Statement(
        vulnerability=text(entry, "id", where, needed=True), status=_STATES[state], products=tuple(products),
        aliases=tuple(text(mapping(reference, where), "id", where) for reference in items(entry, "references", where)),
        justification=_JUSTIFICATIONS.get(stated, "") or ("false_positive" if state == "false_positive" else ""),
        impact=text(analysis, "detail", where), action=text(entry, "recommendation", where) or responses,
        time=own or time, place=place, unread=unread)


def _narrowed(names: tuple[str, ...], versions: list[Any], where: str) -> tuple[tuple[str, ...], str]:
    """Names of the versions that are named one by one as affected by what the statement says; ranges are not read."""
    stated = [mapping(version, f"{where}.versions") for version in versions]
    if any("range" in version for version in stated):
        return names, "a range of versions (affects.versions.range)"
    if any(version.get("status", "affected") != "affected" for version in stated):
        return names, "versions with a status of their own (affects.versions.status)"
    whole = {f"{name}@{text(version, 'version', where, needed=True)}" for name in names for version in stated
             if name.startswith("pkg:") and "@" not in name.rpartition("/")[2] and "?" not in name}
    return (tuple(sorted(whole)), "") if whole else (names, "versions of what has no package URL without a version")
