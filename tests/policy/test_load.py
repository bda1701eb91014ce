"""Loading policies: YAML as Kubernetes reads it, bombs, and every field that is not evaluated refused by its path."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError, UnsupportedError, UsageError
from custody.formats.yaml import documents
from custody.policy.decide import decide
from custody.policy.load import PolicySet, read
from custody.policy.model import Context, Request
from custody.policy.phases import Course

POLICY: dict[str, Any] = {
    "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
    "spec": {"validationFailureAction": "Enforce", "rules": [{
        "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
        "validate": {"message": "m", "pattern": {"spec": {"containers": [{"image": "ghcr.io/*"}]}}}}]}}


def changed(path: str, value: Any) -> dict[str, Any]:
    found = document = copy.deepcopy(POLICY)
    *steps, last = path.split("/")
    for step in steps:
        found = found[int(step)] if isinstance(found, list) else found.setdefault(step, {})
    found[last] = value
    return document


def test_scalars_are_what_kubernetes_makes_of_them() -> None:
    text = (b"a: 010\nb: yes\nc: 1e3\nd: 2026-01-01\ne: 1:30\nf: 0x1F\ng: '1'\nh: 1_000\ni: ~\nj: 1.5\nk: y\nl: -0b11\n"
            b"m: 0o17\nnn: 18446744073709551616\no: .5\np: \"no\"\n1: x\ntrue: t\nq: 09\n")
    assert documents(text, "x") == [{
        "a": 8, "b": True, "c": 1000.0, "d": "2026-01-01", "e": "1:30", "f": 31, "g": "1", "h": 1000, "i": None,
        "j": 1.5, "k": True, "l": -3, "m": 15, "nn": 18446744073709551616.0, "o": 0.5, "p": "no", "1": "x",
        "true": "t", "q": 9.0}]


BOMB = b"a: &a [x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (name, name, b",".join([b"*%c" % (name - 1)] * 9)) for name in range(98, 107))


@pytest.mark.parametrize(("text", "words"), [
    (b"a: 1\na: 2", "line 2: got \"key 'a' twice\""),
    (BOMB, "aliases that grow too large"),
    (b"a: &x [*x]", "aliases that grow too large or too deep"),
    (b"[" * 200, "nesting deeper than 64"),
    (b"a: !!python/object/apply:os.system [id]", "python/object"),
    (b"a: !custom x", "the tag !custom"),
    (b"<<: {a: 1}", "a merge key"),
    (b"a: .inf", "a finite number"),
    (b"a: 1e999", "a number of 64 bits"),
    (b"a: " + b"9" * 310, "a number of 64 bits"),
    (b"? [a]\n: b", "text as a key"),
    (b"\xff", "plain YAML in UTF-8"),
    (b"a: [", "expected YAML"),
    (b" " * (4 * 1024 * 1024 + 1), "at most 4194304 bytes"),
])
def test_yaml_that_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(MalformedError, match="x") as caught:
        documents(text, "x")
    assert words in caught.value.message


@given(st.recursive(st.none() | st.booleans() | st.integers(-2**63, 2**63) | st.text(st.characters(
    categories=["L", "N", "P", "S", "Zs"])), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.text("abyn01~ ", max_size=4), inner, max_size=3), max_leaves=12))
def test_json_is_read_as_it_is(value: Any) -> None:
    assert documents(json.dumps({"value": value}, ensure_ascii=False).encode(), "x") == [{"value": value}]


@given(st.binary(max_size=80) | st.text("&*!<>{}[]|:-,?#'\" \nab01", max_size=60).map(str.encode))
def test_any_bytes_are_documents_or_malformed(data: bytes) -> None:
    try:
        documents(data, "x")
    except CustodyError:
        pass


RULE = "spec/rules/0"
PATHS = "spec.rules[0]"


@pytest.mark.parametrize(("path", "value", "where"), [
    ("apiVersion", "kyverno.io/v2", "kind"),
    ("spec/webhookConfiguration", {"other": 1}, "spec.webhookConfiguration.other"),
    *((f"{RULE}/{field}", value, f"{PATHS}.{field}") for field, value in {
        "celPreconditions": [{"name": "x"}]}.items()),
    *((f"{RULE}/validate/{field}", value, f"{PATHS}.validate.{field}") for field, value in {
        "assert": {"a": 1}}.items()),
    (f"{RULE}/match/any/0/clusterRole", ["x"], f"{PATHS}.match.any[0].clusterRole"),
    (f"{RULE}/preconditions", {"all": [{"key": "x", "operator": "Within", "value": "x"}]},
     f"{PATHS}.preconditions.all[0].operator"),
    (f"{RULE}/preconditions", {"all": [{"key": "{{ is_external_url('a') }}", "operator": "Equals", "value": "x"}]},
     f"{PATHS}.preconditions.all[0].key"),
    (f"{RULE}/preconditions", {"all": [{"key": "{{ configmap.data }}", "operator": "Equals", "value": "x"}]},
     f"{PATHS}.preconditions.all[0].key"),
    (f"{RULE}/validate/pattern", {"spec": {"hostNetwork": "{{@}}"}}, f"{PATHS}.validate.pattern.spec.hostNetwork"),
])
def test_fields_that_are_not_evaluated_are_refused_by_their_path(path: str, value: Any, where: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        PolicySet([changed(path, value)])
    assert caught.value.where == where
    assert caught.value.message.startswith(f"policies[0]: {where}: ")


@pytest.mark.parametrize(("path", "value", "words"), [
    ("spec/rules", [], "spec.rules: got 'nothing'"),
    ("spec/failurePolicy", "Maybe", "spec.failurePolicy: got 'Maybe'"),
    ("spec/validationFailureAction", "Deny", "spec.validationFailureAction: got 'Deny'"),
    ("spec/webhookTimeoutSeconds", 99, "spec.webhookTimeoutSeconds: got 99"),
    (f"{RULE}/match", {}, "spec.rules[0].match: got 'nothing'"),
    (f"{RULE}/match", {"any": [{"resources": {"names": ["x"]}}]}, "no kinds"),
    (f"{RULE}/validate", {"message": "x"}, "none of them"),
    (f"{RULE}/validate/deny", {"conditions": {"any": []}}, "got 'pattern and deny'"),
    (f"{RULE}/validate/pattern", {"spec": {"+(x)": 1}}, "an add anchor"),
    (f"{RULE}/validate/pattern", {"spec": {"^(containers)": {"a": 1}}}, "a list of maps"),
    (f"{RULE}/validate/pattern", {"spec": {"containers": []}}, "an empty list"),
    (f"{RULE}/validate/pattern", {"a": "{{ request.object.[ }}"}, "a JMESPath expression"),
    (f"{RULE}/name", None, "spec.rules[0].name: got 'nothing'"),
])
def test_policies_that_make_no_sense(path: str, value: Any, words: str) -> None:
    with pytest.raises(MalformedError) as caught:
        PolicySet([changed(path, value)])
    assert words in caught.value.message


def test_files_folders_and_documents(tmp_path: Path) -> None:
    named = [changed("metadata/name", name) for name in "ab"]
    (tmp_path / "one.yaml").write_text(yaml.safe_dump_all(named))
    (tmp_path / "two.json").write_text(json.dumps(changed("metadata/name", "c")))
    (tmp_path / "notes.txt").write_text("{")
    loaded = PolicySet.load([tmp_path, changed("metadata/name", "d")])
    assert [policy.name for policy in loaded.policies] == ["a", "b", "c", "d"]
    assert loaded.digest == PolicySet(loaded.documents).digest != PolicySet([POLICY]).digest
    with pytest.raises(MalformedError, match="'a twice'"):
        PolicySet.load([tmp_path, changed("metadata/name", "a")])
    with pytest.raises(UsageError, match=r"no\.yaml: No such file"):
        PolicySet.load([tmp_path / "no.yaml"])


def test_a_value_is_never_read_as_an_expression() -> None:
    rule = {"deny": {"conditions": {"any": [{"key": "x{{ request.object.metadata.name }}", "operator": "Equals",
                                             "value": "x{{ request.operation }}"}]}}}
    policies = PolicySet([changed(f"{RULE}/validate", rule)])
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "{{ request.operation }}"}, "spec": {}}
    decision = decide(Request.create(pod), {}, policies, Context(now=datetime(2026, 1, 1, tzinfo=UTC)),
                      at=Course.VALIDATING)
    assert decision.allowed


@pytest.mark.parametrize(("path", "value", "reason"), [
    ("metadata/name", "", "metadata.name: got 'nothing', expected text"),
    ("metadata/annotations", ["a"], "metadata.annotations: got a list, expected a map"),
    ("metadata/annotations", {"a": True}, "metadata.annotations.a: got a boolean, expected text"),
    ("metadata/annotations", {"policies.custody.internal/attestation": "all"},
     "metadata.annotations.policies.custody.internal/attestation: custody has no such annotation"),
    ("metadata/annotations", {"policies.custody.internal/attestations": ""}, "got '', expected newest or all"),
    ("spec/rules/0/name", "", "spec.rules[0].name: got 'nothing', expected text"),
    ("spec/rules/0/validate", {"anyPattern": []}, "validate.anyPattern: got 'an empty list', expected at least one"),
])
def test_a_policy_that_would_say_less_than_it_reads_like(path: str, value: Any, reason: str) -> None:
    with pytest.raises(CustodyError) as caught:
        PolicySet([changed(path, value)])
    assert reason in caught.value.message


@pytest.mark.parametrize(("text", "hinted"), [("a: {{ .Values.x }}\n", True), ("{{ if x }}\na: 1\n", True),
                                              ("a: [\n", False)])
def test_a_template_is_told_from_yaml(tmp_path: Path, text: str, hinted: bool) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(MalformedError, match=r"a\.yaml") as caught:
        read(tmp_path / "a.yaml")
    assert ("a template is rendered first (helm template)" in (caught.value.hint or "")) == hinted
