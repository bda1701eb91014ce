"""`validate.podSecurity` with `exclude`, word for word as Kyverno 1.19, and on what makes pods."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import CustodyError
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from tests.policy.test_images import NOW

PRIVILEGED = ("(Forbidden reason: privileged, field error list: [{}.containers[0].securityContext.privileged is "
              "forbidden, forbidden values found: true])")


def said(*exclude: dict[str, Any], kind: str = "Pod", **spec: Any) -> tuple[str, str]:
    policy = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                   "validate": {"podSecurity": {"level": "baseline", "version": "latest", "exclude": [*exclude]}}}]}}
    pod: Any = {"spec": {"containers": [{"name": "a", "image": "ghcr.io/a:1", "securityContext": {"privileged": True}}],
                         **spec}}
    if kind == "CronJob":
        pod = {"spec": {"jobTemplate": {"spec": {"template": pod}}}}
    group = "batch/v1" if kind == "CronJob" else "v1"
    resource = {"apiVersion": group, "kind": kind, "metadata": {"name": "x", "namespace": "default"}, **pod}
    [result] = decide(Request.create(resource), {}, PolicySet([policy]), Context(now=NOW)).results
    return result.outcome.value, result.message.partition('"baseline:latest": ')[2]


CONTROL: dict[str, Any] = {"controlName": "Privileged Containers", "images": ["ghcr.io/*"]}
FIELD = {"restrictedField": "spec.containers[*].securityContext.privileged", "values": ["true"]}


def test_what_is_excluded_passes_and_only_that() -> None:
    assert said() == ("fail", PRIVILEGED.format("spec"))
    assert said(kind="CronJob") == ("fail", PRIVILEGED.format("spec.jobTemplate.spec.template.spec"))
    for exclusion in (CONTROL, CONTROL | FIELD):
        assert said(exclusion)[0] == said(exclusion, kind="CronJob")[0] == "pass"
        network = ("fail", "(Forbidden reason: host namespaces, field error list: [spec.hostNetwork is forbidden, "
                   "forbidden values found: true])")
        assert said(exclusion, hostNetwork=True) == network
        assert said(exclusion, {"controlName": "Host Namespaces"}, hostNetwork=True)[0] == "pass"


@pytest.mark.parametrize("exclusion", [
    CONTROL | {"images": ["quay.io/*"]}, CONTROL | {"controlName": "Host Ports"},
    CONTROL | FIELD | {"values": ["false"]},
    CONTROL | FIELD | {"restrictedField": "spec.initContainers[*].securityContext.privileged"}])
def test_another_image_control_value_or_field_excludes_nothing(exclusion: dict[str, Any]) -> None:
    assert said(exclusion) == ("fail", PRIVILEGED.format("spec"))


@pytest.mark.parametrize(("exclusion", "words"), [
    ({"controlName": "Privileged Containers"}, "expected images for Privileged Containers"),
    ({"controlName": "Sysctls", "images": ["*"]}, "expected no images for Sysctls"),
    (CONTROL | {"values": ["true"]}, "expected both restrictedField and values"),
    ({"controlName": "Volume Types"}, "expected a control of baseline"),
    ({"controlName": "Privileged"}, "exclude[0].controlName: got 'Privileged'"),
    (CONTROL | {"name": "x"}, "exclude[0].name: not evaluated")])
def test_what_kyverno_refuses_is_refused(exclusion: dict[str, Any], words: str) -> None:
    with pytest.raises(CustodyError) as refused:
        said(exclusion)
    assert words in refused.value.message
