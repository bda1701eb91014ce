"""The status of policies of policies.kyverno.io, and of what custody may read."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

from custody.admission.definitions import BY_KIND
from custody.policy.kinds import builtin
from custody.ports.cluster import ClusterObjects
from custody.services.cluster import status
from custody.services.cluster.permissions import Permissions, named
from custody.services.cluster.policies import Held

NOW = datetime(2026, 11, 29, tzinfo=UTC)
PODS = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}


def held(kind: str = "ValidatingPolicy", said: dict[str, Any] | None = None, **spec: Any) -> Held:
    document = {"apiVersion": "policies.kyverno.io/v1", "kind": kind, "metadata": {"name": "p"},
                "spec": {"matchConstraints": PODS, "validations": [{"expression": "object.spec.x == 1"}], **spec},
                **({"status": said} if said else {})}
    return Held(BY_KIND["policies.kyverno.io", kind], document, document)


def told(policy: Held, missing: str = "") -> Any:
    return status.wanted(policy, None, registered=True, now=NOW, missing=missing)


def test_a_policy_about_pods_shows_what_it_says_of_controllers() -> None:
    said = told(held(autogen={"podControllers": {"controllers": ["deployments", "cronjobs"]}}))
    assert [(condition["type"], condition["status"]) for condition in said["conditionStatus"]["conditions"]] == [
        ("WebhookConfigured", "True"), ("RBACPermissionsGranted", "True")]
    assert said["conditionStatus"]["ready"] is True
    configs = said["autogen"]["configs"]
    assert configs["defaults"]["targets"] == [
        {"group": "apps", "version": "v1", "resource": "deployments", "kind": "Deployment"}]
    assert configs["cronjobs"]["spec"]["validations"] == [
        {"expression": "object.spec.jobTemplate.spec.template.spec.x == 1"}]
    assert told(held(said=said, autogen={"podControllers": {"controllers": ["deployments", "cronjobs"]}})) is None
    less = told(held(said=said, autogen={"podControllers": {"controllers": ["deployments"]}}))
    assert less["autogen"]["configs"]["cronjobs"] is None, "a merge patch takes it away"


def test_what_scans_may_not_read_makes_a_policy_not_ready() -> None:
    said = told(held(), "get apps/v1, Resource=x: ")["conditionStatus"]
    assert said["ready"] is False
    assert said["conditions"][1]["message"] == (
        "Policy is not ready for reporting, missing permissions: get apps/v1, Resource=x: .")
    quiet = told(held(evaluation={"background": {"enabled": False}}), "get")["conditionStatus"]
    assert quiet["ready"] is True


def test_a_policy_about_what_lies_there_alone_waits_for_no_webhook() -> None:
    said = told(held(evaluation={"admission": {"enabled": False}}))
    assert [condition["type"] for condition in said["conditionStatus"]["conditions"]] == ["RBACPermissionsGranted"]
    assert told(held(matchConstraints={"resourceRules": []}))["autogen"] == {}


class _Reviews:
    """Answers SelfSubjectAccessReviews; nothing may watch pods."""

    def __init__(self) -> None:
        self.asked = 0

    async def create(self, _: Any, document: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        asked = document["spec"]["resourceAttributes"]
        return {"status": {"allowed": (asked["verb"], asked["resource"]) != ("watch", "pods")}}


def test_permissions_are_asked_once_and_what_is_not_served_cannot_be_read() -> None:
    reviews = _Reviews()
    permissions = Permissions(cast(ClusterObjects, reviews))
    resources = named([{"matchConstraints": PODS}, {"matchConstraints": {"resourceRules": [
        {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["configmaps"]}]}}])
    for _ in range(2):
        assert asyncio.run(permissions.missing(resources, builtin())) == (
            "watch /v1, Resource=pods: ; get apps/v1, Resource=configmaps: ; list apps/v1, Resource=configmaps: ; "
            "watch apps/v1, Resource=configmaps: ")
    assert reviews.asked == 3
