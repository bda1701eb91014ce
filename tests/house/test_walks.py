"""The walks of docs/architecture.md are in the code: no function that is not there, no step that nothing calls."""

from __future__ import annotations

import pytest

from tests.house.walks import definitions, imported, mentioned, walks

WALKS = walks()


def test_there_are_four() -> None:
    assert set(WALKS) == {"An image reference → a decision", "A layer → a package", "An expression → its value",
                          "An event → an alert"}


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_never_turns_back(title: str) -> None:
    """At most ten functions, each in a module where the walk has not been."""
    steps = WALKS[title]
    modules = [step.module for step in steps]
    assert len(set(modules)) == len(modules)
    assert 5 <= len(steps) <= 10
    assert [step.name for step in steps if step.caller is None] == [steps[0].name]


@pytest.mark.parametrize("title", WALKS)
def test_each_step_is_called_by_the_one_it_stands_below(title: str) -> None:
    for step in WALKS[title]:
        assert step.qualified in definitions(step.path), f"{step.name}: not in {step.path}"
        if step.caller is None:
            continue
        owner, _, name = step.qualified.rpartition(".")
        assert name in mentioned(step.caller), f"{step.caller.name} never says {name}"
        if not owner:  # a method's object may have been handed in, as an adapter is
            assert imported(step.caller.path) & {step.module, f"{step.module}.{name}"}, (
                f"{step.caller.module} imports no {step.module}")
