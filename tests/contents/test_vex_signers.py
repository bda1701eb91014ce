"""Signed VEX: only the signer that was chosen, about this image, and nothing else of a thousand."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.evidence.model import Evidence
from custody.formats import intoto, osv
from custody.formats.bundle import MEDIA_TYPE
from custody.formats.vex.openvex import PREDICATE_TYPES
from custody.kit.digest import sha256
from custody.services import statements
from custody.services.verify import Terms, judge
from custody.sign.identity import not_by_key
from custody.sign.keys import PrivateKey, generate_key
from custody.sign.verify import Trust
from custody.vulns.report import ScanReport, scan
from custody.vulns.vex.waivers import Waivers
from tests.contents.test_scan import NOW, record
from tests.contents.test_vex import ELSEWHERE, FIX, IMAGE, SHOP, catalog, said, word
from tests.sign.test_verify import key_bundle

KEY = generate_key()
TERMS = Terms(Trust(keys=(KEY.public,), require_log=False), not_by_key)


def statement(document: dict[str, Any], subject: str = IMAGE, kind: str = PREDICATE_TYPES[0]) -> bytes:
    return json.dumps({"_type": intoto.STATEMENT, "predicateType": kind, "predicate": document,
                       "subject": [{"name": "shop", "digest": {"sha256": subject.partition(":")[2]}}]}).encode()


def signed(key: PrivateKey, payload: bytes) -> dict[str, Any]:
    return key_bundle(key, payload)


def scanned(folder: Path, bundles: list[dict[str, Any]]) -> ScanReport:
    store = SqliteAdvisories(folder / "a.db")
    store.add([osv.read(json.dumps(record("CVE-2026-0001", FIX)).encode())], NOW)
    spoken, refused = statements.of_evidence(
        judge(Evidence(subject=IMAGE, media_type=MEDIA_TYPE, data=json.dumps(bundle).encode(), source=f"referrer {n}"),
              TERMS, NOW) for n, bundle in enumerate(bundles))
    return scan(catalog(), store, NOW, waivers=Waivers(spoken, (), refused))


@pytest.mark.parametrize("kind", PREDICATE_TYPES)
def test_of_the_chosen_signer(tmp_path: Path, kind: str) -> None:
    report = scanned(tmp_path, [signed(KEY, statement(said(word([SHOP])), kind=kind))])
    assert [(entry.status, entry.by) for entry in report.ignored] == [
        ("not_affected", f"key {sha256(KEY.public.der)}")]
    assert not report.findings


def forged(chance: random.Random) -> dict[str, Any]:
    """A bundle that must not count, of one of seven kinds."""
    waiver = said(word([chance.choice([SHOP, IMAGE, "pkg:pypi/a@1", "pkg:pypi/a"])]))
    kind = chance.randrange(7)
    if kind == 0:  # somebody else's key
        return signed(generate_key(), statement(waiver))
    if kind == 1:  # changed after it was signed
        bundle = signed(KEY, statement(said(word([SHOP], "affected", action_statement=f"{chance.random()}"))))
        bundle["dsseEnvelope"]["payload"] = signed(KEY, statement(waiver))["dsseEnvelope"]["payload"]
        return bundle
    if kind == 2:  # not signed
        bundle = signed(KEY, statement(waiver))
        bundle["dsseEnvelope"]["signatures"] = [] if chance.random() < 0.5 else [{"sig": ""}]
        return bundle
    if kind == 3:  # about another image
        return signed(KEY, statement(waiver, ELSEWHERE))
    if kind == 4:  # about this image, of another product
        return signed(KEY, statement(said(word([chance.choice([
            SHOP.replace("a" * 64, "b" * 64), ELSEWHERE, "pkg:oci/shop", "pkg:pypi/a@2", "pkg:npm/a", "pkg:pypi/b",
            "pkg:oci/shop?repository_url=evil.example.org/team/shop", "shop"])]))))
    if kind == 5:  # a signature with a bit flipped
        bundle = signed(KEY, statement(waiver))
        signature = bundle["dsseEnvelope"]["signatures"][0]["sig"]
        place = chance.randrange(len(signature) - 4)
        flipped = "B" if signature[place] != "B" else "C"
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = signature[:place] + flipped + signature[place + 1:]
        return bundle
    # of the chosen key, and no VEX
    return signed(KEY, statement(waiver, kind=chance.choice(["https://example.org/vex", "https://spdx.dev/Document"])))


def test_a_thousand_that_do_not_count(tmp_path: Path) -> None:
    chance = random.Random(7)
    report = scanned(tmp_path, [forged(chance) for _ in range(1000)])
    assert not report.ignored
    assert len(report.findings) == 1
    states = {use.state for use in report.waivers}
    assert states == {"refused", "unused"}
    reasons = " ".join({use.reason for use in report.waivers})
    assert "not verified: " in reasons
    assert "the statement is about" in reasons
    assert "no product of it is what was scanned" in reasons


def test_a_signed_file(tmp_path: Path) -> None:
    for key, subject, counts in ((KEY, IMAGE, 1), (generate_key(), IMAGE, 0), (KEY, ELSEWHERE, 0)):
        file = tmp_path / "v.sigstore.json"
        file.write_text(json.dumps(signed(key, statement(said(word([SHOP])), subject))))
        spoken, refused = statements.read_file(file, IMAGE, TERMS, NOW)
        assert (len(spoken), len(refused)) == (counts, 1 - counts)


def test_one_that_does_not_count_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    bundles = [signed(KEY, statement({"statements": 3})), signed(generate_key(), statement(said(word([SHOP])))),
               signed(KEY, statement(said(word([SHOP]))))]
    report = scanned(tmp_path, bundles)
    assert len(report.ignored) == 1
    assert [use.state for use in report.waivers] == ["refused", "refused", "used"]
