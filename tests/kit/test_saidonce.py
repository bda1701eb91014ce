"""What is said once until it changes."""

from __future__ import annotations

from custody.kit.saidonce import SaidOnce


def test_what_is_the_same_is_said_once_and_again_after_it_went_well() -> None:
    failures = SaidOnce()
    assert [failures.changes(text) for text in ("a", "a", "b", "a")] == [True, False, True, True]
    failures.over()
    assert failures.changes("a")


def test_the_first_of_each_and_no_more_than_a_hundred() -> None:
    failures = SaidOnce()
    assert [failures.first(text) for text in ("a", "b", "a")] == [True, True, False]
    assert sum(failures.first(str(number)) for number in range(200)) == 98
