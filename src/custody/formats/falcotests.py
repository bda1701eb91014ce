"""Files of tests of Falco rules: events, and the alerts that are expected of them, no more and no fewer."""

from __future__ import annotations

from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.formats import yaml
from custody.formats.fields import Fields
from policylang.errors import Shape

MOST = 10_000


class Expected(NamedTuple):
    rule: str
    times: int
    priority: str | None
    output_fields: dict[str, Any]
    """Those that are looked at, of every alert of the rule."""
    place: str


class Test(NamedTuple):
    name: str
    events: tuple[dict[str, Any], ...]
    recordings: tuple[str, ...]
    """Files beside the test's."""
    alerts: tuple[Expected, ...]
    rules: tuple[str, ...]
    """Rules that it is about; alerts of others count for nothing. Empty is all."""
    place: str


class TestFile(NamedTuple):
    rules: tuple[str, ...]
    """Rule files beside it, asked where none are named otherwise."""
    match: str
    tests: tuple[Test, ...]


def read(data: bytes, where: str) -> TestFile:
    """Raises MalformedError, and UnsupportedError for a key that is not known."""
    documents = yaml.documents(data, where)
    if len(documents) != 1:
        raise MalformedError(where, got=f"{len(documents)} documents", expected="one, with tests")
    fields = Fields(documents[0], where)
    rules, match = tuple(fields.texts("rules")), fields.take("match", str) or "all"
    if match not in ("all", "first"):
        raise MalformedError(fields.path("match"), got=match, expected="all, or first as Falco has it by default")
    tests = tuple(map(_test, fields.each("tests")))
    fields.done()
    if not tests or len(tests) > MOST:
        raise MalformedError(fields.path("tests"), got=len(tests) or "none", expected=f"1 to {MOST} tests")
    return TestFile(rules, match, tests)


def _test(fields: Fields) -> Test:
    name = fields.need("name", str)
    events = [*(fields.take("events", list) or [])]
    if (single := fields.take("event", dict)) is not None:
        events.append(single)
    for at, event in enumerate(events):
        if not isinstance(event, dict):
            raise MalformedError(f"{fields.path('events')}[{at}]", got=Shape(event), expected="a map of fields")
    recordings, rules = tuple(fields.texts("recordings")), tuple(fields.texts("rules"))
    if not events and not recordings:
        raise fields.absent("events", "events, or recordings of them")
    if not fields.has("alerts") and fields.peek("alerts") != []:
        raise fields.absent("alerts", "the alerts; [] where there are none")
    listed = fields.take("alerts", list) or []
    alerts = tuple(_expected(alert, f"{fields.path('alerts')}[{at}]") for at, alert in enumerate(listed))
    fields.done()
    names = [alert.rule for alert in alerts]
    if len(set(names)) != len(names):
        raise MalformedError(fields.path("alerts"), got="a rule twice", expected="each once, with a count")
    return Test(name, tuple(events), recordings, alerts, rules, fields.where)


def _expected(value: Any, where: str) -> Expected:
    if isinstance(value, str):
        return Expected(value, 1, None, {}, where)
    fields = Fields(value, where)
    count = fields.take("count", int)
    expected = Expected(fields.need("rule", str), 1 if count is None else count, fields.take("priority", str),
                        fields.take("output_fields", dict) or {}, where)
    fields.done()
    if expected.times < 1:
        raise MalformedError(fields.path("count"), got=expected.times,
                             expected="1 or more; for none, leave out the rule")
    return expected
