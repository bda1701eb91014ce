"""`podSecurity` as CEL: equal verdicts on generated pods, control by control, with what is excluded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from custody.policy.decide import decide
from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from custody.policy.migrate.outcome import Migrated
from custody.policy.migrate.rules import migrate
from custody.policy.model import Context, Request
from tests.policy.test_podsecurity import CONTAINER, GOOD

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def policy(kinds: tuple[str, ...] = ("Pod",), **block: Any) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": [*kinds]}}]}, "validate": {"podSecurity": block}}]}}


def translated(document: dict[str, Any]) -> Migrated:
    (rule,) = migrate(document, builtin(), count=60)
    return rule


@pytest.mark.parametrize(("kinds", "block"), [
    (("Pod",), {"level": "baseline"}), (("Pod",), {"level": "restricted", "version": "latest"}),
    (("Pod",), {"level": "restricted", "version": "v1.18"}), (("Pod",), {"level": "baseline", "version": "v1.24"}),
    (("Deployment",), {"level": "restricted"}), (("Pod",), {"level": "privileged"}),
    (("CronJob",), {"level": "baseline"}),
    (("Pod", "CronJob"), {"level": "baseline"}),
    (("Pod",), {"level": "restricted", "exclude": [{"controlName": "Seccomp"}]}),
    (("Pod",), {"level": "restricted", "exclude": [{"controlName": "Running as Non-root"}]}),
    (("Pod",), {"level": "restricted", "exclude": [
        {"controlName": "Seccomp"}, {"controlName": "Seccomp", "images": ["*"]}]}),
    (("Pod",), {"level": "restricted", "exclude": [{"controlName": "Capabilities", "images": ["nginx*"]}]}),
    (("Pod",), {"level": "restricted", "exclude": [
        {"controlName": "Capabilities", "images": ["*"], "values": ["NET_ADMIN"],
         "restrictedField": "spec.containers[*].securityContext.capabilities.add"}]}),
    (("Pod",), {"level": "baseline", "exclude": [
        {"controlName": "Host Ports", "images": ["*"], "values": ["80"],
         "restrictedField": "spec.containers[*].ports[*].hostPort"}]}),
    (("Pod",), {"level": "baseline", "exclude": [
        {"controlName": "HostPath Volumes", "restrictedField": "spec.volumes[*].hostPath", "values": ["/var*"]}]}),
    (("Pod",), {"level": "restricted", "exclude": [{"controlName": "Volume Types"}, {"controlName": "Sysctls"}]}),
])
def test_verdicts_are_equal(kinds: tuple[str, ...], block: dict[str, Any]) -> None:
    rule = translated(policy(kinds, **block))
    assert rule.refused is None, (rule.refused, rule.difference, rule.documents)
    assert 0 < rule.denied < rule.judged


def test_what_is_against_the_standard_is_denied_with_the_message() -> None:
    document = policy(level="restricted")
    document["spec"]["rules"][0]["validate"]["message"] = "no restricted pod"
    policies = PolicySet([*translated(document).documents])
    spec: dict[str, Any] = {"containers": [{"name": "a", "image": "nginx", "securityContext": CONTAINER}],
                            "securityContext": GOOD}
    worse: list[dict[str, Any]] = [
        {}, {"hostPID": True}, {"volumes": [{"name": "v", "nfs": {}}]}, {"securityContext": {}},
        {"containers": [{"name": "a", "image": "nginx"}]},
        {"containers": [*spec["containers"], {"name": "b", "image": "x", "securityContext": {
            **CONTAINER, "privileged": True}}]}]
    for change in worse:
        for kind, wrapped in (("Pod", {**spec, **change}), ("Deployment", {"template": {"spec": {**spec, **change}}})):
            version = "v1" if kind == "Pod" else "apps/v1"
            document = {"apiVersion": version, "kind": kind, "metadata": {"name": "n"}, "spec": wrapped}
            request = Request.create(document, "default")
            decision = decide(request, {}, policies, Context(now=NOW))
            assert decision.allowed is (not change), (kind, change, decision.results)
            assert not change or any("no restricted pod" in result.message for result in decision.results)


@pytest.mark.parametrize(("kinds", "block", "path", "words"), [
    (("ConfigMap",), {"level": "baseline"}, "validate.podSecurity", "ConfigMap has no pod"),
    (("Pod",), {"level": "restricted", "exclude": [
        {"controlName": "Seccomp"}, {"controlName": "Seccomp", "images": ["nginx"]}]}, "exclude[1]", "whichever"),
    (("Pod",), {"level": "baseline", "version": "v1.18", "exclude": [{"controlName": "Seccomp"}]}, "exclude",
     "annotations"),
])
def test_what_has_no_words_is_refused(kinds: tuple[str, ...], block: dict[str, Any], path: str, words: str) -> None:
    refused = translated(policy(kinds, **block)).refused
    assert refused is not None
    assert path in refused.message
    assert words in refused.message
