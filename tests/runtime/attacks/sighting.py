"""Does the sensor show the stock rules each attack? `python -m tests.runtime.attacks.sighting [RULE…]` prints it."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from custody.adapters.sensors.tracing import Tracing
from custody.formats.telemetry.event import RuntimeEvent
from policylang import falco
from tests.conftest import ORACLES, ROOT
from tests.runtime.attacks import box
from tests.runtime.attacks.actions import ACTIONS, HOST

FILES = ("falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml")


def rules(folder: Path = ORACLES / "falco-rules" / "rules") -> falco.RuleSet:
    """The stock rules, all of them enabled."""
    texts = [(name, (folder / name).read_bytes()) for name in FILES]
    names = [rule.name for rule in falco.load(texts).rules]
    enabled = "\n".join(f"- rule: \"{name}\"\n  enabled: true\n  override: {{enabled: replace}}" for name in names)
    return falco.load([*texts, ("enabled.yaml", enabled)])


class Sighting:
    """A sensor that runs, and the rules that its events make true."""

    def __init__(self, ruleset: falco.RuleSet) -> None:
        self.matcher = ruleset.compile("syscall", "all")
        self.sensor = Tracing(self.matcher.event_types())
        self.sensor.start()

    def close(self) -> None:
        self.sensor.close()

    def attack(self, rule: str) -> dict[str, str]:
        """The rules that were true of an event of the action's processes, with one output each.

        Where others make so many events meanwhile that some are lost, it is done again.
        """
        for _ in range(3):
            before = dict(self.sensor.losses())
            seen = self._attack(rule)
            if rule in seen or dict(self.sensor.losses()) == before:
                break
        return seen

    def _attack(self, rule: str) -> dict[str, str]:
        identifier = secrets.token_hex(32)
        self._drain({}, "")
        command = [sys.executable, "-m", "tests.runtime.attacks", rule]
        if rule not in HOST:
            command = [sys.executable, "-m", "tests.runtime.attacks.box", identifier, *command]
        seen: dict[str, str] = {}
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, cwd=ROOT, env=environment)
        where = "host" if rule in HOST else identifier[:12]
        try:
            while process.poll() is None:
                self._drain(seen, where)
                time.sleep(0.005)
            assert process.stderr is not None
            said = process.stderr.read().decode()
            assert process.returncode == 0, said
        finally:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()
            with contextlib.suppress(OSError):
                box.remove(identifier)
        self._drain(seen, where)
        return seen

    def _drain(self, seen: dict[str, str], where: str) -> None:
        def note(event: RuntimeEvent) -> None:
            if event.fields.get("container.id") == where:
                for alert in self.matcher(event.type, event.fields):
                    seen.setdefault(alert.rule, alert.output)

        while self.sensor.drain(note):
            pass


def table(names: list[str]) -> Iterator[tuple[str, str]]:
    """Each rule, and whether its alert came."""
    ruleset = rules()
    with contextlib.closing(Sighting(ruleset)) as sighting:
        for name in names or [rule.name for rule in ruleset.rules]:
            if name not in ACTIONS:
                yield name, "no action"
                continue
            try:
                seen = sighting.attack(name)
            except AssertionError as failed:
                yield name, f"FAILED {str(failed).strip().splitlines()[-1]}"
                continue
            yield name, "seen" if name in seen else f"NOT SEEN; seen: {', '.join(seen) or 'nothing'}"
        print("lost:", dict(sighting.sensor.losses()), file=sys.stderr)


if __name__ == "__main__":
    for rule, outcome in table(sys.argv[1:]):
        print(f"{outcome:10} {rule}", flush=True)
