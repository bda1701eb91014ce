"""What rules read of who asks beyond their name: the roles that bindings give them, and what they may do."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from custody.admission.judging import Judging
from custody.policy.load import PolicySet
from custody.policy.model import Decision, Request, User
from custody.policy.phases import Course
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import Answer, Answered, ApiCall, Failed, Lookup, Question, Roles

CONFIGMAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "qa"}}


class World(Lookup):
    def __init__(self, *, bound: dict[str, list[str]] | None = None, allowed: bool | None = None) -> None:
        self._bound, self._allowed = bound, allowed
        self.asked: list[Question] = []

    async def answer(self, question: Question) -> Answer:
        self.asked.append(question)
        if isinstance(question, Roles) and self._bound is not None:
            return Answered(self._bound)
        if isinstance(question, ApiCall) and self._allowed is not None:
            return Answered({"status": {"allowed": self._allowed}})
        return Failed("nobody is there")


def judged(world: World, rule: dict[str, Any], user: str = "chip", **spec: Any) -> Decision:
    policy = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": "Enforce", "background": False, **spec, "rules": [
            {"name": "r", "match": {"any": [{"resources": {"kinds": ["ConfigMap"]}}]}, **rule}]}}

    async def gather(*_: Any) -> dict[str, Any]:
        return {}

    judging = Judging(gather, lambda: datetime(2026, 11, 29, tzinfo=UTC), world)
    request = msgspec.structs.replace(Request.create(CONFIGMAP), user=User(username=user))
    return asyncio.run(judging.judge(request, Snapshot(PolicySet([policy])), Course.ADMISSION)).decision


ANNOTATED = {"mutate": {"patchStrategicMerge": {"metadata": {"annotations": {
    "cluster": "{{ request.clusterRoles | sort(@) | to_string(@) }}", "roles": "{{ request.roles | to_string(@) }}"}}}}}


def test_the_roles_of_who_asks_are_looked_up_by_rules_that_read_them() -> None:
    world = World(bound={"roles": ["qa:special"], "clusterRoles": ["chip", "basic"]})
    (patch,) = judged(world, ANNOTATED).patch
    assert patch["value"] == {"cluster": '["basic","chip"]', "roles": '["qa:special"]'}
    assert world.asked == [Roles("chip", (), "qa")]
    plain = World()
    assert judged(plain, {"validate": {"pattern": {"metadata": {"name": "c"}}}}).allowed
    assert plain.asked == []


def test_roles_in_a_condition_deny_where_they_cannot_be_looked_up() -> None:
    denied = {"validate": {"message": "no", "deny": {"conditions": {"any": [
        {"key": "admin", "operator": "AnyNotIn", "value": "{{ request.clusterRoles || `[]` }}"}]}}}}
    assert judged(World(bound={"clusterRoles": ["admin"]}), denied).allowed
    assert not judged(World(bound={"clusterRoles": ["view"]}), denied).allowed
    failed = judged(World(), denied)
    assert not failed.allowed
    assert "nobody is there" in failed.results[0].message


CEL = {"validate": {"cel": {"expressions": [{
    "expression": "authorizer.serviceAccount('default', 'a').group('apps').resource('deployments').namespace('default')"
                  ".check('delete').allowed()", "message": "may not delete"}]}}}


@pytest.mark.parametrize(("world", "allowed"), [(World(allowed=True), True), (World(allowed=False), False),
                                                (World(), False)])
def test_what_somebody_may_do_is_asked_of_the_api_server(world: World, allowed: bool) -> None:
    decision = judged(world, CEL)
    assert decision.allowed is allowed
    if not allowed:
        assert "may not delete" in decision.results[0].message
    (question,) = set(world.asked)
    assert isinstance(question, ApiCall)
    assert json.loads(question.body)["spec"] == {
        "user": "system:serviceaccount:default:a",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:default"],
        "resourceAttributes": {"group": "apps", "namespace": "default", "resource": "deployments", "verb": "delete"}}


def test_conditions_of_the_webhook_may_ask_too() -> None:
    conditions = {"matchConditions": [{"name": "m", "expression":
                                       "authorizer.group('').resource('configmaps').check('breakglass').allowed()"}]}
    rule = {"validate": {"message": "no", "deny": {}}}
    assert not judged(World(allowed=True), rule, webhookConfiguration=conditions).allowed
    assert judged(World(allowed=False), rule, webhookConfiguration=conditions).allowed
