"""VEX of all formats: what it is about, whose word it is, and that nobody else's silences a finding."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.errors import CustodyError, MalformedError, UnsupportedError, UsageError
from custody.formats import osv, purl, vex
from custody.formats.bom import Catalog, Document, Package
from custody.formats.vex import openvex
from custody.formats.vex.statement import Product, Statement
from custody.services import statements
from custody.vulns.report import ScanReport, scan
from custody.vulns.vex.product import Subject, matches
from custody.vulns.vex.waivers import Spoken, Waivers
from tests.contents.test_scan import NOW, package, record

IMAGE = "sha256:" + "a" * 64
ELSEWHERE = "sha256:" + "b" * 64
SHOP = f"pkg:oci/shop@{IMAGE}?repository_url=registry.example.org/team/shop"
FIX = [{"introduced": "0"}, {"fixed": "9"}]


def said(*entries: dict[str, Any], time: str = "2026-01-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.org/1", "author": "Example",
            "timestamp": time, "version": 1, "statements": list(entries), **more}


def word(products: list[Any], status: str = "not_affected", cve: str = "CVE-2026-0001", **more: Any) -> dict[str, Any]:
    reason = {"justification": "vulnerable_code_not_present"} if status == "not_affected" else {}
    return {"vulnerability": {"name": cve}, "products": products, "status": status, **reason, **more}


def catalog(*packages: Package, **more: Any) -> Catalog:
    return Catalog(**{"name": f"registry.example.org/team/shop:1@{IMAGE}", "digest": IMAGE,
                      "packages": packages or (package("a", "1"),), **more})


def judged(tmp_path: Path, stated: dict[str, Any], *packages: Package, now: datetime = NOW, by: str = "the user",
           **more: Any) -> ScanReport:
    store = SqliteAdvisories(tmp_path / "a.db")
    if not store.status().advisories:
        store.add([osv.read(json.dumps(record("CVE-2026-0001", FIX)).encode())], NOW)
    spoken = Spoken(document=vex.of_json(stated, "v.json"), source="v.json", by=by)
    return scan(catalog(*packages, **more), store, now, waivers=Waivers([spoken]))


@pytest.mark.parametrize(("products", "counts"), [
    (["pkg:pypi/a@1"], True), (["pkg:pypi/a"], True), (["pkg:pypi/A@1.0"], True),
    ([{"@id": "x", "identifiers": {"purl": "pkg:pypi/a@1"}}], True),
    ([SHOP], True), ([{"@id": SHOP, "subcomponents": ["pkg:pypi/a@1"]}], True),
    ([{"@id": SHOP, "subcomponents": [{"@id": "pkg:pypi/a"}]}], True),
    ([{"@id": "x", "hashes": {"sha-256": "a" * 64}}], True), ([IMAGE], True),
    (["pkg:oci/shop?repository_url=registry.example.org/team/shop"], True),
    (["pkg:pypi/a@2"], False), (["pkg:npm/a@1"], False), (["pkg:pypi/b@1"], False), (["a"], False), (["shop"], False),
    (["pkg:pypi/a@1?vcs_url=x"], False), (["pkg:oci/shop"], False), ([ELSEWHERE], False),
    ([SHOP.replace("a" * 64, "b" * 64)], False),
    (["pkg:oci/shop?repository_url=evil.example.org/team/shop"], False),
    (["pkg:oci/shop?repository_url=registry.example.org/team/shop&tag=1"], False),
    ([{"@id": SHOP, "subcomponents": ["pkg:pypi/b@1"]}], False),
    ([{"@id": SHOP.replace("a" * 64, "b" * 64), "subcomponents": ["pkg:pypi/a@1"]}], False),
    ([{"@id": "pkg:pypi/a@1", "subcomponents": ["pkg:pypi/b"]}], False), ([], False),
])
def test_products(tmp_path: Path, products: list[Any], counts: bool) -> None:
    report = judged(tmp_path, said(word(products)))
    assert [entry.status for entry in report.ignored] == ["not_affected"] * counts
    assert len(report.findings) == 1 - counts
    assert [use.state for use in report.waivers] == ["used" if counts else "refused" if not products else "unused"]


@pytest.mark.parametrize(("stated", "own", "same"), [
    ("pkg:deb/debian/curl?distro=debian-12", "pkg:deb/debian/curl@1?arch=amd64&distro=debian-12.13", True),
    ("pkg:deb/debian/curl?distro=debian-12.5", "pkg:deb/debian/curl@1?distro=debian-12.13", True),
    ("pkg:deb/debian/curl?distro=debian-bookworm", "pkg:deb/debian/curl@1?distro=debian-bookworm", True),
    ("pkg:deb/debian/curl?distro=debian-11", "pkg:deb/debian/curl@1?distro=debian-12.13", False),
    ("pkg:deb/debian/curl?distro=debian-12", "pkg:deb/debian/curl@1", False),
    ("pkg:deb/ubuntu/curl?distro=ubuntu-22.04", "pkg:deb/ubuntu/curl@1?distro=ubuntu-22.10", False),
    ("pkg:apk/alpine/curl?distro=alpine-3.19.1", "pkg:apk/alpine/curl@1?distro=alpine-3.19.4", True),
    ("pkg:apk/alpine/curl?distro=alpine-3.18", "pkg:apk/alpine/curl@1?distro=alpine-3.19.4", False),
    ("pkg:rpm/redhat/curl?arch=x86_64", "pkg:rpm/redhat/curl@1?arch=aarch64", False),
    ("pkg:rpm/redhat/curl?epoch=0", "pkg:rpm/redhat/curl@1", True),
    ("pkg:rpm/redhat/curl?epoch=1", "pkg:rpm/redhat/curl@1", False),
    ("pkg:maven/g/a@1?type=jar", "pkg:maven/g/a@1", True), ("pkg:maven/g/a@1?type=pom", "pkg:maven/g/a@1", False),
    ("pkg:maven/g/a@1", "pkg:maven/g/a@1?type=jar", True), ("pkg:golang/x/y#sub", "pkg:golang/x/y@v1", False),
    ("pkg:npm/a@1.0.0", "pkg:npm/a@1.0.0", True), ("pkg:npm/a@1", "pkg:npm/a@", False),
])
def test_package_urls(stated: str, own: str, same: bool) -> None:
    assert matches(purl.parse(stated), purl.parse(own)) is same


def test_a_subcomponent_of_a_package_that_something_else_needs_too() -> None:
    parts = (package("a", "1", requires=("pkg:pypi/b@1",)), package("b", "1"),
             package("root", "1", requires=("pkg:pypi/a@1",)))
    within = Product(names=("pkg:pypi/a@1",), components=(("pkg:pypi/b@1",),))
    assert Subject(catalog(*parts)).applies(within, "pkg:pypi/b@1")
    assert not Subject(catalog(*parts)).applies(within, "pkg:pypi/a@1")
    beside = (*parts, package("c", "1", requires=("pkg:pypi/b@1",)))
    assert not Subject(catalog(*beside)).applies(within, "pkg:pypi/b@1")
    assert not Subject(catalog(package("a", "1"), package("b", "1"))).applies(within, "pkg:pypi/b@1")


def test_the_newest_statement_wins(tmp_path: Path) -> None:
    old, new = "2025-01-01T00:00:00Z", "2025-06-01T00:00:00Z"
    waived = word([SHOP], timestamp=old)
    back = word([SHOP], "affected", timestamp=new, action_statement="update")
    for order in ([waived, back], [back, waived]):
        report = judged(tmp_path, said(*order))
        assert not report.ignored
        assert {use.status: use.state for use in report.waivers} == {"not_affected": "outdated", "affected": "used"}
    report = judged(tmp_path, said(word([SHOP], timestamp=new), word([SHOP], "under_investigation", timestamp=old)))
    assert [entry.status for entry in report.ignored] == ["not_affected"]
    assert [entry.status for entry in judged(tmp_path, said(word([SHOP], "fixed"))).ignored] == ["fixed"]


@pytest.mark.parametrize(("entry", "reason"), [
    ({"vulnerability": {"name": "CVE-2026-0001"}, "products": [SHOP], "status": "not_affected"},
     "without a justification"),
    (word([SHOP], timestamp="2027-01-01T00:00:00Z"), "in the future"),
])
def test_what_cannot_count_is_refused_with_its_reason(tmp_path: Path, entry: dict[str, Any], reason: str) -> None:
    report = judged(tmp_path, said(entry))
    assert not report.ignored
    assert [use.state for use in report.waivers] == ["refused"]
    assert reason in report.waivers[0].reason


def test_an_alias_that_is_another_cve_is_another_vulnerability(tmp_path: Path) -> None:
    entry = word([SHOP], cve="CVE-2020-1111") | {"vulnerability": {
        "name": "CVE-2020-1111", "aliases": ["CVE-2026-0001"]}}
    assert not judged(tmp_path, said(entry)).ignored
    entry["vulnerability"] = {"name": "GHSA-1111-2222-3333", "aliases": ["CVE-2026-0001"]}
    assert judged(tmp_path, said(entry)).ignored


def test_what_was_left_out_stays_in_the_report(tmp_path: Path) -> None:
    report = judged(tmp_path, said(word([SHOP]), word([SHOP], cve="CVE-1999-1")), by="key sha256:1").to_json()
    assert [(entry["finding"]["cve"], entry["by"], entry["source"], entry["status"]) for entry in report["ignored"]] \
        == [("CVE-2026-0001", "key sha256:1", "v.json: statements[0]", "not_affected")]
    assert [(use["state"], use["id"], use["findings"]) for use in report["waivers"]] == [
        ("used", "CVE-2026-0001", 1), ("unused", "CVE-1999-1", 0)]


def cyclonedx(ref: str, state: str = "not_affected", **more: Any) -> dict[str, Any]:
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": "urn:uuid:1", "version": 1,
            "metadata": {"timestamp": "2026-01-01T00:00:00Z"}, "vulnerabilities": [
                {"id": "CVE-2026-0001", "analysis": {"state": state, "justification": "code_not_reachable"},
                 "affects": [{"ref": ref}]}], **more}


def test_cyclonedx(tmp_path: Path) -> None:
    parts = [{"type": "library", "bom-ref": "r1", "name": "a", "version": "1", "purl": "pkg:pypi/a@1"}]
    report = judged(tmp_path, cyclonedx("r1", components=parts))
    assert [entry.reason for entry in report.ignored] == ["vulnerable_code_not_in_execute_path"]
    for state, counts in (("resolved", 1), ("false_positive", 1), ("exploitable", 0), ("in_triage", 0)):
        assert len(judged(tmp_path, cyclonedx("r1", state, components=parts)).ignored) == counts
    assert judged(tmp_path, cyclonedx("pkg:pypi/a@1")).ignored
    assert not judged(tmp_path, cyclonedx("r1")).ignored
    # In another image's BOM the component is that image's.
    for image, counts in ((SHOP, 1), (SHOP.replace("a" * 64, "b" * 64), 0)):
        about = {"component": {"type": "container", "name": "shop", "purl": image, "bom-ref": "root"}}
        assert len(judged(tmp_path, cyclonedx("r1", components=parts, metadata=about)).ignored) == counts
    ranged = cyclonedx("r1", components=parts)
    ranged["vulnerabilities"][0]["affects"][0]["versions"] = [{"range": "vers:pypi/<2"}]
    assert "a range of versions" in judged(tmp_path, ranged).waivers[0].reason
    with pytest.raises(MalformedError, match=r"analysis\.state"):
        vex.of_json(cyclonedx("r1", "fine"), "x")


def test_bom_links(tmp_path: Path) -> None:
    link = "urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#pkg%3Apypi%2Fa%401"
    own = Document(identifier="urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79")
    assert judged(tmp_path, cyclonedx(link), document=own).ignored
    assert not judged(tmp_path, cyclonedx(link)).ignored
    assert not judged(tmp_path, cyclonedx(link), document=Document(identifier="urn:uuid:2")).ignored


def csaf(status: str = "known_not_affected", helper: str = "pkg:pypi/a@1", *, flag: bool = True,
         platform: str | None = None, category: str = "default_component_of") -> dict[str, Any]:
    products = [{"name": "a", "product_id": "A", "product_identification_helper": {"purl": helper}}]
    tree: dict[str, Any] = {"branches": [{"category": "vendor", "name": "v", "branches": [
        {"category": "product_version", "name": "1", "product": products[0]}]}]}
    name = "A"
    if platform:
        name = "A-in-P"
        tree["full_product_names"] = [
            {"name": "P", "product_id": "P", "product_identification_helper": {"purl": platform}}]
        tree["relationships"] = [{
            "category": category, "product_reference": "A", "relates_to_product_reference": "P",
            "full_product_name": {"name": "A in P", "product_id": name}}]
    flags = [{"label": "component_not_present", "product_ids": [name]}] if flag else []
    return {"document": {"csaf_version": "2.0", "category": "csaf_vex", "title": "t", "publisher": {"name": "Example"},
                         "tracking": {"id": "1", "status": "final", "version": "1",
                                      "current_release_date": "2026-01-01T00:00:00Z"}},
            "product_tree": tree, "vulnerabilities": [
                {"cve": "CVE-2026-0001", "product_status": {status: [name]}, "flags": flags}]}


def test_csaf(tmp_path: Path) -> None:
    assert [entry.reason for entry in judged(tmp_path, csaf()).ignored] == ["component_not_present"]
    assert judged(tmp_path, csaf("fixed", flag=False)).ignored
    assert not judged(tmp_path, csaf("known_affected", flag=False)).ignored
    assert "without a justification" in judged(tmp_path, csaf(flag=False)).waivers[0].reason
    assert judged(tmp_path, csaf(platform=SHOP)).ignored
    assert not judged(tmp_path, csaf(platform=SHOP.replace("a" * 64, "b" * 64))).ignored
    assert not judged(tmp_path, csaf(platform=SHOP, category="optional_component_of")).ignored
    assert not judged(tmp_path, csaf(helper="pkg:pypi/a@2")).ignored
    draft = csaf()
    draft["document"]["tracking"]["status"] = "draft"
    assert "draft" in judged(tmp_path, draft).waivers[0].reason


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"statements": 3}', b'{"bomFormat": "SPDX"}', b"\xff", b"{" * 99])
def test_what_is_no_vex(data: bytes) -> None:
    with pytest.raises((MalformedError, UnsupportedError)):
        vex.read(data, "x")


_JSON = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.sampled_from(
    ["", "x", "CVE-2026-0001", SHOP, "not_affected", "2026-01-01T00:00:00Z", "A"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["statements", "products", "vulnerability", "status", "@id", "vulnerabilities", "analysis", "affects", "ref",
         "product_status", "fixed", "components", "product_tree", "branches"]), inner, max_size=4), max_leaves=12)


@given(_JSON, st.sampled_from(["openvex", "cyclonedx", "csaf"]), st.sampled_from(
    ["statements", "vulnerabilities", "components", "product_tree", "metadata", "document"]))
def test_hostile_documents_are_refused_or_read(value: Any, form: str, field: str) -> None:
    document = {"openvex": said(word([SHOP])), "cyclonedx": cyclonedx("x"), "csaf": csaf()}[form] | {field: value}
    try:
        Waivers([Spoken(document=vex.of_json(document, "x"), source="x", by="x")]).judge([], catalog(), NOW)
    except CustodyError:
        pass


def test_written_and_read_again() -> None:
    stated = Statement(vulnerability="CVE-2026-0001", aliases=("GHSA-1",), status="not_affected", impact="text",
                       justification="component_not_present", time="2026-01-01T00:00:00Z", place="statements[0]",
                       products=(Product(names=(SHOP, IMAGE), components=(("pkg:pypi/a@1",),)),))
    document = openvex.write([stated], author="Example", now=datetime(2026, 1, 1, tzinfo=UTC), tooling="t")
    assert document == openvex.write([stated], author="Example", now=datetime(2026, 1, 1, tzinfo=UTC), tooling="t")
    assert vex.of_json(document, "x").statements == (stated,)


def test_a_signed_file_asks_for_a_signer(tmp_path: Path) -> None:
    file = tmp_path / "v.json"
    file.write_text(json.dumps({"payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": []}))
    with pytest.raises(UsageError, match="nobody was chosen"):
        statements.read_file(file, IMAGE, None, NOW)


def test_a_document_with_a_statement_for_every_package(tmp_path: Path) -> None:
    """Work that grows with the statements, and not with statements times findings."""
    entries = [word([f"pkg:pypi/p{number}@1"]) for number in range(5000)]
    document = vex.of_json(said(*entries), "v.json")
    parts = tuple(package(f"p{number}", "1") for number in range(100))
    store = SqliteAdvisories(tmp_path / "a.db")
    store.add([osv.read(json.dumps({**record("CVE-2026-0001", FIX), "affected": [
        {"package": {"ecosystem": "PyPI", "name": part.name}, "ranges": [
            {"type": "ECOSYSTEM", "events": FIX}]} for part in parts]}).encode())], NOW)
    asked = 0
    applies = Subject.applies

    def counted(self: Subject, product: Product, purl: str) -> bool:
        nonlocal asked
        asked += 1
        return applies(self, product, purl)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Subject, "applies", counted)
        report = scan(catalog(*parts), store, NOW, waivers=Waivers([
            Spoken(document=document, source="v.json", by="the user")]))
    assert (len(report.ignored), len(report.findings)) == (100, 0)
    assert asked <= 200
