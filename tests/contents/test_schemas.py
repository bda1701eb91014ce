"""Each output of `custody sbom` and `custody scan` by its format's own schema; where that cannot be kept here, by what
its specification demands (`outlines`). Where the schemas are from: data/README.md.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custody.formats import cyclonedxwriter
from custody.formats.bom import Catalog, Location, Package
from custody.services.documents import SPELLINGS
from custody.services.reports import SCANS
from custody.vulns.report import ScanReport
from tests.contents import outlines, test_formats
from tests.contents.test_formats import CATALOG, NOW
from tests.contents.test_reports import _report  # noqa: F401 - the fixture `report`

_FILES = {"spdx-json": "spdx-2.3", "syft-json": "syft-16.1.13", "sarif": "sarif-2.1.0"}
_OUTLINES: Mapping[str, dict[str, Any]] = {
    "gitlab": outlines.GITLAB, "github": outlines.GITHUB, "openvex": outlines.OPENVEX,
    "in-toto-vulns": outlines.IN_TOTO_VULNS, "cosign-vuln": outlines.COSIGN_VULN}


@cache
def validator(form: str) -> Any:
    if form.startswith("cyclonedx"):
        return test_formats._validator(form.partition("@")[2] or cyclonedxwriter.DEFAULT)
    if form in _OUTLINES:
        schema = _OUTLINES[form]
    else:
        packed = Path(__file__).parent / "data" / f"{_FILES[form]}.json.gz"
        schema = json.loads(gzip.decompress(packed.read_bytes()))
    return jsonschema_rs.validator_for(schema, validate_formats=True)


def wrong(form: str, document: Any) -> list[str]:
    errors = validator(form).iter_errors(document)
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}"[:300] for error in errors]


_SBOMS = ["spdx-json", "syft-json", "github", "cyclonedx-json", *(
    f"cyclonedx-json@{version}" for version in cyclonedxwriter.VERSIONS)]


@pytest.mark.parametrize("form", _SBOMS)
def test_sboms(form: str) -> None:
    assert wrong(form, json.loads(SPELLINGS[form].write(CATALOG, NOW))) == []


@pytest.mark.parametrize("form", ["sarif", "gitlab", "openvex", "in-toto-vulns", "cosign-vuln", "cyclonedx-json"])
def test_scans(form: str, report: ScanReport) -> None:
    for kind in ("container", "directory"):
        of_kind = msgspec.structs.replace(report, catalog=msgspec.structs.replace(report.catalog, kind=kind))
        assert wrong(form, json.loads(SCANS[form].write(of_kind, NOW))) == []


def test_junit(report: ScanReport) -> None:
    """As Jenkins' and GitLab's readers take it: counts that are so, a name for each case, one failure at most."""
    suites = ET.fromstring(SCANS["junit"].write(report, NOW))
    assert suites.tag == "testsuites"
    assert {suite.tag for suite in suites} == {"testsuite"}
    for group in (suites, *suites):
        cases = list(group.iter("testcase"))
        failures = [case for case in cases if case.find("failure") is not None]
        assert (group.get("tests"), group.get("failures")) == (str(len(cases)), str(len(failures)))
        assert all(case.get("name") and case.get("classname") for case in cases)
        assert {part.tag for case in cases for part in case} <= {"failure", "system-out"}
        assert all(case.find("failure").get("message") for case in failures)  # type: ignore[union-attr]


@pytest.mark.parametrize("version", cyclonedxwriter.VERSIONS)
def test_cyclonedx_xml(version: str) -> None:
    if importlib.util.find_spec("lxml") is None:
        pytest.skip("lxml, which reads XML schemas, is not installed")
    etree = importlib.import_module("lxml.etree")
    place = importlib.util.find_spec("cyclonedx")
    assert place is not None
    assert place.submodule_search_locations
    folder = Path(place.submodule_search_locations[0]) / "schema/_res"
    schema = etree.XMLSchema(etree.parse(str(folder / f"bom-{version}.SNAPSHOT.xsd")))
    schema.validate(etree.fromstring(SPELLINGS[f"cyclonedx-xml@{version}"].write(CATALOG, NOW)))
    assert list(map(str, schema.error_log)) == []


_TEXT = st.text(max_size=20) | st.sampled_from(
    ("", " ", "https://a.example/\u00e9 b", "a@b", "NOASSERTION", "MIT OR", "x" * 300))


@given(st.builds(
    Package, type=st.just("npm"), name=_TEXT.filter(bool), version=_TEXT,
    purl=st.integers(0, 99).map("pkg:npm/n@{}".format),
    licenses=st.lists(_TEXT.filter(bool), max_size=2).map(tuple), supplier=_TEXT, author=_TEXT, description=_TEXT,
    homepage=_TEXT, download=_TEXT, copyright=_TEXT, repository=_TEXT,
    hashes=st.sampled_from(((), (("sha256", "0" * 64),), (("sha512", "0" * 128), ("md5", "0" * 32)))),
    locations=st.lists(st.builds(Location, path=_TEXT.filter(bool), evidence=_TEXT), max_size=2).map(tuple)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_packages_say_of_themselves(package: Package) -> None:
    catalog = Catalog(name="x", digest="sha256:" + "0" * 64, packages=(package,))
    for form in _SBOMS:
        assert wrong(form, json.loads(SPELLINGS[form].write(catalog, NOW))) == [], form
