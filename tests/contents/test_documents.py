"""CycloneDX and SPDX: what is written is valid, comes out the same twice, and is read back."""

from __future__ import annotations

import importlib.util
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats import cyclonedx, spdx
from custody.formats.bom import Catalog, from_purl
from custody.formats.licenses import is_expression
from custody.sbom.catalog import catalog
from tests.contents.images import METADATA, OS_RELEASE, STATUS, go_program, image

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.fixture(name="found")
def _found(tmp_path: Path) -> Catalog:
    odd = json.dumps({"name": "@a/b", "version": "1.0.0", "license": "SEE LICENSE IN x", "author": "B <b@example.org>"})
    return catalog(image(tmp_path / "i", [
        ("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", STATUS), ("s/f.dist-info/METADATA", METADATA),
        ("n/package.json", odd.encode()), ("bin/go", go_program("mod\texample.org/a/b\tv1.0.0\n")), ("a.jar", b"PK"),
        ("s/f.dist-info/sboms/x.json", json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
            {"type": "library", "name": "pcre", "purl": "pkg:rpm/almalinux/pcre@8.42-6.el8?distro=almalinux-8"},
            {"type": "library", "name": "ryu", "purl": "pkg:cargo/ryu@1.0.15"}]}).encode())]))


def test_the_same_catalog_gives_the_same_bytes(found: Catalog) -> None:
    for write in (cyclonedx.write, spdx.write):
        one, two = write(found, NOW, "1"), write(found, NOW, "1")
        assert json.dumps(one) == json.dumps(two)
        key = "serialNumber" if "serialNumber" in one else "documentNamespace"
        assert one[key] != write(found, NOW, "2")[key]


@pytest.mark.parametrize("form", [cyclonedx, spdx])
def test_what_is_written_is_read_back(found: Catalog, form: Any) -> None:
    again = form.read(json.dumps(form.write(found, NOW, "1")).encode())
    assert again.distribution == found.distribution
    left = {package.purl: package for package in again.packages}
    assert set(left) == {package.purl for package in found.packages}
    for package in found.packages:
        other = left[package.purl]
        assert other.name == (package.source if package.type == "pypi" else package.name)  # the purl's spelling
        for name in ("version", "type", "ecosystem", "source", "source_version", "owner", "requires", "bundled_in"):
            assert getattr(other, name) == getattr(package, name), name
        if form is cyclonedx:
            assert (other.locations, other.licenses, other.supplier) == (
                package.locations, package.licenses, package.supplier)


def test_cyclonedx_is_valid(found: Catalog) -> None:
    spec = importlib.util.find_spec("cyclonedx")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("cyclonedx-python-lib, which has the schema, is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "schema/_res"
    parts = [
        (f"http://cyclonedx.org/schema/{name}.schema.json", json.loads((folder / f"{file}.schema.json").read_text()))
        for file in ("spdx.SNAPSHOT", "jsf-0.82.SNAPSHOT")
        for name in (file, file.replace(".SNAPSHOT", ""))
    ]
    schema = json.loads((folder / "bom-1.6.SNAPSHOT.schema.json").read_text())
    validator = jsonschema_rs.validator_for(schema, registry=jsonschema_rs.Registry(parts))
    assert [str(error) for error in validator.iter_errors(cyclonedx.write(found, NOW, "1"))] == []


def test_spdx_says_what_the_standard_requires(found: Catalog) -> None:
    document = spdx.write(found, NOW, "1")
    assert (document["spdxVersion"], document["dataLicense"]) == ("SPDX-2.3", "CC0-1.0")
    assert document["creationInfo"] == {"created": "2026-01-02T03:04:05Z", "creators": ["Tool: custody-1"],
                                        "licenseListVersion": "3.28"}
    ids = [package["SPDXID"] for package in document["packages"]]
    assert len(ids) == len(set(ids))
    known = {*ids, "SPDXRef-DOCUMENT"}
    assert all({edge["spdxElementId"], edge["relatedSpdxElement"]} <= known for edge in document["relationships"])
    extracted = {entry["licenseId"] for entry in document["hasExtractedLicensingInfos"]}
    for package in document["packages"]:
        stated = package["licenseDeclared"]
        assert stated == "NOASSERTION" or stated in extracted or is_expression(stated), stated
        assert package["filesAnalyzed"] is False
        assert package["downloadLocation"] == "NOASSERTION"
    assert "not catalogued: unreadable Java archive file: 1" in document["comment"]


def test_unknowns_and_evidence_are_in_the_document(found: Catalog) -> None:
    document = cyclonedx.write(found, NOW, "1")
    assert {"name": "custody:unknown", "value": "unreadable Java archive file: 1"} in (
        document["metadata"]["component"]["properties"])
    assert document["compositions"][0]["aggregate"] == "incomplete"
    flask = next(entry for entry in document["components"] if entry["name"] == "Flask_Login")
    assert [entry["name"] for entry in flask["components"]] == ["pcre"]
    rust = next(entry for entry in document["components"] if entry["name"] == "ryu")
    assert {"name": "custody:bundledIn", "value": "pkg:pypi/flask-login@0.6.2"} in rust["properties"]
    assert flask["evidence"]["occurrences"] == [
        {"location": "s/f.dist-info/METADATA", "additionalContext": f"layer {found.layers[0].digest}"}]
    assert flask["evidence"]["identity"][0]["methods"] == [{"technique": "manifest-analysis", "confidence": 1}]


def test_what_syft_and_trivy_call_the_source_package() -> None:
    found = cyclonedx.read(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": [
        {"type": "library", "name": "libssl3", "purl":
         "pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12&upstream=openssl%403.0.11"},
        {"type": "library", "name": "zlib1g", "purl": "pkg:deb/debian/zlib1g@1.2.13?epoch=1&distro=debian-12.5",
         "properties": [{"name": "aquasecurity:trivy:SrcName", "value": "zlib"},
                        {"name": "aquasecurity:trivy:SrcVersion", "value": "1.2.13"},
                        {"name": "aquasecurity:trivy:SrcEpoch", "value": "1"}]},
        {"type": "library", "name": "nameless"}]}).encode())
    ssl, zlib = found.packages
    assert (ssl.source, ssl.source_version, ssl.ecosystem) == ("openssl", "3.0.11", "Debian:12")
    assert (zlib.source, zlib.source_version, zlib.version, zlib.ecosystem) == (
        "zlib",
        "1:1.2.13",
        "1:1.2.13",
        "Debian:12",
    )
    assert found.unknowns[0].count == 1


