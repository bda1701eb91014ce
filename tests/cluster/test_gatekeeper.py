"""Gatekeeper's kinds applied with kubectl to a real API server that custody judges for."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.services.cluster import podstatus
from tests.cluster.replica import Cluster, Replica
from tests.cluster.test_run import cluster as definitions
from tests.policy.gatekeeper.test_inventory import config, syncset
from tests.policy.gatekeeper.world import LABELS, SCHEMA, constraint, template
from tests.ports.test_providers import SOURCE, standing, told

pytestmark = pytest.mark.peer
cluster = definitions
MARK = podstatus.id_of("", "custody", "custody")
"""How the ids of custody's entries end."""
MESSAGE = 'you must provide labels: {"team"}'
PODS = {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}
UNIQUE = """package k8suniquelabel

violation[{"msg": msg}] {
  value := input.review.object.metadata.labels.unique
  other := data.inventory.namespace[namespace][_]["ConfigMap"][name]
  other.metadata.labels.unique == value
  not same(namespace, name)
  msg := sprintf("%v is taken by %v/%v", [value, namespace, name])
}

same(namespace, name) {
  namespace == input.review.object.metadata.namespace
  name == input.review.object.metadata.name
}
"""


@pytest.fixture(scope="module")
def replica(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    replica = Replica(tmp_path_factory.mktemp("replica"), cluster, "--withdraw", "--audit-interval", "5").started(60)
    cluster.do("apply", "-f", "-", given={"apiVersion": "v1", "kind": "Namespace",
                                          "metadata": {"name": "gatekeeper-system"}})
    yield replica
    assert replica.stop() == 0


@pytest.fixture(autouse=True)
def _clear(cluster: Cluster) -> Iterator[None]:
    yield
    for kinds in ("constrainttemplates", "assignmetadata", "expansiontemplate", "syncsets", "pods", "configmaps",
                  "deployments", "clusterpolicies.kyverno.io"):
        cluster.do("delete", kinds, "--all", "--grace-period=0", "--force")
    cluster.do("delete", "-n", "gatekeeper-system", "configs.config.gatekeeper.sh", "--all")
    cluster.until(lambda: not kinds_made(cluster), "kinds go with their templates")


def kinds_made(cluster: Cluster) -> list[str]:
    made = cluster.get("crd", "-l", "gatekeeper.sh/constraint=yes")
    return [document["metadata"]["name"] for document in (made or {}).get("items", [])]


def entry(cluster: Cluster, *of: str) -> dict[str, Any]:
    """What custody says in a status of the newest generation."""
    def said() -> Any:
        document = cluster.get(*of)
        generation = ((document or {}).get("metadata") or {}).get("generation")
        return next((known for known in ((document or {}).get("status") or {}).get("byPod", [])
                     if known["id"].endswith(MARK) and known["observedGeneration"] == generation), None)
    return dict(cluster.until(said, f"{of} has a status"))


def applied(cluster: Cluster, *documents: dict[str, Any]) -> None:
    """Templates first; enforced when it comes back."""
    for document in documents:
        kind = document["kind"]
        cluster.until(lambda: cluster("apply", "-f", "-", given=document).returncode == 0,  # noqa: B023 - called now
                      f"{kind} can be applied")
        if kind != "SyncSet":
            place = ["-n", document["metadata"]["namespace"]] if "namespace" in document["metadata"] else []
            said = entry(cluster, *place, f"{kind.lower()}.{document['apiVersion'].partition('/')[0]}",
                         document["metadata"]["name"])
            assert "errors" not in said, said
            assert said.get("enforced", True)


def pod(cluster: Cluster, name: str, namespace: str = "default", **labels: str) -> Any:
    return cluster("apply", "--server-side", "-f", "-", given={
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]}})


