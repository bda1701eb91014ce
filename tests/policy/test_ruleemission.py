"""ClusterPolicies with `validate.cel.generate` as policies of the API server: which, and that they say the same."""

from __future__ import annotations

from typing import Any

import pytest

from custody.policy.decide import decide
from custody.policy.kinds import builtin
from custody.policy.kubernetes import emission, ruleemission
from custody.policy.load import PolicySet
from custody.policy.model import Request, Verdict
from tests.fuzz.validating import NOW

SKIP = "skip generating ValidatingAdmissionPolicy"


def policy(match: dict[str, Any], exclude: dict[str, Any] | None = None, *, rules: int = 1, cel: bool = True,
           generate: bool = True, **spec: Any) -> dict[str, Any]:
    validate = {"message": "no", "cel": {"generate": generate, "expressions": [
        {"expression": "object.metadata.name == 'good'"}]}} if cel else {"message": "no", "pattern": {"a": "?*"}}
    rule = {"match": match, **({"exclude": exclude} if exclude else {}), "validate": validate}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "c"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{"name": f"r{at}", **rule} for at in range(rules)], **spec}}


def named(**resources: Any) -> dict[str, Any]:
    return {"any": [{"resources": resources}]}


def polex(match: dict[str, Any], rules: int = 1, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v2", "kind": "PolicyException", "metadata": {"name": "e", "namespace": "default"},
            "spec": {"exceptions": [{"policyName": "c", "ruleNames": [f"r{at}" for at in range(rules)]}],
                     "match": match, **spec}}


MAPS = {"kinds": ["ConfigMap"]}


@pytest.mark.parametrize(("made", "exceptions", "words"), [
    (policy(named(**MAPS), rules=2), [], ": multiple rules are not applicable."),
    (policy(named(**MAPS), cel=False), [], " for non CEL rules."),
    (policy(named(**MAPS), generate=False), [], ": validate.cel.generate is not set to true."),
    (policy({"any": [{"resources": MAPS, "clusterRoles": ["a"]}]}), [],
     ": Roles / ClusterRoles / Subjects in `any/all` is not applicable."),
    (policy(named(**MAPS, annotations={"a": "b"})), [], ": Annotations in resource description is not applicable."),
    (policy(named(**MAPS, names=["a*"])), [], ": wildcards in resource name is not applicable."),
    (policy(named(**MAPS, namespaces=["a*"])), [], ": wildcards in namespace name is not applicable."),
    (policy(named(**MAPS), named(**MAPS, namespaces=["a"])), [],
     ": excluding a resource within a namespace is not applicable."),
    (policy(named(**MAPS), named(**MAPS, selector={"matchLabels": {"a": "b"}})), [],
     ": NamespaceSelector / ObjectSelector in the exclude block is not applicable."),
    (policy({"all": [{"resources": MAPS}, {"resources": MAPS}]}), [],
     ": multiple 'all' in the match block is not applicable."),
    (policy({"any": [{"resources": {**MAPS, "selector": {"matchLabels": {"a": "b"}}}}, {"resources": MAPS}]}), [],
     ": NamespaceSelector / ObjectSelector across multiple resources in the match block are not applicable."),
    (policy(named(**MAPS), validationFailureActionOverrides=[{"action": "Audit", "namespaces": ["a"]}]), [],
     ": Namespaces in validationFailureActionOverrides is not applicable."),
    (policy(named(**MAPS), validationFailureActionOverrides=[
        {"action": "Enforce", "namespaceSelector": {"matchLabels": {"a": "b"}}}]), [],
     ": validationFailureActionOverrides are not applicable."),
    (policy(named(**MAPS), admission=False), [], ": admission is disabled."),
    (policy(named(**MAPS), {"resources": {**MAPS, "selector": {"matchLabels": {"a": "b"}}}}), [],
     ": NamespaceSelector / ObjectSelector in the exclude block is not applicable."),
    (policy(named(**MAPS), {"resources": {**MAPS, "namespaceSelector": {"matchLabels": {"a": "b"}}}}), [],
     ": NamespaceSelector / ObjectSelector in the exclude block is not applicable."),
    (policy(named(**MAPS), named(names=["a"])), [], ": excluding resources without their kinds is not applicable."),
    (policy(named(**MAPS)), [polex(named(operations=["CREATE"]))],
     ": excluding resources without their kinds is not applicable."),
    (policy(named(**MAPS)), [polex(named(**MAPS), rules=2)],
     ": multiple ruleNames in PolicyException is not applicable."),
    (policy(named(**MAPS)), [polex(named(**MAPS), conditions={"any": []})],
     ": Conditions in PolicyException is not applicable."),
    (policy(named(**MAPS)), [polex(named(**MAPS, namespaces=["default"]))],
     ": excluding a resource within a namespace is not applicable.")])
