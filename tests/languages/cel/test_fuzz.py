"""Generated programs against Google's cel-cpp; what once differed has a name here."""

from __future__ import annotations

import pytest

from tests.fuzz import cel as fuzz

pytest.importorskip("cel_expr_python", reason="cel-expr-python is not installed")


def test_two_thousand_programs_agree_with_cel_cpp() -> None:
    assert list(fuzz.differences(2000)) == []


def test_shown_differences_are_known_ones() -> None:
    """Where cel-cpp is not Go: fractions in threes, no int(duration), splitting at nothing."""
    values = fuzz.inputs(0)
    for program, ours, theirs in [
        ("string(duration('-1.5s'))", ("string", "-1.5s"), ("string", "-1.500s")),
        ("int(duration('1s'))", "does not compile", "error"),
        ("''.split('')", ("list", []), ("list", [("string", "")])),
    ]:
        assert fuzz.our_answer(program, values) == ours
        assert fuzz.their_answer(program, values) == theirs
