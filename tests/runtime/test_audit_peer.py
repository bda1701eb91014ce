"""A real kube-apiserver posts its audit events to the runtime role: an action for each stock rule, and its alert."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.access.site import Authority
from tests.admission.conftest import api_server
from tests.apiserver import free_port
from tests.conftest import oracle
from tests.runtime.role import alerts, role

_SECRET = "only-the-api-server-knows"
_WAIT = 40.0
_TUNED = """\
- macro: consider_all_events
  condition: (k8s_audit_always_true)
  override: {condition: replace}
- macro: allowed_k8s_containers
  condition: (k8s_audit_never_true)
  override: {condition: replace}
- macro: allowed_full_admin_users
  condition: (k8s_audit_never_true)
  override: {condition: replace}
- macro: allow_all_k8s_nodes
  condition: (k8s_audit_never_true)
  override: {condition: replace}
"""
"""These rules are off in the stock file, each by a macro that its users are to replace."""


class Action(NamedTuple):
    method: str
    path: str
    body: Any = None
    user: str = "admin"
    content: str = "application/json"
    status: int | None = 201


def _pod(name: str, namespace: str = "default", **spec: Any) -> Action:
    containers = spec.pop("containers", [{"name": "web", "image": "registry.example/web:1"}])
    return Action("POST", f"/api/v1/namespaces/{namespace}/pods", {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}})


def _object(path: str, kind: str, name: str, version: str = "v1", **parts: Any) -> Action:
    return Action("POST", path, {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **parts})


def _gone(path: str) -> Action:
    return Action("DELETE", path, status=200)


_RBAC, _DEFAULT = "/apis/rbac.authorization.k8s.io/v1", "/api/v1/namespaces/default"
_ROLES, _BINDINGS = f"{_RBAC}/namespaces/default/roles", f"{_RBAC}/namespaces/default/rolebindings"
_V1 = "rbac.authorization.k8s.io/v1"


def _role(path: str, kind: str, name: str, resources: list[str], verbs: list[str]) -> Action:
    return _object(path, kind, name, _V1, rules=[{"apiGroups": [""], "resources": resources, "verbs": verbs}])


def _binding(path: str, kind: str, name: str, role_kind: str, role_name: str) -> Action:
    return _object(path, kind, name, _V1, subjects=[{"kind": "User", "name": "eve",
                                                     "apiGroup": "rbac.authorization.k8s.io"}],
                   roleRef={"kind": role_kind, "name": role_name, "apiGroup": "rbac.authorization.k8s.io"})


ACTIONS: dict[str, list[Action]] = {
    "Disallowed K8s User": [Action("GET", "/api/v1/namespaces", user="mallory", status=200)],
    "Create Disallowed Pod": [_pod("plain")],
    "Create Privileged Pod": [_pod("privileged", containers=[
        {"name": "web", "image": "registry.example/web:1", "securityContext": {"privileged": True}}])],
    "Create Sensitive Mount Pod": [_pod("mounting", volumes=[{"name": "etc", "hostPath": {"path": "/etc"}}])],
    "Create HostNetwork Pod": [_pod("hostnetwork", hostNetwork=True)],
    "Create HostPid Pod": [_pod("hostpid", hostPID=True)], "Create HostIPC Pod": [_pod("hostipc", hostIPC=True)],
    "Create NodePort Service": [_object(f"{_DEFAULT}/services", "Service", "nodeport",
                                        spec={"type": "NodePort", "ports": [{"port": 80}]})],
    "Create/Modify Configmap With Private Credentials": [
        _object(f"{_DEFAULT}/configmaps", "ConfigMap", "credentials", data={"aws_access_key_id": "AKIA"})],
    "Anonymous Request Allowed": [Action("GET", "/version", user="", status=200)],
    "Attach/Exec Pod": [_pod("entered"), Action("POST", f"{_DEFAULT}/pods/entered/exec?command=id&stdout=true",
                                                status=None)],
    "port-forward": [_pod("forwarded"), Action("POST", f"{_DEFAULT}/pods/forwarded/portforward?ports=80", status=None)],
    "EphemeralContainers Created": [_pod("debugged"), Action(
        "PATCH", f"{_DEFAULT}/pods/debugged/ephemeralcontainers",
        {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox"}]}},
        content="application/strategic-merge-patch+json", status=200)],
    "Create Disallowed Namespace": [_object("/api/v1/namespaces", "Namespace", "strange")],
    "Pod Created in Kube Namespace": [_pod("hidden", "kube-system")],
    "Service Account Created in Kube Namespace": [
        _object("/api/v1/namespaces/kube-system/serviceaccounts", "ServiceAccount", "backdoor")],
    "System ClusterRole Modified/Deleted": [
        _role(f"{_RBAC}/clusterroles", "ClusterRole", "system:mine", ["pods"], ["get"]),
        _gone(f"{_RBAC}/clusterroles/system:mine")],
    "Attach to cluster-admin Role": [_binding(f"{_RBAC}/clusterrolebindings", "ClusterRoleBinding", "takeover",
                                              "ClusterRole", "cluster-admin")],
    "ClusterRole With Wildcard Created": [_role(f"{_RBAC}/clusterroles", "ClusterRole", "all", ["*"], ["get"])],
    "ClusterRole With Write Privileges Created": [
        _role(f"{_RBAC}/clusterroles", "ClusterRole", "writer", ["pods"], ["create"])],
    "ClusterRole With Pod Exec Created": [
        _role(f"{_RBAC}/clusterroles", "ClusterRole", "entering", ["pods/exec"], ["get"])],
    "K8s Deployment Created": [_object("/apis/apps/v1/namespaces/default/deployments", "Deployment", "web", "apps/v1",
                                       spec={"selector": {"matchLabels": {"a": "b"}}, "template": {
                                           "metadata": {"labels": {"a": "b"}},
                                           "spec": {"containers": [{"name": "web", "image": "web:1"}]}}})],
    "K8s Deployment Deleted": [_gone("/apis/apps/v1/namespaces/default/deployments/web")],
    "K8s Service Created": [_object(f"{_DEFAULT}/services", "Service", "web", spec={"ports": [{"port": 80}]})],
    "K8s Service Deleted": [_gone(f"{_DEFAULT}/services/web")],
    "K8s ConfigMap Created": [_object(f"{_DEFAULT}/configmaps", "ConfigMap", "plain", data={"a": "b"})],
    "K8s ConfigMap Deleted": [_gone(f"{_DEFAULT}/configmaps/plain")],
    "K8s Namespace Created": [_object("/api/v1/namespaces", "Namespace", "shortlived")],
    "K8s Namespace Deleted": [_gone("/api/v1/namespaces/shortlived")],
    "K8s Serviceaccount Created": [_object(f"{_DEFAULT}/serviceaccounts", "ServiceAccount", "robot")],
    "K8s Serviceaccount Deleted": [_gone(f"{_DEFAULT}/serviceaccounts/robot")],
    "K8s Role Created": [_role(_ROLES, "Role", "reader", ["pods"], ["get"])],
    "K8s Role Deleted": [_gone(f"{_ROLES}/reader")],
    "K8s ClusterRole Created": [_role(f"{_RBAC}/clusterroles", "ClusterRole", "reader", ["pods"], ["get"])],
    "K8s ClusterRole Deleted": [_gone(f"{_RBAC}/clusterroles/reader")],
    "K8s RoleBinding Created": [_binding(_BINDINGS, "RoleBinding", "reading", "Role", "reader")],
    "K8s RoleBinding Deleted": [_gone(f"{_BINDINGS}/reading")],
    "K8s ClusterRoleBinding Created": [_binding(f"{_RBAC}/clusterrolebindings", "ClusterRoleBinding", "reading",
                                                "ClusterRole", "view")],
    "K8s ClusterRoleBinding Deleted": [_gone(f"{_RBAC}/clusterrolebindings/reading")],
    "K8s Secret Created": [_object(f"{_DEFAULT}/secrets", "Secret", "password", stringData={"a": "b"})],
    "K8s Secret Get Successfully": [Action("GET", f"{_DEFAULT}/secrets/password", status=200)],
    "K8s Secret Deleted": [_gone(f"{_DEFAULT}/secrets/password")],
    "K8s Secret Get Unsuccessfully Tried": [Action("GET", f"{_DEFAULT}/secrets/none", status=404)],
    "All K8s Audit Events": [Action("GET", "/version", status=200)],
    "Full K8s Administrative Access": [Action("GET", "/version", status=200)],
    "Ingress Object without TLS Certificate Created": [
        _object("/apis/networking.k8s.io/v1/namespaces/default/ingresses", "Ingress", "open", "networking.k8s.io/v1",
                spec={"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}})],
    "Untrusted Node Successfully Joined the Cluster": [_object("/api/v1/nodes", "Node", "stranger")],
    "Untrusted Node Unsuccessfully Tried to Join the Cluster": [
        _object("/api/v1/nodes", "Node", "stranger")._replace(status=409)],
}
"""In the order in which they are done: some need what others made."""


class Cluster:
    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port = folder, port
        subprocess.run(["sh", "-ec", (
            "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /O=system:masters/CN=mallory "
            "-keyout mallory.key -out mallory.csr && openssl x509 -req -in mallory.csr -CA ca.crt -CAkey ca.key "
            "-CAcreateserial -days 2 -extfile admin.ext -out mallory.crt")], cwd=folder, check=True,
            capture_output=True)

    def do(self, action: Action) -> int:
        tls = ssl.create_default_context(cafile=str(self._folder / "ca.crt"))
        if action.user:
            tls.load_cert_chain(self._folder / f"{action.user}.crt", self._folder / f"{action.user}.key")
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=tls, timeout=30)
        try:
            connection.request(action.method, action.path, None if action.body is None else json.dumps(action.body),
                               {"content-type": action.content})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        assert action.status in (None, answer.status), text
        return answer.status


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Path]]:
    """An API server whose audit events go to the role over TLS with a bearer token, and the role's output."""
    folder, port = _role_folder(tmp_path_factory)
    with role(folder, port=port), _cluster(tmp_path_factory, folder) as cluster:
        yield cluster, folder / "alerts.jsonl"


