"""The chart's roles: what a replica asks the API server for is allowed, and what it never asks for is not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.services.cluster.webhooks import PART
from tests.cluster.replica import Cluster, Replica, policy
from tests.cluster.test_run import ready
from tests.deploy.conftest import CHART, Server, install, of_kind
from tests.deploy.installation import ACCOUNT, account, replica
from tests.policy.gatekeeper.test_inventory import config, syncset
from tests.policy.gatekeeper.world import SCHEMA, constraint, template

pytestmark = pytest.mark.peer


class Right(NamedTuple):
    """One verb on one resource; `name` and `namespace` are empty where every one is meant."""

    group: str
    resource: str
    verb: str
    name: str
    namespace: str


class Asked(NamedTuple):
    group: str
    resource: str
    verb: str
    name: str
    namespace: str
    code: int


def rights(documents: list[dict[str, Any]]) -> list[Right]:
    return [Right(group, resource, verb, name, document["metadata"].get("namespace", ""))
            for document in documents if document["kind"] in ("Role", "ClusterRole")
            for rule in document["rules"] for group in rule["apiGroups"] for resource in rule["resources"]
            for verb in rule["verbs"] for name in rule.get("resourceNames") or [""]]


def allows(right: Right, asked: Asked) -> bool:
    """RBAC's own rules (k8s.io/component-helpers, rbac authorizer)."""
    resource = right.resource in ("*", asked.resource) or (
        right.resource.startswith("*/") and asked.resource.endswith(right.resource[1:]))
    return (resource and right.group == asked.group and right.verb == asked.verb
            and right.name in ("", asked.name) and right.namespace in ("", asked.namespace))


def asked(log: Path) -> Iterator[Asked]:
    for line in log.read_text().splitlines():
        event = json.loads(line)
        about = event.get("objectRef")
        if event["user"]["username"] == ACCOUNT and about:
            resource = about["resource"] + (f"/{about['subresource']}" if about.get("subresource") else "")
            yield Asked(about.get("apiGroup", ""), resource, event["verb"], about.get("name", ""),
                        about.get("namespace", ""), event["responseStatus"]["code"])


NEEDED = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
          {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"],
           "verbs": ["get", "list", "watch", "create", "update", "delete"]},
          {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list", "watch", "delete"]}]
"""What the policies of this run read, generate and clean up; `view` is of no use where nobody aggregates it."""


def cluster_policy(name: str, **rule: Any) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": {
        "validationFailureAction": "Audit", "rules": [{"name": "rule", **rule}]}}


def matching(*kinds: str, **more: Any) -> dict[str, Any]:
    return {"any": [{"resources": {"kinds": list(kinds), **more}}]}


def labelled(message: str) -> dict[str, Any]:
    """About namespaces, so that a ClusterPolicyReport tells of it."""
    return cluster_policy("labelled", match=matching("Namespace"), validate={
        "message": message, "pattern": {"metadata": {"labels": {"team": "?*"}}}})


