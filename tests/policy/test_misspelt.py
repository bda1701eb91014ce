"""Policies that say what can never hold, or cannot be looked up: refused as Kyverno 1.19 refuses them."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import MalformedError, UsageError
from custody.policy.load import PolicySet


def policy(**rule: Any) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {"rules": [
        {"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
         "validate": {"message": "m", "pattern": {"kind": "Pod"}}, **rule}]}}


def asked(value: Any, key: Any = "{{ request.operation }}") -> dict[str, Any]:
    return {"key": key, "operator": "AnyIn", "value": value}


@pytest.mark.parametrize(("conditions", "path", "got"), [
    ({"all": [asked("CRATE")]}, "all[0].value", "got 'CRATE', expected one of CREATE, UPDATE, DELETE, CONNECT"),
    ({"any": [asked(["CREATE", "update"])]}, "any[0].value[1]", "got 'update', expected one of CREATE"),
    ({"all": [asked([True])]}, "all[0].value[0]", "got a boolean, expected one of"),
    ({"all": [asked(7)]}, "all[0].value", "got a number, expected text or a list"),
    ({"all": [asked(None)]}, "all[0].value", "got null, expected a value: it is missing or misspelled"),
    ({"all": [{"key": "a", "operator": "Equals", "valeu": "b"}]}, "all[0].valeu", "not evaluated"),
    ({"all": [{"key": "a", "operator": "Equals"}]}, "all[0].value", "got null"),
    ({"all": [asked("a", None)]}, "all[0].key", "got null")])
def test_conditions_that_cannot_hold(conditions: Any, path: str, got: str) -> None:
    with pytest.raises(UsageError) as refused:
        PolicySet([policy(preconditions=conditions)])
    assert f"spec.rules[0].preconditions.{path}: {got}" in str(refused.value)
    with pytest.raises(UsageError) as refused:
        PolicySet([policy(validate={"message": "m", "deny": {"conditions": conditions}})])
    assert f"spec.rules[0].validate.deny.conditions.{path}: {got}" in str(refused.value)


@pytest.mark.parametrize("value", ["{{ request.object.metadata.name }}", "DELETE", ["CREATE", "UPDATE"], []])
def test_operations_that_may_be_asked_for(value: Any) -> None:
    PolicySet([policy(preconditions={"all": [asked(value)]})])


def test_a_message_of_a_condition_is_text() -> None:
    with pytest.raises(MalformedError, match=r"all\[0\]\.message: got a number, expected text"):
        PolicySet([policy(preconditions={"all": [{**asked("CREATE"), "message": 7}]})])


@pytest.mark.parametrize(("entry", "words"), [
    ({"apiCall": {"urlPath": "/api", "jmesPath": "1e999"}}, r"apiCall\.jmesPath: got '1e999', expected a JMESPath"),
    ({"variable": {"value": 1, "jmesPath": "a ||"}}, r"variable\.jmesPath: got 'a \|\|', expected a JMESPath")])
def test_what_cannot_be_looked_up(entry: Any, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        PolicySet([policy(context=[{"name": "c", **entry}])])


@pytest.mark.parametrize("value", ["%s", "-a", "a b", "{{ x }}", "a" * 64])
def test_a_label_that_nothing_can_have(value: str) -> None:
    match = {"any": [{"resources": {"kinds": ["Pod"], "selector": {"matchLabels": {"team": value}}}}]}
    with pytest.raises(MalformedError, match=r"selector\.matchLabels\.team: got .*, expected a label's value"):
        PolicySet([policy(match=match)])
    for fine in ("", "a", "A.b_c-1", "a*", "?"):
        match["any"][0]["resources"]["selector"] = {"matchLabels": {"team": fine}}
        PolicySet([policy(match=match)])
