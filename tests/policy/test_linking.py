"""Documents that are compiled once and are part of many sets: each set says the same as one compiled for itself, and
what is in another set changes nothing in it."""

from __future__ import annotations

import gc
import json
import types
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from custody.policy import engines
from custody.policy.decide import decide
from custody.policy.engines import Compiled
from custody.policy.kinds import UNCHECKED
from custody.policy.load import PolicySet, gathered, unwrapped
from custody.policy.model import Context, Kind, Request
from custody.policy.rule import Policy, Rule

ROOT = Path(__file__).parents[2]
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default", "labels": {"app": "a"}},
       "spec": {"containers": [{"name": "c", "image": "nginx"}]}}


def _documents() -> list[tuple[str, Any]]:
    """Of each engine some."""
    documents, _ = unwrapped(*gathered([ROOT / "examples" / "policies"]))
    return [*documents, *((f"own[{at}]", document) for at, document in enumerate((
        pattern("labels", "a"), exception("labels"), admission(), binding(), validating(), mutating(), SECURITY)))]


SECURITY = {"apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration",
            "defaults": {"enforce": "baseline", "enforce-version": "latest"}}
PODS = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}


def validating() -> dict[str, Any]:
    return {"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": "v"}, "spec": {
        "matchConstraints": PODS, "variables": [{"name": "labels", "expression": "object.metadata.?labels"}],
        "validations": [{"expression": "variables.labels.hasValue()", "message": "no"}]}}


def mutating() -> dict[str, Any]:
    return {"apiVersion": "policies.kyverno.io/v1", "kind": "MutatingPolicy", "metadata": {"name": "m"}, "spec": {
        "matchConstraints": PODS, "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {
            "expression": "Object{metadata: Object.metadata{labels: {'a': 'b'}}}"}}]}}


def pattern(name: str, label: str) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "validate": {"message": "no", "pattern": {"metadata": {"labels": {"app": f"!{label}"}}}}}]}}


def exception(policy: str) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v2", "kind": "PolicyException", "metadata": {"name": "e", "namespace": "n"},
            "spec": {"exceptions": [{"policyName": policy, "ruleNames": ["r"]}],
                     "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}}}


def admission(name: str = "vap") -> dict[str, Any]:
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name}, "spec": {"matchConstraints": PODS,
                                                 "validations": [{"expression": "false", "message": "never"}]}}


def binding(policy: str = "vap") -> dict[str, Any]:
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": "b"}, "spec": {"policyName": policy, "validationActions": ["Deny"]}}


def linked(*parts: Compiled) -> PolicySet:
    return PolicySet.linking(parts, [f"[{at}]" for at in range(len(parts))], UNCHECKED)


def verdict(policies: PolicySet) -> str:
    request = Request(operation="CREATE", kind=Kind(version="v1", kind="Pod"), namespace="default", name="p",
                      object=POD)
    decision = decide(request, {}, policies, Context(now=datetime(2026, 1, 1, tzinfo=UTC)))
    return str(decision.verdict)


def _shape(policies: PolicySet) -> list[Any]:
    return [(policy.kind, policy.name, policy.parts, policy.excepted,
             [(rule.name, rule.phase, len(rule.exceptions)) for rule in policy.rules]) for policy in policies.policies]


def test_a_set_of_compiled_documents_is_the_one_that_is_compiled_for_itself() -> None:
    documents = _documents()
    assert len(documents) > 10
    parts = [Compiled(document, where) for where, document in documents]
    alone = PolicySet([document for _, document in documents], [where for where, _ in documents], UNCHECKED)
    sets = [linked(*parts) for _ in range(3)]
    for policies in sets:
        assert policies.digest == alone.digest
        assert policies.meaning == alone.meaning
        assert _shape(policies) == _shape(alone)
        assert policies.only(lambda policy: policy.name == alone.policies[0].name).digest == alone.only(
            lambda policy: policy.name == alone.policies[0].name).digest
    backwards = linked(*reversed(parts))
    assert backwards.digest != alone.digest
    assert _shape(sets[0]) == _shape(alone), "the set after it has other positions"


@pytest.mark.parametrize(("policy", "beside", "before", "after"), [
    (pattern("labels", "a"), exception("labels"), "denied", "not judged"),
    (admission(), binding(), "not judged", "denied")])
def test_what_another_set_has_changes_nothing_in_this_one(
        policy: dict[str, Any], beside: dict[str, Any], before: str, after: str) -> None:
    part, second = Compiled(policy, ""), Compiled(beside, "")
    first = linked(part)
    assert verdict(first) == before
    both = linked(second, part)
    assert (verdict(both), verdict(first)) == (after, before)
    assert (verdict(linked(part)), verdict(both)) == (before, after)
    assert first.policies[0].parts == (0,)
    assert both.policies[0].parts[0] == 1


def _reached(rule: Rule) -> list[str]:
    """Of other rules and policies that it leads to, all but what only gives it its name: how it is reached."""
    own = {id(rule.policy), *map(id, rule.policy.rules)}
    ways: list[str] = []
    seen: set[int] = set()
    todo: list[tuple[Any, str]] = [(rule, type(rule).__name__)]
    while todo:
        value, way = todo.pop()
        if id(value) in seen or isinstance(value, (type, types.ModuleType, str, bytes, int, float)):
            continue
        seen.add(id(value))
        if (isinstance(value, Policy) or Rule in type(value).__mro__) and id(value) not in own:
            ways.append(way)
        elif isinstance(value, types.FunctionType):
            todo += [(cell.cell_contents, f"{way}/{value.__qualname__}") for cell in value.__closure__ or ()]
        else:
            todo += [(inner, f"{way}/{type(inner).__name__}") for inner in gc.get_referents(value)
                     if not isinstance(inner, type)]
    return ways


def test_a_rule_leads_to_no_rule_of_another_set() -> None:
    parts = [Compiled(document, where) for where, document in _documents()]
    for policy in linked(*parts).policies:
        for rule in policy.rules:
            if type(rule).__name__ not in ("ImageRule", "JsonImageRule", "ExtractedImageRule"):  # they ask each other
                assert [way for way in _reached(rule) if not way.endswith("/Head/Policy")] == [], rule.name


def test_files_that_say_the_same_are_not_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / f"{number}.json").write_text(json.dumps(pattern(f"p{number}", "a")))
    first = PolicySet.load([tmp_path])
    compiled: list[str] = []
    compile_document = engines.compile_document

    def counting(document: Any, at: int, where: str) -> Any:
        compiled.append(where)
        return compile_document(document, at, where)

    monkeypatch.setattr(engines, "compile_document", counting)
    (tmp_path / "3.json").write_text(json.dumps(pattern("p3", "b")))
    (tmp_path / "0.json").unlink()
    second = PolicySet.load([tmp_path], before=first)
    assert compiled == [str(tmp_path / "3.json")]
    assert second.digest == PolicySet.load([tmp_path]).digest
    assert (verdict(first), verdict(second.only(lambda policy: policy.name == "p3"))) == ("denied", "allowed")
    assert [policy.parts for policy in first.policies] == [(at,) for at in range(5)]
    # The same in another order: messages may follow it.
    document = pattern("p1", "a")
    (tmp_path / "1.json").write_text(json.dumps({**document, "spec": dict(reversed(document["spec"].items()))}))
    compiled.clear()
    PolicySet.load([tmp_path], before=second)
    assert compiled == [str(tmp_path / "1.json")]
