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
    """The schema as published, but for CVSS, which no document of ours has, and whose schemas are elsewhere."""
    text = gzip.decompress((Path(__file__).parent / "data/csaf-2.0.json.gz").read_bytes()).decode()
    schema = json.loads(text)
    for version in ("cvss_v2", "cvss_v3"):
        schema["properties"]["vulnerabilities"]["items"]["properties"]["scores"]["items"]["properties"][version] = False
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


def test_the_command(tmp_path: Path, run: Run) -> None:
    create = ("vex", "create", "-p", "pkg:npm/a@1", "--vuln", "CVE-2026-0001", "-s", "fixed", "--format", "csaf")
    code, _, err = run(*create, "--author", "shop")
    assert (code, "--publisher-namespace" in err) == (2, True)
    code, _, err = run(*create[:-2], "--publisher-namespace", "https://shop.example")
    assert (code, "and not openvex" in err) == (2, True)
    who = ("--author", "shop", "--publisher-namespace", "https://shop.example", "--publisher-category", "other")
    assert run(*create, *who, "-o", str(tmp_path / "a.json"))[0] == 0
    code, out, err = run("vex", "merge", str(tmp_path / "a.json"), "--format", "csaf", *who)
    assert code == 0, err
    document = json.loads(out)
    assert (wrong(document), document["document"]["publisher"]["category"]) == ([], "other")
