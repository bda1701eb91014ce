"""What a policy wants done to other objects, and custody may not do: in Kyverno's words."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from custody.admission.definitions import BY_KIND
from custody.errors import NetworkError
from custody.policy.kinds import builtin
from custody.ports.cluster import ClusterObjects
from custody.services.cluster import status
from custody.services.cluster.permissions import Permissions
from custody.services.cluster.policies import Held
from custody.services.cluster.rights import Rights

ME = "system:serviceaccount:custody:custody"
PODS = {"any": [{"resources": {"kinds": ["Pod"]}}]}


class Reviews:
    """An API server that allows some verbs on resources, everywhere; all questions are kept."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = set(allowed)
        self.asked: list[dict[str, Any]] = []

    async def create(self, resource: Any, document: dict[str, Any]) -> dict[str, Any]:
        if resource.kind == "SelfSubjectReview":
            return {"status": {"userInfo": {"username": ME}}}
        about = document["spec"]["resourceAttributes"]
        self.asked.append(about)
        return {"status": {"allowed": f"{about['verb']} {about['resource']}" in self.allowed}}


def said(document: dict[str, Any], *allowed: str, of: str = "refusal") -> tuple[str, list[dict[str, Any]]]:
    server = Reviews(*allowed)
    rights = Rights(Permissions(cast(ClusterObjects, server)))
    return asyncio.run(getattr(rights, of)(document, builtin())), server.asked


def rule(**parts: Any) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "rules": [{"name": "r", "match": PODS, **parts}]}}


def mutate(*targets: dict[str, Any]) -> dict[str, Any]:
    return rule(mutate={"targets": list(targets), "patchStrategicMerge": {}})


def generate(**parts: Any) -> dict[str, Any]:
    return rule(generate={"apiVersion": "v1", "kind": "ConfigMap", "name": "n", **parts})


def cleanup(namespace: str = "", **resources: Any) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v2", "kind": "CleanupPolicy", "metadata": {"name": "c", "namespace": namespace},
            "spec": {"schedule": "* * * * *", "match": {"any": [{"resources": resources}]}}}


SECRETS = {"apiVersion": "v1", "kind": "Secret"}
_TARGETS = (f"path: spec.rules[0].mutate.targets.: auth check fails, additional privileges are required for the "
            f"service account '{ME}': ")


@pytest.mark.parametrize(("document", "allowed", "words"), [
    (mutate(SECRETS), (), f"{_TARGETS}{ME} requires permissions get,update for resource v1/Secret"),
    (mutate({**SECRETS, "namespace": "a"}), ("get secrets",),
     f"{_TARGETS}{ME} requires permissions update for resource v1/Secret in namespace a"),
    (mutate(SECRETS, {"apiVersion": "apps/v1", "kind": "Deployment/scale"}), (),
     f"{_TARGETS}{ME} requires permissions get,update for resource v1/Secret; "
     f"{ME} requires permissions get,update for resource apps/v1/Deployment/scale"),
    (mutate({"apiVersion": "v1", "kind": "Nothing"}), (), f"{_TARGETS}failed to get GVR for kind v1/Nothing"),
    (generate(), ("get configmaps",),
     f"path: spec.rules[0].generate..: {ME} requires permissions create for resource v1/ConfigMap"),
    (generate(namespace="{{request.namespace}}"), (),
     f"path: spec.rules[0].generate..: {ME} requires permissions get,create for resource v1/ConfigMap in namespace "
     "{{request.namespace}}"),
    (generate(synchronize=True), ("get configmaps",),
     f"path: spec.rules[0].generate..: {ME} requires permissions list for resource v1/ConfigMap"),
    (generate(synchronize=True), ("get configmaps", "list configmaps", "create configmaps"),
     f"path: spec.rules[0].generate..: {ME} requires permissions update,delete for resource v1/ConfigMap"),
    (rule(generate={"foreach": [{"list": "a", "apiVersion": "v1", "kind": "Secret", "name": "n"}]}), (),
     f"path: spec.rules[0].generate.foreach.: {ME} requires permissions get,create for resource v1/Secret"),
    (rule(generate={"cloneList": {"kinds": ["v1/Secret", "v1/ConfigMap"], "namespace": "d"}, "namespace": "e"}),
     ("get secrets", "create secrets"),
     f"path: spec.rules[0].generate..: {ME} requires permissions get,create for resource v1/ConfigMap in namespace e"),
    (cleanup("default", kinds=["Pod"]), (), "cleanup controller has no permission to delete kind Pod"),
    (cleanup(kinds=["v1/Pod"]), ("delete pods",), "cleanup controller has no permission to list kind v1/Pod"),
])
def test_a_policy_is_refused_for_what_may_not_be_done(document: dict[str, Any], allowed: tuple[str, ...],
                                                      words: str) -> None:
    assert said(document, *allowed)[0] == words


