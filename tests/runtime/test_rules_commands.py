"""`custody runtime rules`: list, lint, test, explain and suppress, as they are typed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from custody.errors import CustodyError, UsageError
from custody.formats import yaml
from custody.runtime.exceptions import propose
from custody.services.recordings import Recordings
from tests.cli.commands import custody
from tests.runtime.test_rule_analysis import rule, rules

_SHELL = rule("Shell", "evt.type in (execve, execveat) and proc.name in (bash, sh) and container.id != host",
              "shell %proc.name %container.id %user.name", tags=["mitre"])
_SHADOW = rule("Shadow", "evt.type = openat and fd.name startswith /etc/shadow", "read %fd.name %proc.name")
_AUDIT = rule("Secret read", "ka.verb = get and ka.target.resource = secrets", "%ka.user.name", source="k8s_audit")
_EXEC = {"evt.type": "execve", "proc.name": "bash", "container.id": "0123456789ab", "user.name": "root"}
_OPEN = {"evt.type": "openat", "fd.name": "/etc/shadow", "proc.name": "cat"}
_GET = {"kind": "Event", "apiVersion": "audit.k8s.io/v1", "stage": "ResponseComplete", "auditID": "1", "verb": "get",
        "user": {"username": "ann"}, "objectRef": {"resource": "secrets"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text(f"[{_SHELL}, {_SHADOW}]")
    (tmp_path / "rules" / "b.yaml").write_text(f"[{_AUDIT}]")
    lines(tmp_path / "events.jsonl", _EXEC, {**_EXEC, "container.id": "host"}, _OPEN, _GET)
    return tmp_path


def lines(path: Path, *documents: Any) -> Path:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


def _run(folder: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
    done = custody("runtime", "rules", *arguments, cwd=folder)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout, done.stderr


def test_list(folder: Path) -> None:
    told = json.loads(_run(folder, "list", "rules", "-o", "json")[0])
    assert [(one["name"], one["source"], one["seenBy"]) for one in told] == [
        ("Shell", "syscall", ["tetragon", "tracee"]), ("Shadow", "syscall", ["tetragon", "tracee"]),
        ("Secret read", "k8s_audit", ["audit"])]
    assert told[0]["eventTypes"] == ["execve", "execveat"]
    assert told[0]["fields"] == ["container.id", "evt.type", "proc.name"]
    table = _run(folder, "list", "rules", "--tag", "mitre")[0].splitlines()
    assert len(table) == 2
    assert table[1].split()[:4] == ["Shell", "Warning", "syscall", "yes"]
    (folder / "bad.yaml").write_text(f"[{rule('r', 'nothing')}]")
    assert "Undefined macro 'nothing'" in _run(folder, "list", "bad.yaml", code=2)[1]


def test_lint(folder: Path) -> None:
    assert "no findings" in _run(folder, "lint", "rules", "--input", "tetragon", "--input", "audit")[1]
    out, err = _run(folder, "lint", "rules", "--input", "tracee", code=3)
    assert "Secret read: no input can make it match: tracee tells events of syscall" in out
    assert "1 finding of level error or above" in err
    (folder / "c.yaml").write_text(f"[{rule('never', 'evt.type = open and fd.num = 1 and fd.num = 2')}]")
    found = json.loads(_run(folder, "lint", "c.yaml", "-o", "json", code=3)[0])
    assert [(one["code"], one["rule"], one["level"]) for one in found] == [("never-matches", "never", "error")]
    (folder / "list.yaml").write_text(f'[{{"list": "l", "items": ["a"]}}, {_SHELL}]')
    assert "[unused-list]" in _run(folder, "lint", "list.yaml")[0]
    _run(folder, "lint", "list.yaml", "--fail-on", "warning", code=3)


def test_lint_of_suppressions(folder: Path) -> None:
    entry = {"name": "s", "rules": ["Shell"], "match": "user.name = root", "reason": "r", "owner": "o",
             "until": "never"}
    dead = {**entry, "name": "dead", "match": "user.name = ann"}
    (folder / "s.yaml").write_text(yaml.dumped({"suppressions": [entry, dead]}))
    out, _ = _run(folder, "lint", "rules", "--suppressions", "s.yaml", "--events", "events.jsonl")
    assert out == ("warning: s.yaml.suppressions[1]: dead: it suppresses nothing of 4 recorded events "
                   "[suppression-unused]\n")
    assert "it is for --suppressions" in _run(folder, "lint", "rules", "--events", "events.jsonl", code=2)[1]


def test_alerts_of_a_recording(folder: Path) -> None:
    out, err = _run(folder, "test", "rules", "--events", "events.jsonl")
    assert [line.split()[:2] for line in out.splitlines()] == [["ALERTS", "RULE"], ["1", "Shell"], ["1", "Shadow"],
                                                               ["1", "Secret"]]
    assert "proc.name in (bash, sh) and container.id != host" in out
    assert "4 events, 3 alerts; 3 of 3 enabled rules were asked" in err
    told = json.loads(_run(folder, "test", "rules", "--events", "events.jsonl", "-o", "json")[0])
    assert [(alert["event"], alert["rule"]) for alert in told["alerts"]] == [(1, "Shell"), (3, "Shadow"),
                                                                             (4, "Secret read")]


def test_rules_that_were_not_asked_are_said(folder: Path) -> None:
    lines(folder / "few.jsonl", {"evt.type": "execve", "proc.name": "bash"})
    out, err = _run(folder, "test", "rules", "--events", "few.jsonl")
    assert out == ""
    assert "1 event, no alerts; 1 of 3 enabled rules were asked" in err
    assert "not asked, as no event is of their types: Shadow, Secret read" in err
    assert "1 rules read fields that no event has, so that nothing is said of them: Shell (container.id)" in err


def test_lines_that_are_no_events_are_named(folder: Path) -> None:
    (folder / "broken.jsonl").write_bytes(json.dumps(_EXEC).encode() + b'\n{"evt.type"\n[1]\n{"a": 1}\n\xff\n'
                                          b'{"evt.type": "open", "evt.type": "close"}\n')
    _, err = _run(folder, "test", "rules", "--events", "broken.jsonl")
    assert "1 event, 1 alert;" in err
    for number in range(2, 7):
        assert f"broken.jsonl:{number}" in err
    (folder / "none.jsonl").write_text('{"a": 1}\n')
    assert "none.jsonl" in _run(folder, "test", "rules", "--events", "none.jsonl", code=2)[1]
    (folder / "empty.jsonl").write_text("")
    assert "no event could be read: it is empty" in _run(folder, "test", "rules", "--events", "empty.jsonl", code=2)[1]


def test_beside_the_rules_of_today(folder: Path) -> None:
    (folder / "new.yaml").write_text(f"[{_SHADOW}, {rule('Root', 'evt.type = execve and user.name = root')}]")
    out, err = _run(folder, "test", "new.yaml", "--old", "rules", "--events", "events.jsonl")
    rows = [line.split() for line in out.splitlines()]
    assert rows[1:] == [["0", "2", "+2", "-0", "Root", "+1", "+2"], ["1", "0", "+0", "-1", "Secret", "read", "-4"],
                        ["1", "0", "+0", "-1", "Shell", "-1"]]
    assert "2 alerts would appear, 2 would vanish" in err
    arguments = ("test", "new.yaml", "--old", "rules", "--events", "events.jsonl", "--fail-on", "vanish")
    assert "--fail-on vanish: 2 appear, 2 vanish" in _run(folder, *arguments, code=3)[1]
    same = ("test", "rules", "--old", "rules", "--events", "events.jsonl", "--fail-on", "any")
    assert "no alerts would appear, none would vanish" in _run(folder, *same)[1]


def _tests(folder: Path, *tests: dict[str, Any], **keys: Any) -> None:
    (folder / "tests.yaml").write_text(yaml.dumped({"tests": list(tests), "rules": ["rules/a.yaml"], **keys}))


def test_tests_that_pass(folder: Path) -> None:
    _tests(folder, {"name": "a shell", "event": _EXEC, "alerts": [
        {"rule": "Shell", "priority": "warning", "output_fields": {"user.name": "root"}}]},
        {"name": "on the host", "event": {**_EXEC, "container.id": "host"}, "alerts": []},
        {"name": "recorded", "recordings": ["events.jsonl"], "alerts": ["Shadow"], "rules": ["Shadow"]},
        {"name": "twice", "events": [_EXEC, _EXEC], "alerts": [{"rule": "Shell", "count": 2}]})
    out, err = _run(folder, "test", "--expect", "tests.yaml")
    assert out == "✓ a shell\n✓ on the host\n✓ recorded\n✓ twice\n"
    assert "4 of 4 tests passed" in err


@pytest.mark.parametrize(("alerts", "reason"), [
    ([], "Shell: 1 alert, expected none"), (["Shadow"], "Shadow: 0 alerts, expected 1"),
    ([{"rule": "Shell", "count": 2}], "Shell: 1 alert, expected 2"),
    ([{"rule": "Shell", "priority": "error"}], "priority Warning, expected error"),
    ([{"rule": "Shell", "output_fields": {"user.name": "ann"}}], "user.name is 'root', expected 'ann'"),
    ([{"rule": "Shell", "output_fields": {"fd.name": "x"}}], "fd.name is 'not told', expected 'x'")])
def test_tests_that_fail(folder: Path, alerts: list[Any], reason: str) -> None:
    _tests(folder, {"name": "t", "event": _EXEC, "alerts": alerts})
    out, err = _run(folder, "test", "--expect", "tests.yaml", code=3)
    assert out.splitlines()[0] == "✗ t"
    assert reason in out
    assert "1 test failed" in err
    suite = ElementTree.fromstring(_run(folder, "test", "--expect", "tests.yaml", "-o", "junit", code=3)[0])
    assert suite.attrib == {"tests": "1", "failures": "1"}
    assert reason in str(next(suite.iter("failure")).get("message"))


@pytest.mark.parametrize(("test", "words"), [
    ({"event": _EXEC, "alerts": []}, "tests[0].name"), ({"name": "t", "alerts": []}, "events"),
    ({"name": "t", "event": _EXEC}, "alerts"), ({"name": "t", "event": _EXEC, "alerts": ["Shel"]}, "no rule is named"),
    ({"name": "t", "event": _EXEC, "alerts": ["Shell", "Shell"]}, "a rule twice"),
    ({"name": "t", "event": _EXEC, "alerts": [], "severity": 1}, "severity"),
    ({"name": "t", "events": ["x"], "alerts": []}, "a map of fields"),
    ({"name": "t", "event": {"a": 1}, "alerts": []}, "expected an event of a tool"),
    ({"name": "t", "recordings": ["../events.jsonl"], "alerts": []}, "below the file's own folder"),
    ({"name": "t", "event": _EXEC, "alerts": [{"rule": "Shell", "count": 0}]}, "1 or more")])
def test_tests_that_are_refused(folder: Path, test: dict[str, Any], words: str) -> None:
    _tests(folder, test)
    assert words in _run(folder, "test", "--expect", "tests.yaml", code=2)[1]


def test_an_event_that_cannot_be_judged_fails_its_test(folder: Path) -> None:
    _tests(folder, {"name": "t", "event": {**_OPEN, "fd.name": 7}, "alerts": []})
    assert "event 1 was not judged: event field fd.name: got 7, expected str" in _run(
        folder, "test", "--expect", "tests.yaml", code=3)[0]


def test_suppressed_alerts(folder: Path) -> None:
    entry = {"name": "ours", "rules": ["Shell"], "match": "user.name = root", "reason": "we do so", "owner": "ops",
             "until": "never"}
    (folder / "s.yaml").write_text(yaml.dumped({"suppressions": [
        entry, {**entry, "name": "over", "rules": ["Shadow"], "match": "proc.name = cat", "until": "2020-01-01"}]}))
    out, err = _run(folder, "test", "rules", "--events", "events.jsonl", "--suppressions", "s.yaml",
                    "--show-suppressed")
    assert "suppressed by ours: event 1: " in out
    assert "ours: suppresses 1 (we do so; ops)" in out
    assert "over: suppresses 0; it is over since 2020-01-02 00:00:00+00:00, and 1 alerts are told" in out
    assert "4 events, 2 alerts;" in err


def test_explain(folder: Path) -> None:
    out = _run(folder, "explain", "rules", "--rule", "Shell", "--event", "events.jsonl", "--number", "2")[0]
    assert out == ("Shell: not true of event 2, execve\n  ✓ evt.type in (execve, execveat)\n"
                   "  ✓ proc.name in (bash, sh)\n  ✗ container.id != host\n")
    assert "no rule is named 'Shel'" in _run(folder, "explain", "rules", "--rule", "Shel", "--event", "events.jsonl",
                                             code=2)[1]
    assert "has fewer events" in _run(folder, "explain", "rules", "--rule", "Shell", "--event", "events.jsonl",
                                      "--number", "9", code=2)[1]
    assert "is of k8s_audit" in _run(folder, "explain", "rules", "--rule", "Shell", "--event", "events.jsonl",
                                     "--number", "4", code=2)[1]


def test_suppress(folder: Path) -> None:
    lines(folder / "more.jsonl", _EXEC, {**_EXEC, "user.name": "ann"}, {**_EXEC, "proc.name": "sh"})
    arguments = ("suppress", "rules", "--rule", "Shell", "--event", "events.jsonl", "--events", "more.jsonl")
    out, err = _run(folder, *arguments, "--field", "proc.name", "--field", "user.name")
    assert "Shell: no alert where proc.name = bash and user.name = root" in err
    assert "of 3 recorded alerts of the rule, 1 would be left out\n  event 1: shell bash 0123456789ab root" in err
    (folder / "exception.yaml").write_text(out)
    told = json.loads(_run(folder, "test", "rules", "exception.yaml", "--events", "more.jsonl", "-o", "json")[0])
    assert [alert["event"] for alert in told["alerts"]] == [2, 3]
    assert "does not tell fd.name" in _run(folder, *arguments, "--field", "fd.name", code=2)[1]
    assert "no field of syscall" in _run(folder, *arguments, "--field", "fd.nam", code=2)[1]
    assert "true of none of its events" in _run(folder, "suppress", "rules", "--rule", "Shadow", "--event",
                                                "more.jsonl", code=2)[1]


@pytest.mark.parametrize("value", ["a b", "a(b", 'a"b', "a,b", "a=b", "a\\b", "a'b", "shells", "a shells b", "é",
                                   "(a)"])
def test_exceptions_hold_what_the_event_says(folder: Path, value: str) -> None:
    """Or nothing is proposed: values become text of a condition, in which names of lists are put in too."""
    (folder / "r.yaml").write_text(f'[{{"list": "shells", "items": ["x", "y"]}}, {_SHELL}]')
    lines(folder / "odd.jsonl", {**_EXEC, "user.name": value}, {**_EXEC, "user.name": "x"})
    done = custody("runtime", "rules", "suppress", "r.yaml", "--rule", "Shell", "--event", "odd.jsonl", "--field",
                   "user.name", cwd=folder)
    if done.returncode:
        assert value == "a shells b"
        assert "still true of the event" in done.stderr or "expected" in done.stderr, done.stderr
        return
    (folder / "exception.yaml").write_text(done.stdout)
    told = json.loads(_run(folder, "test", "r.yaml", "exception.yaml", "--events", "odd.jsonl", "-o", "json")[0])
    assert [alert["event"] for alert in told["alerts"]] == [2]


def test_proposals_are_of_what_the_event_tells() -> None:
    known = rules(_SHELL)["Shell"]
    assert propose(known, {"proc.name": "bash", "k8s.ns.name": "web"}).fields == ("k8s.ns.name", "proc.name")
    with pytest.raises(UsageError, match=r"has none of container\.image\.repository"):
        propose(known, {"user.name": "root"})
    with pytest.raises(UsageError, match="cannot be written in a condition"):
        propose(known, {"proc.name": "a\nb"}, ["proc.name"])
    with pytest.raises(UsageError, match="several values"):
        propose(known, {"proc.aname": ["a"]}, ["proc.aname"])


# --- recordings -----------------------------------------------------------------------------------------------------

_TETRAGON = {"process_exec": {"process": {"binary": "/bin/bash", "pid": 1}}, "time": "2026-01-01T00:00:00Z"}
_TRACEE = {"timestamp": 1, "processName": "bash", "processId": 1, "eventName": "execve", "returnValue": 0, "args": []}
_TRAIL = {"eventSource": "iam.amazonaws.com", "eventName": "CreateUser", "eventTime": "2026-01-01T00:00:00Z"}
_ALERT = {"rule": "r", "priority": "Notice", "output": "o", "source": "syscall", "time": "2026-01-01T00:00:00Z",
          "output_fields": {"evt.type": "execve", "proc.name": "bash"}}


@pytest.mark.parametrize(("document", "source", "name"), [
    (_EXEC, "syscall", "execve"), (_TETRAGON, "syscall", "execve"), (_TRACEE, "syscall", "execve"),
    (_GET, "k8s_audit", "pluginevent"), (_TRAIL, "aws_cloudtrail", "pluginevent"), (_ALERT, "syscall", "execve"),
    ({"protoPayload": {}, "timestamp": "2026-01-01T00:00:00Z"}, "gcp_auditlog", "pluginevent"),
    ({"webhook_type": "push"}, "github", "pluginevent"),
    ({"eventType": "x", "actor": {}, "published": "2026-01-01T00:00:00Z"}, "okta", "pluginevent")])
def test_lines_of_every_tool(tmp_path: Path, document: Any, source: str, name: str) -> None:
    recording = Recordings([lines(tmp_path / "r.jsonl", document, document)])
    assert [(event.source, event.type) for event in recording] == [(source, name)] * 2
    assert recording.unreadable == 0


@pytest.mark.parametrize("document", [{"Records": [_TRAIL, _TRAIL]}, [_TRAIL, _TRAIL],
                                      {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [_GET, _GET]}])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_documents(tmp_path: Path, document: Any, indent: int | None, packed: bool) -> None:
    data = json.dumps(document, indent=indent).encode()
    (tmp_path / "r.json").write_bytes(gzip.compress(data) if packed else data)
    assert len(list(Recordings([tmp_path / "r.json"]))) == 2


def test_a_line_that_is_cut_is_skipped_and_named(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps(_EXEC)[:30] + "\n" + json.dumps(_EXEC) + "\n" + json.dumps(_EXEC)[:9])
    recording = Recordings([tmp_path / "r.jsonl"])
    assert len(list(recording)) == 1
    assert [where.rpartition(":")[2] for where, _ in recording.unread] == ["1", "3"]


def test_packed_files_that_break_off(tmp_path: Path) -> None:
    (tmp_path / "r.gz").write_bytes(gzip.compress(json.dumps(_EXEC).encode() * 50)[:-20])
    with pytest.raises(CustodyError, match=r"r\.gz"):
        list(Recordings([tmp_path / "r.gz"]))
    with pytest.raises(UsageError, match="No such file"):
        list(Recordings([tmp_path / "none"]))
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="nesting deeper than 128"):
        list(Recordings([tmp_path / "deep.json"]))


@pytest.mark.parametrize("verb", ["list", "lint", "test"])
def test_files_without_a_rule_are_not_judged_as_good(folder: Path, verb: str) -> None:
    (folder / "empty.yaml").write_text("- macro: unused\n  condition: evt.type = open\n")
    lines(folder / "events.jsonl", _EXEC)
    more = ["--events", "events.jsonl"] if verb == "test" else []
    done = custody("runtime", "rules", verb, "empty.yaml", *more, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "empty.yaml: got no rule, expected items with `rule:`" in done.stderr


def test_names_that_no_rule_has(folder: Path) -> None:
    done = custody("runtime", "rules", "list", "rules", "--source", "syscal", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--source: no rule has 'syscal'\n\nhint: did you mean syscall?" in done.stderr
    assert custody("runtime", "rules", "list", "rules", "--tag", "none", cwd=folder).returncode == 2


def test_folders_are_no_recordings(folder: Path) -> None:
    (folder / "inside").mkdir()
    done = custody("runtime", "rules", "test", "rules", "--events", "inside", cwd=folder)
    assert (done.returncode, done.stderr) == (2, "error: inside: got a folder, expected a file of events\n")
