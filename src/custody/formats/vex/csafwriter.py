"""VEX written as CSAF 2.0, profile 5 (https://docs.oasis-open.org/csaf/csaf/v2.0, 4.5), by its mandatory tests 6.1.

What has nothing to say of any vulnerability is no VEX to CSAF, and is written by profile 1 (4.1): products and notes.

A CSAF document has one time for all that it says, and one state of a product: what was said before it is said anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from custody.errors import CustodyError, MalformedError
from custody.formats import purl as purls
from custody.formats.vex.statement import JUSTIFICATIONS, Product, Statement, Status
from custody.kit.canonical import canonical
from custody.kit.clock import format_rfc3339
from custody.kit.digest import sha256

Category = Literal["vendor", "user", "discoverer", "coordinator", "translator", "other"]
CATEGORIES: tuple[Category, ...] = ("vendor", "user", "discoverer", "coordinator", "translator", "other")
_STATES: Mapping[Status, str] = {
    "not_affected": "known_not_affected", "fixed": "fixed", "under_investigation": "under_investigation",
    "affected": "known_affected"}
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}\Z")
_DIGEST = re.compile(r"(sha(?:256|384|512)):([0-9a-fA-F]{64,128})\Z")
_CPE = re.compile(r"cpe:(?:2\.3:|/)[aho*-].*\Z", re.IGNORECASE)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+\Z")
_NAMESPACES = {"pkg": "https://github.com/package-url/purl-spec", "urn": "https://www.iana.org/assignments/urn-namespaces"}
"""Of generic URIs (3.1.3.3.8): where it is said what they mean. Of others each is its own."""
_CVSS3 = re.compile(r"CVSS:(3\.[01])/[A-Z]{1,3}:[A-Z](?:/[A-Z]{1,3}:[A-Z])*\Z")
_CVSS2 = re.compile(r"AV:[LAN]/AC:[HML]/Au:[MSN]/C:[NPC]/I:[NPC]/A:[NPC](?:/[A-Z]{1,3}:[A-Z]{1,3})*\Z")
_NAMESPACE = re.compile(r"https?://[^\s<>\"{}|\\^`]+\Z")


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who says so (3.2.1.8). `namespace` is an address that is only that publisher's."""

    name: str
    namespace: str
    category: Category = "vendor"


@dataclass(frozen=True, slots=True)
class Rating:
    """How bad a vulnerability is in one product (3.2.3.13)."""

    score: float
    """The base score, 0.0 to 10.0."""
    severity: str
    """FIRST's word for that: `none`, `low`, `medium`, `high`, `critical`."""
    vector: str
    """CVSS 2, 3.0 or 3.1: CSAF 2.0 has no place for CVSS 4, and such a rating is not written."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a document of a scan says beside its statements."""

    title: str
    subject: tuple[str, ...]
    """What was scanned: its names, as of a product."""
    notes: tuple[tuple[str, str], ...]
    """A title and a text each (3.2.1.6)."""
    ratings: Mapping[tuple[str, str], Rating]
    """By a vulnerability's principal name (its CVE, where it has one) and the first name of a component."""
    summaries: Mapping[str, str]
    """What a vulnerability is, in a line, by its principal name."""


@dataclass(slots=True)
class _Tree:
    """The products in their order, each once, with the identifiers of this document."""

    names: list[dict[str, Any]] = field(default_factory=list)
    relationships: list[dict[str, Any]] = field(default_factory=list)
    known: dict[tuple[tuple[str, ...], ...], str] = field(default_factory=dict)

    def identifiers(self, product: Product) -> list[str]:
        outer = self._named(product.names)
        if not product.components:
            return [outer]
        return [self._within(component, self._named(component), product.names, outer)
                for component in product.components]

    def _named(self, names: tuple[str, ...]) -> str:
        identifier = self.known.get((names,))
        if identifier is None:
            identifier = self.known[(names,)] = f"P{len(self.known) + 1}"
            self.names.append({"product_id": identifier, **_full_name(names)})
        return identifier

    def _within(self, component: tuple[str, ...], inner: str, names: tuple[str, ...], outer: str) -> str:
        identifier = self.known.get((component, names))
        if identifier is None:
            identifier = self.known[(component, names)] = f"P{len(self.known) + 1}"
            self.relationships.append({
                "category": "default_component_of", "product_reference": inner, "relates_to_product_reference": outer,
                "full_product_name": {"product_id": identifier, "name": f"{_name(component)} in {_name(names)}"}})
        return identifier

    def document(self) -> dict[str, Any]:
        return {"full_product_names": self.names,
                **({"relationships": self.relationships} if self.relationships else {})}


