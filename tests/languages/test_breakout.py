"""Hostile programs in all five languages: refused with a reason, stopped by the budget, or harmless."""

from __future__ import annotations

import pytest

from tests.languages.hostile import LANGUAGES, Case, run
from tests.languages.hostile_cases import CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.language}: {case.name}")
def test_a_hostile_program_ends_as_it_should(case: Case) -> None:
    found = run(case)
    assert found.outcome == case.outcome, found.reason
    assert case.reason in found.reason


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_its_share(language: str) -> None:
    assert sum(case.language == language for case in CASES) >= 7
