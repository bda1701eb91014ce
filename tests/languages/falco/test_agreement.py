"""What is compiled agrees with the naive reading: on conditions made up here, and on Falco's own rules."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from policylang import falco
from policylang.falco.check import formula as formulas
from policylang.falco.check.collector import Collector
from policylang.falco.syntax import tree
from policylang.falco.syntax.definitions import Reader
from policylang.falco.syntax.document import documents
from policylang.falco.values import fields
from policylang.source import Source
from tests.conftest import oracle
from tests.languages.falco.naive import holds

_TEXTS = ("proc.name", "fd.name", "proc.cmdline", "proc.aname[2]", "evt.arg.flags")
_WORDS = ("a", "ab", "abc", "/etc/passwd", "/etc", "/tmp/x", "b", "/", "x.y", "Ab")


def _quoted(text: str) -> str:
    return f'"{text}"'


@st.composite
def _checks(draw: st.DrawFn) -> str:
    kind = draw(st.integers(0, 6))
    words = draw(st.lists(st.sampled_from(_WORDS), min_size=1, max_size=4))
    listed = f"({', '.join(map(_quoted, words))})"
    name = draw(st.sampled_from((*_TEXTS, "proc.aname")))
    if kind == 0:
        return f"{name} exists"
    if kind <= 2:
        op = draw(st.sampled_from(("=", "!=", "contains", "icontains", "startswith", "endswith", "glob", "iglob")))
        word = words[0] + ("*" if "glob" in op and draw(st.booleans()) else "")
        return f"{name} {op} {_quoted(word)}"
    if kind == 3:
        return f"{name} {draw(st.sampled_from(('in', 'intersects', 'pmatch')))} {listed}"
    if kind == 4:
        op = draw(st.sampled_from(("=", "!=", "contains", "startswith", "endswith", "glob")))
        return f"{name} {op} {draw(st.sampled_from(('oneof', 'anyof', 'allof')))} {listed}"
    if kind == 5:
        number = draw(st.integers(0, 5))
        return draw(st.sampled_from((
            f"fd.num >= {number}", f"fd.num<{number}", f"user.uid = {number}", f"fd.port={number}",
            f"fd.port != {number}", f"fd.sport in (1, {number})", "evt.is_open_read = true",
            "evt.is_open_read != true", "evt.num = 0", "evt.num >= 0", "evt.type = openat",
            "evt.type in (open, execve)", "evt.type != open", "fd.types in (ipv4, file)",
            "fd.types intersects (ipv4, file)")))
    return draw(st.sampled_from(('fd.ip = "10.0.0.1"', 'fd.ip != "10.0.0.1"', 'fd.net = "10.0.0.0/8"', "fd.snet in "
                                 '("10.0.0.0/8", "127.0.0.1/8")', 'fd.net != "10.0.0.0/8"', 'fd.sip = "::1"')))


_CONDITIONS = st.recursive(_checks(), lambda inner: st.one_of(
    st.lists(inner, min_size=2, max_size=4).map(lambda parts: f"({' and '.join(parts)})"),
    st.lists(inner, min_size=2, max_size=4).map(lambda parts: f"({' or '.join(parts)})"),
    inner.map(lambda part: f"not ({part})")), max_leaves=10)

_TEXT = st.one_of(st.none(), st.sampled_from(_WORDS), st.text("abA/*x.", max_size=4))
_ADDRESSES = st.sampled_from((None, "10.0.0.1", "10.1.2.3", "192.168.0.1", "127.9.9.9", "::1"))
_EVENTS = st.fixed_dictionaries({
    **dict.fromkeys(_TEXTS, _TEXT), "proc.aname": st.one_of(st.none(), st.lists(st.sampled_from(_WORDS), max_size=3)),
    "fd.num": st.one_of(st.none(), st.integers(-1, 6)), "user.uid": st.one_of(st.none(), st.integers(0, 6)),
    "fd.cport": st.one_of(st.none(), st.integers(0, 6)), "fd.sport": st.one_of(st.none(), st.integers(0, 6)),
    "fd.cip": _ADDRESSES, "fd.sip": _ADDRESSES, "evt.is_open_read": st.sampled_from((None, True, False)),
    "fd.types": st.one_of(st.none(), st.lists(st.sampled_from(("ipv4", "file", "pipe")), max_size=3))})


@given(st.lists(_CONDITIONS, min_size=1, max_size=6), _EVENTS, st.sampled_from(("open", "openat", "execve", "close")))
def test_made_up_rules(conditions: list[str], event: dict[str, Any], kind: str) -> None:
    text = "".join(f"- rule: r{number}\n  desc: d\n  output: o\n  priority: INFO\n  condition: >\n    {each}\n"
                   for number, each in enumerate(conditions))
    event |= {"evt.type": kind, "evt.num": 7}
    matcher = falco.load(text).compile("syscall", "all")
    macros, parsed = _parsed(text)
    expected = [name for name, condition in parsed.items() if holds(condition, event, macros)]
    assert matcher.matched(kind, event) == expected
    assert [alert.rule for alert in matcher(kind, event)] == expected
    for name in parsed:
        told, trace = matcher.explain(name, kind, event)
        assert told == (name in expected)
        assert len(trace.steps) > 0 or isinstance(matcher.ruleset[name].condition, bool)


def _parsed(*texts: str) -> tuple[dict[str, tree.Condition], dict[str, tree.Condition]]:
    collector, reader = Collector(), Reader([])
    for text in texts:
        for document in documents(Source(text)):
            for item in reader.items(document):
                collector.add(item)
    found = collector.finish()
    return ({name: condition for name, (condition, _) in found.macros.items()},
            {name: condition for name, (condition, _) in found.conditions.items()})


def _values(formula: formulas.Formula) -> Iterator[tuple[formulas.Read, Any]]:
    if isinstance(formula, bool):
        return
    if formula.kind == "test":
        read, op, modifier, right = formula.parts
        for value in right if op in ("in", "intersects", "pmatch") or modifier else (right,):
            yield read, value
    else:
        for part in formula.parts:
            yield from _values(part)


def test_upstream_rules_on_random_events() -> None:
    """Values of events are those that the rules compare with, so that much of each condition is true."""
    folder = oracle("falco-rules") / "rules"
    texts = [(folder / name).read_text() for name in ("falco_rules.yaml", "falco-incubating_rules.yaml",
                                                      "falco-sandbox_rules.yaml")]
    ruleset = falco.load(texts)
    macros, parsed = _parsed(*texts)
    enabled = {rule.name for rule in ruleset.rules if rule.enabled}
    matcher = ruleset.compile("syscall", "all")
    chance = random.Random(11)
    matched: set[str] = set()
    pool: dict[str, list[Any]] = {}
    for rule in ruleset.rules:
        for read, value in _values(rule.condition):
            pool.setdefault(read.name, []).append((read, value))
    for rule in ruleset.rules:
        own = list(_values(rule.condition))
        types = sorted(value for read, value in own if read.name == "evt.type")
        for _ in range(12):
            event: dict[str, Any] = {"evt.num": 3, "evt.type": chance.choice(types or ["open"])}
            for read, value in [*(chance.choice(each) for each in pool.values() if chance.random() < 0.7),
                                *(each for each in own if chance.random() < 0.8)]:
                if (found := _value(read, value, chance)) is not None:
                    event[fields.READ_AS.get(read.name, read.name)] = found
            event["syscall.type"] = event["evt.type"]
            expected = [name for name, condition in parsed.items()
                        if name in enabled and holds(condition, event, macros)]
            assert matcher.matched(event["evt.type"], event) == expected
            matched.update(expected)
    assert len(matched) > 25


def _value(read: formulas.Read, value: Any, chance: random.Random) -> Any:
    if read.name in ("evt.type", "syscall.type", "evt.num", "evt.dir"):
        return None
    if read.type in (fields.Type.ADDRESS, fields.Type.NETWORK):
        from ipaddress import ip_address

        text = str(ip_address(value[1]))
        return [text, "192.0.2.7"] if read.shape is fields.Shape.ENDS else text
    if isinstance(value, str):
        value = value.replace("*", "x") if "*" in value else value
        value = chance.choice((value, value, value + "/z", "zz" + value))
    elif isinstance(value, int) and read.type is not fields.Type.BOOL:
        value = chance.choice((value, value, value + 1))
    return [value] if read.shape in (fields.Shape.ANCESTORS, fields.Shape.LIST) else value