def test_why_none_is_made_is_said_in_kyvernos_words(made: dict[str, Any], exceptions: list[Any], words: str) -> None:
    assert ruleemission.skipped(made, exceptions) == SKIP + words


@pytest.mark.parametrize(("made", "exceptions"), [
    (policy(named(**MAPS)), []), (policy(named(kinds=["*"])), []),
    (policy(named(**MAPS, operations=["UPDATE"])), []), (policy(named(**MAPS, names=["bad"])), []),
    (policy(named(**MAPS), named(**MAPS, names=["bad"])), []),
    (policy(named(kinds=["ConfigMap", "Secret"])), [polex(named(kinds=["Secret"]))]),
    (policy(named(**MAPS, selector={"matchLabels": {"a": "b"}})), []),
    (policy({"any": [{"resources": MAPS}, {"resources": {"kinds": ["Secret"]}}]}), []),
    (policy(named(**MAPS), webhookConfiguration={"matchConditions": [
        {"name": "m", "expression": "object.metadata.name != 'bad'"}]}), [])])
def test_what_is_made_denies_the_same(made: dict[str, Any], exceptions: list[Any]) -> None:
    assert ruleemission.skipped(made, exceptions) == ""
    documents = emission.documents(made, *ruleemission.spec_of(made, exceptions, builtin()))
    ours, theirs = PolicySet([made, *exceptions]), PolicySet(documents)
    for kind in ("ConfigMap", "Secret", "Service"):
        for name in ("good", "bad", "worse"):
            for labels in ({}, {"a": "b"}):
                request = Request.create({"apiVersion": "v1", "kind": kind, "metadata": {
                    "name": name, "namespace": "default", "labels": labels}})
                assert (decide(request, {}, ours, NOW).verdict is Verdict.DENIED) == (
                    decide(request, {}, theirs, NOW).verdict is Verdict.DENIED), (kind, name, labels)


@pytest.mark.parametrize("match", [
    {"any": [{"resources": {**MAPS, "operations": ["CREATE"]}}, {"resources": {"kinds": ["Secret"]}}]},
    named(kinds=["Pod*"]),
    {"any": [{"resources": MAPS}, {"resources": {"kinds": ["Secret"], "namespaces": ["x"]}}]},
    {"any": [{"resources": {"kinds": ["Secret"], "namespaces": ["x"]}}, {"resources": MAPS}]}])
def test_what_its_resources_cannot_say_is_not_made(match: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"other operations|no unique match|name other namespaces"):
        ruleemission.spec_of(policy(match), [], builtin())


@pytest.mark.parametrize("field", ["preconditions", "context"])
def test_a_rules_own_conditions_are_the_webhooks(field: str) -> None:
    made = policy(named(**MAPS))
    made["spec"]["rules"][0][field] = [{"name": "a", "variable": {"value": 1}}]
    assert ruleemission.skipped(made, []) == f"{SKIP}: preconditions and context entries are not applicable."


def test_namespaces_count_beside_their_labels() -> None:
    both = named(**MAPS, namespaces=["x"], namespaceSelector={"matchLabels": {"a": "b"}})
    assert ruleemission.spec_of(policy(both), [], builtin())[0]["matchConstraints"]["namespaceSelector"] == {
        "matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["x"]}]}
