"""Suppressions: what they match, that they end, and what is not explained stays told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError, UnsupportedError, UsageError
from custody.formats import suppressions as documents
from custody.formats import yaml
from custody.runtime.event import Place
from custody.runtime.suppressions import Suppressions
from policylang.falco import Alert
from tests.runtime.test_rule_analysis import rule, rules

_NOW = datetime(2026, 6, 1, tzinfo=UTC)
_ENTRY = {"name": "backup", "rules": ["Read *"], "match": "proc.name = backup and user.uid = 0", "reason": "nightly",
          "owner": "storage", "until": "2026-06-30"}


def _file(*entries: dict[str, Any]) -> bytes:
    return yaml.dumped({"suppressions": list(entries)}).encode()


def _loaded(*entries: dict[str, Any], now: datetime = _NOW) -> Suppressions:
    return Suppressions(documents.read(_file(*entries), "s.yaml"), lambda: now)


def _alert(rule: str = "Read shadow", source: str = "syscall", **fields: Any) -> Alert:
    return Alert(rule, "Warning", source, "o", {"proc.name": "backup", "user.uid": 0} | {
        name.replace("__", "."): value for name, value in fields.items()})


def test_an_alert_that_is_explained() -> None:
    asked = _loaded(_ENTRY)
    assert asked(_alert(), Place()) == "backup"
    assert asked(_alert(), Place()) == "backup"
    count, = asked.counts
    assert (count.suppressed, count.last, count.expired, count.failed) == (2, _NOW, 0, 0)


@pytest.mark.parametrize("alert", [
    _alert("Write shadow"), _alert(proc__name="cat"), _alert(user__uid=1), _alert(proc__name=None),
    _alert(proc__name="<NA>"), Alert("Read shadow", "Warning", "syscall", "o", {"proc.name": "backup"})])
def test_an_alert_that_is_not(alert: Alert) -> None:
    asked = _loaded(_ENTRY)
    assert asked(alert, Place()) is None
    assert asked.counts[0].suppressed == 0


@pytest.mark.parametrize("match", ["not proc.name = x", "proc.name != x", "not proc.name exists",
                                   "user.uid = 0 or proc.name = x", "not (proc.name = x and user.uid = 7)"])
def test_what_an_alert_does_not_tell_is_not_explained(match: str) -> None:
    """Also where the condition would be true of a null."""
    asked = _loaded({**_ENTRY, "match": match})
    assert asked(Alert("Read x", "Warning", "syscall", "o", {"user.uid": 0}), Place()) is None


def test_names_of_rules() -> None:
    asked = _loaded({**_ENTRY, "rules": ["Read ?ha*[x]", "Exact"]})
    assert asked(_alert("Read shadow [x]"), Place()) == "backup"
    assert asked(_alert("Exact"), Place()) == "backup"
    for name in ("Read shadow x", "Read sadow [x]", "Exact ", "exact"):
        assert asked(_alert(name), Place()) is None
    hostile = _loaded({**_ENTRY, "rules": ["*a" * 30 + "b"]})
    assert hostile(_alert("a" * 60_000), Place()) is None


def test_a_value_of_another_type_suppresses_nothing() -> None:
    asked = _loaded({**_ENTRY, "match": "user.uid > 5"})
    assert asked(_alert(user__uid="many"), Place()) is None
    assert asked.counts[0].failed == 1


def test_it_ends() -> None:
    before, after = datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
    assert _loaded(_ENTRY, now=before)(_alert(), Place()) == "backup"
    asked = _loaded(_ENTRY, now=after)
    assert asked(_alert(), Place()) is None
    assert (asked.counts[0].suppressed, asked.counts[0].expired) == (0, 1)
    assert _loaded({**_ENTRY, "until": "never"}, now=after)(_alert(), Place()) == "backup"
    hour = {**_ENTRY, "until": "2026-06-01T02:00:00+02:00"}
    assert _loaded(hour)(_alert(), Place()) is None
    assert [code for _, code, _ in _loaded(hour).remarks([])] == ["suppression-expired", "suppression-of-no-rule"]


def test_the_next_one_is_asked_where_the_first_is_over() -> None:
    asked = _loaded({**_ENTRY, "until": "2026-01-01"}, {**_ENTRY, "name": "again"})
    assert asked(_alert(), Place()) == "again"


def test_evidence_and_sources() -> None:
    asked = _loaded({**_ENTRY, "match": "custody.signed = true", "source": "syscall"})
    assert asked(_alert(custody__signed=True), Place()) == "backup"
    assert asked(_alert(custody__signed=False), Place()) is None
    assert asked(_alert(), Place()) is None
    assert asked(_alert(source="k8s_audit", custody__signed=True), Place()) is None


def test_remarks() -> None:
    ruleset = rules(rule("Read a", "evt.type = open", "%proc.name %user.uid"), rule("Read b", "evt.type = open", "x"),
                    rule("Blind", "evt.type = open", "%proc.name"))
    told = [(told.name, code, message) for told, code, message in _loaded(
        _ENTRY, {**_ENTRY, "name": "blind", "rules": ["Blind"]}, {**_ENTRY, "name": "none", "rules": ["Red *"]},
        {**_ENTRY, "name": "evidence", "rules": ["Blind"], "match": "custody.signed = true"}).remarks(ruleset.rules)]
    assert [(name, code) for name, code, _ in told] == [("blind", "suppression-blind"),
                                                        ("none", "suppression-of-no-rule")]
    assert "do not tell user.uid, so it never matches; add %user.uid" in told[0][2]


@pytest.mark.parametrize(("change", "words"), [
    ({"reason": None}, "suppressions[0].reason: got 'nothing'"), ({"owner": " "}, "owner: got 'an empty text'"),
    ({"until": None}, "suppressions[0].until: got 'nothing'"), ({"until": "2026-13-01"}, "until: got '2026-13-01'"),
    ({"until": "soon"}, "expected a day such as 2027-01-31"), ({"rules": []}, "rules: got 'none'"),
    ({"rules": [""]}, "an empty name"), ({"match": None}, "match: got 'nothing'"),
    ({"until": "2026-06-01T02:00:00"}, "a time without its zone"), ({"severity": "low"}, "severity: not evaluated"),
    ({"match": "proc.nam = x"}, "nonexistent field proc.nam"), ({"match": "spawned_process"}, "Undefined macro"),
    ({"match": "custody.signed[1] = x"}, "nonexistent field")])
def test_files_that_are_refused(change: dict[str, Any], words: str) -> None:
    entry = {name: value for name, value in {**_ENTRY, **change}.items() if value is not None}
    with pytest.raises((MalformedError, UnsupportedError, UsageError)) as refused:
        _loaded(entry)
    assert words in str(refused.value)


def test_names_stand_once() -> None:
    with pytest.raises(MalformedError, match="a name of its own"):
        _loaded(_ENTRY, _ENTRY)
    with pytest.raises(MalformedError, match="expected a list of suppressions"):
        documents.read(b"suppressions: []", "s.yaml")


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    try:
        documents.read(data, "s.yaml")
    except CustodyError:
        pass


_SCALAR = st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(
    ("never", "2026-06-30", "proc.name = a", "x"))


@given(st.dictionaries(st.sampled_from([*_ENTRY, "x"]), st.one_of(_SCALAR, st.lists(_SCALAR, max_size=2)), max_size=7))
def test_any_entry(entry: dict[str, Any]) -> None:
    try:
        _loaded({**_ENTRY, **entry})
    except CustodyError:
        pass