@pytest.mark.parametrize(("document", "allowed"), [
    (mutate(SECRETS), ("get secrets", "update secrets")), (mutate({**SECRETS, "kind": "{{ request.kind }}"}), ()),
    (generate(), ("get configmaps", "create configmaps")), (generate(kind="{{ a }}"), ()),
    (cleanup(kinds=["Pod"]), ("delete pods", "list pods")), (rule(validate={"pattern": {}}), ()),
    ({"apiVersion": "policies.kyverno.io/v1", "kind": "DeletingPolicy", "spec": {"matchConstraints": {
        "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}}}, ())])
def test_it_is_not_for_what_may(document: dict[str, Any], allowed: tuple[str, ...]) -> None:
    assert said(document, *allowed)[0] == ""


def test_a_right_in_one_namespace_is_asked_for_there() -> None:
    _, asked = said(cleanup("default", kinds=["Pod"], names=["one", "a*"]), "delete pods", "list pods")
    assert [(about["namespace"], about.get("name")) for about in asked[::2]] == [("default", "one"), ("default", None)]


@pytest.mark.parametrize(("document", "words"), [
    (mutate(SECRETS), f"{ME} requires permissions list for resource v1/Secret"),
    (mutate({**SECRETS, "name": "one"}), ""),
    ({"apiVersion": "policies.kyverno.io/v1", "kind": "DeletingPolicy", "spec": {"matchConstraints": {
        "resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}]}}},
     f"{ME} requires permissions list,delete for resource apps/v1/deployments"),
    ({"apiVersion": "policies.kyverno.io/v1", "kind": "NamespacedMutatingPolicy", "metadata": {"namespace": "a"},
      "spec": {"evaluation": {"mutateExisting": {"enabled": True}}, "matchConstraints": {"resourceRules": [
          {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]}}},
     f"{ME} requires permissions get,list,update for resource v1/configmaps in namespace a")])
def test_it_warns_of_what_kyverno_does_not_ask(document: dict[str, Any], words: str) -> None:
    assert said(document, of="warning")[0] == words


def test_what_was_granted_since_counts_when_a_policy_is_applied_again() -> None:
    server = Reviews()
    rights = Rights(Permissions(cast(ClusterObjects, server)))

    async def twice() -> tuple[str, str, str]:
        before = await rights.refusal(generate(), builtin())
        server.allowed |= {"get configmaps", "create configmaps"}
        return before, await rights.refusal(generate(), builtin()), await rights.lacking(generate(), builtin())

    before, after, lacking = asyncio.run(twice())
    assert before
    assert (after, lacking) == ("", "")


def test_the_status_says_what_is_taken_away() -> None:
    old = generate()
    held = Held(BY_KIND["kyverno.io", "ClusterPolicy"], old, old)
    now = datetime(2026, 11, 29, tzinfo=UTC)
    told = status.wanted(held, None, registered=True, now=now, lacking="no right")
    assert told is not None
    assert [(condition["status"], condition["message"]) for condition in told["conditions"]] == [("False", "no right")]
    new = {"apiVersion": "policies.kyverno.io/v1", "kind": "DeletingPolicy", "metadata": {"name": "d"}, "spec": {}}
    held = Held(BY_KIND["policies.kyverno.io", "DeletingPolicy"], new, new)
    told = status.wanted(held, None, registered=True, now=now, lacking="no right")
    assert told is not None
    assert told["conditionStatus"]["ready"] is False
    assert told["conditionStatus"]["conditions"][-1]["message"] == (
        "Policy is not carried out, missing permissions: no right.")
    new["status"] = told
    told = status.wanted(held, None, registered=True, now=now)
    assert told is not None
    assert told["conditionStatus"]["ready"] is True
    assert [condition["type"] for condition in told["conditionStatus"]["conditions"]] == ["WebhookConfigured"]


def test_who_gives_no_answer_allows_nothing() -> None:
    class Silent:
        async def create(self, resource: Any, document: Any) -> Any:
            raise NetworkError("no answer")

    with pytest.raises(NetworkError, match="no answer"):
        asyncio.run(Rights(Permissions(cast(ClusterObjects, Silent()))).refusal(generate(), builtin()))
