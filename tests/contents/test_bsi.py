"""What an independent reading of BSI TR-03183-2 2.1.0 finds in our SBOMs; `sbom score` says the same of them."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from custody.formats import cyclonedx
from custody.formats.bom import Catalog, Document
from custody.sbom.score import score
from custody.services.documents import SPELLINGS
from tests.contents import bsi
from tests.contents.differences import ours
from tests.contents.test_guidelines import _shop

NOW = datetime(2026, 1, 2, tzinfo=UTC)
_SAME = {"4 format": "format: CycloneDX 1.6 or SPDX 3.0.1, at least", "5.2.1 timestamp": "timestamp",
         "5.2.1 creator": "creator of the SBOM, by mail or page", "5.2.2 component name": "component name",
         "5.2.2 component version": "component version", "5.2.2 filename": "file name",
         "5.2.2 dependencies": "dependencies of each component", "5.2.2 completeness": "completeness of dependencies",
         "5.2.2 distribution licences": "distribution licence", "5.2.2 executable": "executable property",
         "5.2.2 hash of the deployable component": "SHA-512 of the deployable component",
         "5.2.2 archive": "archive property", "5.2.2 structured": "structured property",
         "5.2.2 component creator": "component creator, by mail or page", "5.2.3 SBOM-URI": "address of the SBOM",
         "5.2.4 other unique identifiers": "other unique identifiers",
         "3.1 no vulnerabilities": "no vulnerabilities in it"}


def document(catalog: Catalog) -> dict[str, Any]:
    said = msgspec.structs.replace(catalog, document=Document(authors=("Ann <ann@example.org>",)))
    written: dict[str, Any] = json.loads(SPELLINGS["cyclonedx-json"].write(said, NOW))
    return written


@pytest.fixture(name="stated")
def _stated(shop: Catalog) -> dict[str, Any]:
    return document(shop)


shop = _shop


def test_what_is_known_is_there(stated: dict[str, Any]) -> None:
    unmet = {name: pair for name, pair in bsi.rows(stated).items() if pair[0] < pair[1]}
    assert unmet.keys() <= {"5.2.2 component creator", "5.2.2 distribution licences"}  # who made them does not say
    assert bsi.rows(stated)["5.2.2 filename"][1] == 4


def _without(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def take(document: Any) -> None:
        *way, last = path
        for step in way:
            document = document[step]
        del document[last]

    return take


def _first(document: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(component for component in bsi.components(document) if component.get("purl", "").startswith(kind))


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "4 format": lambda document: document.update(specVersion="1.5"),
    "5.2.1 creator": lambda document: document["metadata"].update(authors=[{"name": "Ann"}]),
    "5.2.1 timestamp": lambda document: document["metadata"].update(timestamp="yesterday"),
    "5.2.2 component name": lambda document: _first(document, "pkg:deb").update(name=""),
    "5.2.2 component version": lambda document: _first(document, "pkg:deb").pop("version"),
    "5.2.2 filename": lambda document: _first(document, "pkg:maven/org.w").update(properties=[]),
    "5.2.2 executable": lambda document: _first(document, "pkg:maven/org.w").update(properties=[]),
    "5.2.2 dependencies": lambda document: document["dependencies"].pop(),
    "5.2.2 completeness": lambda document: document.update(compositions=[]),
    "5.2.2 hash of the deployable component": lambda document: _first(document, "pkg:maven/org.w").pop(
        "externalReferences"),
    "5.2.3 SBOM-URI": _without("serialNumber"),
    "5.2.4 other unique identifiers": lambda document: _first(document, "pkg:deb").pop("purl"),
    "3.1 no vulnerabilities": lambda document: document.update(vulnerabilities=[])}


@pytest.mark.parametrize("name", CHANGES)
def test_the_checker_misses_what_is_taken_away(name: str, stated: dict[str, Any]) -> None:
    changed = copy.deepcopy(stated)
    CHANGES[name](changed)
    assert bsi.rows(changed)[name][0] < bsi.rows(stated)[name][0] or bsi.rows(changed)[name][1] > bsi.rows(
        stated)[name][1]


def _compare(stated: dict[str, Any]) -> None:
    read = cyclonedx.read(json.dumps(stated).encode())
    own = {element.name: (element.has, element.of) for element in score(read, ("bsi",))[0].elements}
    assert {name: own[same] for name, same in _SAME.items()} == bsi.rows(stated)


def test_our_score_is_that_of_the_checker(stated: dict[str, Any]) -> None:
    _compare(stated)


@pytest.mark.parametrize("name", ["shop", "plant"])
def test_real_images(name: str) -> None:
    layout = Path(os.environ.get("CUSTODY_IMAGES", "/nowhere")) / f"{name}.oci"
    if not layout.is_dir():
        pytest.skip(f"no {name}.oci in $CUSTODY_IMAGES")
    stated = document(ours(layout))
    _compare(stated)
    unmet = {row: pair for row, pair in bsi.rows(stated).items() if pair[0] < pair[1]}
    assert unmet.keys() == {"5.2.2 component creator", "5.2.2 distribution licences"}
    assert min(has / of for has, of in unmet.values()) > 0.6


def test_what_needs_are_not_known_of_says_so(shop: Catalog) -> None:
    gem = replace_type(shop, "gem")
    stated = document(gem)
    silent = {ref for entry in stated["compositions"] if entry["aggregate"] == "unknown"
              for ref in entry.get("dependencies", ())}
    assert "pkg:gem/rack@2.0" in silent
    assert {"ref": "pkg:gem/rack@2.0"} in stated["dependencies"]


def replace_type(catalog: Catalog, kind: str) -> Catalog:
    package = msgspec.structs.replace(catalog.packages[0], type=kind, name="rack", version="2.0", requires=(),
                                      purl=f"pkg:{kind}/rack@2.0")
    return msgspec.structs.replace(catalog, packages=(*catalog.packages, package))