def of_each_kind() -> list[dict[str, Any]]:
    """One policy of each, about what nobody asks for here."""
    constraints = {"resourceRules": [{"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"],
                                      "resources": ["jobs"]}]}
    specs: dict[str, dict[str, Any]] = {
        "ValidatingPolicy": {"validations": [{"expression": "true"}]},
        "MutatingPolicy": {"mutations": [{"patchType": "JSONPatch", "jsonPatch": {
            "expression": '[JSONPatch{op: "add", path: "/metadata/labels/a", value: "b"}]'}}]},
        "GeneratingPolicy": {"generate": [{"expression": f'generator.Apply("default", {MADE})'}]},
        "ImageValidatingPolicy": {"matchImageReferences": [{"glob": "registry.example.com/*"}], "attestors": [
            {"name": "a", "cosign": {"key": {"data": KEY}}}], "validations": [{
                "expression": "images.containers.map(i, verifyImageSignatures(i, [attestors.a])).all(e, e > 0)"}]}}
    documents = [{"apiVersion": "policies.kyverno.io/v1", "kind": f"{prefix}{kind}", "metadata": {
        "name": "of-its-kind", **({"namespace": "default"} if prefix else {})},
        "spec": {"matchConstraints": constraints, **spec}}
        for kind, spec in specs.items() for prefix in ("", "Namespaced")]
    made = next(document for document in documents if document["kind"] == "NamespacedGeneratingPolicy")
    made["spec"] = {**made["spec"], "generate": [{"expression": f"generator.Apply({MADE})"}]}
    documents += [{"apiVersion": "policies.kyverno.io/v1", "kind": f"{prefix}DeletingPolicy", "metadata": {
        "name": "of-its-kind", **({"namespace": "default"} if prefix else {})}, "spec": {
            "schedule": "0 0 29 2 *", "conditions": [{"name": "never", "expression": "false"}],
            "matchConstraints": {"resourceRules": constraints["resourceRules"]}}} for prefix in ("", "Namespaced")]
    documents += [{"apiVersion": "kyverno.io/v2", "kind": f"{prefix}CleanupPolicy", "metadata": {
        "name": "of-its-kind", **({} if prefix else {"namespace": "default"})}, "spec": {
            "schedule": "0 0 29 2 *", "match": matching("Job")}} for prefix in ("", "Cluster")]
    return [*documents, {**cluster_policy("namespaced", match=matching("Job"), validate={
        "message": "no", "pattern": {"metadata": {"name": "?*"}}}), "kind": "Policy", "metadata": {
            "name": "namespaced", "namespace": "default"}}]


def itself() -> dict[str, Any]:
    """What the API server judges by itself."""
    made = next(document for document in of_each_kind() if document["kind"] == "ValidatingPolicy")
    return {**made, "metadata": {"name": "itself"}, "spec": {
        **made["spec"], "autogen": {"validatingAdmissionPolicy": {"enabled": True}}}}


MADE = """[{"apiVersion": dyn("v1"), "kind": dyn("ConfigMap"), "metadata": dyn({"name": "made"})}]"""
KEY = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
    Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def statuses(cluster: Cluster, documents: list[dict[str, Any]]) -> bool:
    made = [cluster.get(f"{document['kind']}.{document['apiVersion'].partition('/')[0]}".lower(),
                        document["metadata"]["name"], "-n", "default") for document in documents]
    return all(policy.get("status") for policy in made)


def selected(cluster: Cluster, kind: str, name: str) -> None:
    """Somebody has the API server ask about some objects alone, which is put right."""
    cluster.do("patch", kind, name, "--type=json", "-p", json.dumps([
        {"op": "add", "path": "/webhooks/0/objectSelector", "value": {"matchLabels": {"no": "such"}}}]))
    cluster.until(lambda: not cluster.get(kind, name)["webhooks"][0].get("objectSelector"), "it asks about all")