@pytest.mark.usefixtures("replica")
def test_a_constraint_denies_in_gatekeepers_words_until_it_is_gone(cluster: Cluster) -> None:
    applied(cluster, template(), constraint(match=PODS))
    assert cluster.get("constrainttemplates", "k8srequiredlabels")["status"]["created"] is True
    denied = pod(cluster, "bare")
    assert denied.returncode == 1
    assert f"denied the request: [must-have] {MESSAGE}" in denied.stderr
    assert "(Forbidden)" in denied.stderr
    assert pod(cluster, "fine", team="a").returncode == 0
    assert cluster.do("get", "constraints").split()[:4] == ["NAME", "ENFORCEMENT-ACTION", "TOTAL-VIOLATIONS",
                                                             "must-have"]
    [webhook] = cluster.get("validatingwebhookconfiguration", "custody")["webhooks"]
    assert {resource for rule in webhook["rules"] for resource in rule["resources"]} >= {"pods"}
    assert {operation for rule in webhook["rules"] for operation in rule["operations"]} == {"CREATE", "UPDATE"}
    cluster.do("delete", "k8srequiredlabels", "must-have")
    cluster.until(lambda: pod(cluster, "bare").returncode == 0, "it is not judged by any more")


@pytest.mark.usefixtures("replica")
def test_actions(cluster: Cluster) -> None:
    applied(cluster, template(), constraint(match=PODS, name="warned", enforcementAction="warn"),
            constraint(match=PODS, name="tried", enforcementAction="dryrun"),
            constraint(match=PODS, name="here", enforcementAction="scoped", scopedEnforcementActions=[
                {"action": "warn", "enforcementPoints": [{"name": "validation.gatekeeper.sh"}]}]),
            constraint(match=PODS, name="there", enforcementAction="scoped", scopedEnforcementActions=[
                {"action": "deny", "enforcementPoints": [{"name": "audit.gatekeeper.sh"}]}]))
    admitted = pod(cluster, "bare")
    assert admitted.returncode == 0
    assert sorted(line for line in admitted.stderr.splitlines() if "Warning" in line) == [
        f"Warning: [here] {MESSAGE}", f"Warning: [warned] {MESSAGE}"]
    # What is there by now is found by the audit, each at its own points.
    def totals() -> dict[str, Any]:
        return {document["metadata"]["name"]: document.get("status", {}).get("totalViolations")
                for document in cluster.get("k8srequiredlabels")["items"]}
    cluster.until(lambda: totals() == {"warned": 1, "tried": 1, "here": 0, "there": 1}, f"audited: {totals()}", 30)
    status = cluster.get("k8srequiredlabels", "there")["status"]
    assert status["violations"] == [{
        "group": "", "version": "v1", "kind": "Pod", "namespace": "default", "name": "bare", "message": MESSAGE,
        "enforcementAction": "scoped", "enforcementActions": ["deny"]}]


@pytest.mark.usefixtures("replica")
def test_what_is_broken_is_refused_and_what_is_there_all_the_same_says_so(cluster: Cluster) -> None:
    refused = cluster("apply", "-f", "-", given=template("package x\nviolation["))
    assert refused.returncode == 1
    assert "spec.targets[0].rego" in refused.stderr
    applied(cluster, template())
    cluster.until(lambda: cluster("get", "k8srequiredlabels").returncode == 0, "its kind is served")
    refused = cluster("apply", "-f", "-", given=constraint({"labels": "team"}))
    assert "spec.parameters.labels" in refused.stderr
    # Past the policies' webhook, as where nobody ran: its status says what is wrong, and nothing is denied by it.
    cluster.do("delete", "validatingwebhookconfigurations", "custody-policies")
    broken = template("package x\nviolation[", kind="K8sBroken")
    for _ in range(20):
        if cluster("apply", "-f", "-", given=broken).returncode == 0:
            break
        cluster("delete", "validatingwebhookconfigurations", "custody-policies")
    said = entry(cluster, "constrainttemplates", "k8sbroken")
    assert (said["errors"][0]["code"], said["errors"][0]["location"]) == ("ingest_error", "spec.targets[0].rego")
    assert cluster.get("constrainttemplates", "k8sbroken")["status"]["created"] is False
    assert kinds_made(cluster) == ["k8srequiredlabels.constraints.gatekeeper.sh"]


