"""What conditions on attestations may speak of beside what is attested: the entries of a rule's context, the request.

Verdicts and the denial's message are those of Kyverno 1.19.1's command line over the same attestation.
"""

from __future__ import annotations

from typing import Any

import pytest

from custody.policy.load import PolicySet
from tests.policy.test_images import KEYLESS, VULN, judge, reason, statement

SCAN = statement(VULN, {"level": 3, "by": "two"})


def condition(key: str, value: Any) -> dict[str, Any]:
    return {"all": [{"key": key, "operator": "Equals", "value": value}]}


def policies(conditions: dict[str, Any] | None, deny: dict[str, Any] | None = None, message: str = "",
             **context: Any) -> PolicySet:
    entry: dict[str, Any] = {"imageReferences": ["ghcr.io/myorg/*"], "attestations": [
        {"type": VULN, "name": "scan", "attestors": [{"entries": [{"keyless": KEYLESS}]}],
         **({"conditions": [conditions]} if conditions else {})}]}
    if deny is not None:
        entry["validate"] = {"message": message, "deny": {"conditions": deny}}
    named = [{"name": name, "variable": value if isinstance(value, dict) else {"value": value}}
             for name, value in context.items()]
    return PolicySet([{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "context": named,
            "verifyImages": [entry]}]}}])


@pytest.mark.parametrize(("key", "value", "context", "allowed"), [
    ("{{ level }}", "{{ most }}", {"most": 3}, True), ("{{ level }}", "{{ most }}", {"most": 4}, False),
    ("{{ name }}", "p", {"name": {"jmesPath": "request.object.metadata.name"}}, True),
    ("{{ tag }}", "1", {"tag": {"jmesPath": "images.containers.c.tag"}}, True),
    ("{{ tag }}", "2", {"tag": {"jmesPath": "images.containers.c.tag"}}, False),
    ("{{ level }}", 9, {"level": 9}, True),  # the rule's own word stands before what is attested
    ("{{ request.namespace }}", "default", {}, True), ("{{ request.namespace }}", "x", {}, False),
])
def test_conditions_speak_of_the_rules_context(key: str, value: Any, context: dict[str, Any], allowed: bool) -> None:
    assert judge(policies(condition(key, value), **context), SCAN).allowed is allowed


def test_what_is_denied_speaks_of_the_rules_context_too() -> None:
    deny = {"any": [{"key": "{{ scan.level }}", "operator": "Equals", "value": "{{ most }}"}]}
    assert reason(judge(policies(None, deny, "m {{ most }}", most=3), SCAN)) == (
        "validation in verifyImages failed: m 3")
    assert judge(policies(None, deny, "m {{ most }}", most=4), SCAN).allowed


def test_what_is_denied_by_a_value_that_nobody_has_is_no_yes() -> None:
    deny = {"any": [{"key": "{{ scan.level }}", "operator": "Equals", "value": "{{ most }}"}]}
    assert "failed to check deny conditions" in reason(judge(policies(None, deny), SCAN))
