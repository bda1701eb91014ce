"""Which fields of which objects bring bytes into a pod."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import MalformedError
from custody.policy.podfields import IMAGE_FIELDS, MAX_DEPTH, image_texts, pod_templates

POD_SPEC: dict[str, Any] = {
    "initContainers": [{"name": "i", "image": "init:1"}], "containers": [{"name": "c", "image": "app:1"}],
    "ephemeralContainers": [{"name": "e", "image": "debug:1"}],
    "volumes": [{"name": "v", "emptyDir": {}}, {"name": "m", "image": {"reference": "model:1"}}]}


def test_each_field_of_a_pod_spec_is_found_at_its_pointer() -> None:
    assert list(image_texts(POD_SPEC, "/spec")) == [
        ("/initContainers/[]/image", "/spec/initContainers/0/image", "init:1"),
        ("/containers/[]/image", "/spec/containers/0/image", "app:1"),
        ("/ephemeralContainers/[]/image", "/spec/ephemeralContainers/0/image", "debug:1"),
        ("/volumes/[]/image/reference", "/spec/volumes/1/image/reference", "model:1")]
    assert {field for field, _, _ in image_texts(POD_SPEC)} == set(IMAGE_FIELDS)


@pytest.mark.parametrize(("document", "pointers"), [
    ({"kind": "Pod", "spec": POD_SPEC}, ["/spec"]),
    ({"kind": "Deployment", "spec": {"template": {"spec": POD_SPEC}}}, ["/spec/template/spec"]),
    ({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": POD_SPEC}}}}},
     ["/spec/jobTemplate/spec/template/spec"]),
    ({"kind": "PodTemplate", "template": {"spec": POD_SPEC}}, ["/template/spec"]),
    ({"kind": "RayCluster", "spec": {"workers": [{"a/b": {"spec": {"containers": [{"image": "x"}]}}}],
                                     "head": {"spec": {"volumes": [{"image": {"reference": "y"}}]}}}},
     ["/spec/workers/0/a~1b/spec", "/spec/head/spec"]),
    ({"kind": "Pod", "spec": {"containers": [{"name": "c"}]}, "status": {"x": POD_SPEC}}, []),
    ({"kind": "ConfigMap", "data": {"containers": "app:1"}}, []),
    ([POD_SPEC], ["/0"]),
])
def test_pod_templates_are_found_wherever_they_stand(document: Any, pointers: list[str]) -> None:
    assert [pointer for pointer, _ in pod_templates(document)] == pointers


def test_nesting_beyond_the_limit_is_an_error_and_not_an_empty_list() -> None:
    part: dict[str, Any] = {"spec": POD_SPEC}
    for _ in range(MAX_DEPTH):
        part = {"spec": part}
    with pytest.raises(MalformedError, match="too large or too deep to be searched"):
        pod_templates(part)