def at_work(cluster: Cluster, running: Replica, reports: str) -> None:
    """What makes it ask for all that its roles allow."""
    cluster.pod("there", "bad")
    cluster.do("apply", "-f", "-", given=[policy("one", "bad"), labelled("first"), cluster_policy(
        "looks-up", match=matching("ConfigMap"), context=[{"name": "known", "configMap": {
            "name": "looked-up", "namespace": "default"}}], validate={"message": "no", "deny": {"conditions": {
                "all": [{"key": "{{ known.data.word }}", "operator": "Equals", "value": "none"}]}}}), cluster_policy(
        "deny-all", match=matching("Namespace", names=["made-*"]), generate={
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "name": "deny-all", "synchronize": True,
            "namespace": "{{request.object.metadata.name}}",
            "data": {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}})])
    for name in ("one", "labelled", "looks-up", "deny-all"):
        assert ready(cluster, name)["status"] == "True"
    cluster.do("apply", "-f", "-", given=[*of_each_kind(), itself()])
    made = "validatingadmissionpolicybinding", "vpol-itself-binding"
    cluster.until(lambda: cluster.get(*made), "the API server judges")
    cluster.do("patch", *made, "--type=merge", "-p", '{"spec": {"validationActions": ["Audit"]}}')
    cluster.do("patch", "validatingadmissionpolicy", "vpol-itself", "--type=merge", "-p",
               '{"spec": {"failurePolicy": "Ignore"}}')
    cluster.until(lambda: cluster.get(*made)["spec"]["validationActions"] == ["Deny"], "it is put right")
    cluster.until(lambda: cluster.get("validatingadmissionpolicy", "vpol-itself")["spec"]["failurePolicy"] == "Fail",
                  "and so is this")
    cluster.do("delete", "validatingpolicy.policies.kyverno.io", "itself")
    cluster.until(lambda: not cluster.get(*made), "it does no more")
    cluster.until(lambda: statuses(cluster, of_each_kind()), "each kind has a status")
    for kind, name in (("validating", "custody"), ("validating", "custody-policies"), ("mutating", "custody")):
        selected(cluster, f"{kind}webhookconfiguration", name)
    assert "blocked" in cluster.pod("bad", "bad").stderr
    cluster.do("create", "configmap", "looked-up", "--from-literal=word=some")
    cluster.do("create", "namespace", "made-one")
    cluster.until(lambda: cluster.get("networkpolicies", "deny-all", "-n", "made-one"), "it is generated")
    for kind in (reports, f"cluster{reports}"):
        cluster.until(lambda kind=kind: (cluster.get(kind, "-n", "default") or {}).get("items"), f"{kind} are there")
    # Reports change with what the policies say, and go with them.
    cluster.do("apply", "-f", "-", given=[labelled("second"), policy("one", "good")])
    cluster.until(lambda: "second" in json.dumps(cluster.get(f"cluster{reports}")), "the report is another")
    cluster.until(lambda: '"fail": 1' not in json.dumps(cluster.get(reports, "-n", "default")), "this one too")
    cluster.do("delete", "clusterpolicies.kyverno.io", "--all")
    for kind in (reports, f"cluster{reports}"):
        cluster.until(lambda kind=kind: not cluster.get(kind, "-n", "default"), f"no {kind} are left")
    assert cluster.get("mutatingwebhookconfigurations", "custody")
    gatekeepers(cluster)
    for document in of_each_kind():
        cluster.do("delete", f"{document['kind']}.{document['apiVersion'].partition('/')[0]}".lower(),
                   document["metadata"]["name"], "-n", "default")
    cluster.until(lambda: cluster.get("mutatingwebhookconfigurations", "custody") is None, "nothing is asked")


def authority(cluster: Cluster) -> str:
    """Any certificates will do: those of the API server's authority, as base64 of PEM."""
    shown = cluster.do("config", "view", "--raw", "--flatten", "-o", "json")
    return str(json.loads(shown)["clusters"][0]["cluster"]["certificate-authority-data"])


