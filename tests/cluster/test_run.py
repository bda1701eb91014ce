"""`custody admission run` beside a real API server: policies come and go, break and are mended; webhooks follow."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.adapters.kubernetes.client import ClusterClient
from custody.ports.cluster import ApiError
from tests.cluster.conftest import with_client
from tests.cluster.replica import Cluster, Replica, policy

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def cluster(kubeconfig: Path) -> Cluster:
    cluster = Cluster(kubeconfig)
    printed = subprocess.run([sys.executable, "-m", "custody.cli.main", "admission", "crds"], capture_output=True,
                             check=True, text=True).stdout
    cluster.do("apply", "--server-side", "-f", "-", given=list(yaml.safe_load_all(printed)))
    return cluster


@pytest.fixture(scope="module")
def replica(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    replica = Replica(tmp_path_factory.mktemp("replica"), cluster, "--withdraw").started()
    yield replica
    assert replica.stop() == 0
    kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations"
    assert cluster.get(kinds) is None, "the last replica takes the webhooks with it"
    lease = cluster.get("-n", "custody", "lease", "custody")
    assert not lease["spec"].get("holderIdentity"), "the lease is given back"


@pytest.fixture(autouse=True)
def _clear(cluster: Cluster) -> Iterator[None]:
    yield
    for kinds in ("clusterpolicies.kyverno.io", "pods"):
        cluster.do("delete", kinds, "--all", "--grace-period=0", "--force")


def ready(cluster: Cluster, name: str) -> dict[str, Any]:
    """The Ready condition of a ClusterPolicy, once it has one."""
    def condition() -> Any:
        status = cluster.get("clusterpolicies.kyverno.io", name).get("status") or {}
        return next((known for known in status.get("conditions", []) if known["type"] == "Ready"), None)

    return dict(cluster.until(condition, f"policy {name} has a Ready condition"))


def configuration(cluster: Cluster) -> Any:
    return cluster.get("validatingwebhookconfiguration", "custody")


@pytest.mark.usefixtures("replica")
def test_a_policy_is_in_force_once_it_is_ready_and_not_any_more_when_it_is_gone(cluster: Cluster) -> None:
    cluster.do("apply", "-f", "-", given=policy("one", "bad"))
    cluster.do("wait", "--for=condition=Ready", "clusterpolicy/one", "--timeout=20s")
    assert ready(cluster, "one")["message"] == "Ready"
    status = cluster.get("clusterpolicies.kyverno.io", "one")["status"]
    assert status["rulecount"] == {"validate": 3, "mutate": 0, "generate": 0, "verifyimages": 0}
    assert [rule["name"] for rule in status["autogen"]["rules"]] == ["autogen-label", "autogen-cronjob-label"]
    assert cluster.pod("good", "good").returncode == 0
    denied = cluster.pod("bad", "bad")
    assert "resource Pod/default/bad was blocked due to the following policies" in denied.stderr
    asked = [name for rule in configuration(cluster)["webhooks"][0]["rules"] for name in rule["resources"]]
    assert {"pods", "pods/ephemeralcontainers", "deployments"} <= set(asked)
    cluster.do("delete", "clusterpolicies.kyverno.io", "one")
    cluster.until(lambda: configuration(cluster) is None, "nothing is asked any more")
    assert cluster.pod("bad", "bad").returncode == 0


@pytest.mark.usefixtures("replica")
def test_a_policy_that_cannot_be_compiled_is_refused_by_its_field_when_it_is_applied(cluster: Cluster) -> None:
    refused = cluster("apply", "-f", "-", given=policy("broken", "bad", field="patern"))
    assert "spec.rules[0].validate.patern" in refused.stderr
    assert cluster.get("clusterpolicies.kyverno.io", "broken") is None
    cluster.do("apply", "-f", "-", given=policy("changed", "bad"))
    changed = cluster("apply", "-f", "-", given=policy("changed", "bad", field="patern"))
    assert "spec.rules[0].validate.patern" in changed.stderr
    assert "(did you mean pattern?)" in changed.stderr
    typo = policy("typo", "bad")
    typo["spec"]["rules"][0]["match"]["any"][0]["resources"]["kinds"] = ["Pdo"]
    assert "Pdo" in cluster("apply", "-f", "-", given=typo).stderr


def test_a_broken_policy_that_is_there_is_not_ready_and_stops_no_other(cluster: Cluster, replica: Replica) -> None:
    # As where it was applied while no custody ran: the policies' webhook is not asked.
    cluster.do("apply", "-f", "-", given=policy("kept", "worse"))
    ready(cluster, "kept")
    unasked(cluster, policy("broken", "bad", field="patern"))
    unasked(cluster, policy("kept", "worse", field="patern"))
    condition = ready(cluster, "broken")
    assert (condition["status"], condition["reason"]) == ("False", "Failed")
    assert "spec.rules[0].validate.patern" in condition["message"]
    # A change that cannot be compiled: what it was before is in force, and that is said.
    cluster.until(lambda: ready(cluster, "kept")["status"] == "False", "the change is not ready")
    assert "the policy as it was before (resourceVersion" in ready(cluster, "kept")["message"]
    assert "kept" in cluster.pod("worse", "worse").stderr
    assert replica.ready
    cluster.do("apply", "-f", "-", given=policy("kept", "worst"))
    cluster.until(lambda: ready(cluster, "kept")["status"] == "True", "it is mended")
    assert cluster.pod("worse", "worse").returncode == 0


def unasked(cluster: Cluster, document: dict[str, Any]) -> None:
    """Apply it past the policies' webhook, which custody brings back at once: right behind its removal."""
    async def work(client: ClusterClient) -> None:
        resource = await client.resource("kyverno.io/v1", "ClusterPolicy")
        webhooks = await client.resource("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")
        assert resource is not None
        assert webhooks is not None
        while True:
            await client.delete(webhooks, "custody-policies")
            for _ in range(10):
                with contextlib.suppress(ApiError):
                    await client.apply(resource, document, manager="somebody")
                    return
                await asyncio.sleep(0.01)

    with_client(cluster.kubeconfig, work)


