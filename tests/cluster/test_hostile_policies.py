"""Policies that would keep others from being loaded, asked about or applied."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from custody.admission.definitions import DEFINITIONS
from custody.errors import CustodyError
from custody.policy import engines
from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from custody.services.cluster.guard import Guard
from custody.services.cluster.policies import Collection
from custody.services.cluster.webhooks import Place, wanted

_CLUSTER_POLICY = next(definition for definition in DEFINITIONS if definition.kind == "ClusterPolicy")


def policy(name: str, *kinds: str, namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "kyverno.io/v1", "kind": "Policy" if namespace else "ClusterPolicy", "metadata": metadata,
            "spec": {"validationFailureAction": "Enforce", "rules": [
                {"name": "r", "match": {"any": [{"resources": {"kinds": [*kinds]}}]},
                 "validate": {"message": "m", "pattern": {"metadata": {"name": "?*"}}}}]}}


class _Stumbling:
    """An engine with a fault that one policy meets."""

    evaluates = "kyverno.io"

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def compile(self, document: dict[str, Any]) -> Any:
        if document["metadata"]["name"] == "bad":
            raise AttributeError("fault")
        return self._engine.compile(document)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def test_a_policy_that_a_fault_of_ours_meets_keeps_no_other_from_force(monkeypatch: pytest.MonkeyPatch) -> None:
    for row, engine in engines.ENGINES.items():
        monkeypatch.setitem(engines.ENGINES, row, _Stumbling(engine))
    collection = Collection()
    for name in ("bad", "good"):
        collection.put(_CLUSTER_POLICY, policy(name, "ConfigMap"))
    assert [compiled.name for compiled in collection.compile(builtin()).policies] == ["good"]
    assert [held.fault for held in collection.held.values()] == [
        "compiling it failed with an internal error (AttributeError)", ""]


@pytest.mark.parametrize("error", [CustodyError("fault"), TypeError("fault")])
def test_a_trial_that_fails_refuses_no_policy(error: Exception) -> None:
    class Listing:
        async def list(self, *_: Any, **__: Any) -> Any:
            raise error

    def snapshot(policies: PolicySet) -> Any:
        class Snapshot:
            def __init__(self) -> None:
                self.policies = policies
        return Snapshot()

    guard = Guard(Listing(), Collection(), builtin, None, snapshot, frozenset())  # type: ignore[arg-type]
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "kind": {"group": "kyverno.io", "version": "v1", "kind": "ClusterPolicy"},
        "resource": {"group": "kyverno.io", "version": "v1", "resource": "clusterpolicies"}, "name": "p",
        "operation": "CREATE", "userInfo": {"username": "a"}, "object": policy("p", "ConfigMap")}}
    said = json.loads(asyncio.run(guard.review(json.dumps(body).encode(), seconds=10)))["response"]
    assert said["allowed"] is True
    assert said["warnings"][0].startswith("it was not tried on what the cluster holds: ")


def noise(*policies: dict[str, Any]) -> set[str]:
    """The resources that a webhook with a rule about every kind is not asked about."""
    conditions = [condition["expression"] for document in wanted(Place("https://a:1", "custody"), b"",
                                                                 PolicySet([*policies]))
                  for webhook in document["webhooks"] for condition in webhook.get("matchConditions", ())]
    assert len(conditions) == 1
    return {name for name in ("leases", "events", "tokenreviews", "subjectaccessreviews")
            if f'resource == "{name}"' in conditions[0]}


@pytest.mark.parametrize(("kinds", "left"), [
    (["coordination.k8s.io/v1/Lease"], {"leases"}), (["Event"], {"events"}), (["*/Lease"], {"leases"}),
    (["coordination.k8s.io/*/*"], {"leases"}), (["TokenReview", "SubjectAccessReview"], {
        "tokenreviews", "subjectaccessreviews"}), (["ConfigMap"], set())])
def test_a_policy_about_every_kind_takes_nothing_from_others(kinds: list[str], left: set[str]) -> None:
    every = {"leases", "events", "tokenreviews", "subjectaccessreviews"}
    for namespace in ("", "team"):
        assert noise(policy("all", "*", namespace=namespace), policy("strict", *kinds)) == every - left


def test_a_policy_that_denies_everything_can_be_taken_back() -> None:
    """Nobody is asked about policies for the sake of one about every kind, unless another one names them."""
    served = builtin().with_crds([definition.document() for definition in DEFINITIONS])

    def conditions(*policies: dict[str, Any]) -> str:
        return str([webhook.get("matchConditions") for document in wanted(Place("https://a:1", "custody"), b"",
                                                                          PolicySet([*policies], kinds=served))
                    for webhook in document["webhooks"]])
    alone = conditions(policy("all", "*"))
    for group in ("kyverno.io", "policies.kyverno.io", "wgpolicyk8s.io", "reports.kyverno.io", "openreports.io"):
        assert f'(request.resource.group == "{group}")' in alone
    beside = conditions(policy("all", "*"), policy("policies", "kyverno.io/v1/ClusterPolicy"))
    assert ('(request.resource.group == "kyverno.io" && !(request.resource.resource in ["clusterpolicies"]))'
            in beside)
    assert '(request.resource.group == "policies.kyverno.io")' in beside
    own = conditions(policy("all", "*"), policy("own", "kyverno.io/*/*"))
    assert '(request.resource.group == "kyverno.io"' not in own


def test_nothing_is_said_of_a_policy_before_it_was_compiled() -> None:
    """What comes while the others are compiled is not Ready because nobody found anything wrong with it yet."""
    collection, kinds = Collection(), builtin()
    collection.put(_CLUSTER_POLICY, policy("well", "ConfigMap"))
    assert collection.compiled == []
    collection.compile(kinds)
    assert [held.ready for held in collection.compiled] == [True]
    broken = policy("broken", "ConfigMap")
    broken["spec"]["rules"][0]["validate"]["patern"] = {}
    collection.put(_CLUSTER_POLICY, broken)
    changed = policy("well", "ConfigMap")
    changed["spec"]["rules"][0]["validate"]["patern"] = {}
    collection.put(_CLUSTER_POLICY, changed)
    assert collection.compiled == []
    collection.compile(kinds)
    assert [held.ready for held in collection.compiled] == [False, False]
