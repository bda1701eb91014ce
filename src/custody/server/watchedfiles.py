"""What a watch reads again while it runs: rules, suppressions, responses, lists of containers.

Each is as its files are; what cannot be used leaves what was read before, and is told as an alert.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from custody.errors import CustodyError
from custody.kit.amount import amount
from custody.runtime.containers import Container
from custody.runtime.engine import Rules
from custody.runtime.responses import Responses
from custody.runtime.suppressions import Suppressions
from custody.server.watching import FileWatch
from custody.wiring.answering import Answering, read_responses, read_suppressions
from custody.wiring.census import Census
from custody.wiring.runtime import Runtime, rule_files


def rules_of(runtime: Runtime) -> FileWatch[Rules]:
    """Rules are those of the files; a set that cannot be used leaves the one before, and is told as an alert."""

    def use(loaded: Rules) -> str:
        runtime.engine.swap(loaded)
        return f"read again: {amount(loaded.count, 'rule')}"

    def files() -> list[Path]:
        try:
            return rule_files(runtime.watched.rules)
        except CustodyError:  # a folder that has none now is a change too
            return list(runtime.watched.rules)

    watch = FileWatch("rules", files, runtime.load, use)

    def told(succeeded: bool) -> None:
        if not succeeded:
            runtime.watch.say(runtime.losses.kept(watch.failure or "", time.time()))

    watch.told = told
    return watch


def answers_of(runtime: Runtime, answers: Answering) -> list[FileWatch[Any]]:
    """Suppressions and responses are those of their files, as rules are."""
    stated, watches = runtime.watched.stated, list[FileWatch[Any]]()

    def told(watch: FileWatch[Any], name: str) -> Callable[[bool], None]:
        def tell(succeeded: bool) -> None:
            if not succeeded:
                runtime.watch.say(runtime.losses.kept(watch.failure or "", time.time(), name))

        return tell

    def suppress(read: Suppressions) -> str:
        if answers.suppressions is not None:
            answers.suppressions.swap(read)
        return f"read again: {amount(len(read.counts), 'suppression')}"

    def respond(read: Responses) -> str:
        if answers.responding is not None:
            answers.responding.swap(read)
        return f"read again: {amount(len(read.rules), 'rule')} of responses"

    if answers.suppressions is not None:
        watches.append(suppressions := FileWatch("suppressions", lambda: map(Path, stated.suppressions),
                                          partial(read_suppressions, stated), suppress))
        suppressions.told = told(suppressions, "Suppressions")
    if answers.responding is not None:
        watches.append(responses := FileWatch("responses", lambda: map(Path, stated.responses),
                                          partial(read_responses, stated), respond))
        responses.told = told(responses, "Responses")
    return watches


def containers_of(census: Census) -> FileWatch[list[Container]]:
    def use(listed: list[Container]) -> str:
        census.containers.note(listed)
        return ""

    return FileWatch("list of containers", lambda: census.files, census.read, use)
