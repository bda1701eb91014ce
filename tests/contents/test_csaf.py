"""CSAF 2.0 as `custody vex` writes it: the published schema, the mandatory tests of its profile, and our own reader."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats import vex
from custody.formats.vex import csafwriter
from custody.formats.vex.statement import JUSTIFICATIONS, STATUSES, Product, Statement
from custody.vulns.vex.settlement import settled
from tests.contents.csafrules import broken
from tests.contents.test_db_update import Run, _run  # noqa: F401 - the fixture `run`

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SHOP = "pkg:oci/shop@sha256:" + "a" * 64
PUBLISHER = csafwriter.Publisher(name="shop", namespace="https://shop.example")
Atom = tuple[frozenset[str], str, str, str, str, frozenset[str], frozenset[str]]


@cache
def _schema() -> Any:
    """The schema as published, but for CVSS, of whose schemas (FIRST's) only what they require is here."""
    text = gzip.decompress((Path(__file__).parent / "data/csaf-2.0.json.gz").read_bytes()).decode()
    schema = json.loads(text)
    number, text = {"type": "number", "minimum": 0, "maximum": 10}, {"type": "string"}
    second = {"version": {"const": "2.0"}, "vectorString": text, "baseScore": number}
    third = {"version": {"enum": ["3.0", "3.1"]}, "vectorString": text, "baseScore": number,
             "baseSeverity": {"enum": ["NONE", "LOW", "MEDIUM", "HIGH", "CRITICAL"]}}
    for version, fields in (("cvss_v2", second), ("cvss_v3", third)):
        schema["properties"]["vulnerabilities"]["items"]["properties"]["scores"]["items"]["properties"][version] = {
            "type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return jsonschema_rs.validator_for(schema, validate_formats=True)


def wrong(document: dict[str, Any]) -> list[str]:
    return [error.message[:300] for error in _schema().iter_errors(document)] + sorted(broken(document))


def written(statements: Iterable[Statement]) -> dict[str, Any]:
    return csafwriter.write(statements, publisher=PUBLISHER, now=NOW, tool_version="1.0")


def statement(status: str = "not_affected", *products: Product, **more: Any) -> Statement:
    said: dict[str, Any] = {"vulnerability": "CVE-2026-0001", "status": status, "products": products or (
        Product(names=("pkg:npm/a@1",)),)}
    reason = {"not_affected": {"justification": "component_not_present"}, "affected": {"action": "upgrade"}}
    return Statement(**{**said, **reason.get(status, {}), **more})


def atoms(statements: Iterable[Statement]) -> set[Atom]:
    """What statements amount to, product by product, without their times."""
    return {(frozenset((said.vulnerability, *said.aliases)), said.status,
             said.justification if said.justification in JUSTIFICATIONS else "",
             said.impact or (said.justification if said.justification not in JUSTIFICATIONS else ""), said.action,
             frozenset(product.names), frozenset(component))
            for said in statements for product in said.products for component in (product.components or ((),))}


_PRODUCTS = st.sampled_from([
    ("pkg:npm/a@1",), ("pkg:npm/a@2",), ("pkg:npm/%40s/b",), ("pkg:pypi/c@1.0?x=y",), (SHOP,), ("sha256:" + "b" * 64,),
    ("pkg:deb/debian/curl@1?distro=debian-12", "cpe:2.3:a:haxx:curl:1:*:*:*:*:*:*:*"),
    ("urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#x", "app"), ("pkg:npm/a@1", "sha512:" + "c" * 128, "a"),
    ("pkg:npm/a@1", "pkg:npm/alias@1", "a b"), ("shop of 2026",)])
_WORDS = st.sampled_from(["", "the parser is not reached", "a\nb \u00fc", " "])
STATEMENTS = st.lists(st.builds(
    lambda status, name, aliases, products, justification, impact, action, time: Statement(
        vulnerability=name, aliases=aliases, status=status, products=products, time=time, impact=impact or (
            "no" if status == "not_affected" and not justification else ""),
        justification=justification if status == "not_affected" else "",
        action=action or ("upgrade" if status == "affected" else "")),
    st.sampled_from(STATUSES), st.sampled_from(["CVE-2026-0001", "CVE-2026-12345", "GHSA-aaaa-bbbb-cccc", "x 1"]),
    st.sampled_from([(), ("PYSEC-2026-1",), ("CVE-2026-0009",)]),
    st.lists(st.builds(Product, names=_PRODUCTS, components=st.lists(_PRODUCTS, max_size=2, unique=True).map(tuple)),
             min_size=1, max_size=3).map(tuple),
    st.sampled_from(["", *JUSTIFICATIONS, "requires_configuration"]), _WORDS, _WORDS,
    st.sampled_from(["", "2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z"])), min_size=1, max_size=6)


@given(STATEMENTS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_is_valid_and_read_back_as_it_was_said(statements: list[Statement]) -> None:
    try:
        stated, outdated = settled(statements)
        document = written(stated)
    except CustodyError as error:
        event(next(word for word in ("one time", "which of them is newer", "6.1.6", "6.1.33") if word in str(error)))
        return
    assert wrong(document) == []
    back = vex.of_json(json.loads(json.dumps(document)), "v.json")
    names = {frozenset((said.vulnerability, *said.aliases)) for said in stated}
    if all(left == right or not left & right for left in names for right in names):
        assert atoms(back.statements) == atoms(stated)
    assert {said.time for said in back.statements} == {"2026-01-02T03:04:05Z"}
    assert outdated or atoms(stated) >= atoms(statements)


_PAIR = [statement("not_affected", Product(names=(SHOP,), components=(("pkg:npm/a@1",),))),
         statement("affected", Product(names=("pkg:npm/b@1", "sha256:" + "d" * 64)), vulnerability="CVE-2026-0002")]


def _vulnerability(change: Callable[[dict[str, Any]], object], place: int = 0) -> Callable[[dict[str, Any]], object]:
    return lambda document: change(document["vulnerabilities"][place])


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "6.1.1": _vulnerability(lambda entry: entry["product_status"].update(fixed=["P9"])),
    "6.1.2": lambda document: document["product_tree"]["full_product_names"][1].update(product_id="P1"),
    "6.1.3": lambda document: document["product_tree"]["relationships"][0].update(product_reference="P3"),
    "6.1.6": _vulnerability(lambda entry: entry["product_status"].update(fixed=["P3"])),
    "6.1.14": lambda document: document["document"]["tracking"]["revision_history"].append(
        {"date": "2025-01-01T00:00:00Z", "number": "1", "summary": "x"}),
    "6.1.16": lambda document: document["document"]["tracking"].update(version="2"),
    "6.1.23": lambda document: document["vulnerabilities"][1].update(cve="CVE-2026-0001"),
    "6.1.25": lambda document: document["product_tree"]["full_product_names"][-1]["product_identification_helper"][
        "hashes"][0]["file_hashes"].append({"algorithm": "sha256", "value": "e" * 64}),
    "6.1.27.4": lambda document: document.pop("product_tree"),
    "6.1.27.5": _vulnerability(lambda entry: entry.pop("notes")),
    "6.1.27.7": _vulnerability(lambda entry: entry.update(product_status={"recommended": ["P3"]})),
    "6.1.27.8": _vulnerability(lambda entry: entry.pop("cve")),
    "6.1.27.9": _vulnerability(lambda entry: entry.pop("flags")),
    "6.1.27.10": _vulnerability(lambda entry: entry.pop("remediations"), 1),
    "6.1.27.11": lambda document: document.pop("vulnerabilities"),
    "6.1.29": _vulnerability(lambda entry: entry["remediations"][0].pop("product_ids"), 1),
    "6.1.32": _vulnerability(lambda entry: entry["flags"][0].pop("product_ids")),
    "6.1.33": _vulnerability(lambda entry: entry["flags"].append(
        {"label": "vulnerable_code_not_present", "product_ids": ["P3"]}))}


@pytest.mark.parametrize("number", CHANGES)
def test_the_rules_miss_nothing_that_is_broken(number: str) -> None:
    document = written(_PAIR)
    assert wrong(document) == []
    changed = copy.deepcopy(document)
    CHANGES[number](changed)
    assert number in broken(changed)


@pytest.mark.parametrize(("said", "words"), [
    (statement(justification=""), "no reason"), (statement("affected", action=""), "no action statement"),
    (statement(products=()), "no product")])
def test_what_the_profile_has_no_place_for_is_refused(said: Statement, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        written([said])
    with pytest.raises(MalformedError, match=r"6\.1\.27\.11"):
        written([])


def test_of_one_product_the_newer_word_stays() -> None:
    older, newer = statement(time="2026-01-01T00:00:00Z"), statement("affected", time="2026-01-01T00:00:01Z")
    stated, outdated = settled([older, newer])
    assert ([said.status for said in stated], outdated) == (["affected"], 1)
    # Two that were said at one time, and are no longer what counts.
    undecided = statement("fixed", time="2026-01-01T00:00:00Z")
    assert [said.status for said in settled([older, undecided, newer])[0]] == ["affected"]
    assert [said.status for said in settled([statement(), newer])[0]] == ["affected"]
    assert settled([statement(), statement(impact="it is not there")])[1] == 1  # no contradiction


@pytest.mark.parametrize(("first", "second"), [
    ("", ""), ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"), ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00")])
def test_of_two_that_contradict_each_other_at_one_time_none_stays(first: str, second: str) -> None:
    for statuses in (("not_affected", "affected"), ("affected", "not_affected")):
        with pytest.raises(UnsupportedError, match=r"in pkg:npm/a@1, and which of them is newer, their times do not"):
            settled([statement(statuses[0], time=first), statement(statuses[1], time=second)])


@pytest.mark.parametrize(("first", "second", "apart"), [
    (Product(names=("pkg:npm/a@1",)), Product(names=("pkg:npm/a@2",)), True),
    (Product(names=("pkg:npm/a@1",)), Product(names=("pkg:npm/b",)), True),
    (Product(names=("pkg:npm/a@1",)), Product(names=("pkg:npm/a",)), False),
    (Product(names=("pkg:pypi/a@1",)), Product(names=("pkg:pypi/a@1.0",)), False),
    (Product(names=("pkg:npm/a@1",)), Product(names=(SHOP,)), False),
    (Product(names=(SHOP,)), Product(names=("sha256:" + "b" * 64,)), True),
    (Product(names=(SHOP,), components=(("pkg:npm/a@1",),)),
     Product(names=("sha256:" + "b" * 64,), components=(("pkg:npm/a@1",),)), True),
    (Product(names=(SHOP,), components=(("pkg:npm/a@1",),)), Product(names=("pkg:npm/a",)), False),
    (Product(names=("shop",)), Product(names=("pkg:npm/a",)), False)])
def test_two_words_on_what_may_be_one_package_are_refused(first: Product, second: Product, apart: bool) -> None:
    pair = [statement("not_affected", first), statement("affected", second)]
    if apart:
        assert wrong(written(settled(pair)[0])) == []
    else:
        with pytest.raises(UnsupportedError, match="one package may be"):
            settled(pair)
    assert len(settled([pair[0], msgspec.structs.replace(pair[1], vulnerability="CVE-2026-0002")])[0]) == 2


def test_a_publisher_needs_an_address() -> None:
    with pytest.raises(MalformedError, match="namespace"):
        csafwriter.write(_PAIR, publisher=csafwriter.Publisher(name="a", namespace="a"), now=NOW, tool_version="1")


_V3, _V2 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "AV:N/AC:L/Au:N/C:P/I:P/A:P"
_RECORDS = [
    {"id": "GHSA-aaaa-bbbb-cccc", "modified": "2026-01-01T00:00:00Z", "aliases": ["CVE-2026-0001"], "summary": "Bad",
     "severity": [{"type": "CVSS_V3", "score": _V3}], "affected": [
         {"package": {"ecosystem": "npm", "name": name}, "ranges": [
             {"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "2.0.0"}]}]} for name in ("a", "b")]},
    {"id": "GHSA-dddd-eeee-ffff", "modified": "2026-01-01T00:00:00Z", "severity": [{"type": "CVSS_V2", "score": _V2}],
     "affected": [{"package": {"ecosystem": "npm", "name": "a"}, "versions": ["1.0.0"]}]},
    {"id": "CVE-2026-0003", "modified": "2026-01-01T00:00:00Z", "affected": [
        {"package": {"ecosystem": "npm", "name": "b"}, "versions": ["1.0.0"]}], "severity": [
        {"type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"}]}]
_WHO = ("-o", "csaf", "--author", "shop", "--publisher-namespace", "https://shop.example")


def _scanned(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, names: str, *more: str) -> Any:
    monkeypatch.setenv("CUSTODY_DATA_DIR", str(tmp_path / "data"))
    for record in _RECORDS:
        (tmp_path / "r.json").write_text(json.dumps(record))
        assert run("db", "import", str(tmp_path / "r.json")).code == 0
    (tmp_path / "bom.json").write_text(json.dumps({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "components": [
            {"type": "library", "name": name, "version": "1.0.0", "purl": f"pkg:npm/{name}@1.0.0"} for name in names]}))
    done = run("scan", f"sbom:{tmp_path / 'bom.json'}", *_WHO, *more)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert wrong(document) == []
    return document


def test_a_scan(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each finding is a product in what was scanned, with its score by the CVSS of it that CSAF 2.0 has a place for."""
    document = _scanned(tmp_path, run, monkeypatch, "abc")
    entries = {entry.get("cve") or entry["ids"][0]["text"]: entry for entry in document["vulnerabilities"]}
    assert sorted(entries) == ["CVE-2026-0001", "CVE-2026-0003", "GHSA-dddd-eeee-ffff"]
    first = entries["CVE-2026-0001"]
    assert first["notes"] == [{"category": "summary", "text": "Bad"}]
    assert [(score["cvss_v3"]["vectorString"], len(score["products"])) for score in first["scores"]] == [(_V3, 2)]
    assert [score["cvss_v2"]["baseScore"] for score in entries["GHSA-dddd-eeee-ffff"]["scores"]] == [7.5]
    assert "scores" not in entries["CVE-2026-0003"]
    back = vex.of_json(document, "v.json")
    assert {(said.vulnerability, component[0], said.action) for said in back.statements for product in said.products
            for component in product.components} == {
        ("CVE-2026-0001", "pkg:npm/a@1.0.0", "update to 2.0.0"),
        ("CVE-2026-0001", "pkg:npm/b@1.0.0", "update to 2.0.0"),
        ("GHSA-dddd-eeee-ffff", "pkg:npm/a@1.0.0", "no fixed version is known"),
        ("CVE-2026-0003", "pkg:npm/b@1.0.0", "no fixed version is known")}


def test_a_scan_says_what_was_left_out_and_what_vex_said(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
                                                         ) -> None:
    (tmp_path / "said.json").write_text(json.dumps(written([statement("not_affected", Product(
        names=("pkg:npm/a@1.0.0",)))])))
    document = _scanned(tmp_path, run, monkeypatch, "a", "--vex", str(tmp_path / "said.json"), "--severity", "critical")
    states = {entry.get("cve"): entry["product_status"] for entry in document["vulnerabilities"]}
    assert [*states["CVE-2026-0001"]] == ["known_not_affected"]
    left = next(entry for entry in document["vulnerabilities"] if "cve" not in entry)
    assert ([*left["product_status"]], left["remediations"][0]["details"]) == (
        ["known_affected"], "left out of the scan: severity high was not asked for")


def test_a_scan_that_found_nothing_says_what_it_scanned(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
                                                        ) -> None:
    document = _scanned(tmp_path, run, monkeypatch, "cd")
    assert "vulnerabilities" not in document
    assert document["document"]["category"] == "csaf_base"
    assert [note["title"] for note in document["document"]["notes"]] == ["What was scanned", "What was not scanned"]
    assert document["document"]["notes"][0]["text"].startswith("2 packages, matched with 3 advisories.")
    assert document["document"]["notes"][1]["text"] == "Nothing that custody knows of."
    assert "nothing was scanned" not in _scanned(tmp_path, run, monkeypatch, "")["document"]["notes"][0]["text"]


@pytest.mark.parametrize(("words", "said"), [
    (("-o", "csaf"), "a CSAF document names its publisher"),
    (("-o", "csaf", "--author", "shop"), "--publisher-namespace"),
    (("--author", "shop"), "--author: this is for CSAF, and not -o table"),
    (("-o", "openvex", "--publisher-category", "user"), "this is for CSAF, and not -o openvex"),
    ((*_WHO, "--scanners", "secret"), "no vulnerabilities are looked for"),
    ((*_WHO[:-1], "shop.example"), "the publisher's, https://")])
def test_a_scan_without_a_publisher(tmp_path: Path, run: Run, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "bom.json").write_text('{"bomFormat": "CycloneDX", "specVersion": "1.5"}')
    done = run("scan", f"sbom:{tmp_path / 'bom.json'}", "--allow-empty-db", *words)
    assert (done.code in (2, 3), said in done.err) == (True, True), done.err


def test_the_rules_recompute_scores(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    document = _scanned(tmp_path, run, monkeypatch, "ab")
    scores = next(entry for entry in document["vulnerabilities"] if entry.get("cve") == "CVE-2026-0001")["scores"]
    scores[0]["cvss_v3"]["baseScore"] = 9.7
    assert broken(document) == {"6.1.9"}
    scores[0]["cvss_v3"]["baseScore"] = 9.8
    scores.append(scores[0])
    assert broken(document) == {"6.1.7"}


def test_the_command(tmp_path: Path, run: Run) -> None:
    create = ("vex", "create", "-p", "pkg:npm/a@1", "--vuln", "CVE-2026-0001", "-s", "fixed", "--format", "csaf")
    code, _, err = run(*create, "--author", "shop")
    assert (code, "--publisher-namespace" in err) == (2, True)
    code, _, err = run(*create[:-2], "--publisher-namespace", "https://shop.example")
    assert (code, "and not --format openvex" in err) == (2, True)
    who = ("--author", "shop", "--publisher-namespace", "https://shop.example", "--publisher-category", "other")
    assert run(*create, *who, "-o", str(tmp_path / "a.json"))[0] == 0
    code, out, err = run("vex", "merge", str(tmp_path / "a.json"), "--format", "csaf", *who)
    assert code == 0, err
    document = json.loads(out)
    assert (wrong(document), document["document"]["publisher"]["category"]) == ([], "other")
