"""Generated programs against Google's cel-cpp; what once differed has a name here."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from policylang import cel
from tests.fuzz import cel as fuzz

peer = pytest.mark.skipif(importlib.util.find_spec("cel_expr_python") is None,
                          reason="cel-expr-python is not installed")


def _answer(run: Callable[[], Any]) -> Any:
    try:
        found = run()
    except cel.CelError as error:
        found = error
    return f"error {found.message}" if isinstance(found, cel.CelError) else fuzz.normal(found)


class _Other(dict[str, Any]):
    """Not a dict as such: variables are then looked up where they are used."""


def test_all_ways_to_compile_a_program_agree() -> None:
    """Plain, careful and traced to the word of an error; without checking, errors may have other words."""
    env = fuzz.ours()
    for seed in range(1000, 1400):
        text, values = fuzz.Generator(seed).program(), fuzz._for_us(fuzz.inputs(seed))
        try:
            program = env.compile(text, trace=True)
        except cel.CompileError:
            continue
        expected = _answer(lambda program=program, values=values: program(values))  # type: ignore[misc]
        assert _answer(lambda program=program, values=values: program(_Other(values))) == expected  # type: ignore[misc]
        assert _answer(lambda program=program, values=values: program.explain(values)[0]) == expected  # type: ignore[misc]
        unchecked = env.compile(text, check=False)
        found = _answer(lambda unchecked=unchecked, values=values: unchecked(values))  # type: ignore[misc]
        assert found == expected or (str(found).startswith("error") and str(expected).startswith("error")), text


@peer
def test_two_thousand_programs_agree_with_cel_cpp() -> None:
    assert list(fuzz.differences(2000)) == []


@peer
def test_shown_differences_are_known_ones() -> None:
    """Where cel-cpp is not Go: fractions in threes, spaces around numbers, splitting at nothing, ends of texts."""
    values = fuzz.inputs(0)
    for program, ours, theirs in [
        ("string(duration('-1.5s'))", ("string", "-1.5s"), ("string", "-1.500s")),
        ("'abc'.substring(0, 3)", ("string", "abc"), "error"),
        ("double('1 ')", "error", ("double", 1.0)),
        ("''.split('')", ("list", []), ("list", [("string", "")])),
    ]:
        assert fuzz.our_answer(program, values) == ours
        assert fuzz.their_answer(program, values) == theirs
