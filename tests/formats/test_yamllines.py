"""YAML read by lines is what YAML read by events is; what is not of the plain sort is not read by lines."""

from __future__ import annotations

import random

import pytest

from custody.formats import yaml, yamllines
from tests.fuzz.yamllines import SEEDS, differs, mutated


@pytest.mark.parametrize("text", SEEDS)
def test_plain_documents_are_read(text: str) -> None:
    assert yamllines.documents(text) == yaml.any_documents(text, "text")


@pytest.mark.parametrize("text", [
    "", "a", "- a", "a: [b]", "a: |\n  b", "a: &b c", "a: b # c", "a: b\n  c: d", "a: b\n c", "a: 1\na: 2", "yes: a",
    "a: .inf", "a:\n  - b\n   - c", "a: é", "a:\tb", "a: 'b''c'", "a: \"\\n\"", "a: b: c", "? a", "<<: a", "a: !t b",
    "a: b\n--- # c\nd: e", "a:\n  b", "  a: b", "{a: b}", "a:\n - b\n- c", "a: 1\n...\n"])
def test_others_are_not(text: str) -> None:
    assert not yamllines.documents(text)


def test_mutants_are_read_alike() -> None:
    chance = random.Random(3)
    texts = [mutated(chance.choice(SEEDS), chance) for _ in range(4000)]
    assert [difference for text in texts if (difference := differs(text)) is not None] == []
    assert sum(bool(yamllines.documents(text)) for text in texts) > 400
