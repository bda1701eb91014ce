"""Matching: first and all, event types, alerts and their texts, explanations, audit events, attempts to break out."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from policylang import falco
from policylang.errors import InputError, LanguageError
from policylang.falco.output import moment
from policylang.falco.values import patterns
from policylang.falco.values.audit import AuditEvent, events
from policylang.falco.values.jsonevent import nanoseconds
from policylang.source import SourceError


def _rule(name: str, condition: str, output: str = "o", source: str = "syscall", priority: str = "WARNING") -> str:
    return (f"- rule: {name}\n  desc: d\n  priority: {priority}\n  source: {source}\n  tags: [b, a]\n"
            f"  output: {json.dumps(output)}\n  condition: {json.dumps(condition)}\n")


_RULES = (_rule("one", "evt.type = open and proc.name = a") + _rule("two", "evt.type in (open, close) and fd.num > 0")
          + _rule("three", "evt.type != execve and user.name = root")
          + _rule("off", "evt.num = 0 or evt.type = nanosleep"))


def test_first_and_all() -> None:
    event = {"proc.name": "a", "fd.num": 1, "user.name": "root"}
    rules = falco.load(_RULES)
    first, every = rules.compile(), rules.compile(match="all")
    assert [alert.rule for alert in first("open", event)] == ["one"]
    assert [alert.rule for alert in every("open", event)] == ["one", "two", "three"]
    assert [alert.rule for alert in every("close", event)] == ["two", "three"]
    assert [alert.rule for alert in every("execve", event)] == []
    assert [alert.rule for alert in every("no-such-event", event)] == ["three"]
    assert every.matched("open", event) == ["one", "two", "three"]
    again = pickle.loads(pickle.dumps(first))
    assert again("open", event) == first("open", event)
    assert pickle.loads(pickle.dumps(rules)).rules == rules.rules
    with pytest.raises(InputError, match="no event source x"):
        rules.compile("x")
    with pytest.raises(InputError, match="expected first or all"):
        rules.compile(match="some")  # type: ignore[arg-type]


def test_only_events_that_matter() -> None:
    rules = falco.load(_rule("a", "evt.type = open and x") + "- macro: x\n  condition: evt.type != close\n"
                       + _rule("b", "evt.type = openat and evt.num = 0") + _rule("c", "syscall.type = bpf"))
    assert rules.compile().event_types() == {"open", "bpf"}
    assert rules.compile("k8s_audit").event_types() == frozenset()


def test_fields_are_read_when_they_are_asked_for() -> None:
    asked: list[str] = []

    class Lazy:
        def get(self, name: str) -> Any:
            asked.append(name)
            return {"proc.name": "x"}.get(name)

    matcher = falco.load(_rule("r", "evt.type = open and fd.name contains y and proc.name = x")).compile()
    assert not matcher("close", Lazy())
    assert asked == []
    assert not matcher("open", Lazy())
    assert len(asked) <= 2
    assert "evt.type" not in asked


def test_alerts() -> None:
    output = ("file=%fd.name %%x user=%user.name num=%fd.num w=%evt.is_open_write t=%fd.types p=%proc.aname[2] "
              "up=%toupper(proc.name) pad=[%5proc.name] time=%evt.time iso=%evt.time.iso8601 f=%evt.arg.flags.")
    event = {"fd.name": "/x", "fd.num": 3, "evt.is_open_write": True, "fd.types": ["file", "pipe"],
             "proc.name": "abcdefg", "proc.aname[2]": "init", "evt.rawtime": 1_700_000_000_123_456_789,
             "evt.arg.flags": "O_RDONLY"}
    alert, = falco.load(_rule("My rule", "evt.type = open", output)).compile()("open", event, hostname="h")
    text = ("file=/x %x user=<NA> num=3 w=true t=(file,pipe) p=init up=ABCDEFG pad=[abcde] time=22:13:20.123456789 "
            "iso=2023-11-14T22:13:20.123456789+0000 f=O_RDONLY.")
    assert alert.output == text
    assert alert.line() == f"22:13:20.123456789: Warning {text}"
    assert alert.json() == {
        "hostname": "h", "output": alert.line(), "priority": "Warning", "rule": "My rule", "source": "syscall",
        "tags": ["a", "b"], "time": "2023-11-14T22:13:20.123456789Z", "output_fields": {
            "evt.time": 1_700_000_000_123_456_789, "fd.name": "/x", "user.name": None, "fd.num": 3,
            "evt.is_open_write": True, "fd.types": ["file", "pipe"], "proc.aname[2]": "init",
            "toupper(proc.name)": "ABCDEFG", "proc.name": "abcdefg", "evt.arg.flags": "O_RDONLY",
            "evt.time.iso8601": 1_700_000_000_123_456_789}}
    assert json.dumps(alert.json())
    bare, = falco.load(_rule("r", "evt.type = open", "*%fd.name %evt.time %proc.fdusage")).compile()(
        "open", {"proc.fdusage": 1.26})
    assert bare.output == "<NA> <NA> 1.3"
    assert (bare.time, bare.json()["time"], bare.line()) == (None, None, "<NA>: Warning <NA> <NA> 1.3")


@pytest.mark.parametrize(("form", "text"), [
    ("evt.time", "00:00:01.000000002"), ("evt.time.s", "00:00:01"), ("evt.datetime", "1970-01-01 00:00:01.000000002"),
    ("evt.datetime.s", "1970-01-01 00:00:01"), ("evt.rawtime.s", 1), ("evt.rawtime.ns", 2)])
def test_times(form: str, text: object) -> None:
    assert moment(1_000_000_002, form) == text


@pytest.mark.parametrize(("output", "text"), [
    ("%proc.names", "xs"), ("%proc.name.", "x."), ("%proc.name)", "x)"), ("%container.label.app", "web"),
    ("%evt.arg[0]", "zero"), ("%proc.name%proc.name", "xx"), ("%concat(proc.name, \"-\", proc.name)", "x-x"),
    ("%container.mount.dest[/proc*]", "<NA>"), ("100%%", "100%"), ("%evt.buffer", "b\ufffd")])
def test_tokens(output: str, text: str) -> None:
    event = {"proc.name": "x", "container.label.app": "web", "evt.arg[0]": "zero", "evt.buffer": b"b\xff"}
    alert, = falco.load(_rule("r", "evt.type = open", output)).compile()("open", event)
    assert alert.output == text


def test_explanations() -> None:
    rules = falco.load("- list: l\n  items: [a, b]\n- macro: m\n  condition: (proc.name in (l) or fd.num > 3)\n"
                       + _rule("r", "evt.type = open and m and not fd.name startswith /tmp"))
    matcher = rules.compile()
    told, trace = matcher.explain("r", "open", {"proc.name": "c", "fd.num": 5, "fd.name": "/etc/x"})
    assert told
    assert list(trace.lines()) == [
        "1:1  evt.type = open = True", "1:22  proc.name in (a, b) = False", "1:45  fd.num > 3 = True",
        "1:65  fd.name startswith /tmp = False"]
    told, trace = matcher.explain("r", "close", {})
    assert not told
    assert len(trace.steps) == 1


# --- Kubernetes audit events ----------------------------------------------------------------------------------------

_POD = {
    "kind": "Event", "stage": "ResponseComplete", "stageTimestamp": "2018-10-25T14:09:12.581541Z", "verb": "create",
    "auditID": "1", "requestURI": "/api?command=ls&command=x&empty=&q=a%20b", "userAgent": "kubectl",
    "user": {"username": "u", "groups": ["g1", "g2"]}, "sourceIPs": ["10.0.0.1"],
    "objectRef": {"resource": "pods", "namespace": "default", "name": "n"},
    "annotations": {"authorization.k8s.io/decision": "allow"}, "responseStatus": {"code": 201},
    "requestObject": {
        "subjects": [{"kind": "User"}], "roleRef": {"name": "admin"}, "data": {"password": "x"},
        "rules": [{"verbs": ["get", "list"], "resources": ["pods"]}, {"verbs": ["*"]}],
        "spec": {
            "hostNetwork": True, "securityContext": {"runAsUser": 7, "supplementalGroups": [1, 2]}, "type": "NodePort",
            "ports": [{"port": 80}],
            "volumes": [{"name": "v", "hostPath": {"path": "/proc/1"}}, {"name": "w", "secret": {}}],
            "containers": [
                {"name": "a", "image": "reg/x:1@sha256:00", "ports": [{"hostPort": 80}, {"containerPort": 81}, {}],
                 "command": ["sh", "-c"], "securityContext": {"privileged": True, "runAsUser": 5,
                                                              "capabilities": {"add": ["NET_ADMIN"]}}},
                {"name": "b", "image": "y"}],
            "initContainers": [{"name": "i", "image": "z", "securityContext": {"privileged": False}}]}}}


@pytest.mark.parametrize(("name", "value"), [
    ("ka.verb", "create"), ("ka.user.name", "u"), ("ka.user.groups", ["g1", "g2"]), ("ka.impuser.name", None),
    ("ka.auth.decision", "allow"), ("ka.auth.reason", None), ("ka.uri.param[command]", "ls"),
    ("ka.uri.param[empty]", ""), ("ka.uri.param[q]", "a b"), ("ka.uri.param[none]", None), ("ka.target.name", "n"),
    ("ka.target.subresource", None), ("ka.response.code", "201"), ("ka.sourceips", ["10.0.0.1"]),
    ("ka.req.binding.subjects", ['{"kind":"User"}']), ("ka.req.binding.role", "admin"),
    ("ka.req.binding.subject.has_name[x]", "true"), ("ka.req.configmap.obj", '{"password":"x"}'),
    ("ka.req.role.rules.verbs", ["get", "list", "*"]), ("ka.req.role.rules.verbs[1]", ["*"]),
    ("ka.req.role.rules.resources", ["pods"]), ("ka.req.role.rules.apiGroups", None),
    ("ka.req.role.rules.verbs[9]", None),
    ("ka.req.pod.host_network", "true"), ("ka.req.pod.host_pid", None), ("ka.req.pod.run_as_user", "7"),
    ("ka.req.pod.supplemental_groups", ["1", "2"]), ("ka.req.service.type", "NodePort"),
    ("ka.req.service.ports", ['{"port":80}']), ("ka.req.pod.volumes.hostpath", ["/proc/1"]),
    ("ka.req.volume.hostpath[/proc*]", "true"), ("ka.req.volume.hostpath[/proc]", "false"),
    ("ka.req.pod.volumes.volume_type", ["hostPath", "secret"]), ("ka.req.pod.containers.name", ["a", "b"]),
    ("ka.req.pod.containers.image", ["reg/x:1@sha256:00", "y"]), ("ka.req.pod.containers.image[1]", ["y"]),
    ("ka.req.pod.containers.image.repository", ["reg/x", "y"]), ("ka.req.container.image", "reg/x:1@sha256:00"),
    ("ka.req.container.image.repository", "reg/x"), ("ka.req.pod.containers.host_port", ["80", "81"]),
    ("ka.req.pod.containers.privileged", ["true"]), ("ka.req.container.privileged", "true"),
    ("ka.req.pod.containers.run_as_user", ["5"]), ("ka.req.pod.containers.eff_run_as_user", ["5", "7"]),
    ("ka.req.pod.containers.eff_run_as_group", ["0", "0"]), ("ka.req.pod.containers.add_capabilities", ["NET_ADMIN"]),
    ("ka.req.pod.containers.command", ["sh", "-c"]), ("ka.req.pod.initContainers.privileged", ["false"]),
    ("ka.req.pod.initContainers.image", ["z"]), ("ka.req.pod.ephemeralContainers.image", None),
    ("jevt.value[/user/groups/1]", "g2"), ("jevt.value[/annotations/authorization.k8s.io~1decision]", "allow"),
    ("jevt.value[/a~1~0b]", None), ("jevt.value[/requestObject/spec/hostNetwork]", "true"),
    ("evt.rawtime", 1_540_476_552_581_541_000), ("jevt.rawtime", "1540476552581541000"), ("evt.type", "pluginevent"),
    ("ka.no.such", None)])
def test_audit_fields(name: str, value: object) -> None:
    event = AuditEvent(_POD)
    assert event.get(name) == value
    assert event.get(name) == value


@pytest.mark.parametrize("event", [{}, {"user": "x", "requestObject": [], "objectRef": None}, {"requestObject": {
    "spec": {"containers": [1, None, {"image": 3, "ports": [4]}], "volumes": "x"}, "rules": [{"verbs": "get"}, 7]},
    "requestURI": "http://[", "stageTimestamp": "2018-99-99T00:00:00Z"}])
def test_audit_events_of_another_form(event: dict[str, Any]) -> None:
    from policylang.falco.values import audit

    asked = AuditEvent(event)
    for name in audit._FIELDS:
        asked.get(name)
        asked.get(f"{name}[0]")
    assert nanoseconds(event.get("stageTimestamp")) is None


def test_what_is_an_audit_event() -> None:
    assert len(events(_POD)) == 1
    assert len(events({"kind": "EventList", "items": [_POD, _POD]})) == 2
    assert len(events([_POD])) == 1
    for other in ({"kind": 0}, {}, [], 3, {"kind": "EventList"}, {"kind": "EventList", "items": [3]}):
        if other == []:
            assert events(other) == []
            continue
        with pytest.raises(ValueError, match="data not recognized as a k8s audit event"):
            events(other)


# --- patterns -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("pattern", "text", "expected"), [
    ("*", "", True), ("**", "abc", True), ("a*", "a", True), ("a*b*c", "aXbXc", True), ("a*b*c", "aXcXb", False),
    ("a*a", "a", False), ("?", "a", True), ("?", "", False), ("[abc]", "b", True), ("[!abc]", "b", False),
    ("[^abc]", "d", True), ("[a-c]x", "bx", True), ("[]]", "]", True), ("[", "[", True), ("[a", "[a", True),
    ("\\*", "*", True), ("\\*", "x", False), ("[[:digit:]]*", "1x", True), ("a.c", "abc", False),
    ("(a|b)", "(a|b)", True),
    ("*\n*", "a\nb", True), ("[\\]]", "]", True), ("[-a]", "-", True), ("[a-]", "-", True), ("é?", "éx", True)])
def test_globs(pattern: str, text: str, expected: bool) -> None:
    assert patterns.glob(pattern)(text) is expected


# --- nothing gets out -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("condition", [
    "__import__ = x", "proc.__class__ = x", "proc.name.__class__ = x", "().__class__ exists", "get exists", "found",
    "proc.name = x) or __import__(\"os\").system(\"x\") or (1", "lambda: 0", "proc.name = x; import os",
    "evt.type = open and exec(1)", "proc.name[__class__] = x", "len(__builtins__) > 0", "{0.__class__} exists"])
def test_programs_that_try_to_get_out_are_refused(condition: str) -> None:
    with pytest.raises(SourceError, match=r"LOAD|expected|nonexistent|unexpected|Undefined|field"):
        falco.load(_rule("r", condition))


@pytest.mark.parametrize("text", ["__import__('os')", "{0.__class__.__mro__}", "%(x)s", "\\N{BULLET}", "');x=('",
                                  "\u2028"])
def test_texts_stay_texts(text: str) -> None:
    condition = f"evt.type = open and proc.name = {json.dumps(text).replace(chr(92) + 'u2028', text)}"
    if "\\N" in text:
        condition = "evt.type = open and proc.name = '\\\\N{BULLET}'"
    rules = falco.load(_rule("r", condition, "%proc.name " + text.replace("%", "%%")))
    alert, = rules.compile()("open", {"proc.name": text})
    assert alert.output == f"{text} {text}"


def test_a_function_reaches_only_what_it_was_given() -> None:
    matcher = falco.load(_rule("r", "proc.name glob a*b and fd.name regex 'x+' and fd.snet = '10.0.0.0/8'")).compile()
    matcher("open", {})
    function: Any = matcher._functions["open"]
    assert function.__globals__["__builtins__"] == {}
    names = set(function.__code__.co_names)
    assert not {name for name in names if name.startswith("_")}


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(a*)*c", "(.*)*x" * 20])
def test_regular_expressions_are_linear(pattern: str) -> None:
    matcher = falco.load(_rule("r", f"proc.name regex '{pattern}'")).compile()
    assert matcher("open", {"proc.name": "a" * 50_000 + "!"}) == []
    glob = falco.load(_rule("r", "proc.name glob '" + "a*" * 500 + "b'")).compile()
    assert glob("open", {"proc.name": "a" * 50_000}) == []


def test_what_would_grow_is_refused() -> None:
    with pytest.raises(SourceError, match="invalid regex pattern"):
        falco.load(_rule("r", "proc.name regex '((a{1000}){1000}){1000}'"))
    with pytest.raises(SourceError, match="at most 10000"):
        falco.load(_rule("r", f"proc.name glob {'a' * 10_001}"))
    inner = "proc.args"
    for _ in range(30):
        inner = f"concat({inner}, {inner})"
        if len(inner) > 4000:
            break
    matcher = falco.load(_rule("r", f"len({inner}) > 0")).compile()
    with pytest.raises(LanguageError, match="would make a value of size"):
        matcher("open", {"proc.args": "x" * 60_000})
