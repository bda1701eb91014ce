"""CSAF 2.0 asked of a document as it lies there, without custody's own reader or writer: the mandatory tests of section
6.1 that a document without branches can fail, by their numbers; those of 6.1.27 of a VEX document alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import cvss

_GROUPS = ({"first_affected", "known_affected", "last_affected"}, {"known_not_affected"}, {"first_fixed", "fixed"},
           {"under_investigation"})
_JUSTIFICATIONS = {"component_not_present", "inline_mitigations_already_exist", "vulnerable_code_not_present",
                   "vulnerable_code_cannot_be_controlled_by_adversary", "vulnerable_code_not_in_execute_path"}


def broken(document: Mapping[str, Any]) -> set[str]:
    """The numbers of the tests that it fails."""
    return {number for number, holds in _judged(document) if not holds}


def _judged(document: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    tracking = document["document"]["tracking"]
    tree = document.get("product_tree", {})
    listed = document.get("vulnerabilities", [])
    named = [product["product_id"] for product in tree.get("full_product_names", [])]
    relations = {relation["full_product_name"]["product_id"]: (
        relation["product_reference"], relation["relates_to_product_reference"])
        for relation in tree.get("relationships", [])}
    defined = named + [relation["full_product_name"]["product_id"] for relation in tree.get("relationships", [])]
    used = {product for entry in listed for product in _products(entry)} | {
        product for pair in relations.values() for product in pair}
    yield "6.1.1", used <= set(defined)
    yield "6.1.2", len(set(defined)) == len(defined)
    yield "6.1.3", not any(product in pair for product, pair in relations.items())
    yield "6.1.14", [entry["date"] for entry in tracking["revision_history"]] == sorted(
        entry["date"] for entry in tracking["revision_history"])
    yield "6.1.16", tracking["version"] == tracking["revision_history"][-1]["number"]
    cves = Counter(entry["cve"] for entry in listed if "cve" in entry)
    yield "6.1.23", not cves or max(cves.values()) == 1
    yield "6.1.25", all(max(Counter(digest["algorithm"] for digest in of_file["file_hashes"]).values()) == 1
                        for product in tree.get("full_product_names", [])
                        for of_file in product.get("product_identification_helper", {}).get("hashes", []))
    if document["document"]["category"] == "csaf_vex":
        yield "6.1.27.4", "product_tree" in document
        yield "6.1.27.11", bool(listed)
    for entry in listed:
        states = entry.get("product_status", {})
        in_groups = [{product for state in group for product in states.get(state, [])} for group in _GROUPS]
        yield "6.1.6", all(not left & right for place, left in enumerate(in_groups) for right in in_groups[:place])
        yield "6.1.27.5", bool(entry.get("notes"))
        yield "6.1.27.7", bool(set(states) & {"fixed", "known_affected", "known_not_affected", "under_investigation"})
        yield "6.1.27.8", bool(entry.get("cve") or entry.get("ids"))
        flags, threats, remedies = (entry.get(key, []) for key in ("flags", "threats", "remediations"))
        reasons = {product for reason in [*flags, *(threat for threat in threats if threat["category"] == "impact")]
                   for product in reason.get("product_ids", [])}
        yield "6.1.27.9", set(states.get("known_not_affected", [])) <= reasons
        yield "6.1.27.10", set(states.get("known_affected", [])) <= {
            product for remedy in remedies for product in remedy.get("product_ids", [])}
        yield "6.1.29", all(remedy.get("product_ids") or remedy.get("group_ids") for remedy in remedies)
        yield "6.1.32", all(flag.get("product_ids") or flag.get("group_ids") for flag in flags)
        justified = Counter(product for flag in flags if flag["label"] in _JUSTIFICATIONS
                            for product in flag.get("product_ids", []))
        scored = Counter((product, key) for score in entry.get("scores", []) for key in score if key != "products"
                         for product in score["products"])
        yield "6.1.7", not scored or max(scored.values()) == 1
        yield "6.1.9", all(map(_computed, entry.get("scores", [])))
        yield "6.1.33", not justified or max(justified.values()) == 1


def _computed(score: Mapping[str, Any]) -> bool:
    """Whether the base scores and severities are those of the vectors; 6.1.8 too, for what is no vector."""
    three, two = score.get("cvss_v3"), score.get("cvss_v2")
    if three:
        read = cvss.CVSS3(three["vectorString"])
        if (float(read.base_score), read.severities()[0].upper(), f"CVSS:{three['version']}/") != (
                three["baseScore"], three["baseSeverity"], three["vectorString"][:9]):
            return False
    return not two or float(cvss.CVSS2(two["vectorString"]).base_score) == two["baseScore"]


def _products(entry: Mapping[str, Any]) -> Iterator[str]:
    for products in entry.get("product_status", {}).values():
        yield from products
    for key in ("flags", "threats", "remediations", "scores"):
        for part in entry.get(key, []):
            yield from part.get("product_ids", part.get("products", []))
