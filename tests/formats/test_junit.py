"""JUnit's XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from custody.formats import junit
from custody.formats.junit import Case


def test_counts_and_failures() -> None:
    text = junit.document([("a", [Case("r", "x", None, "fine"), Case("r", "y", 'want "a" < b', "no")]), ("b", [])])
    suites = ET.fromstring(text)
    assert (suites.get("tests"), suites.get("failures")) == ("2", "1")
    assert [failure.get("message") for failure in suites.iter("failure")] == ['want "a" < b']


def test_what_xml_cannot_have_is_replaced() -> None:
    text = junit.document([("a\x00", [Case("r", "x\x1b[0m", None, "]]> & <b>\x00")])])
    suites = ET.fromstring(text)
    assert [case.get("name") for case in suites.iter("testcase")] == ["x\ufffd[0m"]
    assert "]]> & <b>\ufffd" in str(suites.findtext("testsuite/testcase/system-out"))
