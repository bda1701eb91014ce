"""CSAF 2.0 documents (OASIS, https://docs.oasis-open.org/csaf/csaf/v2.0/) of distributions: which product is a package.

Distributions write a product tree of releases and of built packages, and relationships that put one into the other;
what is said of a vulnerability is said of those. A stream of rpm's modularity is a product between the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from custody.errors import CustodyError, MalformedError
from custody.formats import purl as purls
from custody.formats.advisories.fields import child, document, items, mapping, optional, text, texts
from custody.formats.advisories.nevra import split

MAX_SIZE = 256 << 20
_MAX_DEPTH = 32
_MAX_PRODUCTS = 1_000_000
_STREAM = re.compile(r"(?P<name>[A-Za-z0-9_.+-]+):(?P<stream>[A-Za-z0-9_.+-]+)(?::|/|\Z)")


class Component(NamedTuple):
    """A product that is a package in a release."""

    release: str
    """The release's product: its CPE where it has one, else its name."""
    name: str
    evr: str
    """`epoch:version-release`; empty where all versions are meant."""
    arch: str
    module: str


class _Product(NamedTuple):
    name: str
    cpe: str
    purl: str


def is_document(data: bytes) -> bool:
    head = data[:65536]
    return b'"csaf_version"' in head and b'"document"' in head


def parse(data: bytes, where: str) -> dict[str, Any]:
    stated = mapping(document(data, where, MAX_SIZE, depth=96), where)
    version = child(stated, "document", where).get("csaf_version")
    if version != "2.0":
        raise MalformedError(f"{where}: document.csaf_version", got=version, expected="2.0")
    return stated


class Products:
    """The product tree of a document."""

    def __init__(self, stated: dict[str, Any], where: str) -> None:
        tree = child(stated, "product_tree", where)
        self._where = f"{where}: product_tree"
        self._products: dict[str, _Product] = {}
        for product in self._leaves(items(tree, "branches", self._where)):
            self._take(product)
        for product in items(tree, "full_product_names", self._where):
            self._take(mapping(product, self._where))
        self._within: dict[str, tuple[str, str]] = {}
        for row in items(tree, "relationships", self._where):
            relationship = mapping(row, f"{self._where}.relationships")
            name = text(child(relationship, "full_product_name", self._where), "product_id", self._where)
            self._within[name] = (text(relationship, "product_reference", self._where),
                                  text(relationship, "relates_to_product_reference", self._where))

    def component(self, identifier: str) -> Component | None:
        """None of what is no rpm in a release: an image, a jar, a release itself."""
        if identifier not in self._within:
            return None
        reference, release = self._within[identifier]
        module = ""
        for _ in range(_MAX_DEPTH):
            if release not in self._within:
                break
            stream, release = self._within[release]
            module = self._module(stream) or module
        package = self._package(reference)
        if package is None or release in self._within:
            return None
        product = self._products.get(release)
        return package._replace(release=(product.cpe or product.name) if product else release,
                                module=package.module or module)

    def _package(self, reference: str) -> Component | None:
        product = self._products.get(reference)
        if product is not None and product.purl:
            try:
                purl = purls.parse(product.purl)
            except CustodyError:
                return None
            if purl.type != "rpm":
                return None
            match = _STREAM.match(purl.qualifiers.get("rpmmod", ""))
            prefix = _STREAM.match(reference) if "/" in reference else None
            stream = match or prefix
            module = f"{stream['name']}:{stream['stream']}" if stream else ""
            evr = f"{purl.qualifiers.get('epoch', '0')}:{purl.version}" if purl.version else ""
            return Component("", purl.name, evr, purl.qualifiers.get("arch", ""), module)
        plain = product.name if product else reference
        try:
            built = split(plain, self._where)
        except MalformedError:  # a component of which all versions are meant, or no rpm
            return Component("", plain, "", "", "") if re.fullmatch(r"[A-Za-z0-9_.+-]+", plain) else None
        return Component("", built.name, built.evr, built.arch, "")

    def _module(self, reference: str) -> str:
        product = self._products.get(reference)
        spelled = product.purl if product else ""
        if spelled and not spelled.startswith("pkg:rpmmod/"):
            return ""
        match = _STREAM.match(reference)
        return f"{match['name']}:{match['stream']}" if match else ""

    def _leaves(self, branches: list[Any], depth: int = 0) -> Iterator[dict[str, Any]]:
        if depth > _MAX_DEPTH:
            raise MalformedError(self._where, got="branches in branches", expected=f"at most {_MAX_DEPTH}")
        for row in branches:
            branch = mapping(row, self._where)
            if branch.get("product") is not None:
                yield mapping(branch["product"], self._where)
            yield from self._leaves(items(branch, "branches", self._where), depth + 1)

    def _take(self, product: dict[str, Any]) -> None:
        if len(self._products) >= _MAX_PRODUCTS:
            raise MalformedError(self._where, got="more products", expected=f"at most {_MAX_PRODUCTS}")
        helper = child(product, "product_identification_helper", self._where)
        self._products[text(product, "product_id", self._where)] = _Product(
            optional(product, "name", self._where), optional(helper, "cpe", self._where),
            optional(helper, "purl", self._where))


def by_product(vulnerability: dict[str, Any], key: str, where: str) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Entries of `threats`, `remediations`, `flags` with the products that they speak of."""
    for row in items(vulnerability, key, where):
        entry = mapping(row, f"{where}.{key}")
        yield entry, texts(entry, "product_ids", f"{where}.{key}")
