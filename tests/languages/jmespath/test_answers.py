"""Custody's JMESPath against what the real `kyverno jp query` answered, and answers now."""

from __future__ import annotations

import json
import random

import pytest

from tests.conftest import peer
from tests.languages.jmespath import cases, certificates

ROWS: list[list[str]] = json.loads(cases.ANSWERS.read_text())
CERTIFICATES: list[list[str]] = json.loads(certificates.ANSWERS.read_text())
# Bytes that are no UTF-8 become U+FFFD when they are decoded; Go keeps them, and its JSON writes them as \ufffd.
DIFFERENT = {"base64_decode('/+8=')": '"��"'}


def test_every_recorded_answer() -> None:
    wrong = []
    for query, *theirs in ROWS:
        ours = cases.answer(query, cases.DATA)
        if not cases.same(theirs, ours) and DIFFERENT.get(query) != ours[1]:
            wrong.append((query, theirs, ours))
    assert not wrong
    assert len(ROWS) > 900


@pytest.mark.parametrize("row", CERTIFICATES, ids=[row[0] for row in CERTIFICATES])
def test_certificates(row: list[str]) -> None:
    _, pem, *theirs = row
    assert cases.answer(certificates.QUERY, {"pem": pem}) == theirs


@pytest.mark.peer
def test_the_peer_still_answers_so() -> None:
    some = random.Random(1).sample([query for query, *_ in ROWS], 60)
    for query, theirs in zip(some, cases.ask(peer("kyverno"), some, cases.DATA), strict=True):
        assert cases.same(theirs, cases.answer(query, cases.DATA)) or query in DIFFERENT, query
