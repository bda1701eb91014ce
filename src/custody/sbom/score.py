"""How much of what guidelines ask for an SBOM has: each element counted, over the document or over its components.

NTIA, "The Minimum Elements For a Software Bill of Materials" (2021) · CISA, "SBOM Minimum Elements" (2026) · BSI
TR-03183-2 2.1.0 (2025) · CISA, "Framing Software Component Transparency", third edition (2024).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from custody.errors import CustodyError
from custody.formats.bom import Catalog, Document, Package
from custody.formats.licenses import is_expression
from custody.kit.addresses import place
from custody.kit.clock import parse_rfc3339

Need = Literal["required", "additional", "optional"]
_REACHED = re.compile(r"[^\s@<>()]+@[^\s@<>()]+\.[^\s@<>()]+|https?://[^\s<>()]+")
"""An address of mail or of a page: a name alone reaches nobody."""
_MISSING = 1000
_CYCLONEDX = re.compile(r"CycloneDX 1\.([0-9]+)\Z")


class Element(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a guideline asks for."""

    name: str
    need: Need
    of: int
    """1 for the document, or the number of components."""
    has: int
    note: str = ""
    missing: tuple[str, ...] = ()
    """Components that lack it, by their package URLs, where each is asked: the first thousand."""

    @property
    def met(self) -> bool:
        return self.has == self.of


class Score(msgspec.Struct, frozen=True, kw_only=True):
    guideline: str
    title: str
    elements: tuple[Element, ...]

    @property
    def met(self) -> int:
        """How many required elements are there in full."""
        return sum(element.met for element in self.elements if element.need == "required")

    @property
    def required(self) -> int:
        return sum(element.need == "required" for element in self.elements)

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = msgspec.to_builtins(self)
        for entry, element in zip(document["elements"], self.elements, strict=True):
            entry["met"] = element.met
        return {**document, "met": self.met, "required": self.required}


@dataclass(frozen=True, slots=True)
class _Judged:
    catalog: Catalog
    said: Document
    components: tuple[Package, ...]
    related: frozenset[str]
    """Package URLs that a dependency leads to or from."""
    stated: Mapping[str, int]
    """What the document has beside what a catalog keeps, and how often."""


_Test = Callable[[_Judged], tuple[int, int]]
"""How many have it, of how many."""


@dataclass(frozen=True, slots=True)
class _Each:
    """A test of every component."""

    holds: Callable[[Package], object]
    unstated: Callable[[Document], tuple[str, ...] | None] = lambda _: None
    """Those that lack it, by what the document says in fields that a catalog does not keep."""

    def __call__(self, judged: _Judged) -> tuple[int, int]:
        return len(judged.components) - len(self.missing(judged)), len(judged.components)

    def missing(self, judged: _Judged) -> tuple[str, ...]:
        unstated = self.unstated(judged.said)
        return unstated if unstated is not None else tuple(
            package.purl or f"{package.name} {package.version}".strip()
            for package in judged.components if not self.holds(package))


def score(catalog: Catalog, guidelines: tuple[str, ...] = ()) -> tuple[Score, ...]:
    """By the guidelines named, or by all. Nothing is taken for granted that the document does not say."""
    edges = {purl for package in catalog.packages for purl in package.requires}
    said = catalog.document or Document()
    judged = _Judged(catalog, said, (*catalog.packages, *catalog.unidentified),
                     frozenset(edges | {package.purl for package in catalog.packages if package.requires}),
                     dict(said.unread))
    return tuple(Score(guideline=name, title=title, elements=tuple(_element(row, judged) for row in rows))
                 for name, (title, rows) in GUIDELINES.items() if name in (guidelines or GUIDELINES))


def _element(row: _Row, judged: _Judged) -> Element:
    has, of = row.test(judged)
    note = row.note if has < of else ""
    if row.files and of < len(judged.components):
        note = "; ".join(filter(None, (note, f"{len(judged.components) - of} components say that they are many files, "
                                             "or a part of one, and were not asked")))
    missing = row.test.missing(judged)[:_MISSING] if isinstance(row.test, _Each) else ()
    return Element(name=row.name, need=row.need, of=of, has=has, note=note, missing=missing)


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    test: _Test
    note: str = ""
    """What to do where it is missing."""
    need: Need = "required"
    files: bool = False
    """Asked of components only that are one file."""


def _document(holds: Callable[[Catalog, Document], object]) -> _Test:
    return lambda judged: (int(bool(holds(judged.catalog, judged.said))), 1)


def _counted(*fields: str) -> _Test:
    """Stated of each component in a field that a catalog does not keep, by any of its spellings."""
    return lambda judged: (min(sum(judged.stated.get(field, 0) for field in fields), len(judged.components)),
                           len(judged.components))


def _of_files(holds: Callable[[Package], object], field: str = "") -> _Test:
    """Of components that are one file each, and of all that do not say what they are, and where: a property alone takes
    no component out. `field`: as for `_counted`.
    """
    def test(judged: _Judged) -> tuple[int, int]:
        files = [package for package in judged.components
                 if package.form not in ("files", "part") or not (package.locations or package.bundled_in)]
        return min(sum(bool(holds(package)) for package in files) + judged.stated.get(field, 0), len(files)), len(files)

    return test


def _in_graph(judged: _Judged) -> tuple[int, int]:
    related = sum(package.purl in judged.related for package in judged.components)
    return min(max(related, judged.said.graph), len(judged.components)), len(judged.components)


def _some_edges(judged: _Judged) -> tuple[int, int]:
    return int(bool(judged.related)), 1


def _time(_catalog: Catalog, said: Document) -> bool:
    try:
        parse_rfc3339(said.created)
    except CustodyError:
        return False
    return True


