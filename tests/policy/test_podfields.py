"""Which fields of which objects bring bytes into a pod."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from custody.errors import MalformedError
from custody.policy.podfields import IMAGE_FIELDS, MAX_DEPTH, TEMPLATES, image_texts, pod_templates
from tests.policy import pod_schema

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


# Texts that speak of images or references in Kubernetes' schema, and bring none.
NOT_BYTES = {
    "args/[]": "arguments of what the image brings", "command/[]": "names a program that the image brings",
    "env/[]/value": "a text", "imagePullPolicy": "when to pull, not what", "resources/claims/[]/request": "a device",
    "securityContext/windowsOptions/runAsUserName": "a user", "volumeMounts/[]/subPathExpr": "a path in a volume",
    "workingDir": "a path in the image", "securityContext/supplementalGroupsPolicy": "groups",
    "ephemeral/volumeClaimTemplate/spec/dataSource/apiGroup": "data of a claim, no OCI image",
    "ephemeral/volumeClaimTemplate/spec/dataSource/kind": "data of a claim, no OCI image",
    "ephemeral/volumeClaimTemplate/spec/dataSource/name": "data of a claim, no OCI image",
    "ephemeral/volumeClaimTemplate/spec/dataSourceRef/apiGroup": "data of a claim, no OCI image",
    "ephemeral/volumeClaimTemplate/spec/dataSourceRef/kind": "data of a claim, no OCI image",
    "ephemeral/volumeClaimTemplate/spec/dataSourceRef/name": "data of a claim, no OCI image",
    "ephemeral/volumeClaimTemplate/spec/dataSourceRef/namespace": "data of a claim, no OCI image",
    "ephemeral/volumeClaimTemplate/spec/volumeName": "an existing volume", "image/pullPolicy": "when to pull, not what",
    "quobyte/volume": "an existing volume", "rbd/image": "a block device of a Ceph cluster, which Ceph calls an image"}


def uncovered(facts: dict[str, Any]) -> list[str]:
    """What of the schema is neither judged nor known to bring no bytes."""
    return [field for field in facts["fields"] if field not in IMAGE_FIELDS
            and re.sub(r"^/((\w+)/\[\]/)?", "", field) not in NOT_BYTES] + [
        f"{kind}{pointer}" for kind, pointers in facts["holders"].items() for pointer in pointers
        if TEMPLATES.get(kind) != pointer]


def test_every_field_of_the_schema_that_names_an_image_is_judged() -> None:
    facts = json.loads(pod_schema.FACTS.read_text())
    assert uncovered(facts) == []
    assert set(IMAGE_FIELDS) <= set(facts["fields"])
    assert set(TEMPLATES) == set(facts["holders"])


def test_a_new_field_or_holder_is_noticed() -> None:
    facts = json.loads(pod_schema.FACTS.read_text())
    facts["fields"].append("/sidecars/[]/image")
    facts["holders"]["NewSet"] = ["/spec/template/spec"]
    assert uncovered(facts) == ["/sidecars/[]/image", "NewSet/spec/template/spec"]