def write(statements: Iterable[Statement], *, publisher: Publisher, now: datetime, tool_version: str,
          report: Report | None = None) -> dict[str, Any]:
    """A document as plain data; the same statements at the same time have the same `tracking.id`.

    Statements of one vulnerability must not say different things of one product (`vulns.vex.settlement` sees to that).
    Raises MalformedError, naming the statement, for what the profile has no place for: one without products or reason,
    `affected` without an action; no statement at all, where there is no `report`; and for a publisher's namespace that
    is no address.
    """
    if not _NAMESPACE.match(publisher.namespace):
        raise MalformedError("document.publisher.namespace", got=publisher.namespace,
                             expected="an address that is the publisher's, https://…")
    by_name: dict[str, list[Statement]] = {}
    for statement in statements:
        _complete(statement)
        by_name.setdefault(principal(statement), []).append(statement)
    if not by_name and report is None:
        raise MalformedError("vulnerabilities", got="no statement", expected="one at least (6.1.27.11)")
    tree = _Tree()
    if report is not None:
        tree.identifiers(Product(names=report.subject))
    vulnerabilities = [_vulnerability(name, listed, tree, report) for name, listed in by_name.items()]
    time = format_rfc3339(now)
    body: dict[str, Any] = {"product_tree": tree.document()}
    if vulnerabilities:
        body["vulnerabilities"] = vulnerabilities
    identity = sha256(canonical([publisher.name, publisher.namespace, time, body])).partition(":")[2]
    tracking = {
        "id": f"vex-{identity[:32]}", "status": "final", "version": "1", "initial_release_date": time,
        "current_release_date": time, "generator": {"engine": {"name": "custody", "version": tool_version}},
        "revision_history": [{"date": time, "number": "1", "summary": "Initial version."}]}
    title = report.title if report else (
        "What is known of " + (", ".join(list(by_name)[:3]) + (", …" if len(by_name) > 3 else "")))
    head: dict[str, Any] = {"category": "csaf_vex" if vulnerabilities else "csaf_base", "csaf_version": "2.0",
                            "lang": "en", "title": title, "tracking": tracking,
            "publisher": {"category": publisher.category, "name": publisher.name, "namespace": publisher.namespace}}
    if report and report.notes:
        head["notes"] = [{"category": "general", "title": heading, "text": text} for heading, text in report.notes]
    ordered: dict[str, Any] = _ordered({"document": head, **body})
    return ordered


def _ordered(value: Any) -> Any:
    """Keys in the order of the alphabet (6.2.13)."""
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value)}
    return [_ordered(entry) for entry in value] if isinstance(value, list) else value


def _complete(statement: Statement) -> None:
    where = f"{statement.vulnerability}, {statement.status}"
    if not statement.products:
        raise MalformedError(where, got="no product", expected="one at least")
    if statement.status == "not_affected" and not (statement.justification or statement.impact):
        raise MalformedError(where, got="no reason", expected="a justification or an impact statement (6.1.27.9)")
    if statement.status == "affected" and not statement.action:
        raise MalformedError(where, got="no action statement", expected="what to do about it (6.1.27.10)")


def principal(statement: Statement) -> str:
    """The CVE that a statement is of, else its vulnerability's name: what the document has an entry for."""
    if _CVE.match(statement.vulnerability):
        return statement.vulnerability
    return next((alias for alias in statement.aliases if _CVE.match(alias)), statement.vulnerability)