def _licensed(package: Package) -> bool:
    return bool(package.licenses) and all(is_expression(text) for text in package.licenses)


def _reachable(package: Package) -> object:
    return place(package.supplier, package.type) or any(_REACHED.search(text) for text in (
        package.author, package.supplier, package.homepage, package.repository))


def _tool(_catalog: Catalog, said: Document) -> bool:
    return any(tool.strip() for tool in said.tools)


def _tool_version(_catalog: Catalog, said: Document) -> bool:
    return any(" " in tool.strip() for tool in said.tools)


def _format_of_bsi(_catalog: Catalog, said: Document) -> bool:
    match = _CYCLONEDX.match(said.format)
    return bool(match and int(match[1]) >= 6) or said.format.startswith("SPDX-3.0.1")


def _completeness(catalog: Catalog, said: Document) -> bool:
    return said.complete != "" or bool(catalog.unknowns)


_AUTHOR = _Row("author of the SBOM", _document(lambda _, said: said.authors), "--author 'NAME <MAIL>'; a tool is none")
_TIME = _Row("timestamp", _document(_time))
_NAME, _VERSION = _Row("component name", _Each(lambda package: package.name)), _Row(
    "component version", _Each(lambda package: package.version))
_IDENTIFIER = _Row("unique identifier", _Each(lambda package: package.purl or package.cpes))
_HASH = _Row("component hash", _Each(lambda package: package.hashes),
             "lock files and package databases state hashes of archives; installed files have none of the whole")
_LICENSE = _Row("licence, as an SPDX expression", _Each(_licensed, lambda said: said.unlicensed))
_EDGES = _Row("dependency relationship", _some_edges)
_PRODUCER = _Row("component producer", _Each(lambda package: package.author or package.supplier))
_DECLARED = "asked of components that are one file, and of those that do not say so"

GUIDELINES: Mapping[str, tuple[str, tuple[_Row, ...]]] = {
    "ntia": ("NTIA minimum elements, 2021", (
        _Row("supplier name", _Each(lambda package: package.supplier)), _NAME, _VERSION, _IDENTIFIER, _EDGES, _AUTHOR,
        _TIME)),
    "cisa": ("CISA minimum elements, 2026", (
        _AUTHOR,
        _Row("author's signature", _document(lambda _, said: "signature" in dict(said.unread)),
             "none in the file; `custody attest` signs it as a statement about the image"),
        _Row("data format name", _document(lambda _, said: said.format)),
        _Row("data format version", _document(lambda _, said: re.search(r"[0-9]", said.format))),
        _Row("generation context", _document(lambda _, said: said.phase)), _TIME,
        _Row("tool name", _document(_tool)), _Row("tool version", _document(_tool_version)),
        _Row("SBOM version", _document(lambda _, said: said.identifier)), _PRODUCER, _EDGES,
        _Row("component hash value", _HASH.test, _HASH.note), _Row("component hash algorithm", _HASH.test, _HASH.note),
        _IDENTIFIER, _LICENSE, _NAME, _VERSION)),
    "bsi": ("BSI TR-03183-2 2.1.0", (
        _Row("format: CycloneDX 1.6 or SPDX 3.0.1, at least", _document(_format_of_bsi), "-o cyclonedx-json"),
        _Row("creator of the SBOM, by mail or page",
             _document(lambda _, said: any(map(_REACHED.search, said.authors))), "--author 'NAME <MAIL>'"),
        _TIME, _Row("component creator, by mail or page", _Each(_reachable, lambda said: said.unreached)),
        _NAME, _VERSION,
        _Row("file name", _of_files(lambda package: package.file), _DECLARED, files=True),
        _Row("dependencies of each component", _in_graph),
        _Row("completeness of dependencies", _document(_completeness)),
        _Row("distribution licence", _LICENSE.test),
        _Row("SHA-512 of the deployable component",
             _of_files(lambda package: any(kind == "sha512" for kind, _ in package.hashes)), _HASH.note, files=True),
        *(_Row(f"{name} property", _of_files(lambda package: package.form,
                                             f"components[].properties bsi:component:{name}"), _DECLARED, files=True)
          for name in ("executable", "archive", "structured")),
        _Row("no vulnerabilities in it", _document(lambda _, said: "vulnerabilities" not in dict(said.unread))),
        _Row("address of the SBOM", _document(lambda _, said: said.identifier), need="additional"),
        _Row("address of the source code", _Each(lambda package: package.repository), need="additional"),
        _Row("address of the deployable component",
             _of_files(lambda package: package.download or (package.file and package.locations)), need="additional"),
        _Row("other unique identifiers", _IDENTIFIER.test, need="additional"),
        _Row("original licences", _Each(lambda package: package.licenses), need="additional"),
        # The guideline spells it one way, and BSI's own taxonomy of properties the other.
        _Row("effective licence", _counted("components[].properties bsi:component:effectiveLicense",
                                           "components[].properties bsi:component:effectiveLicence"), need="optional"),
        _Row("address of security.txt", _counted("components[].externalReferences of type rfc-9116"),
             need="optional"))),
    "fsct": ("Framing Software Component Transparency, third edition", (
        _AUTHOR, _TIME, _Row("primary component", _document(lambda catalog, said: catalog.name and said.version)),
        _NAME, _VERSION, _Row("supplier", _Each(lambda package: package.supplier)), _IDENTIFIER, _HASH, _EDGES,
        _Row("completeness of relationships", _document(_completeness)), _LICENSE,
        _Row("copyright", _Each(lambda package: package.copyright), need="additional")))}
"""By the name that `--guideline` takes: what it is called, and its elements."""