def _role_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """With the role's settings, and what an API server is told of it."""
    rules = (oracle("falco-plugin-rules") / "plugins" / "k8saudit" / "rules" / "k8s_audit_rules.yaml")
    folder = tmp_path_factory.mktemp("role")
    authority = Authority("events")
    certificate, key = authority.client(folder, "custody", [x509.IPAddress(ip_address("127.0.0.1"))],
                                        usage=ExtendedKeyUsageOID.SERVER_AUTH)
    (folder / "token").write_text(_SECRET + "\n")
    (folder / "tuned.yaml").write_text(_TUNED)
    (folder / "custody.toml").write_text(f"""\
tls_certificate = {json.dumps(str(certificate))}
tls_key = {json.dumps(str(key))}
[runtime]
rules = [{json.dumps(str(rules))}, "tuned.yaml"]
outputs = ["alerts.jsonl"]
match = "all"
fold_after = 0
token = "token"
""")
    (folder / "policy.yaml").write_text(json.dumps({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "RequestResponse"}]}))
    port = free_port()
    (folder / "webhook.kubeconfig").write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "custody",
        "clusters": [{"name": "custody", "cluster": {"server": f"https://127.0.0.1:{port}/runtime/audit",
                                                     "certificate-authority": str(authority.pem(folder / "ca.pem"))}}],
        "users": [{"name": "api-server", "user": {"token": _SECRET}}],
        "contexts": [{"name": "custody", "context": {"cluster": "custody", "user": "api-server"}}]}))
    return folder, port


