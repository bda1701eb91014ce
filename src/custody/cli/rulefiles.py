"""Arguments and options of commands that take rule files and recordings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from custody.cli.bars import progress
from custody.errors import UsageError
from custody.formats.telemetry.event import RuntimeEvent
from custody.kit.visible import visible
from custody.services import falcorules
from custody.services.recordings import Recordings
from policylang.falco import RuleSet

_F = Callable[..., Any]
_NAMED = 5  # lines of a recording that are named, of those that are no events


def rule_files(command: _F) -> _F:
    """The argument `paths`: files and folders, in the order in which Falco would load them."""
    return click.argument("paths", nargs=-1, required=True, metavar="FILE|DIR…",
                          type=click.Path(exists=True, path_type=Path))(command)


def match_option(command: _F) -> _F:
    return click.option("--match", type=click.Choice(["first", "all"]), default="first", show_default=True,
                        help="Of the rules that are true of an event, which alert: the first, as Falco has it by "
                        "default, or all.")(command)


def ruleset(paths: tuple[Path, ...]) -> RuleSet:
    """Raises UsageError with Falco's words, where it would refuse the files, and where no rule is in them."""
    rules = falcorules.compiled(falcorules.files(paths))
    if not rules.rules:
        raise UsageError(f"{', '.join(map(str, paths))}: got no rule, expected items with `rule:`",
                         hint="lists and macros are judged with the rules that use them: name those files too")
    return rules


def read(recordings: Recordings, title: str = "events") -> Iterator[RuntimeEvent]:
    """The events, with a bar for people; what was no event is told on standard error."""
    with progress(title) as advance:
        for event in recordings:
            if advance is not None:
                advance(1)
            yield event
    for where, reason in recordings.unread[:_NAMED]:
        print(visible(f"warning: {reason if reason.startswith(where) else f'{where}: {reason}'}"), file=sys.stderr)
    if recordings.unreadable > _NAMED:
        print(f"warning: {recordings.unreadable - _NAMED} more lines are no events", file=sys.stderr)
    for kind, number in recordings.lost.items():
        print(visible(f"warning: the recording says that {number or 'some'} events were lost ({kind})"),
              file=sys.stderr)
