"""The engine on synthetic events, on one core: what it adds to the rules alone; events per second of process time.

    python bench/runtime/rules.py [FOLDER]

FOLDER has falco-rules/; default $CUSTODY_ORACLES or ../shared/oracles. The events are those of bench/languages/falco.py:
85 % openat, 5 % execve, 10 % connect, about 45 fields each.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.languages.falco import rate, stream, through
from custody.formats.telemetry.event import RuntimeEvent
from custody.runtime.counted import Counted
from custody.runtime.engine import Engine, Rules
from policylang import falco


def main(folder: Path) -> None:
    rules = folder / "falco-rules" / "rules"
    names = ("falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml")
    ruleset = falco.load({name: (rules / name).read_text() for name in names})
    events = stream()
    matcher = ruleset.compile("syscall")
    alone = rate(lambda: through(matcher, events), len(events), rounds=15)
    engine = Engine(Rules(ruleset), Counted())
    judged = [RuntimeEvent("syscall", kind, fields, 1, "bench") for kind, fields in events]

    def run() -> None:
        judge = engine.judge
        for event in judged:
            judge(event)

    whole = rate(run, len(judged), rounds=15)
    print(f"{engine.rules.count} rules: alone {alone:,.0f}/s, through the engine {whole:,.0f}/s: x {whole / alone:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CUSTODY_ORACLES", "../shared/oracles")))