@contextlib.contextmanager
def _cluster(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Cluster]:
    with api_server(
            tmp_path_factory.mktemp("apiserver"), f"--audit-policy-file={folder / 'policy.yaml'}",
            f"--audit-webhook-config-file={folder / 'webhook.kubeconfig'}", "--audit-webhook-mode=batch",
            "--audit-webhook-batch-max-wait=500ms", "--audit-webhook-initial-backoff=2s") as kubeconfig:
        server = json.loads(subprocess.run(["kubectl", "config", "view", "-o", "json", "--kubeconfig", kubeconfig],
                                           check=True, capture_output=True).stdout)["clusters"][0]["cluster"]["server"]
        yield Cluster(kubeconfig.parent, int(server.rpartition(":")[2]))


def test_every_stock_rule_of_audit_is_seen(audited: tuple[Cluster, Path]) -> None:
    """All 48, by what they are about: nothing of them needs a kubelet."""
    cluster, output = audited
    for actions in ACTIONS.values():
        for action in actions:
            cluster.do(action)
    until = time.monotonic() + _WAIT
    missing = set(ACTIONS)
    while missing and time.monotonic() < until:
        time.sleep(0.5)
        missing = set(ACTIONS) - {alert["rule"] for alert in alerts(output)}
    assert missing == set()


