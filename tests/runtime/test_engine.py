"""Events judged, floods folded, losses told: without any I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from custody.formats.telemetry.told import Foreign
from custody.runtime.alertlines import line
from custody.runtime.counted import OTHERS, Counted
from custody.runtime.engine import Engine, Record, Rules, identifier
from custody.runtime.event import Place, RuntimeEvent
from custody.runtime.folding import Folding
from custody.runtime.losses import Losses
from policylang import falco
from policylang.falco import Alert

RULES = """\
- rule: shell
  desc: d
  condition: evt.type = execve and proc.name = sh
  output: shell %proc.cmdline in %container.id
  priority: WARNING
- rule: any
  desc: d
  condition: evt.type = execve and proc.name startswith s
  output: any %proc.name
  priority: DEBUG
- rule: pods
  desc: d
  condition: ka.verb = create
  output: pod %ka.target.name
  priority: NOTICE
  source: k8s_audit
"""


def engine(rules: str = RULES, match: Any = "first", **options: Any) -> Engine:
    return Engine(Rules(falco.load(rules), match), Counted(), **options)


def event(name: str = "sh", number: int = 1, at: int | None = 5, **fields: Any) -> RuntimeEvent:
    known = {"evt.type": "execve", "proc.name": name, "proc.cmdline": f"{name} {number}", "container.id": "abc",
             "evt.rawtime": at, **fields}
    return RuntimeEvent("syscall", "execve", known, at, "test")


class TestEngine:
    def test_first_or_all(self) -> None:
        assert [record.alert.rule for record in engine().records(event(), "k")] == ["shell"]
        assert [record.alert.rule for record in engine(match="all").records(event(), "k")] == ["shell", "any"]
        assert engine().records(event("ls"), "k") == []

    def test_priority(self) -> None:
        judged = engine(priority=4)
        assert len(judged.records(event(), "k")) == 1
        assert judged.records(event("ssh"), "k") == []
        assert judged.counted.below == {"any": 1}

    def test_sources(self) -> None:
        audit = RuntimeEvent("k8s_audit", "pluginevent", {"verb": "create", "objectRef": {"name": "x"}}, 1, "test")
        assert [record.alert.output for record in engine().records(audit, "k")] == ["pod x"]
        only = Engine(Rules(falco.load(RULES), "first", ["syscall"]), Counted())
        assert only.records(audit, "k") == []
        assert only.rules.count == 2

    def test_a_value_of_another_type_is_counted_and_the_next_event_is_judged(self) -> None:
        judged = engine()
        assert judged.records(event(**{"proc.name": ["a"]}), "k") == []  # type: ignore[arg-type]
        assert judged.counted.unjudged == {"test": 1}
        assert len(judged.records(event(), "k")) == 1

    def test_clocks_that_go_backwards_are_counted_and_judged(self) -> None:
        judged = engine()
        told = [len(judged.records(event(at=at), "k")) for at in (5, 9, 7, 7, None, 8)]
        assert told == [1] * 6
        assert judged.counted.backwards == {"test": 1}

    def test_keys_are_of_the_event(self) -> None:
        first, again, other = (engine(match="all").records(event(), key) for key in ("k", "k", "x"))
        assert [record.key for record in first] == [record.key for record in again]
        assert len({record.key for record in (*first, *other)}) == 4
        assert identifier("9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d") == "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"
        assert identifier("\ud800")[14] == "8"

    def test_detectors_see_their_types(self) -> None:
        class Detector:
            types = frozenset({"execve", "connect"})

            def __call__(self, event: RuntimeEvent) -> Iterable[Alert]:
                yield Alert("Unknown executable", "Critical", "custody", f"of {event.fields.get('proc.name')}", {})

        judged = engine(detectors=[Detector()])
        assert [record.alert.rule for record in judged.records(event(), "k")] == ["shell", "Unknown executable"]
        assert [record.alert.output for record in judged.records(event("ls"), "k")] == ["of ls"]
        other = RuntimeEvent("syscall", "openat", {}, 1, "test")
        assert judged.records(other, "k") == []
        assert judged.types == {"execve", "connect"}

    def test_enriched_then_suppressed(self) -> None:
        class Enricher:
            def __call__(self, place: Place) -> Mapping[str, Any]:
                return {"custody.signer": f"ann of {place.container_id}"}

        class Suppressor:
            def __call__(self, alert: Alert, place: Place) -> str | None:
                return "known" if alert.output_fields["custody.signer"] == "ann of abc" else None

        judged = engine(enrichers=[Enricher()])
        (record,) = judged.records(event(), "k")
        assert record.alert.output_fields["custody.signer"] == "ann of abc"
        assert record.place.container_id == "abc"
        judged = engine(enrichers=[Enricher()], suppressors=[Suppressor()])
        assert judged.records(event(), "k") == []
        assert judged.counted.suppressed == {"known": 1}
        elsewhere: dict[str, Any] = {"container.id": "xyz"}
        assert len(judged.records(event(**elsewhere), "k")) == 1
        shown = engine(enrichers=[Enricher()], suppressors=[Suppressor()], show_suppressed=True)
        (record,) = shown.records(event(), "k")
        assert record.suppressed == "known"
        assert b'"custody.suppressed":"known"' in line(record).json

    def test_a_foreign_alert_goes_the_same_way(self) -> None:
        alert = Alert("theirs", "Debug", "syscall", "o", {"container.id": "abc"}, (), 5, "n")
        (record,) = engine().records(Foreign(alert, ""), "k")
        assert record.alert == alert
        assert engine(priority=6).records(Foreign(alert, ""), "k") == []

    def test_swapped_between_two_events(self) -> None:
        judged = engine()
        assert len(judged.records(event(), "k")) == 1
        judged.swap(Rules(falco.load(RULES.replace("= sh", "= zsh").replace("startswith s", "startswith z"))))
        assert judged.records(event(), "k") == []

    def test_strangers_make_no_numbers_without_end(self) -> None:
        counted = Counted()
        for number in range(5000):
            counted.told(f"rule {number}", "Debug")
            counted.add(counted.folded, f"rule {number}")
        assert len(counted.alerts) <= 1001
        assert counted.folded[OTHERS] == 4000
        assert sum(counted.alerts.values()) == 5000


def record(number: int = 1, rule: str = "shell", **fields: Any) -> Record:
    return Record(f"key-{rule}-{number}", Alert(rule, "Warning", "syscall", f"{rule} {fields}", {
        "proc.pid": number, "evt.time": number, "evt.rawtime": number, **fields}, (), number), Place())


class TestFolding:
    def test_the_first_are_told_and_the_others_counted(self) -> None:
        counted = Counted()
        folding = Folding(counted, alike=10, seconds=60)
        assert sum(folding.tell(record(number, file="/x"), 0.0) for number in range(1000)) == 10
        assert folding.due(59.0) == []
        (summary,) = folding.due(60.0)
        assert summary.alert.output_fields["custody.folded"] == 990
        assert summary.alert.output_fields["proc.pid"] == 999
        assert summary.alert.output.endswith("(990 more like this within 60 s)")
        assert counted.folded == {"shell": 990}
        assert folding.due(120.0) == []
        assert folding.tell(record(7, file="/x"), 121.0), "a new window"

    def test_others_are_not_folded_with_them(self) -> None:
        folding = Folding(Counted(), alike=2)
        for number in range(5):
            folding.tell(record(number, file="/x"), 0.0)
        assert folding.tell(record(file="/y"), 0.0)
        assert folding.tell(record(rule="another", file="/x"), 0.0)

    def test_a_rule_whose_alerts_are_all_unlike(self) -> None:
        folding = Folding(Counted(), alike=10, each_rule=100)
        told = sum(folding.tell(record(number, file=f"/{number}"), 0.0) for number in range(1000))
        assert told == 100
        (summary,) = folding.due(60.0)
        assert summary.alert.output_fields["custody.folded"] == 900
        assert folding.tell(record(rule="another", file="/x"), 0.0)

    def test_memory_is_bounded(self) -> None:
        folding = Folding(Counted(), alike=1, each_rule=10**9)
        for number in range(60_000):
            folding.tell(record(number, file=f"/{number}"), 0.0)
        assert len(folding._windows) <= 20_001
        told = len(folding.due(60.0))
        assert told == 1, "what was beyond is one number"

    def test_nothing_is_folded(self) -> None:
        folding = Folding(Counted(), alike=0)
        assert all(folding.tell(record(), 0.0) for _ in range(100))
        assert folding.due(1e9) == []

    def test_what_is_folded_outlives_the_process(self) -> None:
        folding = Folding(Counted(), alike=1)
        for number in range(5):
            folding.tell(record(number, file="/x", odd=object()), 0.0)
        assert folding.changed
        later = Folding(Counted(), alike=1)
        later.restore(folding.state(), 1000.0)
        assert not folding.changed
        (summary,) = later.due(1060.0)
        assert summary.alert.output_fields["custody.folded"] == 4
        assert Folding(Counted()).restore(b"", 0.0) is None

    def test_a_clock_that_goes_back_ends_windows(self) -> None:
        folding = Folding(Counted(), alike=1)
        for number in range(3):
            folding.tell(record(number), 100.0)
        assert len(folding.due(50.0)) == 1


class TestLosses:
    def test_the_first_at_once_and_then_a_number(self) -> None:
        counted = Counted()
        losses = Losses(counted, "node")
        losses.lost("ebpf", "ring-buffer", 5)
        (alert,) = losses.due(100.0)
        assert (alert.rule, alert.source, alert.hostname) == ("Events lost", "custody", "node")
        assert alert.output_fields == {"custody.input": "ebpf", "custody.kind": "ring-buffer", "custody.number": 5}
        for _ in range(100):
            losses.lost("ebpf", "ring-buffer", 0)
        assert losses.due(101.0) == []
        (alert,) = losses.due(160.0)
        assert alert.output_fields["custody.number"] == 100
        assert counted.lost == {("ebpf", "ring-buffer"): 105}
        assert losses.due(500.0) == []

    def test_kinds_are_apart(self) -> None:
        losses = Losses(Counted())
        losses.lost("a", "x", 1)
        losses.lost("a", "y", 1)
        losses.unreadable("a", "malformed", 3)
        assert sorted(alert.output for alert in losses.due(0.0)) == [
            "Events lost: 1 (input=a kind=x)", "Events lost: 1 (input=a kind=y)",
            "Events unreadable: 3 (input=a kind=malformed)"]


@pytest.mark.parametrize("value", [b"\xff", object(), {1: 2}, "\ud800", float("nan"), 1 << 70, [b"x"]])
def test_whatever_an_alert_holds_is_one_line(value: Any) -> None:
    import json

    told = line(Record("k", Alert("r\n", "Warning", "s", "a\x1b[2Jb\nc", {"field": value}, (), 5), Place()))
    assert b"\n" not in told.json
    json.loads(told.json)
    assert "\n" not in told.text
    assert "\x1b" not in told.text