@pytest.mark.usefixtures("replica")
def test_a_template_that_changes_changes_its_kind_and_one_that_goes_takes_it_along(cluster: Cluster) -> None:
    applied(cluster, template(), constraint(match=PODS))
    changed = template(LABELS.replace("you must provide", "please provide"), schema={
        **SCHEMA, "properties": {**SCHEMA["properties"], "more": {"type": "string"}}})
    applied(cluster, changed)
    cluster.until(lambda: "please provide labels" in pod(cluster, "bare").stderr, "the new words are used")
    applied(cluster, constraint({"labels": ["team"], "more": "x"}, match=PODS))
    assert cluster.get("k8srequiredlabels", "must-have")["spec"]["parameters"]["more"] == "x"
    cluster.do("delete", "constrainttemplate", "k8srequiredlabels")
    cluster.until(lambda: kinds_made(cluster) == [], "its kind is gone")
    cluster.until(lambda: pod(cluster, "bare").returncode == 0, "nothing judges by it")


@pytest.mark.usefixtures("replica")
def test_a_template_that_its_constraints_do_not_fit_is_refused_until_they_are_gone(cluster: Cluster) -> None:
    applied(cluster, template(), constraint(match=PODS))
    other = template(schema={"type": "object", "properties": {"team": {"type": "string"}}})
    refused = cluster("apply", "-f", "-", given=other)
    assert refused.returncode == 1
    assert "K8sRequiredLabels must-have: spec.parameters.labels" in refused.stderr
    assert MESSAGE in pod(cluster, "bare").stderr
    cluster.do("delete", "k8srequiredlabels", "must-have")
    applied(cluster, other)


@pytest.mark.usefixtures("replica")
@pytest.mark.parametrize("version", ["v1beta1", "v1alpha1"])
def test_older_versions(cluster: Cluster, version: str) -> None:
    """What they do not describe is kept, as these versions have it."""
    applied(cluster, template(version=version), constraint({"labels": ["team"], "undescribed": 1}, match=PODS))
    assert cluster.get("k8srequiredlabels", "must-have")["spec"]["parameters"]["undescribed"] == 1
    assert f"[must-have] {MESSAGE}" in pod(cluster, "bare").stderr


@pytest.mark.usefixtures("replica")
def test_namespaces_are_left_out_by_the_config_of_gatekeepers_namespace_alone(cluster: Cluster) -> None:
    applied(cluster, template(), constraint(match=PODS))
    left_out = config(match=[{"excludedNamespaces": ["kube-pub*", "default"], "processes": ["webhook"]}])
    elsewhere = copy.deepcopy(left_out)
    elsewhere["metadata"]["namespace"] = "default"
    warned = cluster("apply", "-f", "-", given=elsewhere)
    assert "a Config counts in gatekeeper-system" in warned.stderr
    assert pod(cluster, "bare").returncode == 1
    cluster.do("delete", "configs.config.gatekeeper.sh", "config")
    applied(cluster, left_out)
    cluster.until(lambda: pod(cluster, "bare").returncode == 0, "its namespace is left out")
    assert pod(cluster, "bare", "kube-node-lease").returncode == 1
    refused = cluster("apply", "-f", "-", given=config(validation={"traces": [{"user": "me"}]}))
    assert "spec.validation.traces" in refused.stderr