def test_the_table_is_of_all_stock_rules() -> None:
    from policylang import falco

    path = oracle("falco-plugin-rules") / "plugins" / "k8saudit" / "rules" / "k8s_audit_rules.yaml"
    assert {rule.name for rule in falco.load(path.read_text()).rules} == set(ACTIONS)


def test_the_alert_says_what_was_done(audited: tuple[Cluster, Path]) -> None:
    cluster, output = audited
    cluster.do(_pod("told-exactly", hostNetwork=True, hostPID=True))
    until = time.monotonic() + _WAIT
    told: list[dict[str, Any]] = []
    while not told and time.monotonic() < until:
        time.sleep(0.2)
        told = [alert for alert in alerts(output) if alert["rule"] == "Create HostPid Pod"
                and alert["output_fields"]["ka.resp.name"] == "told-exactly"]
    assert [alert["output_fields"]["ka.user.name"] for alert in told] == ["admin"]
    assert told[0]["priority"] == "Warning"
    assert told[0]["source"] == "k8s_audit"


def test_nothing_is_told_of_what_is_not_done(audited: tuple[Cluster, Path]) -> None:
    """The same actions without that which a rule is about."""
    cluster, output = audited
    before = len(alerts(output))
    cluster.do(_pod("harmless"))
    until = time.monotonic() + _WAIT
    rules: set[str] = set()
    while "Create Disallowed Pod" not in rules and time.monotonic() < until:
        time.sleep(0.2)
        rules = {alert["rule"] for alert in alerts(output)[before:]}
    assert "Create Disallowed Pod" in rules
    assert rules & {"Create Privileged Pod", "Create HostPid Pod", "Create HostIPC Pod", "Create Sensitive Mount Pod"} \
        == set()


def test_a_role_that_is_killed_loses_and_doubles_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """SIGKILL at moments that nobody chose while the API server posts: what was not answered, it posts again."""
    folder, port = _role_folder(tmp_path_factory)
    output = folder / "alerts.jsonl"
    names = [f"pod-{number}" for number in range(90)]
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(role(folder, port=port))
        cluster = stack.enter_context(_cluster(tmp_path_factory, folder))
        for number, name in enumerate(names):
            cluster.do(_pod(name, hostIPC=True))
            if number % 30 == 20:
                running.kill()
                running = stack.enter_context(role(folder, port=port))
        until = time.monotonic() + 2 * _WAIT
        told: Counter[str] = Counter()
        while set(told) != set(names) and time.monotonic() < until:
            time.sleep(0.5)
            told = Counter(alert["output_fields"]["ka.resp.name"] for alert in alerts(output)
                           if alert["rule"] == "Create HostIPC Pod")
    assert told == Counter(names)
