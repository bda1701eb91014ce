"""docs/advisories.md: each row's test names the advisory, no test names one that has no row, and none is left out."""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

NUMBER = re.compile(r"CVE-\d{4}-\d+|GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}")
OSV = Path(os.environ.get("CUSTODY_OSV", ROOT.parent / "shared" / "data" / "osv"))
"""A folder of OSV databases by ecosystem, with all.zip in each."""
SUBJECTS = re.compile(r"github\.com/(sigstore/(cosign|sigstore|sigstore-go|gitsign|rekor|fulcio|timestamp-authority|"
                      r"policy-controller)|notaryproject/(notation|notation-go|notation-core-go))(/v\d+)?")
TESTS = ("sign/test_advisories.py", "sign/notary/test_published.py", "trust/test_advisories.py")
"""Files that are about nothing else."""


def rows() -> list[tuple[list[str], str]]:
    """The numbers of each row, and its test file."""
    lines = (ROOT / "docs/advisories.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines
             if line.startswith(("| CVE", "| GHSA"))]
    return [(NUMBER.findall(row[0]), row[3].strip("`")) for row in cells]


def named_in(file: str) -> set[str]:
    """The advisories that a test file names, in words or in the names of tests."""
    text = (ROOT / "tests" / file).read_text()
    functions = re.findall(r"cve_\d{4}_\d+|ghsa(?:_[a-z0-9]{4}){3}", text)
    return {*NUMBER.findall(text), *(function.replace("cve", "CVE").replace("ghsa", "GHSA").replace("_", "-")
                                     for function in functions)}


def test_each_row_has_its_test() -> None:
    found = rows()
    assert len(found) > 40
    missing = {f"{numbers[0]} in {file}" for numbers, file in found if not set(numbers) & named_in(file)}
    assert missing == set()
    numbers = [number for row, _ in found for number in row]
    assert len(numbers) == len(set(numbers))


def test_each_advisory_that_is_tried_has_its_row() -> None:
    listed = {number for numbers, _ in rows() for number in numbers}
    assert {number for file in TESTS for number in named_in(file)} - listed == set()


def test_no_advisory_is_left_out() -> None:
    if not (OSV / "Go/all.zip").is_file():
        pytest.skip("no OSV database of Go modules is here: CUSTODY_OSV")
    listed = {number for numbers, _ in rows() for number in numbers}
    with zipfile.ZipFile(OSV / "Go/all.zip") as archive:
        records = [json.loads(archive.read(name)) for name in archive.namelist()]
    about = [record for record in records if "withdrawn" not in record and any(
        SUBJECTS.fullmatch(affected["package"]["name"]) for affected in record.get("affected", ()))]
    assert len(about) > 30
    assert [record["id"] for record in about if not {record["id"], *record.get("aliases", ())} & listed] == []