def _vulnerability(name: str, statements: list[Statement], tree: _Tree, report: Report | None) -> dict[str, Any]:
    states: dict[str, str] = {}
    said: dict[str, tuple[str, str, str]] = {}
    identifiers: dict[str, None] = {}
    rated: dict[Rating, list[str]] = {}
    for statement in statements:
        identifiers |= dict.fromkeys((statement.vulnerability, *statement.aliases))
        justified = statement.justification in JUSTIFICATIONS
        words = (statement.justification if justified else "",
                 statement.impact or ("" if justified else statement.justification), statement.action)
        for product in statement.products:
            components = [component[0] for component in product.components] or [product.names[0]]
            for component, identifier in zip(components, tree.identifiers(product), strict=True):
                rating = report.ratings.get((name, component)) if report else None
                if rating is not None and identifier not in said:
                    rated.setdefault(rating, []).append(identifier)
                state = _STATES[statement.status]
                if states.setdefault(identifier, state) != state:
                    raise MalformedError(f"{name}: {_name(product.names)}", got=f"{states[identifier]} and {state}",
                                         expected="one of them (6.1.6)")
                if said.setdefault(identifier, words) != words:
                    raise MalformedError(f"{name}: {_name(product.names)}", got="two reasons", expected="one (6.1.33)")
    entry: dict[str, Any] = {}
    if _CVE.match(name):
        entry["cve"] = name
        del identifiers[name]
    if identifiers:
        entry["ids"] = [{"system_name": _system(identifier), "text": identifier} for identifier in identifiers]
    summary = report.summaries.get(name, "") if report else ""
    entry["notes"] = [{"category": "summary",
                       "text": summary or f"Whether the products of this document are affected by {name}."}]
    if scores := [{**score, "products": products} for rating, products in rated.items() if (score := _score(rating))]:
        entry["scores"] = scores
    entry["product_status"] = {state: [product for product, stated in states.items() if stated == state]
                               for state in _STATES.values() if state in states.values()}
    kinds: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("flags", "label", {}), ("threats", "details", {"category": "impact"}),
        ("remediations", "details", {"category": "mitigation"}))
    for place, (key, word, fields) in enumerate(kinds):
        by_word: dict[str, list[str]] = {}
        for identifier, words in said.items():
            if words[place]:
                by_word.setdefault(words[place], []).append(identifier)
        if by_word:
            entry[key] = [{**fields, word: text, "product_ids": products} for text, products in by_word.items()]
    return entry


def _score(rating: Rating) -> dict[str, Any]:
    """By FIRST's schemas of CVSS; nothing for CVSS 4."""
    if match := _CVSS3.match(rating.vector):
        return {"cvss_v3": {"version": match[1], "vectorString": rating.vector, "baseScore": rating.score,
                            "baseSeverity": rating.severity.upper()}}
    if _CVSS2.match(rating.vector):
        return {"cvss_v2": {"version": "2.0", "vectorString": rating.vector, "baseScore": rating.score}}
    return {}


def _system(identifier: str) -> str:
    """Whose name of the vulnerability it is, as far as it says so itself: `GHSA` of `GHSA-…`."""
    return re.split(r"[-:/]", identifier, maxsplit=1)[0] or "other"


def _name(names: tuple[str, ...]) -> str:
    """How it is called: by a name that is no identifier, else by the first."""
    return next((name for name in names if not _identifies(name)), names[0])


def _identifies(name: str) -> bool:
    return bool(name.startswith("pkg:") or _DIGEST.match(name) or _CPE.match(name) or _URI.match(name))


def _full_name(names: tuple[str, ...]) -> dict[str, Any]:
    """`full_product_name_t` (3.1.3): a helper has one package URL and one CPE; further identifiers are generic URIs."""
    name = _name(names)
    helper: dict[str, Any] = {}
    hashes: list[dict[str, str]] = []
    uris: list[dict[str, str]] = []
    for text in names:
        digest = _DIGEST.match(text)
        if digest:
            hashes.append({"algorithm": digest[1], "value": digest[2]})
        elif "purl" not in helper and _is_purl(text):
            helper["purl"] = text
        elif "cpe" not in helper and _CPE.match(text):
            helper["cpe"] = text
        elif text != name and _URI.match(text):
            uris.append({"namespace": _NAMESPACES.get(text.partition(":")[0], text), "uri": text})
    if hashes:
        helper["hashes"] = [{"filename": name, "file_hashes": hashes}]
    if uris:
        helper["x_generic_uris"] = uris
    return {"name": name, **({"product_identification_helper": helper} if helper else {})}


def _is_purl(text: str) -> bool:
    if not text.startswith("pkg:"):
        return False
    try:
        purls.parse(text, strict=True)
    except CustodyError:
        return False
    return True
