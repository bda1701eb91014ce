"""The index leaves out no rule that speaks, and says of the others what they would have said themselves."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from custody.policy import index
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Kind, Request
from custody.policy.phases import Course, Phase
from tests.policy.test_images import NOW

KINDS = ("Pod", "Deployment", "v1/Service", "Namespace", "apps/v1/*", "Pod/exec", "*")
NAMESPACES = ("shop", "bank", "kube-*", "team-?", "")
LABELS = ({"app": "web"}, {"app": "w*"}, {"tier": "front", "app": "web"}, {"te?m": "a"})


def _resources(dice: Random) -> dict[str, Any]:
    made: dict[str, Any] = {"kinds": dice.sample(KINDS, dice.randint(1, 2))}
    if dice.random() < 0.3:
        made["namespaces"] = dice.sample(NAMESPACES, dice.randint(1, 2))
    if dice.random() < 0.3:
        made["selector"] = {"matchLabels": dice.choice(LABELS)}
    elif dice.random() < 0.3:
        operator, values = dice.choice([("In", ["web", "db"]), ("NotIn", ["web"]), ("Exists", None)])
        made["selector"] = {"matchExpressions": [
            {"key": "app", "operator": operator, **({} if values is None else {"values": values})}]}
    if dice.random() < 0.3:
        made["operations"] = dice.sample(["CREATE", "UPDATE", "DELETE"], 2)
    if dice.random() < 0.1:
        made["namespaceSelector"] = {"matchLabels": {"env": "prod"}}
    if dice.random() < 0.2:
        made["names"] = ["web*"]
    return {"resources": made}


def _policy(at: int, dice: Random) -> dict[str, Any]:
    rule: dict[str, Any] = {"name": "r", "match": {dice.choice(["any", "all"]): [
        _resources(dice) for _ in range(dice.randint(1, 2))]}}
    if dice.random() < 0.3:
        rule["exclude"] = {"any": [_resources(dice)]}
    if dice.random() < 0.3:
        rule["mutate"] = {"patchStrategicMerge": {"metadata": {"labels": {"app": dice.choice(["web", "db"])}}}}
    else:
        rule["validate"] = {"pattern": {"metadata": {"labels": {"app": "web"}}}}
    kind = dice.choice(["ClusterPolicy", "ClusterPolicy", "Policy"])
    metadata: dict[str, Any] = {"name": f"p{at}"}
    if kind == "Policy":
        metadata["namespace"] = "shop"
        for part in (part for block in ("match", "exclude") for parts in rule.get(block, {}).values()
                     for part in parts):
            part["resources"].pop("namespaces", None)
            part["resources"]["kinds"] = ["Pod", "Deployment"]
    asked = dice.choice([{}, {}, {"admission": False}, {"background": False}])
    return {"apiVersion": "kyverno.io/v1", "kind": kind, "metadata": metadata, "spec": {
        "validationFailureAction": "Enforce", **asked, "rules": [rule]}}


def _cel(at: int, dice: Random) -> dict[str, Any]:
    kind = dice.choice(["ValidatingPolicy", "NamespacedValidatingPolicy"])
    constraints: dict[str, Any] = {"resourceRules": [{
        "apiGroups": [dice.choice(["", "apps", "*"])], "apiVersions": ["v1"],
        "resources": [dice.choice(["pods", "deployments", "*"])],
        "operations": [dice.choice(["CREATE", "UPDATE", "*"])]}]}
    if dice.random() < 0.5:
        constraints["objectSelector"] = {"matchLabels": {"app": "web"}}
    return {"apiVersion": "policies.kyverno.io/v1", "kind": kind,
            "metadata": {"name": f"c{at}", **({"namespace": "bank"} if kind.startswith("Namespaced") else {})},
            "spec": {"matchConstraints": constraints, "evaluation": {"admission": {"enabled": dice.random() < 0.8}},
                     "validations": [{"expression": "has(object.metadata.labels)"}]}}


def _request(dice: Random) -> Request:
    kind = dice.choice([Kind("Pod"), Kind("Deployment", "v1", "apps"), Kind("Service"), Kind("Namespace"),
                        Kind("Secret")])
    metadata: dict[str, Any] = {"name": dice.choice(["web-1", "db"])}
    if dice.random() < 0.7:
        metadata["labels"] = dice.choice([{"app": "web"}, {"app": "db"}, {"tier": "front", "app": "web"},
                                          {"team": "a"}, {"app": 7}, "none"])
    namespace = "" if kind.kind == "Namespace" else dice.choice(["shop", "bank", "kube-system", "team-1", ""])
    document = {"apiVersion": "v1", "kind": kind.kind, "metadata": metadata, "spec": {}}
    operation = dice.choice(["CREATE", "CREATE", "UPDATE", "DELETE"])
    before = {**document, "metadata": {**metadata, "labels": {"app": "db"}}}
    return Request(operation=operation, kind=kind, namespace=namespace, name=metadata["name"],
                   object=None if operation == "DELETE" else document,
                   old_object=None if operation == "CREATE" else before,
                   existing=operation == "CREATE" and dice.random() < 0.3)


def _pod(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", **metadata}, "spec": {}}


def _decided(request: Request, policies: PolicySet) -> list[Decision]:
    return [decide(request, {}, policies, Context(now=NOW), at=course) for course in Course]


@pytest.mark.parametrize("seed", range(12))
def test_decisions_are_those_of_asking_every_rule(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = Random(seed)
    documents = [*(_policy(at, dice) for at in range(25)), *(_cel(at, dice) for at in range(10))]
    policies, asking_all = PolicySet(documents), PolicySet(documents)
    requests = [_request(dice) for _ in range(60)]
    decisions = [_decided(request, policies) for request in requests]
    needs = [[*policies.needs(request).questions] for request in requests]
    monkeypatch.setattr(index, "_apart", lambda *_: (None, ()))
    assert [_decided(request, asking_all) for request in requests] == decisions
    assert [[*asking_all.needs(request).questions] for request in requests] == needs
    assert any(decision.silent for decided in decisions for decision in decided)
    assert any(decision.results for decided in decisions for decision in decided)


def test_a_rule_is_asked_of_what_another_changed() -> None:
    """A label that one rule sets makes the next one speak, and one that it takes away silences it."""
    def policy(name: str, rule: dict[str, Any], label: str) -> dict[str, Any]:
        match = {"kinds": ["Pod"], "selector": {"matchLabels": {"app": label}}}
        return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": {
            "rules": [{"name": "r", "match": {"any": [{"resources": match}]}, **rule}]}}

    def sets(label: str) -> dict[str, Any]:
        return {"mutate": {"patchStrategicMerge": {"metadata": {"labels": {"app": label}}}}}

    policies = PolicySet([policy("first", sets("b"), "a"), policy("second", sets("c"), "b"),
                          policy("third", sets("d"), "a"),
                          policy("fourth", {"validate": {"pattern": {"spec": {}}}}, "c")])
    request = Request.create(_pod(labels={"app": "a"}))
    decision = decide(request, {}, policies, Context(now=NOW))
    assert [result.policy for result in decision.results] == ["first", "second", "fourth"]
    assert [silent.policy for silent in decision.silent] == ["third"]


def test_a_review_asks_none_of_the_policies_of_other_namespaces() -> None:
    documents = [{"apiVersion": "kyverno.io/v1", "kind": "Policy", "metadata": {"name": "p", "namespace": f"n{at}"},
                  "spec": {"rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                                      "validate": {"pattern": {"spec": {}}}}]}} for at in range(200)]
    policies = PolicySet(documents)
    request = Request.create(_pod(namespace="n7"))
    asked = policies.index(Phase.VALIDATE).asked(request)
    assert {rule.policy.name for rule in asked} == {"n7/p"}
    decision = decide(request, {}, policies, Context(now=NOW))
    assert {result.policy for result in decision.results} == {"n7/p"}
    assert len({silent.policy for silent in decision.silent}) == 199