@pytest.mark.usefixtures("replica")
def test_referential_templates_read_what_is_kept(cluster: Cluster) -> None:
    requires = template(UNIQUE, kind="K8sUniqueLabel", schema=None)
    requires["metadata"]["annotations"] = {"metadata.gatekeeper.sh/requires-sync-data":
                                           '[[{"groups": [""], "versions": ["v1"], "kinds": ["ConfigMap"]}]]'}
    cluster.do("apply", "-f", "-", given=requires)
    said = entry(cluster, "constrainttemplates", "k8suniquelabel")
    assert said["errors"] == [{"code": "sync_error", "message": "no Config or SyncSet names /v1:ConfigMap"}]
    unique = constraint({}, kind="K8sUniqueLabel", name="unique", match={
        "kinds": [{"apiGroups": [""], "kinds": ["ConfigMap"]}]})
    del unique["spec"]["parameters"]
    applied(cluster, unique)

    def config_map(name: str, value: str) -> Any:
        return cluster("apply", "-f", "-", given={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": name, "namespace": "default", "labels": {"unique": value}}})

    assert "no Config or SyncSet says which kinds of objects are kept" in config_map("one", "a").stderr
    applied(cluster, syncset(("", "v1", "ConfigMap")))
    cluster.until(lambda: config_map("one", "a").returncode == 0, "the inventory is kept")
    cluster.until(lambda: "[unique] a is taken by default/one" in config_map("two", "a").stderr, "it is in it")
    assert config_map("two", "b").returncode == 0
    assert "errors" not in cluster.until(
        lambda: "errors" not in (known := entry(cluster, "constrainttemplates", "k8suniquelabel")) and known,
        "nothing is missing")
    cluster.until(lambda: cluster.get("k8suniquelabel", "unique")["status"].get("totalViolations") == 0,
                  "the audit reads the same inventory")
    cluster.do("delete", "configmap", "one")
    cluster.until(lambda: config_map("three", "a").returncode == 0, "what is gone is gone from it")


@pytest.mark.usefixtures("replica")
def test_mutators_and_expansion(cluster: Cluster) -> None:
    mutator = {"apiVersion": "mutations.gatekeeper.sh/v1", "kind": "AssignMetadata", "metadata": {"name": "marked"},
               "spec": {"match": PODS, "location": "metadata.labels.marked",
                        "parameters": {"assign": {"value": "yes"}}}}
    expansion = {"apiVersion": "expansion.gatekeeper.sh/v1beta1", "kind": "ExpansionTemplate",
                 "metadata": {"name": "expand"}, "spec": {
                     "applyTo": [{"groups": ["apps"], "versions": ["v1"], "kinds": ["Deployment"]}],
                     "templateSource": "spec.template",
                     "generatedGVK": {"kind": "Pod", "group": "", "version": "v1"}}}
    applied(cluster, mutator, expansion, template(), constraint(match=PODS))

    def marked() -> bool:
        assert pod(cluster, "fine", team="a").returncode == 0
        labels = cluster.get("pod", "fine")["metadata"]["labels"]
        cluster.do("delete", "pod", "fine", "--force", "--grace-period=0")
        return bool(labels.get("marked") == "yes")

    cluster.until(marked, "pods are marked")
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}}}
    denied = cluster("apply", "-f", "-", given=deployment)
    assert f"[must-have] [Implied by expand] {MESSAGE}" in denied.stderr
    conflicting = copy.deepcopy(mutator)
    conflicting["spec"]["location"] = "spec.x"
    assert "spec.location" in cluster("apply", "-f", "-", given=conflicting).stderr


@pytest.mark.usefixtures("replica")
def test_a_provider_is_asked(cluster: Cluster, tmp_path: Path) -> None:
    with standing(tmp_path) as place:
        place.stand.answer = lambda asked: told(*(  # type: ignore[assignment]
            {"key": key, "value": "bad" if key == "nginx" else "good"} for key in asked["request"]["keys"]))
        scan = place.provider()
        applied(cluster, scan, template(SOURCE, schema=None), {**constraint(match=PODS), "spec": {"match": PODS}})
        assert entry(cluster, "providers.externaldata.gatekeeper.sh", "scan")["active"] is True
        assert "nginx is bad" in pod(cluster, "web").stderr
        assert place.stand.asked[-1]["request"] == {"keys": ["nginx"]}
        refused = cluster("apply", "-f", "-", given={**scan, "spec": {**scan["spec"], "url": "http://scan.example"}})
        assert "spec.url" in refused.stderr
        cluster.do("delete", "providers.externaldata.gatekeeper.sh", "scan")
        cluster.until(lambda: "no Provider of this name" in pod(cluster, "web").stderr, "it is gone")
