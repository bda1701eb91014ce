"""VEX as CSAF 2.0 writes it (https://docs.oasis-open.org/csaf/csaf/v2.0, profile 5); other advisories have states too.

A product is what its identification helpers say; a relationship puts one product (the component) into another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from custody.errors import MalformedError
from custody.formats.vex.statement import JUSTIFICATIONS, Document, Product, Statement, Status, items, mapping, text
from custody.kit.clock import parse_rfc3339

_STATES: dict[str, Status] = {
    "known_not_affected": "not_affected", "fixed": "fixed", "first_fixed": "fixed",
    "under_investigation": "under_investigation", "known_affected": "affected", "first_affected": "affected",
    "last_affected": "affected"}
"""In the order in which statements are told: of two of one time the later counts, and that hides nothing."""
_PARTS = ("default_component_of", "installed_on", "installed_with")
"""Of other relationships nobody knows whether the component is in the product."""
_MAX_DEPTH = 50
_MAX_PRODUCTS = 1_000_000


def of_json(document: dict[str, Any], where: str) -> Document:
    """One statement a vulnerability, state and reason. Raises MalformedError, naming the field."""
    head = mapping(document["document"], f"{where}.document")
    tracking = mapping(head.get("tracking") or {}, f"{where}.document.tracking")
    publisher = mapping(head.get("publisher") or {}, f"{where}.document.publisher")
    time = text(tracking, "current_release_date", f"{where}.document.tracking", needed=True)
    parse_rfc3339(time, f"{where}.document.tracking.current_release_date")
    if (status := tracking.get("status")) not in ("final", "interim", "draft"):
        raise MalformedError(f"{where}.document.tracking.status", got=status, expected="final, interim or draft")
    tree = _Tree(mapping(document.get("product_tree") or {}, f"{where}.product_tree"), f"{where}.product_tree")
    statements = [
        statement for place, value in enumerate(items(document, "vulnerabilities", where))
        for statement in _statements(mapping(value, f"{where}.vulnerabilities[{place}]"), tree, time,
                                     f"{where}.vulnerabilities[{place}]", f"vulnerabilities[{place}]",
                                     "a draft (document.tracking.status)" if status == "draft" else "")]
    return Document(format=f"CSAF {text(head, 'csaf_version', where)}", id=text(tracking, "id", where),
                    author=text(publisher, "name", where), version=text(tracking, "version", where), time=time,
                    statements=tuple(statements))


class _Tree:
    """The products of a document by their identifiers."""

    def __init__(self, tree: dict[str, Any], where: str) -> None:
        self._names: dict[str, tuple[str, ...]] = {}
        self._within: dict[str, tuple[str, ...]] = {}
        self._groups: dict[str, list[str]] = {}
        for product in items(tree, "full_product_names", where):
            self._add(product, where)
        self._branches(tree, where, 0)
        for value in items(tree, "relationships", where):
            relationship = mapping(value, f"{where}.relationships")
            product = self._add(relationship.get("full_product_name"), where)
            inside = tuple(text(relationship, key, where, needed=True)
                           for key in ("product_reference", "relates_to_product_reference"))
            self._within[product] = inside if relationship.get("category") in _PARTS else (product, "")
        for value in items(tree, "product_groups", where):
            group = mapping(value, f"{where}.product_groups")
            self._groups[text(group, "group_id", where, needed=True)] = [
                str(product) for product in items(group, "product_ids", where)]

    def group(self, name: str) -> list[str]:
        return self._groups.get(name, [])

    def product(self, identifier: str) -> Product:
        """A component in what it is a part of. A part of a part is named by its identifier, which nothing matches."""
        if identifier not in self._within:
            return Product(names=self._names.get(identifier, (identifier,)))
        component, outer = self._within[identifier]
        if component in self._within or outer in self._within:
            return Product(names=(identifier,))
        return Product(names=self._names.get(outer, (outer,)), components=(self._names.get(component, (component,)),))

    def _branches(self, entry: dict[str, Any], where: str, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise MalformedError(f"{where}.branches", got=f"more than {_MAX_DEPTH} levels", expected="fewer")
        for value in items(entry, "branches", where):
            branch = mapping(value, f"{where}.branches")
            if branch.get("product") is not None:
                self._add(branch["product"], where)
            self._branches(branch, where, depth + 1)

    def _add(self, value: Any, where: str) -> str:
        product = mapping(value, f"{where}: product")
        identifier = text(product, "product_id", where, needed=True)
        helper = mapping(product.get("product_identification_helper") or {}, f"{where}.product_identification_helper")
        digests = [f"{text(digest, 'algorithm', where).lower()}:{text(digest, 'value', where).lower()}"
                   for value in items(helper, "hashes", where)
                   for digest in items(mapping(value, where), "file_hashes", where) if isinstance(digest, dict)]
        uris = [text(mapping(value, where), "uri", where) for value in items(helper, "x_generic_uris", where)]
        names = [text(helper, "purl", where), *(str(purl) for purl in items(helper, "purls", where)),
                 text(helper, "cpe", where), *digests, *uris, text(product, "name", where)]
        if len(self._names) >= _MAX_PRODUCTS:
            raise MalformedError(where, got=f"more than {_MAX_PRODUCTS} products", expected="fewer")
        self._names[identifier] = tuple(dict.fromkeys(name for name in names if name))
        return identifier


def _statements(entry: dict[str, Any], tree: _Tree, time: str, where: str, place: str, unread: str
                ) -> Iterator[Statement]:
    identifiers = [text(mapping(value, f"{where}.ids"), "text", where) for value in items(entry, "ids", where)]
    names = [name for name in (text(entry, "cve", where), *identifiers) if name]
    if not names:
        raise MalformedError(where, got="neither cve nor ids", expected="a name of the vulnerability")
    labels = _about(entry, "flags", "label", tree, where)
    impacts = _about(entry, "threats", "details", tree, where, "impact")
    actions = _about(entry, "remediations", "details", tree, where)
    for label in labels.values():
        if label not in JUSTIFICATIONS:
            raise MalformedError(f"{where}.flags.label", got=label, expected=" or ".join(JUSTIFICATIONS))
    states = mapping(entry.get("product_status") or {}, f"{where}.product_status")
    for state in filter(states.__contains__, _STATES):  # `recommended` says what to install, not what is affected
        by_reason: dict[tuple[str, str, str], list[Product]] = {}
        for product in items(states, state, where):
            label, impact, action = (kind.get(str(product)) or kind.get("", "") for kind in (labels, impacts, actions))
            by_reason.setdefault((label, impact, action), []).append(tree.product(str(product)))
        for (label, impact, action), products in by_reason.items():
            yield Statement(vulnerability=names[0], aliases=tuple(names[1:]), status=_STATES[state], impact=impact,
                            justification=label, action=action, products=tuple(products), time=time,
                            place=f"{place}.product_status.{state}", unread=unread)


def _about(entry: dict[str, Any], key: str, said: str, tree: _Tree, where: str, category: str = "") -> dict[str, str]:
    """What is said of products, by their identifiers; of all of them where none is named, as ''."""
    words: dict[str, str] = {}
    for value in items(entry, key, where):
        here = mapping(value, f"{where}.{key}")
        if category and here.get("category") != category:
            continue
        products = [str(product) for product in items(here, "product_ids", where)]
        products += [product for group in items(here, "group_ids", where) for product in tree.group(str(group))]
        stated = text(here, said, where)
        words.update(dict.fromkeys(products or [""], stated))
    return words
