"""Every format that SBOMs are written in: valid, the same twice, read back, and converted with what is lost listed."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cyclonedx
import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats import cyclonedxwriter, sbom, spdx3, spdx3writer, spdxtagvalue, spdxwriter, syft
from custody.formats.bom import Catalog, Coverage, Distribution, Document, Layer, Location, Package, Unknown
from custody.sbom.losses import lost
from custody.services.documents import SBOMS, SPELLINGS

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
LAYER = "sha256:" + "a" * 64
DPKG = "pkg:deb/debian/python3-yaml@5.3.1-5?arch=all&distro=debian-12"
CATALOG = Catalog(
    name="example.org/shop:1", digest="sha256:" + "c" * 64,
    distribution=Distribution(id="debian", version="12", name="Debian GNU/Linux 12 (bookworm)"),
    layers=(Layer(digest=LAYER, diff_id="sha256:" + "d" * 64, entries=9, size=10),),
    coverage=Coverage(programs=9, identified=7, size=1000, identified_size=900),
    unknowns=(Unknown(kind="Java archive", count=2), Unknown(kind="Ruby gem", count=1, owner=DPKG)),
    packages=(
        Package(type="deb", name="libssl3", version="1:3.0.11-1+b1", source="openssl", source_version="1:3.0.11-1",
                ecosystem="Debian:12", purl="pkg:deb/debian/libssl3@1:3.0.11-1%2Bb1?arch=amd64&distro=debian-12",
                licenses=("Apache-2.0", "GPL-1.0-or-later OR Artistic-1.0"), supplier="Debian <openssl@example.org>",
                locations=(Location("var/lib/dpkg/status", LAYER),), requires=(DPKG,)),
        Package(type="deb", name="python3-yaml", version="5.3.1-5", source="pyyaml", source_version="5.3.1-5",
                ecosystem="Debian:12", purl=DPKG, locations=(Location("var/lib/dpkg/status", LAYER),)),
        Package(type="pypi", name="pyyaml", version="5.3.1", source="pyyaml", source_version="5.3.1", ecosystem="PyPI",
                purl="pkg:pypi/pyyaml@5.3.1", owner=DPKG, licenses=("public domain; <really>",), form="files",
                repository="https://github.com/yaml/pyyaml",
                locations=(Location("usr/lib/python3/dist-packages/PyYAML.egg-info", LAYER),), supplier="Kirill"),
        Package(type="npm", name="@a/b", version="1.0.0", source="@a/b", source_version="1.0.0", ecosystem="npm",
                purl="pkg:npm/%40a/b@1.0.0", hashes=(("sha512", "ab" * 64),), scope="dev",

                author="Ann <ann@example.org>",
                cpes=("cpe:2.3:a:a:b:1.0.0:*:*:*:*:*:*:*", "cpe:2.3:a:c:b:1.0.0:*:*:*:*:*:*:*"),
                description="a & b", homepage="https://example.org/", copyright="(c) Ann",
                download="https://registry.npmjs.org/@a/b/-/b-1.0.0.tgz"),
        Package(type="maven", name="org.a/b", version="2", source="org.a:b", source_version="2", ecosystem="Maven",
                purl="pkg:maven/org.a/b@2", form="archive", file="b.jar",
                hashes=(("sha1", "12" * 20), ("sha512", "cd" * 64)), locations=(
                    Location("app.war", LAYER, "WEB-INF/lib/b.jar", "pom.properties"), Location("odd ; name", "")))),
    document=Document(authors=("Sam <sam@example.org>", "Organization: ACME (sbom@acme.example)"), supplier="ACME",
                      version="1", phase="post-build", tools=("builder 7",)))
FORMATS = sorted(set(SPELLINGS) - {"purls", "purl", "github", "github-json"})


def written(form: str, catalog: Catalog = CATALOG) -> bytes:
    return SPELLINGS[form].write(catalog, NOW)


def again(form: str, catalog: Catalog = CATALOG) -> Catalog:
    result = sbom.read(written(form, catalog))
    assert result is not None
    return result


@pytest.mark.parametrize("form", sorted(SPELLINGS))
def test_the_same_catalog_gives_the_same_bytes(form: str) -> None:
    shuffled = msgspec.structs.replace(CATALOG, packages=CATALOG.packages[::-1])
    assert written(form) == written(form)
    if "purl" not in form:
        assert written(form, shuffled) == written(form)
        if "json" not in (form, form.partition("-")[0]) and "syft" not in form:
            later = SPELLINGS[form].write(CATALOG, datetime(2027, 1, 1, tzinfo=UTC))
            assert later != written(form)


@pytest.mark.parametrize("form", FORMATS)
def test_what_a_format_can_say_is_read_back(form: str) -> None:
    found = again(form)
    assert (found.name, found.distribution) == (CATALOG.name, CATALOG.distribution)
    loses = SPELLINGS[form].loses
    left = {package.purl: package for package in found.packages}
    assert set(left) == {package.purl for package in CATALOG.packages}
    for package in CATALOG.packages:
        other = left[package.purl]
        for field in {"version", "ecosystem", "source", "source_version", "requires", "owner", "scope", "declared",
                      "hashes", "cpes", "author", "description", "homepage", "copyright", "download"} - loses:
            if field in ("description", "homepage") and "syft" in (form, form[:4]) and package.type != "npm":
                continue
            assert getattr(other, field) == getattr(package, field), (package.name, field)
        if "within" not in loses:
            assert [place.within for place in other.locations] == [place.within for place in package.locations]
        if package.name != "libssl3":
            assert other.licenses == package.licenses
    assert " AND ".join(left[CATALOG.packages[0].purl].licenses).replace("(", "").replace(")", "") == (
        "Apache-2.0 AND GPL-1.0-or-later OR Artistic-1.0")
    if "unknowns" not in loses:
        assert [str(unknown) for unknown in found.unknowns] == [str(unknown) for unknown in CATALOG.unknowns]
    assert found.document is not None
    assert (found.document.version, found.document.supplier) == ("1", "ACME")
    if "authors" not in loses:
        assert [author.replace("(", "<").replace(")", ">").partition(": ")[2] or author
                for author in found.document.authors] == ["Sam <sam@example.org>", "ACME <sbom@acme.example>"] or (
            found.document.authors == ("Sam <sam@example.org>", "ACME <sbom@acme.example>"))
    if form.startswith("cyclonedx"):
        assert found.coverage == CATALOG.coverage
    if "phase" not in loses:
        assert found.document.phase == "post-build"
    assert found.document.unread == ()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("through", ["cyclonedx-json", "cyclonedx-xml@1.7", "spdx-tag-value", "spdx-json@3.0.1"])
def test_a_conversion_there_and_back_is_the_same(form: str, through: str) -> None:
    """Where both say the same things, nothing is left of the way."""
    first = again(form)
    back = sbom.read(written(through, first))
    assert back is not None
    kept = [(package.purl, package.version, package.source, package.requires, package.supplier)
            for package in sorted(first.packages, key=lambda package: package.purl)]
    assert [(package.purl, package.version, package.source, package.requires, package.supplier)
            for package in sorted(back.packages, key=lambda package: package.purl)] == kept
    assert back.document is not None
    assert first.document is not None
    if first.document.created:
        assert back.document.created == first.document.created


def _schema(name: str) -> Any:
    return json.loads((Path(cyclonedx.__file__).parent / f"schema/_res/{name}.SNAPSHOT.schema.json").read_text())


@pytest.mark.parametrize("version", cyclonedxwriter.VERSIONS)
def test_cyclonedx_is_valid(version: str) -> None:
    document = cyclonedxwriter.write(CATALOG, NOW, "1", version)
    assert [str(error) for error in _validator(version).iter_errors(document)] == []


def _validator(version: str) -> Any:
    parts = [(f"http://cyclonedx.org/schema/{spelling}.schema.json", _schema(name))
             for name in ("spdx", "jsf-0.82", "cryptography-defs") for spelling in (name, f"{name}.SNAPSHOT")]
    return jsonschema_rs.validator_for(_schema(f"bom-{version}"), registry=jsonschema_rs.Registry(parts),
                                       validate_formats=True)


@pytest.mark.parametrize("version", cyclonedxwriter.VERSIONS)
@pytest.mark.parametrize("supplier", [
    "A <a@example.org>, B <b@example.org>", "A <a at example.org>", "<a@example.org>", "A <a..b@example.org>", "A <>",
    "A (a@example.org)", "a@example.org", "Ä <ä@example.org>", "x\n<y@z>"])
def test_who_made_it_is_valid_and_read_back(supplier: str, version: str) -> None:
    """As real packages write it: jsonschema holds addresses of mail to RFC 5321."""
    package = msgspec.structs.replace(CATALOG.packages[3], supplier=supplier, author=supplier, homepage="see there",
                                      download="git://x y")
    catalog = msgspec.structs.replace(CATALOG, packages=(package,))
    assert [str(error) for error in _validator(version).iter_errors(cyclonedxwriter.write(catalog, NOW, "1", version))
            ] == []
    found = again(f"cyclonedx-json@{version}", catalog).packages[0]
    assert re.sub("[<>]", "", found.supplier).strip() == re.sub("[<>]", "", supplier).strip()


def test_components_without_a_package_url_are_converted_and_counted() -> None:
    found = sbom.read(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
        {"type": "library", "name": "firmware-blob", "version": "9", "licenses": [{"license": {"id": "MIT"}}],
         "pedigree": {}, "externalReferences": [{"type": "chat", "url": "https://example.org"}]},
        {"type": "framework", "name": "a", "purl": "pkg:npm/a@1"}], "services": []}).encode())
    assert found is not None
    assert [(package.name, package.version, package.licenses) for package in found.unidentified] == [
        ("firmware-blob", "9", ("MIT",))]
    assert [str(unknown) for unknown in found.unknowns] == ["component without a package URL: 1"]
    assert list(lost(found, frozenset())) == [
        "components[].externalReferences of type chat: 1", "components[].pedigree: 1", "components[].type framework: 1",
        "services: 1"]
    assert list(lost(found, SBOMS["purls"].loses))[-2:] == [
        "components without a package URL: 1", "what was not catalogued: 1"]
    for form in FORMATS:
        other = again(form, found)
        assert [package.name for package in other.unidentified] == ["firmware-blob"], form
        assert other.unknowns[0].count == 1


def test_where_syft_and_trivy_look_for_the_source_package() -> None:
    document = cyclonedxwriter.write(CATALOG, NOW, "1")
    entry = next(entry for entry in document["components"] if entry["name"] == "libssl3")
    properties = {stated["name"]: stated["value"] for stated in entry["properties"]}
    assert entry["purl"] == CATALOG.packages[0].purl
    assert {name: value for name, value in properties.items() if not name.startswith("custody:")} == {
        "syft:package:metadataType": "dpkg-db-entry", "syft:metadata:source": "openssl",
        "syft:metadata:sourceVersion": "1:3.0.11-1", "aquasecurity:trivy:SrcName": "openssl",
        "aquasecurity:trivy:SrcVersion": "3.0.11", "aquasecurity:trivy:SrcRelease": "1",
        "aquasecurity:trivy:SrcEpoch": "1"}
    package = next(entry for entry in spdxwriter.write(CATALOG, NOW, "1")["packages"] if entry["name"] == "libssl3")
    assert package["sourceInfo"] == "built package from: openssl 1:3.0.11-1"  # all behind the name is the version
    assert package["externalRefs"][0]["referenceLocator"].endswith("&upstream=openssl%401%3A3.0.11-1")
    artifact = next(entry for entry in syft.write(CATALOG, "1")["artifacts"] if entry["name"] == "libssl3")
    assert (artifact["metadata"]["source"], artifact["metadata"]["sourceVersion"]) == ("openssl", "1:3.0.11-1")


def test_a_statement_or_an_envelope_around_an_sbom() -> None:
    inner = json.loads(written("cyclonedx-json"))
    statement = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://cyclonedx.org/bom",
                 "subject": [], "predicate": inner}
    envelope = {"payloadType": "application/vnd.in-toto+json", "signatures": [{"sig": "AA=="}],
                "payload": base64.b64encode(json.dumps(statement).encode()).decode()}
    for document in (statement, envelope, {"mediaType": "x", "dsseEnvelope": envelope}):
        found = sbom.read(json.dumps(document).encode())
        assert found is not None
        assert found.document is not None
        assert found.document.format == "unverified CycloneDX 1.6"
        assert len(found.packages) == len(CATALOG.packages)
    statement["predicateType"] = "https://slsa.dev/provenance/v1"
    with pytest.raises(UnsupportedError, match="is no SBOM"):
        sbom.read(json.dumps(statement).encode())
    envelope["payload"] = "%"
    with pytest.raises(MalformedError, match="base64"):
        sbom.read(json.dumps(envelope).encode())


BOM = '<bom xmlns="http://cyclonedx.org/schema/bom/1.6">%s</bom>'


@pytest.mark.parametrize(("data", "reason"), [
    ('<!DOCTYPE bom [<!ENTITY a "aaaa">]>' + BOM % "<components/>", "a document type or an entity"),
    ('<!DOCTYPE bom SYSTEM "file:///etc/passwd">' + BOM % "<components/>", "a document type or an entity"),
    (BOM % "<components>&a;</components>", "undefined entity"), (BOM % "<components>", "mismatched tag"),
    (BOM % ("<a>" * 200 + "</a>" * 200), "more than 128 levels"),
    ('<bom xmlns="http://cyclonedx.org/schema/bom/9"/>', "'9' is not one of"),
    ("SPDXVersion: SPDX-2.3\nPackageName: a\nPackageComment: <text>open", "expected </text>"),
    ("SPDXVersion: SPDX-2.3\nnonsense", "expected Tag: value"), ("SPDXVersion: SPDX-2.3\nFoo: x", "a tag of SPDX 2.3"),
    ("SPDXVersion: SPDX-2.3\nRelationship: a b", "Relationship: A KIND B"), ("SPDXVersion: SPDX-9", "SPDX-9"),
    ('{"@context":"https://spdx.org/rdf/3.1","@graph":[{"type":"CreationInfo","specVersion":"4"}]}', "is not 3.0"),
    ('{"@context":"https://spdx.org/rdf/3.0.1/","@graph":{}}', '"@graph"'),
    ('{"artifacts":{},"artifactRelationships":[]}', '"artifacts"'),
    ('{"artifacts":[1],"artifactRelationships":[]}', "an object"),
])
def test_broken_documents_are_refused_by_name(data: str, reason: str) -> None:
    with pytest.raises((MalformedError, UnsupportedError), match=reason):
        sbom.read(data.encode())


def test_names_do_not_begin_fields_of_their_own() -> None:
    evil = msgspec.structs.replace(
        CATALOG.packages[3], name="x\nPackageName: evil", supplier="y\nPackageLicenseDeclared: MIT", purl="pkg:npm/x@1",
        version="1\nPackageName: evil", homepage="", download="z\nPackageName: evil", cpes=(),
        description="</text>\nSPDXID: z")
    text = written("spdx-tag-value", msgspec.structs.replace(CATALOG, packages=(evil,))).decode()
    assert not [line for line in text.splitlines() if line == "PackageName: evil"]
    found = spdxtagvalue.read(text.encode())
    assert [package.purl for package in found.packages] == ["pkg:npm/x@1"]
    xml = written("cyclonedx-xml", msgspec.structs.replace(
        CATALOG, packages=(msgspec.structs.replace(evil, description="</description><purl>pkg:npm/e@1</purl>\x00"),)))
    back = sbom.read(xml)
    assert back is not None
    assert [package.purl for package in back.packages] == ["pkg:npm/x@1"]


_TEXT = st.text(max_size=12)
_TREE = st.recursive(st.none() | st.booleans() | st.integers() | _TEXT,
                     lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3))
_ELEMENT = st.dictionaries(st.sampled_from([
    "type", "spdxId", "name", "software_packageUrl", "from", "to", "relationshipType", "scope", "suppliedBy", "element",
    "rootElement", "originatedBy", "verifiedUsing", "externalIdentifier", "comment", "completeness", "purl", "id",
    "licenses", "cpes", "locations", "metadata", "simplelicensing_licenseExpression", "simplelicensing_customIdToUri"]),
    _TREE | st.sampled_from(["software_Package", "Relationship", "SpdxDocument", "software_Sbom", "dependsOn", "a", "b",
                             "pkg:npm/a@1", "hasDeclaredLicense", "simplelicensing_LicenseExpression"]))


@settings(max_examples=60)
@given(st.lists(_ELEMENT | _TREE, max_size=4))
def test_hostile_json_raises_only_our_errors(elements: list[Any]) -> None:
    info = {"type": "CreationInfo", "specVersion": "3.0.1", "createdBy": elements}
    for read, document in ((spdx3.read, {"@graph": [info, *elements]}),
                           (syft.read, {"artifacts": elements, "artifactRelationships": elements, "source": elements})):
        try:
            found = read(json.dumps(document).encode())
        except CustodyError:
            continue
        for form in FORMATS:
            written(form, found)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([
    "PackageName", "SPDXID", "ExternalRef", "PackageChecksum", "Relationship", "Creator", "LicenseID", "FileName",
    "PackageComment", "RelationshipComment", "PackageLicenseDeclared", "Annotator"]),
    _TEXT | st.sampled_from(["PACKAGE-MANAGER purl pkg:npm/a@1", "a DEPENDS_ON b", "<text>", "</text>", "SHA1: a"])),
    max_size=9))
def test_hostile_tag_values_raise_only_our_errors(fields: list[tuple[str, str]]) -> None:
    try:
        found = spdxtagvalue.read(("SPDXVersion: SPDX-2.3\n" + "".join(f"{tag}: {value}\n" for tag, value in fields)
                                   ).encode())
    except CustodyError:
        return
    assert sbom.read(written("cyclonedx-xml", found)) is not None


@settings(max_examples=60)
@given(st.recursive(_TEXT.map(lambda text: text.replace("<", "").replace("&", "")), lambda inner: st.tuples(
    st.sampled_from(["components", "component", "metadata", "tools", "licenses", "license", "hashes", "evidence",
                     "occurrences", "dependencies", "dependency", "purl", "properties", "property", "supplier"]),
    st.lists(inner, max_size=3)).map(lambda pair: f"<{pair[0]}>{''.join(pair[1])}</{pair[0]}>"), max_leaves=12))
def test_hostile_xml_raises_only_our_errors(body: str) -> None:
    try:
        sbom.read((BOM % body).encode())
    except CustodyError:
        return


def test_what_syft_could_not_read_is_a_gap() -> None:
    """An SBOM that says of files that nobody read them must not be taken for a whole one."""
    def stated(name: str, files: list[Any]) -> list[str]:
        found = sbom.read(json.dumps({
            "artifacts": [], "artifactRelationships": [], "descriptor": {"name": name, "version": "1"},
            "files": files}).encode())
        assert found is not None
        assert found.document is not None
        assert dict(found.document.unread).get("files", 0) == sum("unknowns" not in entry for entry in files)
        return [str(unknown) for unknown in found.unknowns]

    said = "java-archive-cataloger: unable to read /a.jar: zip: not a valid zip file"
    assert stated("syft", [{"id": "1", "location": {"path": "/a.jar"}, "unknowns": [said]},
                           {"id": "2", "location": {"path": "/b.jar"}, "unknowns": [said, 7, "\u001b[2J no colon"]},
                           {"id": "3", "location": {"path": "/c"}}]) == [
        "file that syft did not read: 1", "file that syft's java-archive-cataloger did not read: 2"]
    assert stated("custody", [{"id": "1", "location": {"path": "/"}, "unknowns": ["Ruby gem: 3"]}]) == ["Ruby gem: 3"]
    many = [{"id": "1", "location": {"path": "/"}, "unknowns": [f"c{number}: x" for number in range(100_000)]}]
    assert len(stated("syft", many)) == 101


def test_a_supplier_of_many_at_signs_is_a_name() -> None:
    """A package says its supplier: work by its length, not by its square, and no address where there is none."""
    graph = spdx3writer._Graph("https://x.example/")
    graph.agent("Organization: x <" + "@" * 1_000_000)
    graph.agent("Person: Ann <ann@x.example>")
    names = [(element["name"][:7], [known["identifier"] for known in element.get("externalIdentifier", [])])
             for element in graph.elements if "name" in element]
    assert names == [("x <@@@@", []), ("Ann", ["ann@x.example"])]
