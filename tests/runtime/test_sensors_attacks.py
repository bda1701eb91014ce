"""The stock rules against what they are about, done on this machine and seen by the real sensor."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

import pytest

from custody.adapters.sensors.tracing import Tracing
from custody.runtime.coverage import coverage
from custody.runtime.sight import Sight
from policylang.falco import RuleSet
from policylang.falco.analysis import event_types
from tests.conftest import oracle
from tests.runtime.attacks import box
from tests.runtime.attacks.actions import ACTIONS
from tests.runtime.attacks.sighting import Sighting, rules
from tests.runtime.sensing import works

NEEDED = ("unshare", "setpriv", "bash", "mount")


@pytest.fixture(scope="module")
def ruleset() -> RuleSet:
    return rules(oracle("falco-rules") / "rules")


@pytest.fixture(scope="module")
def sighting(ruleset: RuleSet) -> Iterator[Sighting]:
    works(Tracing())
    for name in NEEDED:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    try:
        box.hierarchy()
    except StopIteration:
        pytest.skip("no control groups that can be written")
    with contextlib.closing(Sighting(ruleset)) as made:
        yield made


@pytest.mark.parametrize("rule", sorted(ACTIONS))
def test_an_attack_is_seen(ruleset: RuleSet, sighting: Sighting, rule: str) -> None:
    absent = [name for name in event_types(ruleset[rule]) if name in sighting.sensor.refused]
    if len(absent) == len(event_types(ruleset[rule])):
        pytest.skip(f"this kernel has no tracepoint for {', '.join(absent)}")
    seen = sighting.attack(rule)
    assert rule in seen, f"seen: {sorted(seen)}; lost: {dict(sighting.sensor.losses())}"


def test_what_is_said_to_be_seen_is_what_was_seen(ruleset: RuleSet) -> None:
    """The analysis of event types and fields, and the actions that are seen by doing them, agree on every rule."""
    sensor = Tracing()
    works(sensor)
    covered = coverage(ruleset.rules, [Sight("ebpf", "syscall", sensor.probe().covers, sensor.fields)])
    there = {rule for rule in ACTIONS if event_types(ruleset[rule]) & sensor.probe().covers}
    assert {rule.rule for rule in covered if rule.by} == there
    assert all(rule.reason for rule in covered if not rule.by)


def test_a_harmless_program_is_no_attack(sighting: Sighting) -> None:
    """Nothing but the start of the box itself."""
    assert set(sighting.attack("Launch Excessively Capable Container")) <= {
        "Launch Excessively Capable Container", "Container Run as Root User", "Create Hidden Files or Directories"}
