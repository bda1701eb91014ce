"""What is proved of rules without events: contradictions, shadows, blind inputs. What is said never is never true."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.errors import UsageError
from custody.runtime.rulelint import Finding, lint
from custody.runtime.sight import INPUTS, Sight, inputs
from policylang import falco
from policylang.falco.analysis import event_types, implies, never, swallows
from policylang.falco.conditions import condition
from policylang.source import SourceError
from tests.languages.falco.test_agreement import _CONDITIONS


def rule(name: str, text: str, output: str = "o", source: str = "syscall", **keys: Any) -> str:
    return json.dumps([{"rule": name, "desc": "d", "priority": "WARNING", "source": source, "output": output,
                        "condition": text, **keys}])[1:-1]


def rules(*items: str) -> falco.RuleSet:
    return falco.load(f"[{', '.join(items)}]")


def _lint(*items: str, match: Any = "all", seen: tuple[Sight, ...] = ()) -> list[Finding]:
    return [finding for finding in lint(rules(*items), match=match, seen=seen) if finding.code != "no-evttype"]


@pytest.mark.parametrize(("text", "reason"), [
    ("proc.name = a and proc.name = b", "proc.name = a, but proc.name = b"),
    ("proc.name in (a, b) and not proc.name in (b, a, c)", "proc.name in (a, b), but not proc.name in (a, b, c)"),
    ("proc.name = sh and not proc.name startswith s", "but not proc.name startswith s"),
    ("proc.name = sh and proc.name endswith x", "but proc.name endswith x"),
    ("proc.name = sh and (fd.name = a or fd.num > 3) and not proc.name = sh", "asked for and excluded"),
    ("proc.name = sh and not proc.name exists", "and proc.name is not there"),
    ("fd.num > 5 and fd.num < 6", "fd.num > 5, and fd.num < 6"),
    ("fd.num >= 7 and fd.num <= 6", "fd.num >= 7, and fd.num <= 6"),
    ("fd.num = 7 and fd.num < 7", "fd.num = 7, but fd.num < 7"),
    ("evt.num = 0 and proc.name = x", "never_true"),
    ("proc.name = a and (proc.name = b or (proc.name = c and fd.num = 1))", "proc.name = a, but proc.name = b"),
    ("proc.name in ()", "names no value"),
    ("not (proc.name = a or not proc.name = a)", "asked for and excluded")])
def test_conditions_that_nothing_makes_true(text: str, reason: str) -> None:
    found = never(rules(rule("r", f"evt.type = open and {text}"))["r"].condition)
    assert found is not None
    assert reason in found


@pytest.mark.parametrize("text", [
    "proc.name = a or proc.name = b", "proc.name in (a, b) and proc.name in (b, c)", "fd.num > 5 and fd.num < 7",
    "proc.aname = a and proc.aname = b",  # two ancestors
    "fd.ip = 1.2.3.4 and fd.ip = 5.6.7.8",  # both ends
    "not proc.name = a and not proc.name exists", "proc.name != a and proc.name != b",
    "not proc.name startswith a and not proc.name startswith b", "proc.name = val(proc.pname) and proc.name = a",
    "proc.name = a and (proc.name = b or fd.num = 1)", "evt.num >= 0 and proc.name = x"])
def test_conditions_that_something_makes_true(text: str) -> None:
    assert never(rules(rule("r", f"evt.type = open and {text}"))["r"].condition) is None


_VALUES = {"proc.name": ("a", "ab", "/etc"), "proc.cmdline": ("a", "abc"), "fd.name": ("/etc/passwd", "/tmp/x"),
           "fd.num": (0, 3, 5), "user.uid": (0, 4), "fd.cport": (1, 3), "fd.sport": (2, 5),
           "fd.types": (["ipv4"], ["file", "ipv4"]), "proc.aname[2]": ("a",), "evt.arg.flags": ("b",),
           "evt.is_open_read": (True, False), "fd.cip": ("10.0.0.1",), "fd.sip": ("::1",), "proc.aname": (["a", "b"],)}
_EVENTS = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in _VALUES.items()})


@given(_CONDITIONS, _CONDITIONS, _EVENTS, st.sampled_from(["open", "openat", "execve"]))
@settings(max_examples=400)
def test_what_is_proved_is_so(one: str, two: str, event: dict[str, Any], name: str) -> None:
    """Of events made up: no event makes true what nothing should, and none is true of the narrow rule alone."""
    ruleset = rules(rule("one", one), rule("two", two))
    matched = ruleset.compile(match="all").matched(name, event)
    first, second = ruleset["one"], ruleset["two"]
    for known in (first, second):
        if never(known.condition) is not None or name not in event_types(known):
            assert known.name not in matched
    if implies(first.condition, second.condition) and "one" in matched:
        assert "two" in matched


def test_lint_of_rules() -> None:
    found = _lint(rule("dead", "evt.type = open and proc.name = a and proc.name = b"),
                  rule("off", "evt.type = open and proc.name = a and proc.name = b", enabled=False),
                  rule("wide", "evt.type in (open, openat) and proc.name startswith b"),
                  rule("narrow", "evt.type = open and proc.name = bash and fd.num = 1"),
                  rule("apart", "evt.type = execve and proc.name = bash"),
                  rule("open", "evt.type = open and fd.num = 3", exceptions=[
                      {"name": "e", "fields": ["fd.name"], "comps": ["glob"], "values": [["*"]]}]), match="first")
    assert [(finding.level, finding.code, finding.rule) for finding in found] == [
        ("error", "never-matches", "dead"), ("error", "swallows-everything", "open"), ("warning", "shadowed", "narrow")]
    assert "wide stands before it" in found[-1].message
    assert not [finding for finding in _lint(rule("wide", "evt.type = open"), rule("narrow", "evt.type = open and "
                "proc.name = a")) if finding.code == "shadowed"]


def test_a_list_that_nobody_uses_is_told() -> None:
    found = _lint('{"list": "l", "items": ["a"]}', rule("r", "evt.type = open and proc.name = a"))
    assert [(finding.code, finding.level) for finding in found] == [("unused-list", "warning")]


@pytest.mark.parametrize(("text", "expected"), [
    ("not fd.name startswith \"\"", ["fd.name startswith \"\""]), ("not fd.name exists", []),
    ("not (fd.name glob * and proc.name contains \"\")", ['(fd.name glob * and proc.name contains "")']),
    ("not (fd.name glob * and proc.name = a)", []), ("not fd.name pmatch (/, /etc)", ["fd.name pmatch (/, /etc)"])])
def test_exceptions_that_swallow_everything(text: str, expected: list[str]) -> None:
    found = swallows(rules(rule("r", f"evt.type = open and {text}"))["r"].condition)
    assert [swallowed.strip("()") for swallowed in found] == [text.strip("()") for text in expected]


def test_inputs_that_are_blind() -> None:
    shell = rule("shell", "evt.type = execve and proc.name = bash and proc.tty != 0")
    either = rule("either", "evt.type = execve and (proc.tty != 0 or proc.name = bash)")
    assert "proc.tty" in str(INPUTS["tetragon"].blind(rules(shell)["shell"]))
    assert INPUTS["tetragon"].blind(rules(either)["either"]) is None
    assert "never tells ioctl" in str(INPUTS["tracee"].blind(rules(rule("r", "evt.type = ioctl"))["r"]))
    audit = rules(rule("r", "ka.verb = get", source="k8s_audit"))["r"]
    assert INPUTS["audit"].blind(audit) is None
    assert "events of syscall" in str(INPUTS["tetragon"].blind(audit))
    assert "its own rules" in str(INPUTS["falco"].blind(audit))
    found = _lint(shell, either, seen=(INPUTS["tetragon"], INPUTS["audit"]))
    assert [(finding.rule, finding.code) for finding in found] == [("shell", "not-seen")]
    with pytest.raises(UsageError, match="--input: got 'tetragno'"):
        inputs(["tetragno"])


def test_a_condition_by_itself() -> None:
    asked = condition("proc.name = bash and not fd.num in (1, 2)")
    assert asked.fields == {"proc.name", "fd.num"}
    assert asked({"proc.name": "bash", "fd.num": 3}.get)
    assert not asked({"proc.name": "bash", "fd.num": 2}.get)
    held, trace = asked.explain({"proc.name": "sh"}.get)
    assert not held
    assert list(trace.lines()) == ["1:1  proc.name = bash = False"]
    for wrong, words in (("proc.nam = x", "nonexistent field proc.nam"), ("spawned", "Undefined macro 'spawned'"),
                         ("proc.name = ", "expected"), ("", "is empty"), ("fd.num = x", "not a valid number")):
        with pytest.raises(SourceError, match=words):
            condition(wrong)
