"""One rule, and what it says of one object."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from custody.formats import jsonpatch
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request
from custody.policy.phases import Course
from custody.ports.lookup import Answer, Question

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POD: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop", "labels": {"app": "web"}},
    "spec": {"containers": [{"name": "web", "image": "nginx:latest"}, {"name": "side", "image": "busybox:1"}]}}


def policy(rule: dict[str, Any], *rules: dict[str, Any], kinds: tuple[str, ...] = ("Pod",),
           **spec: Any) -> dict[str, Any]:
    match = {"any": [{"resources": {"kinds": list(kinds)}}]}
    named = [{"name": f"rule-{at}", "match": match, **one} for at, one in enumerate((rule, *rules))]
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
            "metadata": {"name": "p", "annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"}},
            "spec": {"validationFailureAction": "Enforce", **spec, "rules": named}}


def decided(document: dict[str, Any], resource: dict[str, Any] = POD, answers: Mapping[Question, Answer] = {},
            at: Course = Course.ADMISSION) -> Decision:
    return decide(Request.create(resource), {}, PolicySet([document]), Context(now=NOW), at=at, answers=answers)


def said(rule: dict[str, Any], resource: dict[str, Any] = POD, answers: Mapping[Question, Answer] = {}) -> str:
    """`outcome: message` of the only result."""
    (result,) = decided(policy(rule), resource, answers).results
    return f"{result.outcome}: {result.message}"


def after(rule: dict[str, Any], resource: dict[str, Any] = POD, answers: Mapping[Question, Answer] = {}) -> Any:
    """The object as the rule left it."""
    return jsonpatch.apply(resource, decided(policy(rule), resource, answers).patch)
