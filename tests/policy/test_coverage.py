"""Which fields that bring images into pods no rule sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from custody.policy.coverage import covered
from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from custody.policy.podfields import IMAGE_FIELDS, TEMPLATES
from tests.admission.kyverno_webhooks import CRD
from tests.policy.test_lint import images
from tests.policy.test_load import changed

INIT, CONTAINERS, EPHEMERAL, VOLUMES = (f"/spec{field}" for field in IMAGE_FIELDS)


def seen(document: dict[str, Any], kind: str = "Pod") -> set[str]:
    return {row.field for row in covered(PolicySet([document])) if row.kind == kind and row.rules}


def deny(key: str, kinds: tuple[str, ...] = ("Pod",)) -> dict[str, Any]:
    document = changed("spec/rules/0/validate", {"message": "m", "deny": {"conditions": {"any": [
        {"key": key, "operator": "AnyIn", "value": ["x"]}]}}})
    document["spec"]["rules"][0]["match"] = {"any": [{"resources": {"kinds": [*kinds]}}]}
    return document


@pytest.mark.parametrize(("document", "fields"), [
    (images(), {INIT, CONTAINERS, EPHEMERAL, VOLUMES}),
    (changed("spec/rules/0/validate/pattern", {"spec": {"containers": [{"image": "a/*"}]}}), {CONTAINERS}),
    (changed("spec/rules/0/validate/pattern", {"spec": {"=(initContainers)": [{"image": "a/*"}], "=(volumes)": [
        {"=(image)": {"reference": "a/*"}}]}}), {INIT, VOLUMES}),
    (changed("spec/rules/0/validate/pattern", {"spec": {"containers": [{"name": "a"}]}}), set()),
    (deny("{{ images.*.*.registry | [] }}"), {INIT, CONTAINERS, EPHEMERAL, VOLUMES}),
    (deny("{{ images.containers.*.registry }}"), {CONTAINERS}),
    (deny("{{ request.object.spec.[initContainers, containers][].image }}"), {INIT, CONTAINERS}),
    (deny("{{ request.object.metadata.name }}"), set()),
])
def test_a_rule_sees_the_fields_that_it_names(document: dict[str, Any], fields: set[str]) -> None:
    assert seen(document) == fields
    assert seen(document, "Deployment") == (set() if field_of_pods_only(document) else {
        f"/spec/template{field}" for field in fields})


def field_of_pods_only(document: dict[str, Any]) -> bool:
    return "{{ images." in json.dumps(document)


def test_a_rule_about_deletions_sees_nothing_that_comes() -> None:
    document = deny("{{ request.object.spec.containers[].image }}")
    assert seen(document) == {CONTAINERS}
    document["spec"]["rules"][0]["match"]["any"][0]["resources"]["operations"] = ["DELETE"]
    assert seen(document) == set()


def test_without_autogen_no_template_is_seen() -> None:
    document = changed("spec/rules/0/validate/pattern", {"spec": {"containers": [{"image": "a/*"}]}})
    document["metadata"]["annotations"] = {"pod-policies.kyverno.io/autogen-controllers": "Job"}
    assert seen(document, "Deployment") == set()
    assert seen(document, "Job") == {"/spec/template/spec/containers/[]/image"}


def test_templates_are_seen_by_rules_about_their_holders() -> None:
    document = deny("{{ request.object.spec.template.spec.containers[].image }}", ("Deployment", "StatefulSet"))
    assert seen(document) == set()
    assert seen(document, "Deployment") == seen(document, "StatefulSet") == {"/spec/template/spec/containers/[]/image"}
    assert seen(document, "Job") == set()


def test_every_holder_and_custom_resource_has_its_rows() -> None:
    rows = covered(PolicySet([images()], kinds=builtin().with_crds([CRD])))
    assert {row.kind for row in rows} == {*TEMPLATES, "Service.serving.knative.dev"}
    assert rows[-1].field == "any pod template in it"


def test_image_volume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The field that nobody looked at is named."""
    file = tmp_path / "policy.yaml"
    pattern = {"spec": {"containers": [{"image": "a/*"}]}}
    file.write_text(yaml.safe_dump(changed("spec/rules/0/validate/pattern", pattern)))
    assert run(["policy", "lint", "--coverage", str(file)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["✗", "Pod", VOLUMES, "no", "rule"] in lines
    assert ["✓", "Pod", CONTAINERS, "p/r"] in lines
    assert run(["policy", "lint", "--coverage", "-o", "json", str(file)]) == 0
    assert {"kind": "Pod", "field": VOLUMES, "rules": []} in json.loads(capsys.readouterr().out)
