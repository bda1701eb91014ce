"""`validate.foreach`: what is said of the elements of lists, word for word as Kyverno 1.19."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import CustodyError
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from tests.policy.test_images import NOW, pod

CONTAINERS = {"list": "request.object.spec.containers"}
IS_BAD = {"conditions": {"any": [{"key": "{{ element.image }}", "operator": "Equals", "value": "bad*"}]}}


def said(*foreach: dict[str, Any], resource: dict[str, Any] | None = None,
         message: str = "no") -> tuple[str, str] | None:
    policy = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "validate": {"message": message, "foreach": list(foreach)}}]}}
    decision = decide(Request.create(resource or two()), {}, PolicySet([policy]), Context(now=NOW))
    return (decision.results[0].outcome.value, decision.results[0].message) if decision.results else None


def two(**second: Any) -> dict[str, Any]:
    return {**pod(), "spec": {"containers": [{"name": "a", "image": "good"},
                                             {"name": "b", "image": "bad:1", "ports": [1, 2], **second}]}}


@pytest.mark.parametrize(("foreach", "expected"), [
    ([CONTAINERS | {"deny": IS_BAD}], ("fail", "validation failure: no")),
    ([CONTAINERS | {"pattern": {"image": "*"}}], ("pass", "rule passed")),
    ([CONTAINERS | {"pattern": {"image": "good"}}],
     ("fail", "validation failure: validation error: no. rule r failed at path /image/")),
    ([CONTAINERS | {"anyPattern": [{"image": "x"}, {"image": "good"}]}],
     ("fail", "validation failure: validation error: no. rule r[0] failed at path /image/ rule r[1] failed "
      "at path /image/")),
    # The second list decides; a list that is not there is none.
    ([{"list": "request.object.spec.initContainers", "deny": {}}, CONTAINERS | {"deny": {}}],
     ("fail", "validation failure: no")),
    ([{"list": "request.object.spec.initContainers", "deny": {}}], None),
    ([{"list": "to_number(request.object)", "deny": {}}], None),
    ([{"list": "sum(request.object.spec.containers)", "deny": {}}],
     ("error", "failed to evaluate list: JMESPath query failed: ")),
    # Elements for which the preconditions do not hold, or fail, are passed over.
    ([CONTAINERS | {"preconditions": {"all": [{"key": "{{ element.name }}", "operator": "Equals", "value": "a"}]},
                    "deny": IS_BAD}], ("pass", "rule passed")),
    ([CONTAINERS | {"preconditions": {"all": [{"key": "{{ element.none }}", "operator": "Equals", "value": "a"}]},
                    "deny": IS_BAD}], None),
    ([CONTAINERS | {"deny": {"conditions": {"any": [
        {"key": "{{ element.none }}", "operator": "Equals", "value": 1}]}}}],
     ("error", "validation failure: failed to check deny conditions: ")),
    ([{"list": "request.object.spec.containers[].ports[]", "elementScope": True, "pattern": 1}],
     ("error", "failed to process foreach: cannot use elementScope=true foreach rules for elements that are not maps, "
      "expected type=map got type=float64")),
    # Texts are no scope of their own: patterns are of the whole object.
    ([{"list": "request.object.spec.containers[].image", "pattern": {"metadata": {"name": "none"}}}],
     ("fail", "validation failure: validation error: no. rule r failed at path /metadata/name/")),
    # Lists in lists.
    ([CONTAINERS | {"preconditions": {"all": [{"key": "{{ element.ports || `[]` }}", "operator": "NotEquals",
                                               "value": []}]},
                    "foreach": [{"list": "element.ports", "deny": {"conditions": {"all": [
                        {"key": "{{ element0.name }}/{{ element1 }}/{{ elementIndex1 }}", "operator": "Equals",
                         "value": "b/2/1"}]}}}]}],
     ("fail", "validation failure: validation failure: no")),
])
def test_what_is_said(foreach: list[dict[str, Any]], expected: tuple[str, str] | None) -> None:
    got = said(*foreach)
    if expected is None or got is None:
        assert got == expected
    else:
        assert got[0] == expected[0]
        assert got[1].startswith(expected[1])


def test_the_message_may_name_the_element() -> None:
    assert said(CONTAINERS | {"deny": IS_BAD}, message="{{ element.name }} at {{ elementIndex }}") == (
        "fail", "validation failure: b at 1")


@pytest.mark.parametrize(("foreach", "words"), [
    ({"list": "request.object.[", "deny": {}}, "foreach[0].list"),
    ({"list": "nobody.knows", "deny": {}}, "variable 'nobody' is not evaluated here"),
    ({"list": "is_external_url('a')", "deny": {}}, "a function that asks for network is not evaluated here"),
    ({"deny": {}}, "foreach[0].list: got 'nothing'"),
    (CONTAINERS, "foreach[0]: got 'none of them'"),
    (CONTAINERS | {"deny": {}, "pattern": {}}, "got 'pattern and deny'"),
    (CONTAINERS | {"deny": {}, "order": "Ascending"}, "foreach[0].order: not evaluated"),
    (CONTAINERS | {"foreach": [{"list": "element2.x", "deny": {}}]}, "variable 'element2' is not evaluated here"),
])
def test_what_is_refused(foreach: dict[str, Any], words: str) -> None:
    with pytest.raises(CustodyError) as refused:
        said(foreach)
    assert words in refused.value.message


def test_a_list_is_bounded() -> None:
    resource = two()
    resource["spec"]["containers"] *= 6000
    assert said(CONTAINERS | {"deny": {}}, resource=resource) == (
        "error", "the lists of foreach have more than 10000 elements together")


def test_lists_in_lists_are_bounded_together() -> None:
    """Three of 10,000 would be a billion rounds."""
    resource = two()
    resource["spec"]["containers"] = [{"name": "a", "image": "x"}] * 300
    nested = CONTAINERS | {"foreach": [CONTAINERS | {"foreach": [CONTAINERS | {"deny": IS_BAD}]}]}
    outcome, message = said(nested, resource=resource) or ("", "")
    assert outcome == "error"
    assert "the lists of foreach have more than 10000 elements together" in message
