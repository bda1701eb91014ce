"""The example policy that asks what an attested scan covered: a scan that does not say so is none."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from custody.kit.clock import format_rfc3339
from custody.policy.load import PolicySet
from tests.conftest import ROOT
from tests.policy.test_images import IMAGE, NOW, VULN, judge, reason, statement

SCANNER = "https://scanner.custody.internal"
GAP = {"kind": "no-advisories", "what": "Debian:12", "count": 3, "reason": "the database has none"}


def scanned(result: Any) -> Any:
    return statement(VULN, {"scanner": {"result": result}}, subject=f"{SCANNER}/scanner", issuer=SCANNER)


def coverage(gaps: Any, days: int = 1) -> dict[str, Any]:
    return {"Results": [], "coverage": {
        "gaps": gaps, "database": {"importedAt": format_rfc3339(NOW - timedelta(days=days))}}}


@pytest.fixture(name="policies", scope="module")
def _policies() -> PolicySet:
    return PolicySet.load([ROOT / "examples/policies/shop/covered.yaml"])


def test_a_whole_scan_is_enough(policies: PolicySet) -> None:
    assert judge(policies, scanned(coverage([])), image=IMAGE).allowed


@pytest.mark.parametrize(("result", "words"), [
    (coverage([GAP]), "the scan must have no gaps"),
    ({"Results": [], "coverage": {**coverage([])["coverage"], "ignored": [{"id": "CVE-2026-0001"}]}},
     "the scan must leave no finding out"),
    (coverage([], days=8), "the scan's advisories must have been imported within a week"),
    ({"Results": []}, "scanner.result.coverage.gaps"),  # another scanner's, which says nothing of the kind
    (coverage(None), "scanner.result.coverage.gaps"),
    ({"Results": [], "coverage": {"gaps": []}}, "importedAt"),
    (coverage([]) | {"coverage": {"gaps": [], "database": {"importedAt": None}}}, "parsing time"),
])
def test_a_scan_that_does_not_say_what_it_covered_is_none(policies: PolicySet, result: Any, words: str) -> None:
    assert words in reason(judge(policies, scanned(result), image=IMAGE))
