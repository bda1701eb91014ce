"""Envelopes with something changed: a few of what `tests.fuzz.notation_envelopes` makes ten thousands of."""

from __future__ import annotations

import pytest

from tests.fuzz.notation_envelopes import FORMATS, judged, mutants, originals, same


@pytest.mark.parametrize("form", FORMATS)
def test_no_mutant_counts(form: str) -> None:
    assert all(judged(source, FORMATS[form]).error is None for source in originals(form))
    accepted = [mutant for mutant, source in mutants(form, 150, 20_000)
                if (outcome := judged(mutant, FORMATS[form])).error is None and not same(outcome, form, source)]
    assert accepted == []