def gatekeepers(cluster: Cluster) -> None:
    """One of each of its kinds; a template's kind is made, changed, and goes with it."""
    pods = {"groups": [""], "versions": ["v1"], "kinds": ["Pod"]}
    image = {"location": "spec.containers[name:*].image", "parameters": {"assignTag": ":v1"}}
    mutators = {"Assign": ("v1", {"location": "spec.priority", "parameters": {"assign": {"value": 1}}}),
                "ModifySet": ("v1", {"location": "spec.args", "parameters": {
                    "operation": "merge", "values": {"fromList": ["a"]}}}),
                "AssignImage": ("v1alpha1", image)}
    never = {"namespaces": ["nowhere"]}
    documents = [{"apiVersion": f"mutations.gatekeeper.sh/{version}", "kind": kind, "metadata": {"name": "of-its-kind"},
                  "spec": {"applyTo": [pods], "match": never, **spec}} for kind, (version, spec) in mutators.items()]
    documents += [{"apiVersion": "mutations.gatekeeper.sh/v1", "kind": "AssignMetadata", "metadata": {
        "name": "of-its-kind"}, "spec": {"match": never, "location": "metadata.labels.a",
                                         "parameters": {"assign": {"value": "b"}}}},
        {"apiVersion": "expansion.gatekeeper.sh/v1alpha1", "kind": "ExpansionTemplate", "metadata": {
            "name": "of-its-kind"}, "spec": {
                "applyTo": [{"groups": ["apps"], "versions": ["v1"], "kinds": ["Deployment"]}],
                "templateSource": "spec.template", "generatedGVK": {"kind": "Pod", "group": "", "version": "v1"}}},
        {"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "Provider", "metadata": {"name": "of-its-kind"},
         "spec": {"url": "https://127.0.0.1:1/v1", "timeout": 1, "caBundle": authority(cluster)}},
        {"apiVersion": "connection.gatekeeper.sh/v1alpha1", "kind": "Connection", "metadata": {
            "name": "audit-connection", "namespace": "custody"}, "spec": {
                "driver": "disk", "config": {"path": "/tmp/violations", "maxAuditResults": 1}}},
        {**config(sync={"syncOnly": []}), "metadata": {"name": "config", "namespace": "custody"}}, template()]
    cluster.do("apply", "-f", "-", given=[*documents, syncset(("", "v1", "ConfigMap"))])
    names = [(f"{document['kind']}.{document['apiVersion'].partition('/')[0]}".lower(), document["metadata"]["name"])
             for document in documents]
    made = constraint(match={"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}, enforcementAction="dryrun")
    cluster.until(lambda: cluster("apply", "-f", "-", given=made).returncode == 0, "its kind is served")
    for name in (*names, ("k8srequiredlabels", "must-have")):
        cluster.until(lambda name=name: (cluster.get(*name, "-n", "custody").get("status") or {}).get("byPod"),
                      f"{name} has a status")
    cluster.until(lambda: "auditTimestamp" in cluster.get("k8srequiredlabels", "must-have")["status"], "it is audited")
    cluster.do("apply", "-f", "-", given=template(schema={**SCHEMA, "description": "another"}))
    kind = "k8srequiredlabels.constraints.gatekeeper.sh"
    cluster.until(lambda: "another" in json.dumps(cluster.get("crd", kind)), "its kind is another")
    for name in names:
        cluster.do("delete", *name, "-n", "custody")
    cluster.do("delete", "syncsets", "--all")
    cluster.until(lambda: not cluster.get("crd", kind), "its kind is gone")


def test_all_that_it_asks_is_allowed_and_all_that_is_allowed_is_asked(server: Server, tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = server.cluster
    own = CHART.documents({"withdraw": True})
    documents = CHART.documents({"rbac": {"extraRules": NEEDED}, "withdraw": True})
    install(cluster, documents)
    for name in ("custody-webhook-ca", "custody-webhook-tls"):  # of somebody who left them broken
        cluster.do("-n", "custody", "create", "secret", "generic", name, "--from-literal=tls.crt=none")
    running = replica(documents, account(cluster, tmp_path), tmp_path / "pod", monkeypatch).started()
    try:
        at_work(cluster, running, "policyreports")
    finally:
        code = running.stop()
    assert code == 0, "".join(running.lines)
    assert cluster.get("validatingwebhookconfigurations") is None
    requests = set(asked(server.audit))
    # Secrets are made where there are none.
    cluster.do("-n", "custody", "delete", "secret", "custody-webhook-ca", "custody-webhook-tls")
    replica(documents, account(cluster, tmp_path), tmp_path / "again", monkeypatch).started().stop()
    requests |= set(asked(server.audit))
    # What was refused: whether an object has a time to live is asked of every kind.
    refused = {request for request in requests if request.code == 403}
    assert not [request for request in refused if request.verb != "list"]
    allowed = rights(own)
    by = [[right for right in allowed if allows(right, request)] for request in requests - refused]
    needed = {rights[0] for rights in by if len(rights) == 1}
    # What is there where Kyverno's definitions, or a newer API server, are.
    elsewhere = {right for right in allowed
                 if right.name.startswith("kyverno-") or right.resource.startswith("mutatingadmissionpol")}
    applied = {right for right in allowed if right.resource.endswith("configurations") and right.verb == "create"}
    unseen = elsewhere | applied
    assert set(allowed) - needed == unseen, "the next test is about these"


@pytest.mark.parametrize("resource", ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"])
def test_what_is_applied_and_not_there_needs_the_right_to_create_it(server: Server, tmp_path: Path,
                                                                    resource: str) -> None:
    """Which is no request of its own, so that the audit log does not tell of it."""
    cluster = server.cluster
    documents = CHART.documents()
    install(cluster, documents)
    kind = {"v": "ValidatingWebhookConfiguration", "m": "MutatingWebhookConfiguration"}[resource[0]]
    configuration = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "custody"}}
    apply = ("apply", "--server-side", "--validate=false", "--dry-run=server", "-f", "-")
    assert account(cluster, tmp_path)(*apply, given=configuration).returncode == 0
    for rule in of_kind(documents, "ClusterRole")["rules"]:
        if resource in rule["resources"]:
            rule["verbs"] = [verb for verb in rule["verbs"] if verb != "create"]
    install(cluster, documents)
    assert "cannot create resource" in account(cluster, tmp_path)(*apply, given=configuration).stderr


@pytest.mark.parametrize("arguments", [
    ["create", "pods"], ["get", "secrets", "-n", "kube-system"], ["list", "secrets", "-A"], ["list", "secrets"],
    ["get", "secrets/of-somebody-else"], ["update", "clusterpolicies"], ["patch", "clusterpolicies"],
    ["delete", "validatingwebhookconfigurations/of-somebody-else"], ["list", "secrets", "-n", "default"],
    ["get", "updaterequests.kyverno.io", "-n", "default"],
    ["create", "clusterrolebindings"], ["impersonate", "users"], ["create", "serviceaccounts/token"]])
def test_the_account_may_not_do_more(server: Server, arguments: list[str]) -> None:
    install(server.cluster, CHART.documents())
    done = server.cluster("auth", "can-i", *arguments, "--as", ACCOUNT, *(
        [] if "-n" in arguments or "-A" in arguments else ["-n", "custody"]))
    assert done.stdout.strip() == "no", done.stdout + done.stderr


GUARD = "system:serviceaccount:custody:custody-guard"


def test_the_guard_may_look_and_take_away_and_nothing_else(server: Server, tmp_path: Path) -> None:
    cluster = server.cluster
    documents = CHART.documents({"whenDown": "withdraw"})
    install(cluster, documents)
    for name in ("custody", "custody-policies"):
        cluster.do("apply", "-f", "-", given={
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name, "labels": dict(PART)}})
    guarding = account(cluster, tmp_path, "custody-guard")
    process = subprocess.Popen([sys.executable, "-m", "custody.cli.main", "admission", "guard", "--kubeconfig",
                                str(guarding.kubeconfig), "--after", "20"], cwd=tmp_path, stderr=subprocess.PIPE)
    try:
        cluster.until(lambda: cluster.get("validatingwebhookconfiguration", "custody") is None, "it is taken away",
                      seconds=60)
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert cluster.get("validatingwebhookconfiguration", "custody-policies")
    cluster.do("delete", "validatingwebhookconfiguration", "custody-policies")
    own = rights([document for document in documents if document["metadata"]["name"].endswith("guard")])
    assert {(right.verb, right.resource, right.name) for right in own} == {
        ("list", "leases", ""), ("list", "validatingwebhookconfigurations", ""),
        ("list", "mutatingwebhookconfigurations", ""), ("delete", "validatingwebhookconfigurations", "custody"),
        ("delete", "validatingwebhookconfigurations", "kyverno-resource-validating-webhook-cfg"),
        ("delete", "mutatingwebhookconfigurations", "custody"),
        ("delete", "mutatingwebhookconfigurations", "kyverno-resource-mutating-webhook-cfg")}
    for arguments in (["delete", "validatingwebhookconfigurations/custody-policies"], ["list", "secrets"],
                      ["patch", "validatingwebhookconfigurations/custody"], ["update", "leases"], ["list", "pods"]):
        done = cluster("auth", "can-i", *arguments, "--as", GUARD, "-n", "custody")
        assert done.stdout.strip() == "no", arguments
