"""OpenVEX 0.2.0, and 0.0.x whose products are texts (https://github.com/openvex/spec, OPENVEX-SPEC.md)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from custody.errors import MalformedError
from custody.formats.vex.statement import (
    JUSTIFICATIONS,
    STATUSES,
    Document,
    Product,
    Statement,
    hashes,
    items,
    mapping,
    text,
)
from custody.kit.canonical import canonical
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.kit.digest import sha256

CONTEXT = "https://openvex.dev/ns/v0.2.0"
PREDICATE_TYPES = ("https://openvex.dev/ns", CONTEXT)
_IDENTIFIERS = ("purl", "cpe23", "cpe22")


def of_json(document: dict[str, Any], where: str) -> Document:
    """Raises MalformedError, naming the field."""
    context = text(document, "@context", where, needed=True)
    if not context.startswith("https://openvex.dev/ns"):
        raise MalformedError(f"{where}.@context", got=context, expected=CONTEXT)
    written = text(document, "timestamp", where, needed=True)
    time = text(document, "last_updated", where) or written
    for stated in (written, time):
        parse_rfc3339(stated, f"{where}.timestamp")
    version = document.get("version")
    return Document(
        format="OpenVEX " + (context.rpartition("/v")[2] if "/v" in context else "0.0.1"),
        id=text(document, "@id", where), author=text(document, "author", where), time=time,
        version="" if version is None else str(version)[:64], statements=tuple(
            _statement(entry, f"{where}.statements[{place}]", f"statements[{place}]", time)
            for place, entry in enumerate(items(document, "statements", where))))


def _statement(value: Any, where: str, place: str, time: str) -> Statement:
    entry = mapping(value, where)
    aliases: tuple[str, ...] = ()
    stated = entry.get("vulnerability")
    if isinstance(stated, dict):
        here = f"{where}.vulnerability"
        name = text(stated, "name", here) or text(stated, "@id", here, needed=True).rpartition("/")[2]
        aliases = tuple(str(alias) for alias in items(stated, "aliases", here))
    else:
        name = text(entry, "vulnerability", where, needed=True)
    status = entry.get("status")
    if status not in STATUSES:
        raise MalformedError(f"{where}.status", got=status, expected=" or ".join(STATUSES))
    justification = text(entry, "justification", where)
    if justification and justification not in JUSTIFICATIONS:
        raise MalformedError(f"{where}.justification", got=justification, expected=" or ".join(JUSTIFICATIONS))
    own = text(entry, "last_updated", where) or text(entry, "timestamp", where)
    if own:
        parse_rfc3339(own, f"{where}.timestamp")
    # 0.0.x has the components beside the products, for all of them.
    shared = [_names(part, f"{where}.subcomponents") for part in items(entry, "subcomponents", where)]
    return Statement(
        vulnerability=name, aliases=aliases, status=status, justification=justification, place=place, time=own or time,
        impact=text(entry, "impact_statement", where) or text(entry, "status_notes", where) * (status == "fixed"),
        action=text(entry, "action_statement", where),
        products=tuple(_product(product, f"{where}.products[{number}]", shared)
                       for number, product in enumerate(items(entry, "products", where))))


def _product(value: Any, where: str, shared: list[tuple[str, ...]]) -> Product:
    components = list(shared)
    if isinstance(value, dict):
        components += [_names(part, f"{where}.subcomponents") for part in items(value, "subcomponents", where)]
    return Product(names=_names(value, where), components=tuple(components))


def _names(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    entry = mapping(value, where)
    identifiers = mapping(entry.get("identifiers") or {}, f"{where}.identifiers")
    names = [text(entry, "@id", where), *(text(identifiers, kind, where) for kind in _IDENTIFIERS),
             *hashes(mapping(entry.get("hashes") or {}, f"{where}.hashes"), f"{where}.hashes")]
    if not any(names):
        raise MalformedError(where, got=entry, expected="an @id, identifiers or hashes")
    return tuple(dict.fromkeys(name for name in names if name))


def write(statements: Iterable[Statement], *, author: str, now: datetime, tooling: str, version: int = 1
          ) -> dict[str, Any]:
    """A document as plain data; the same statements at the same time have the same `@id`."""
    entries = [_entry(statement) for statement in statements]
    body = {"@context": CONTEXT, "author": author, "timestamp": format_rfc3339(now), "version": version,
            "tooling": tooling, "statements": entries}
    name = sha256(canonical(body)).partition(":")[2]
    return {"@context": CONTEXT, "@id": f"https://openvex.dev/docs/public/vex-{name}", **body}


def _entry(statement: Statement) -> dict[str, Any]:
    vulnerability: dict[str, Any] = {"name": statement.vulnerability}
    if statement.aliases:
        vulnerability["aliases"] = list(statement.aliases)
    entry: dict[str, Any] = {"vulnerability": vulnerability}
    if statement.time:
        entry["timestamp"] = statement.time
    entry["products"] = [
        {**_named(product.names), **({"subcomponents": [_named(names) for names in product.components]}
                                     if product.components else {})} for product in statement.products]
    entry["status"] = statement.status
    justified = statement.justification in JUSTIFICATIONS
    impact = statement.impact or ("" if justified else statement.justification)
    reasons = {"justification": statement.justification if justified else "",
               "impact_statement" if statement.status == "not_affected" else "status_notes": impact,
               "action_statement": statement.action}
    entry |= {key: value for key, value in reasons.items() if value}
    return entry


def _named(names: tuple[str, ...]) -> dict[str, Any]:
    purl = next((name for name in names if name.startswith("pkg:")), "")
    digests = {name.partition(":")[0].replace("sha", "sha-"): name.partition(":")[2] for name in names
               if name.startswith(("sha256:", "sha384:", "sha512:"))}
    named: dict[str, Any] = {"@id": purl or next(iter(names), "")}
    if purl:
        named["identifiers"] = {"purl": purl}
    if digests:
        named["hashes"] = digests
    return named