@pytest.mark.usefixtures("replica")
def test_configurations_that_somebody_changed_or_deleted_are_put_right(cluster: Cluster) -> None:
    cluster.do("apply", "-f", "-", given=policy("one", "bad"))
    ready(cluster, "one")
    cluster.do("delete", "validatingwebhookconfiguration", "custody")
    cluster.until(lambda: configuration(cluster), "it is there again")
    cluster.do("patch", "validatingwebhookconfiguration", "custody", "--type=json", "-p",
               '[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]')
    cluster.until(lambda: configuration(cluster)["webhooks"][0]["failurePolicy"] == "Fail", "it says Fail again")
    # What would have the API server ask about less, or somebody else, is taken away; labels of others stay.
    cluster.do("label", "validatingwebhookconfiguration", "custody", "theirs=kept")
    elsewhere = {**configuration(cluster)["webhooks"][0], "name": "theirs.example.com"}
    for path, value in (("0/matchConditions", [{"name": "never", "expression": "false"}]),
                        ("0/objectSelector", {"matchLabels": {"no": "such"}}), ("-", elsewhere)):
        before = configuration(cluster)["webhooks"]
        cluster.do("patch", "validatingwebhookconfiguration", "custody", "--type=json", "-p",
                   json.dumps([{"op": "add", "path": f"/webhooks/{path}", "value": value}]))
        cluster.until(lambda before=before: configuration(cluster)["webhooks"] == before, f"{path} is taken away")
    assert cluster.get("validatingwebhookconfiguration", "custody")["metadata"]["labels"]["theirs"] == "kept"


@pytest.mark.usefixtures("replica")
def test_who_enforces_is_warned_of_what_would_have_been_denied(cluster: Cluster) -> None:
    for name, label in (("a", "bad"), ("b", "bad"), ("c", "good")):
        assert cluster.pod(name, label).returncode == 0
    warned = cluster("apply", "-f", "-", given=policy("strict", "bad"))
    assert warned.returncode == 0
    assert "would have denied 2 of 3 objects that are there: Pod default/" in warned.stderr
    audited = cluster("apply", "-f", "-", given=policy("audited", "bad", action="Audit"))
    assert "would have denied" not in audited.stderr


