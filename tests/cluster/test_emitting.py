"""Policies that the API server judges by itself: made, kept in step, and no longer asked of the webhook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.admission.conftest import api_server
from tests.cli.commands import custody
from tests.cluster.replica import Cluster, Replica

pytestmark = pytest.mark.peer
FLAGS = ("--runtime-config=admissionregistration.k8s.io/v1beta1=true", "--feature-gates=MutatingAdmissionPolicy=true")
CONFIGMAPS = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                                 "resources": ["configmaps"]}],
              "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with api_server(tmp_path_factory.mktemp("apiserver"), *FLAGS) as kubeconfig:
        made = Cluster(kubeconfig)
        crds = tmp_path_factory.mktemp("crds") / "crds.yaml"
        crds.write_text(custody("admission", "crds", cwd=crds.parent).stdout)
        made.do("apply", "--server-side", "-f", str(crds))
        yield made


@pytest.fixture(scope="module")
def replica(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    folder = tmp_path_factory.mktemp("replica")
    (folder / "custody.toml").write_text('exceptions = ["*"]\n')
    running = Replica(folder, cluster).started()
    yield running
    running.stop()


def cel(name: str, kind: str = "ValidatingPolicy", **spec: Any) -> dict[str, Any]:
    made = "mutatingAdmissionPolicy" if kind == "MutatingPolicy" else "validatingAdmissionPolicy"
    return {"apiVersion": "policies.kyverno.io/v1", "kind": kind, "metadata": {"name": name}, "spec": {
        "matchConstraints": CONFIGMAPS, "autogen": {made: {"enabled": True}}, **spec}}


def rule(name: str, **cel: Any) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": {
        "validationFailureAction": "Enforce", "background": True, "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Secret"], "namespaces": ["default"]}}]},
            "validate": {"cel": {"generate": True, **cel}}}]}}


def named(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


def asked(cluster: Cluster) -> set[str]:
    """The resources that the API server asks custody about."""
    return {resource for kind in ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")
            for configuration in (cluster.get(kind) or {"items": []})["items"]
            if configuration["metadata"]["name"] == "custody"
            for hook in configuration["webhooks"] for rule in hook["rules"] for resource in rule["resources"]}


def generated(cluster: Cluster, kind: str, name: str) -> bool:
    status = cluster.get(kind, name).get("status") or {}
    return bool((status.get("validatingadmissionpolicy") or status).get("generated"))


def test_the_api_server_judges_and_the_webhook_is_asked_no_more(cluster: Cluster, replica: Replica) -> None:
    cluster.do("apply", "-f", "-", given=[
        cel("v", validations=[{"expression": "object.metadata.name != 'bad'", "message": "no bad"}]),
        cel("m", "MutatingPolicy", mutations=[{"patchType": "ApplyConfiguration", "applyConfiguration": {
            "expression": "Object{metadata: Object.metadata{labels: Object.metadata.labels{team: 'a'}}}"}}]),
        rule("c", expressions=[{"expression": "object.metadata.name != 'worse'", "message": "no worse"}])])
    for kind, name in (("validatingpolicy", "v"), ("mutatingpolicy", "m"), ("clusterpolicy", "c")):
        cluster.until(lambda kind=kind, name=name: generated(cluster, kind, name), f"{kind} {name} is generated")
    cluster.until(lambda: not {"configmaps", "secrets"} & asked(cluster), "the webhook is not asked")
    refused = cluster("create", "-f", "-", given=named("bad"))
    assert "ValidatingAdmissionPolicy 'vpol-v' with binding 'vpol-v-binding' denied request: no bad" in refused.stderr
    refused = cluster("create", "secret", "generic", "worse")
    assert "ValidatingAdmissionPolicy 'cpol-c' with binding 'cpol-c-binding' denied request: no worse" in refused.stderr
    cluster.do("create", "-f", "-", given=named("good"))
    assert cluster.get("configmap", "good")["metadata"]["labels"] == {"team": "a"}
    made = cluster.get("validatingadmissionpolicy", "vpol-v")["metadata"]
    assert made["labels"]["app.kubernetes.io/managed-by"] == "custody"
    assert [(owner["kind"], owner["name"]) for owner in made["ownerReferences"]] == [("ValidatingPolicy", "v")]


def test_an_exception_is_one_of_the_api_server_too(cluster: Cluster, replica: Replica) -> None:
    exception = {"apiVersion": "policies.kyverno.io/v1", "kind": "PolicyException",
                 "metadata": {"name": "e", "namespace": "default"}, "spec": {
                     "policyRefs": [{"name": "v", "kind": "ValidatingPolicy"}],
                     "matchConditions": [{"name": "bad", "expression": "object.metadata.name == 'bad'"}]}}
    cluster.do("apply", "-f", "-", given=exception)
    cluster.until(lambda: cluster.get("validatingadmissionpolicy", "vpol-v")["spec"].get("matchConditions") == [
        {"name": "bad", "expression": "!(object.metadata.name == 'bad')"}], "the exception is in it")
    cluster.until(lambda: cluster("create", "--dry-run=server", "-f", "-", given=named("bad")).returncode == 0,
                  "the exception counts")
    cluster.do("delete", "policyexceptions.policies.kyverno.io", "e")
    cluster.until(lambda: "no bad" in cluster("create", "--dry-run=server", "-f", "-", given=named("bad")).stderr,
                  "it counts no more")


def test_what_somebody_deletes_is_made_again_and_judged_meanwhile(cluster: Cluster, replica: Replica) -> None:
    before = cluster.get("validatingadmissionpolicy", "vpol-v")["metadata"]["uid"]
    cluster.do("delete", "validatingadmissionpolicy", "vpol-v")
    cluster.until(lambda: (cluster.get("validatingadmissionpolicy", "vpol-v") or {}).get("metadata", {}).get(
        "uid", before) != before, "it is there again")
    cluster.until(lambda: "no bad" in cluster("create", "--dry-run=server", "-f", "-", given=named("bad")).stderr,
                  "it is judged")


@pytest.mark.parametrize(("kind", "name", "patch"), [
    ("validatingadmissionpolicy", "vpol-v", {"matchConditions": [{"name": "never", "expression": "false"}]}),
    ("validatingadmissionpolicybinding", "vpol-v-binding", {"matchResources": {
        "objectSelector": {"matchLabels": {"no": "such"}}}}),
    ("validatingadmissionpolicybinding", "vpol-v-binding", {"validationActions": ["Audit"]})])
def test_what_somebody_adds_or_takes_away_is_put_right(cluster: Cluster, replica: Replica, kind: str, name: str,
                                                       patch: dict[str, Any]) -> None:
    before = cluster.get(kind, name)["spec"]
    cluster.do("patch", kind, name, "--type=merge", "-p", json.dumps({"spec": patch}))
    cluster.until(lambda: cluster.get(kind, name)["spec"] == before, "it is as it was")
    cluster.until(lambda: "no bad" in cluster("create", "--dry-run=server", "-f", "-", given=named("bad")).stderr,
                  "it denies")


def test_what_only_the_webhook_can_judge_is_left_to_it_with_the_reason(cluster: Cluster, replica: Replica) -> None:
    cluster.do("apply", "-f", "-", given=[
        cel("w", validations=[{"message": "no ours", "expression": (
            "object.metadata.name != 'ours' || !has(resource.Get('v1', 'namespaces', '', 'default').metadata)")}])])
    told = cluster.until(lambda: ((cluster.get("validatingpolicy", "w").get("status") or {}).get(
        "conditionStatus") or {}).get("message"), "it says why")
    assert told.startswith("skip generating ValidatingAdmissionPolicy: spec: the API server could not evaluate it")
    assert cluster.get("validatingadmissionpolicy", "vpol-w") is None
    assert cluster.get("validatingpolicy", "w")["status"]["conditionStatus"]["ready"] is True
    cluster.until(lambda: "no ours" in cluster("create", "--dry-run=server", "-f", "-", given=named("ours")).stderr,
                  "the webhook denies")


def test_somebody_else_s_policy_of_that_name_is_left_alone(cluster: Cluster, replica: Replica) -> None:
    theirs = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
              "metadata": {"name": "vpol-theirs"}, "spec": {"matchConstraints": CONFIGMAPS, "validations": [
                  {"expression": "true"}]}}
    cluster.do("create", "-f", "-", given=theirs)
    cluster.do("apply", "-f", "-", given=cel("theirs", validations=[
        {"expression": "object.metadata.name != 'mine'", "message": "no mine"}]))
    cluster.until(lambda: "is there, and not of this policy" in str(
        (cluster.get("validatingpolicy", "theirs").get("status") or {}).get("conditionStatus")), "it says so")
    assert cluster.get("validatingadmissionpolicy", "vpol-theirs")["spec"]["validations"][0]["expression"] == "true"
    cluster.until(lambda: "no mine" in cluster("create", "--dry-run=server", "-f", "-", given=named("mine")).stderr,
                  "the webhook denies")


def test_rules_for_controllers_of_pods_stay_the_webhooks(cluster: Cluster, replica: Replica) -> None:
    pods = rule("pods", expressions=[{"expression": "has(object.spec.priority)", "message": "no priority"}])
    pods["spec"]["rules"][0]["match"] = {"any": [{"resources": {"kinds": ["Pod"], "namespaces": ["default"]}}]}
    cluster.do("apply", "-f", "-", given=pods)
    cluster.until(lambda: generated(cluster, "clusterpolicy", "pods"), "it is generated")
    cluster.until(lambda: "deployments" in asked(cluster), "the webhook is asked about controllers")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "default"},
                  "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    refused = cluster("create", "--dry-run=server", "-f", "-", given=deployment)
    assert "autogen-r: no priority" in refused.stderr
    cluster.do("delete", "clusterpolicy", "pods")


def test_it_goes_with_its_policy(cluster: Cluster, replica: Replica) -> None:
    cluster.do("delete", "validatingpolicy", "v")
    cluster.do("delete", "mutatingpolicy", "m")
    cluster.do("delete", "clusterpolicy", "c")
    cluster.until(lambda: not any(cluster.get(kind, name) for kind, name in (
        ("validatingadmissionpolicy", "vpol-v"), ("validatingadmissionpolicybinding", "vpol-v-binding"),
        ("mutatingadmissionpolicy", "mpol-m"), ("mutatingadmissionpolicybinding", "mpol-m-binding"),
        ("validatingadmissionpolicy", "cpol-c"))), "nothing of them is left")
    assert cluster.get("validatingadmissionpolicy", "vpol-theirs") is not None
