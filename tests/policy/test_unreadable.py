"""A pod whose images cannot be read is not a pod without images."""

from __future__ import annotations

from typing import Any

import pytest

from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request, Verdict
from tests.policy.test_images import NOW, keyless, pod, policies, reason

BAD = {"name": "c", "image": "evil.example/x:1"}


def banned() -> PolicySet:
    rule = {"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "validate": {
        "message": "banned registry", "deny": {"conditions": {"any": [
            {"key": "{{ images.*.*.registry[] || `[]` }}", "operator": "AnyIn", "value": ["evil.example"]}]}}}}
    return PolicySet([{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
                       "spec": {"validationFailureAction": "Enforce", "rules": [rule]}}])


def of(resource: Any, found: PolicySet) -> Any:
    request = Request(operation="CREATE", kind=Request.create(pod()).kind, name="p", object=resource)
    return decide(request, {}, found, Context(now=NOW))


@pytest.mark.parametrize(("spec", "where"), [
    ({"containers": {"c": BAD}}, "/spec/containers: got a map, expected a list"),
    ({"containers": "evil.example/x:1"}, "/spec/containers: got 'evil.example/x:1', expected a list"),
    ({"containers": ["evil.example/x:1"]}, "/spec/containers/0: got 'evil.example/x:1', expected a map"),
    ({"containers": [[BAD]]}, "/spec/containers/0: got a list, expected a map"),
    ({"containers": [{"name": "c", "image": ["evil.example/x:1"]}]}, "/spec/containers/0/image: got a list"),
    ({"initContainers": 0}, "/spec/initContainers: got 0, expected a list"),
    ({"volumes": [{"name": "v", "image": "evil.example/x:1"}]}, "/spec/volumes/0/image: got 'evil.example/x:1'"),
    ({"volumes": {"image": {"reference": "evil.example/x:1"}}}, "/spec/volumes: got a map, expected a list"),
    ([{"containers": [BAD]}], "/spec: got a list, expected a map"),
])
def test_images_of_another_shape_are_not_absent(spec: Any, where: str) -> None:
    resource = {**pod(), "spec": spec}
    assert where in reason(of(resource, banned()))
    assert where in reason(of(resource, policies(**keyless())))


def test_a_pod_that_is_created_without_an_object_is_not_one_without_images() -> None:
    assert "object: got null, expected a map" in reason(of(None, banned()))


def test_two_containers_of_one_name_do_not_hide_one_another() -> None:
    good = {"name": "c", "image": "good.example/x:1"}
    for containers in ([BAD, good], [{"image": "evil.example/x:1"}, {"image": "good.example/x:1"}],
                       [{**BAD, "name": 1}, {**good, "name": "1"}]):
        assert "twice, expected each name once" in reason(of({**pod(), "spec": {"containers": containers}}, banned()))


def test_a_pod_of_another_group_is_still_asked_for_its_images() -> None:
    request = Request.create({**pod(), "apiVersion": "apps/v1", "spec": {"containers": [BAD]}})
    assert reason(decide(request, {}, banned(), Context(now=NOW))) == "banned registry"


def test_what_is_absent_stays_absent() -> None:
    for spec in ({"containers": None}, {}, None, {"containers": [{"name": "c"}], "volumes": [{"emptyDir": {}}, {}]}):
        assert of({**pod(), "spec": spec}, banned()).verdict is Verdict.ALLOWED