@pytest.mark.usefixtures("replica")
def test_who_applies_an_exception_that_counts_nowhere_is_told_so(cluster: Cluster) -> None:
    exception = {"apiVersion": "kyverno.io/v2", "kind": "PolicyException",
                 "metadata": {"name": "alone", "namespace": "default"}, "spec": {
                     "exceptions": [{"policyName": "one", "ruleNames": ["label"]}],
                     "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}}}
    applied = cluster("apply", "-f", "-", given=exception)
    assert applied.returncode == 0, applied.stderr
    assert ("Warning: PolicyException alone lies in namespace default, and exceptions count in none "
            "(setting `exceptions`)") in applied.stderr
    exception["spec"]["expiresAt"] = "2030-01-01T00:00:00Z"
    refused = cluster("apply", "-f", "-", given=exception)
    assert "spec.expiresAt: not evaluated by custody yet (kyverno.io has no such field; the annot" in refused.stderr
    cluster.do("delete", "policyexceptions.kyverno.io", "alone")


@pytest.mark.usefixtures("replica")
def test_a_kind_that_is_served_later_is_asked_about_then(cluster: Cluster) -> None:
    document = policy("widgets", "bad")
    document["spec"]["rules"][0]["match"]["any"][0]["resources"]["kinds"] = ["Pod", "example.com/v1/Widget"]
    cluster.do("apply", "-f", "-", given=document)
    ready(cluster, "widgets")
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                  "metadata": {"name": "widgets.example.com"}, "spec": {
                      "group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
                      "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                          "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}
    cluster.do("apply", "-f", "-", given=definition)
    cluster.until(lambda: "widgets" in str(configuration(cluster)), "it is asked about")
    cluster.do("wait", "--for=condition=Established", "crd/widgets.example.com")
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {
        "name": "w", "namespace": "default", "labels": {"which": "bad"}}}
    denied = cluster.until(lambda: (done := cluster("apply", "-f", "-", given=widget)).returncode and done, "denied")
    assert "resource Widget/default/w was blocked" in denied.stderr
    cluster.do("delete", "crd", "widgets.example.com")


@pytest.mark.usefixtures("replica")
def test_what_policies_do_to_other_objects_is_carried_out_and_reported(cluster: Cluster) -> None:
    generating = {"apiVersion": "policies.kyverno.io/v1", "kind": "GeneratingPolicy", "metadata": {"name": "configs"},
                  "spec": {"matchConstraints": {"resourceRules": [{
                      "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                      "resources": ["namespaces"]}]},
                      "variables": [{"name": "downstream", "expression":
                                     "[{'kind': dyn('ConfigMap'), 'apiVersion': dyn('v1'), 'metadata': dyn({'name': "
                                     "'made', 'namespace': object.metadata.name}), 'data': dyn({'a': 'b'})}]"}],
                      "generate": [{"expression":
                                    "generator.Apply(object.metadata.name, variables.downstream)"}]}}
    cluster.do("apply", "-f", "-", given=generating)
    cluster.until(lambda: ((cluster.get("generatingpolicies.policies.kyverno.io", "configs").get("status") or {}).get(
        "conditionStatus") or {}).get("ready"), "it is ready")
    cluster.until(lambda: "namespaces" in str(configuration(cluster)), "its trigger is asked about")
    cluster.do("create", "namespace", "made-for")
    made = cluster.until(lambda: cluster.get("-n", "made-for", "configmap", "made"), "it is generated")
    assert made["data"] == {"a": "b"}
    cluster.do("delete", "generatingpolicies.policies.kyverno.io", "configs")
    assert cluster.pod("there", "bad").returncode == 0
    cluster.do("apply", "-f", "-", given=policy("audited", "bad", action="Audit"))

    def failed() -> Any:
        reports = (cluster.get("-n", "default", "policyreports.wgpolicyk8s.io") or {}).get("items", [])
        return [result for report in reports for result in report["results"]
                if report["scope"]["name"] == "there" and result["result"] == "fail"]

    assert cluster.until(failed, "it is reported", seconds=40)[0]["policy"] == "audited"
