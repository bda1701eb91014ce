"""Responses: files in Talon's form, which alerts they are for, and that what is not done is refused by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats import talon, yaml
from custody.runtime.responses import Annotations, Cordon, Labels, Quarantine, Responses, Terminate, matches
from policylang.falco import Alert
from tests.cli.commands import custody

_LABEL = {"action": "mark", "actionner": "kubernetes:label", "parameters": {"labels": {"suspect": True, "gone": ""}}}


def _file(*items: Any) -> bytes:
    return yaml.dumped(list(items)).encode()


def _rule(*actions: Any, match: Any = None, **keys: Any) -> dict[str, Any]:
    return {"rule": "r", "match": match or {"rules": ["Shell"]}, "actions": list(actions) or [_LABEL], **keys}


def _responses(*items: Any) -> Responses:
    return Responses(talon.read(_file(*items), "r.yaml"))


def _alert(rule: str = "Shell", priority: str = "Warning", tags: tuple[str, ...] = ("mitre", "shell"),
           source: str = "syscall", **fields: Any) -> Alert:
    return Alert(rule, priority, source, "o", {name.replace("__", "."): value for name, value in fields.items()}, tags)


def test_actions() -> None:
    responses = _responses(_rule(
        _LABEL, {"action": "node", "actionner": "kubernetes:label", "parameters": {
            "labels": {"a": "b"}, "level": "node"}},
        {"action": "note", "actionner": "kubernetes:annotation", "parameters": {"annotations": {"x.io/why": "a b"}}},
        {"action": "cut", "actionner": "custody:quarantine"},
        {"action": "kill", "actionner": "kubernetes:terminate", "parameters": {
            "grace_period_seconds": 5, "ignore_daemonsets": True}},
        {"action": "bare", "actionner": "kubernetes:terminate", "parameters": {"ignore_standalone_pods": False}},
        {"action": "stop", "actionner": "kubernetes:cordon", "continue": False, "ignore_errors": "true"},
        dry_run="true"))
    intents, = responses.of(_alert())
    assert [intent.deed for intent in intents] == [
        Labels({"suspect": "true", "gone": None}), Labels({"a": "b"}, "node"), Annotations({"x.io/why": "a b"}),
        Quarantine("labels"), Terminate(5, spare_daemon_sets=True), Terminate(allow_bare=True), Cordon()]
    assert [(intent.proceed, intent.ignore_errors) for intent in intents] == [(True, False)] * 6 + [(False, True)]
    assert all(intent.dry_run for intent in intents)


def test_actions_that_rules_share() -> None:
    shared = {"action": "kill", "actionner": "kubernetes:terminate", "parameters": {"grace_period_seconds": 9}}
    responses = _responses(shared, _rule({"action": "kill"}, {"action": "kill", "parameters": {"allow_bare": True}}))
    assert [intent.deed for intent in responses.of(_alert())[0]] == [Terminate(9), Terminate(9, allow_bare=True)]


@pytest.mark.parametrize(("match", "alert", "expected"), [
    ({"rules": ["Shell"]}, _alert(), True), ({"rules": ["Shell", "x"]}, _alert("x"), True),
    ({"rules": ["Shell"]}, _alert("shell"), False),
    ({"priority": ">=Warning"}, _alert(), True), ({"priority": ">=Warning"}, _alert(priority="Critical"), True),
    ({"priority": ">=warning"}, _alert(priority="Notice"), False), ({"priority": ">Warning"}, _alert(), False),
    ({"priority": "<Warning"}, _alert(priority="Debug"), True), ({"priority": "Warning"}, _alert(), True),
    ({"priority": "Warning"}, _alert(priority="Error"), False), ({"priority": "<=Warning"}, _alert(), True),
    ({"source": "k8s_audit"}, _alert(), False), ({"source": "k8s_audit"}, _alert(source="k8s_audit"), True),
    ({"tags": ["mitre"]}, _alert(), True), ({"tags": ["mitre, shell"]}, _alert(), True),
    ({"tags": ["mitre, x"]}, _alert(), False), ({"tags": ["mitre, x", "shell"]}, _alert(), True),
    ({"output_fields": ["proc.name=bash"]}, _alert(proc__name="bash"), True),
    ({"output_fields": ['proc.name="bash", user.name!=root']}, _alert(proc__name="bash", user__name="ann"), True),
    ({"output_fields": ["proc.name=bash,user.name!=root"]}, _alert(proc__name="bash", user__name="root"), False),
    ({"output_fields": ["proc.name=x", "user.uid=0"]}, _alert(proc__name="bash", user__uid=0), True),
    ({"output_fields": ["custody.signed=false"]}, _alert(custody__signed=False), True),
    ({"output_fields": ["custody.signed=false"]}, _alert(custody__signed=True), False),
    ({"output_fields": ["fd.name=/a=b"]}, _alert(fd__name="/a=b"), True),
    # What an alert does not tell is neither equal nor unequal.
    ({"output_fields": ["custody.signed=false"]}, _alert(), False),
    ({"output_fields": ["custody.signed!=true"]}, _alert(), False),
    ({"output_fields": ["custody.signed!=true"]}, _alert(custody__signed=None), False),
    ({"output_fields": ["proc.name!=bash"]}, _alert(proc__name="<NA>"), False),
    ({"rules": ["Shell"], "priority": ">Warning"}, _alert(), False)])
def test_matching(match: dict[str, Any], alert: Alert, expected: bool) -> None:
    assert matches(talon.read(_file(_rule(match=match)), "r.yaml")[0].match, alert) is expected


def test_a_rule_may_be_the_last() -> None:
    def named(name: str, **keys: Any) -> dict[str, Any]:
        return {**_rule(**keys), "rule": name}

    responses = _responses(named("a"), named("b", **{"continue": "false"}), named("c"))
    assert [intents[0].rule for intents in responses.of(_alert())] == ["a", "b"]
    assert responses.of(_alert("other")) == []


def _action(actionner: str, **parameters: Any) -> dict[str, Any]:
    return _rule({"action": "a", "actionner": actionner, "parameters": parameters})


@pytest.mark.parametrize(("item", "words"), [
    (_action("kubernetes:networkpolicy"), "NetworkPolicies add up"),
    (_action("cilium:networkpolicy"), "`method: cilium`"),
    *[(_action(name), f"{name} is not done by custody") for name in (
        "kubernetes:exec", "kubernetes:script", "kubernetes:drain", "kubernetes:delete", "kubernetes:log",
        "kubernetes:tcpdump", "aws:lambda", "gcp:function", "kubernetes:labels")],
    (_action("kubernetes:terminate", min_healthy_replicas="33%"), "healthy replicas are not counted"),
    (_action("kubernetes:terminate", grace_period_seconds=-1), "expected 0 to 3600"),
    (_action("kubernetes:terminate", grace_period_seconds="5"), "expected a whole number"),
    (_action("kubernetes:terminate", force=True), "force: not evaluated"),
    (_action("kubernetes:terminate", allow_bare=True, ignore_standalone_pods=True), "allow_bare"),
    (_action("kubernetes:label"), "labels: got 'nothing'"), (_action("kubernetes:label", labels={"a b": "c"}), "a b"),
    (_action("kubernetes:label", labels={"a": "b c"}), "a value that Kubernetes takes"),
    (_action("kubernetes:label", labels={"a": ["b"]}), "a value that Kubernetes takes"),
    (_action("kubernetes:label", labels={"a": "b"}, level="cluster"), "expected pod or node"),
    (_action("kubernetes:annotation", annotations={"a/b/c": "d"}), "a name that Kubernetes takes"),
    (_action("custody:quarantine", method="firewall"), "method: got 'firewall'"),
    (_rule(notifiers=["slack"]), "slack is not notified"), (_rule(dry_run="yes"), "dry_run: got 'yes'"),
    (_rule(severity=1), "severity: not evaluated"), (_rule(match={"rules": []}), "a response is for some alerts"),
    (_rule(match={"priority": "Huge"}), "priority: got 'Huge'"), (_rule(match={"tags": ["a,,b"]}), "an empty tag"),
    (_rule(match={"output_fields": ["proc.name"]}), "field=value"), (_rule(match={"rule": "x"}), "rule: not evaluated"),
    ({"rule": "r", "actions": [_LABEL]}, "match: got 'nothing'"), ({"rule": "r", "match": {"rules": ["x"]}}, "actions"),
    (_rule({"action": "x"}), "actionner: got 'nothing'"), ({"name": "x"}, "a rule, or an action"),
    (_rule({**_LABEL, "output": {"target": "aws:s3"}}), "outputs of actions are not written"),
    (_rule({**_LABEL, "additional_contexts": ["aws"]}), "no context is added"), ("x", "expected a map")])
def test_files_that_are_refused(item: Any, words: str) -> None:
    with pytest.raises((MalformedError, UnsupportedError)) as refused:
        _responses(item)
    assert words in str(refused.value)


def test_names_stand_once() -> None:
    for items in ((_rule(), _rule()), (_LABEL, _LABEL, _rule())):
        with pytest.raises(UnsupportedError, match="Talon merges the two"):
            _responses(*items)
    with pytest.raises(MalformedError, match="no rule"):
        _responses(_LABEL)
    with pytest.raises(MalformedError, match="a list of rules and actions"):
        talon.read(b"rule: x", "r.yaml")


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    try:
        Responses(talon.read(data, "r.yaml"))
    except CustodyError:
        pass


_JSON = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from((
    "kubernetes:label", "kubernetes:terminate", "custody:quarantine", "true", ">=Warning", "a=b", "x", "")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from((
        "rule", "action", "actionner", "actions", "match", "parameters", "labels", "rules", "tags", "priority",
        "output_fields", "continue", "dry_run", "method", "level", "grace_period_seconds", "allow_bare")), inner,
        max_size=5), max_leaves=14)


@given(st.lists(_JSON, max_size=4))
def test_any_document(document: Any) -> None:
    try:
        responses = Responses(talon.read(yaml.dumped(document).encode(), "r.yaml"))
        responses.of(_alert(proc__name="bash"))
    except CustodyError:
        pass


def test_commands(tmp_path: Path) -> None:
    kill = {"action": "kill", "actionner": "kubernetes:terminate"}
    (tmp_path / "r.yaml").write_bytes(_file(_rule(_LABEL, kill, match={"rules": ["Shell"], "priority": ">=Notice"})))
    done = custody("runtime", "responses", "check", "r.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rule Shell; priority >= Notice" in done.stdout
    assert "labels of the pod: gone removed, suspect=true" in done.stdout
    assert "delete the pod, grace its own; spares bare pods" in done.stdout
    lines = [('{"rule":"Shell","priority":"Warning","output":"o","source":"syscall","output_fields":'
              f'{{"k8s.ns.name":"{namespace}","k8s.pod.name":"web-1"}}}}\n')
             for namespace in ("shop", "kube-system", "")]
    (tmp_path / "alerts.jsonl").write_text("".join(lines) + '{"no": "alert"}\n')
    done = custody("runtime", "responses", "try", "r.yaml", "--alerts", "alerts.jsonl", "-o", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [(row["pod"], row["response"], row["outcome"]) for row in json.loads(done.stdout)]
    assert rows == [("shop/web-1", "r/mark", "would be tried"), ("shop/web-1", "r/kill", "would be tried"),
                    ("kube-system/web-1", "r/mark", "not done"), ("kube-system/web-1", "r/kill", "not done"),
                    ("none", "r/mark", "not done"), ("none", "r/kill", "not done")]
    assert "3 alerts, 3 with a response; no cluster was asked" in done.stderr
    assert "alerts.jsonl:4" in done.stderr
    (tmp_path / "bad.yaml").write_bytes(_file(_action("kubernetes:exec")))
    done = custody("runtime", "responses", "check", "bad.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "bad.yaml[0].actions[0].actionner: kubernetes:exec is not done by custody" in done.stderr
