"""`--suppressions`: alerts that somebody has explained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from custody.cli.rulefiles import read
from custody.errors import unread
from custody.formats import suppressions as documents
from custody.kit.clock import system_clock
from custody.runtime.rulelint import Finding
from custody.runtime.ruletrial import Trial
from custody.runtime.suppressions import Suppressions
from custody.services.recordings import Recordings
from policylang.falco import RuleSet


def suppressions_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """As the parameter `suppressions`: those of all files, or None."""
    return click.option("--suppressions", multiple=True, metavar="FILE", type=click.Path(exists=True, path_type=Path),
                        callback=_read, help="Alerts that somebody has explained, until when.")(command)


def _read(context: click.Context, option: click.Parameter,  # noqa: ARG001 - click's signature
          paths: tuple[Path, ...]) -> Suppressions | None:
    return loaded(paths) if paths else None


def loaded(paths: Sequence[Path]) -> Suppressions:
    """Raises UsageError, StorageError."""
    listed = []
    for path in paths:
        try:
            listed += documents.read(path.read_bytes(), str(path))
        except OSError as error:
            raise unread(path, error) from None
    return Suppressions(listed, system_clock)


def used(rules: RuleSet, match: Literal["first", "all"], suppressions: Suppressions,
         recordings: Sequence[Path]) -> Iterator[Finding]:
    """Those that suppress nothing of what was recorded."""
    trial = Trial(rules, match, suppressions)
    for event in read(Recordings(recordings)):
        trial(event)
    for count in suppressions.counts:
        if not count.suppressed and not count.expired:
            yield Finding("warning", "suppression-unused", "", f"{count.suppression.name}: it suppresses nothing of "
                          f"{trial.events} recorded events", count.suppression.place)
