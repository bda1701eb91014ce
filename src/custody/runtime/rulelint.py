"""What rules will do that their authors may not mean, said before any event is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from custody.runtime.sight import Sight
from policylang.falco import Rule, RuleSet
from policylang.falco.analysis import event_types, implies, never, swallows

Level = Literal["error", "warning", "info"]


class Finding(NamedTuple):
    level: Level
    code: str
    rule: str
    """Empty where it is of no rule."""
    message: str
    place: str = ""
    """`file:line:column`, where it is known."""


def lint(ruleset: RuleSet, *, match: Literal["first", "all"], seen: Sequence[Sight] = ()) -> Iterator[Finding]:
    """`match` is how the rules will run; `seen` are the inputs that there will be.

    A rule that can never be true is an error, since it looks like protection: also where it is switched off by
    `never_true`, whose other way is `enabled: false`.
    """
    for warned in ruleset.warnings:
        yield Finding("warning", _code(warned.code), "", warned.message, warned.place)
    alive = []
    for rule in ruleset.rules:
        if not rule.enabled:
            continue
        if (reason := impossible(rule)) is not None:
            yield Finding("error", "never-matches", rule.name, f"it can never match: {reason}")
        else:
            alive.append(rule)
        for swallowed in swallows(rule.condition):
            yield Finding("error", "swallows-everything", rule.name,
                          f"not {swallowed}: every event that has the field is left out")
        if seen:
            blind = [sight.blind(rule) for sight in seen]
            if reason is None and all(blind):
                yield Finding("error", "not-seen", rule.name,
                              f"no input can make it match: {'; '.join(map(str, blind))}")
    if match == "first":
        yield from _shadowed(alive)


def impossible(rule: Rule) -> str | None:
    """Why it can match nothing."""
    return never(rule.condition) or (None if event_types(rule) else "no type of events is left")


def _code(code: str) -> str:
    return code.removeprefix("LOAD_").lower().replace("_", "-")


def _shadowed(rules: Sequence[Rule]) -> Iterator[Finding]:
    types = {rule.name: event_types(rule) for rule in rules}
    for at, later in enumerate(rules):
        for earlier in rules[:at]:
            if earlier.source == later.source and types[later.name] <= types[earlier.name] and implies(
                    later.condition, earlier.condition):
                yield Finding("warning", "shadowed", later.name,
                              f"{earlier.name} stands before it and is true whenever it is, so that it never alerts "
                              "where the first match counts")
                break