@pytest.mark.parametrize(("purl", "ecosystem", "source"), [
    ("pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=jessie", "Debian:8", "curl"),
    ("pkg:deb/debian/curl@7.88?distro=debian-bookworm", "Debian:12", "curl"),
    ("pkg:deb/ubuntu/curl@7.88?distro=jammy", "Ubuntu:22.04:LTS", "curl"),
    ("pkg:deb/debian/curl@7.88?distro=sid", None, "curl"),
    ("pkg:apk/minimos/curl@8-r0", "MinimOS", "curl"),
    ("pkg:npm/@Angular/Core@1.0.0", "npm", "@angular/core"),
    ("pkg:swift/github.com/Alamofire/Alamofire@5.4.3", "SwiftURL", "github.com/Alamofire/Alamofire"),
])
def test_which_advisories_speak_of_a_package_url(purl: str, ecosystem: str | None, source: str) -> None:
    package = from_purl(purl, None)
    assert (package.ecosystem, package.source) == (ecosystem, source)


def test_other_documents_are_refused() -> None:
    with pytest.raises(MalformedError, match="a CycloneDX document"):
        cyclonedx.read(b"{}")
    with pytest.raises(UnsupportedError, match="specVersion"):
        cyclonedx.read(b'{"bomFormat":"CycloneDX","specVersion":"9"}')
    with pytest.raises(UnsupportedError, match="SPDX-3"):
        spdx.read(b'{"spdxVersion":"SPDX-3.0"}')
    with pytest.raises(MalformedError, match="twice"):
        spdx.read(b'{"spdxVersion":"SPDX-2.3","spdxVersion":"SPDX-2.2"}')


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)
_COMPONENT = st.dictionaries(st.sampled_from(["name", "version", "purl", "licenses", "properties", "evidence", "hashes",
                                              "supplier", "components", "bom-ref", "type", "SPDXID", "externalRefs"]),
                             _JSON | st.just("pkg:npm/a@1"))


@given(
    _JSON | st.lists(_COMPONENT | _JSON, max_size=3),
    st.sampled_from(["components", "packages", "dependencies", "metadata", "relationships"]),
)
def test_hostile_documents_raise_only_our_errors(value: Any, key: str) -> None:
    for read, head in ((cyclonedx.read, {"bomFormat": "CycloneDX", "specVersion": "1.6"}),
                       (spdx.read, {"spdxVersion": "SPDX-2.3"})):
        try:
            read(json.dumps({**head, key: value}).encode())
        except CustodyError:
            pass
