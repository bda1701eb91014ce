"""Rules before they run and alerts after: lint, recorded events, suppressions, on one core.

    python bench/runtime/beforehand.py [FOLDER]

FOLDER has falco-rules/; default $CUSTODY_ORACLES or ../shared/oracles. No peer does these; the figures of one run are
beside each other: judging alone, the same from a file, and beside a second set of rules.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.languages.falco import event

from custody.formats.suppressions import Suppression
from custody.formats.telemetry.event import RuntimeEvent
from custody.runtime.event import Place
from custody.runtime.rulelint import lint
from custody.runtime.ruletrial import Comparison, Trial
from custody.runtime.suppressions import Suppressions
from custody.services import falcorules
from custody.services.recordings import Recordings
from policylang.falco import Alert

_EVENTS = 20_000
_ALERTS = 20_000


def seconds(work: Callable[[], object], runs: int = 3) -> float:
    taken = []
    for _ in range(runs):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return median(taken)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CUSTODY_ORACLES", "../shared/oracles"))
    texts = falcorules.files([folder / "falco-rules" / "rules"])
    rules = falcorules.compiled(texts)
    print(f"load {len(rules.rules)} rules                        {seconds(lambda: falcorules.compiled(texts)):8.3f} s")
    print(f"lint them, match=first                 {seconds(lambda: list(lint(rules, match='first'))):8.3f} s")

    chance = random.Random(1)
    kinds = chance.choices(("openat", "execve", "connect"), (85, 5, 10), k=_EVENTS)
    events = [RuntimeEvent("syscall", kind, event(kind, chance), None, "bench") for kind in kinds]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "events.jsonl"
        path.write_text("".join(json.dumps(recorded.fields) + "\n" for recorded in events))

        def judged() -> None:
            trial = Trial(rules, "first")
            for recorded in events:
                trial(recorded)

        def from_file() -> None:
            trial = Trial(rules, "first")
            for recorded in Recordings([path]):
                trial(recorded)

        def compared() -> None:
            comparison = Comparison(Trial(rules, "first"), Trial(rules, "first"))
            for recorded in Recordings([path]):
                comparison(recorded)

        for name, work in (("judged, in memory", judged), ("rules test, from a file", from_file),
                           ("rules test --old, from a file", compared)):
            print(f"{name:<38} {_EVENTS / seconds(work):8,.0f} events/s")

    alerts = [Alert(rules.rules[number % len(rules.rules)].name, "Warning", "syscall", "o",
                    {"proc.name": f"p{number % 50}", "user.uid": number % 7}) for number in range(_ALERTS)]
    now = datetime.now(UTC)
    for count in (1, 100, 1000):
        entries = [Suppression(f"s{number}", (rules.rules[number % len(rules.rules)].name,), "",
                               f"proc.name = p{number} and user.uid in (1, 2)", "r", "o", None, "s")
                   for number in range(count)]
        asked = Suppressions(entries, lambda: now)

        def suppressed(asked: Suppressions = asked) -> None:
            for alert in alerts:
                asked(alert, Place())

        print(f"{f'an alert beside {count} suppressions':<38} {seconds(suppressed) / _ALERTS * 1e6:8.2f} µs")


if __name__ == "__main__":
    main()
