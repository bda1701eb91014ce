"""SPDX 3.0.1 as it is written: by the model's own rules, and by SPDX's Python bindings where those are installed."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custody.formats.bom import Catalog, Document, Package
from custody.services.documents import SPELLINGS
from tests.contents.differences import ours
from tests.contents.spdx3rules import broken
from tests.contents.test_formats import CATALOG, NOW
from tests.contents.test_guidelines import _shop  # noqa: F401 - the fixture `shop`


def document(catalog: Catalog) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(SPELLINGS["spdx-json@3.0.1"].write(catalog, NOW))
    return written


def _bindings(written: dict[str, Any]) -> None:
    """Raises what they raise for a property that is none, a word that is none, a type that does not fit."""
    if importlib.util.find_spec("spdx_python_model") is None:
        return
    model = importlib.import_module("spdx_python_model.bindings.v3_0_1")
    graph = model.SHACLObjectSet()
    model.JSONLDDeserializer().read(io.BytesIO(json.dumps(written).encode()), graph)
    assert not graph.missing_ids


def test_ours(shop: Catalog) -> None:
    for catalog in (CATALOG, shop, msgspec.structs.replace(shop, document=Document(
            authors=("Ann <ann@example.org>", "Organization: ACME"), supplier="ACME", tools=("syft 1.0",)))):
        assert broken(document(catalog)) == []
        _bindings(document(catalog))


@pytest.mark.parametrize("name", ["shop", "plant"])
def test_real_images(name: str) -> None:
    layout = Path(os.environ.get("CUSTODY_IMAGES", "/nowhere")) / f"{name}.oci"
    if not layout.is_dir():
        pytest.skip(f"no {name}.oci in $CUSTODY_IMAGES")
    written = document(ours(layout))
    assert broken(written) == []
    _bindings(written)


_TEXT = st.text(max_size=12) | st.sampled_from(
    ("", " ", "https://a.example/\u00e9 b", "a@b", "A <a@b.example>", "NOASSERTION", "MIT OR", "MIT", "BSD", "x" * 300))


@given(st.builds(
    Package, type=st.sampled_from(("npm", "deb")), name=_TEXT.filter(bool), version=_TEXT,
    purl=st.integers(0, 99).map("pkg:npm/n@{}".format), licenses=st.lists(_TEXT.filter(bool), max_size=2).map(tuple),
    supplier=_TEXT, author=_TEXT, description=_TEXT, homepage=_TEXT, download=_TEXT, copyright=_TEXT, repository=_TEXT,
    hashes=st.sampled_from(((), (("sha256", "0" * 64),), (("sha512", "0" * 128), ("md5", "0" * 32)))),
    form=st.sampled_from(("", "archive", "program", "data", "files", "part")), file=_TEXT,
    scope=st.sampled_from(("", "dev", "test", "build", "optional")), cpes=st.sampled_from(((), ("cpe:2.3:a:b:c",)))),
    st.sampled_from(("", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123+02:00")), _TEXT.filter(bool))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_packages_say_of_themselves(package: Package, created: str, name: str) -> None:
    catalog = Catalog(name=name, digest="sha256:" + "0" * 64, packages=(package,), document=Document(created=created))
    written = document(catalog)
    assert broken(written) == []
    _bindings(written)


def _first(graph: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(entry for entry in graph["@graph"] if entry["type"] == kind)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no creationInfo": lambda graph: _first(graph, "software_Package").pop("creationInfo"),
    "no name": lambda graph: _first(graph, "software_Package").pop("name"),
    "leads nowhere": lambda graph: _first(graph, "Relationship").update(to=["x:y"]),
    "no to": lambda graph: _first(graph, "Relationship").update(to=[]),
    "relationshipType needs": lambda graph: _first(graph, "Relationship").update(relationshipType="needs"),
    "2 times": lambda graph: graph["@graph"].append(_first(graph, "Tool")),
    "0 of SpdxDocument": lambda graph: graph["@graph"].remove(_first(graph, "SpdxDocument")),
    "no rootElement": lambda graph: _first(graph, "SpdxDocument").pop("rootElement"),
    "created 2026": lambda graph: _first(graph, "CreationInfo").update(created="2026"),
    "is no agent": lambda graph: _first(graph, "CreationInfo").update(createdBy=[_first(graph, "Tool")["spdxId"]]),
    "is none of": lambda graph: _first(graph, "software_Package").update(version="1"),
    "is no list": lambda graph: _first(graph, "SpdxDocument").update(rootElement="x:y"),
    "no simplelicensing_licenseExpression": lambda graph: _first(graph, "simplelicensing_LicenseExpression").pop(
        "simplelicensing_licenseExpression"),
    "no hashValue": lambda graph: next(entry for entry in graph["@graph"] if "verifiedUsing" in entry)[
        "verifiedUsing"][0].pop("hashValue"),
    "@context": lambda graph: graph.update({"@context": "x"})}


@pytest.mark.parametrize("words", CHANGES)
def test_the_rules_miss_nothing_that_is_broken(words: str, shop: Catalog) -> None:
    changed = copy.deepcopy(document(shop))
    CHANGES[words](changed)
    assert any(words in said for said in broken(changed)), broken(changed)
