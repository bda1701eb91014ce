"""Namespaces that Gatekeeper's policies leave alone, in a real API server that custody judges for."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.admission.exemption import LABEL, Exemption
from tests.cluster.replica import Cluster, Replica, policy
from tests.cluster.test_gatekeeper import MESSAGE, PODS, applied, pod
from tests.cluster.test_run import cluster as definitions
from tests.cluster.test_run import ready
from tests.policy.gatekeeper.world import constraint, template

pytestmark = pytest.mark.peer
cluster = definitions
EARLY = "shop-early"
"""Labelled before anybody looked, and not named."""


def namespace(name: str, *, label: bool) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {LABEL: ""} if label else {}}}


@pytest.fixture(scope="module")
def replica(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    cluster.do("apply", "-f", "-", given=[namespace(EARLY, label=True), namespace("monitoring", label=False)])
    replica = Replica(tmp_path_factory.mktemp("replica"), cluster, "--withdraw", "--exempt-namespace", "monitoring",
                      "--exempt-namespace-prefix", "kube-", "--exempt-namespace-suffix", "-system").started(60)
    applied(cluster, template(), constraint(match=PODS))
    cluster.do("apply", "-f", "-", given=policy("kyvernos", "bad"))
    ready(cluster, "kyvernos")
    yield replica
    assert replica.stop() == 0


def verbose(replica: Replica) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{replica.plain}/readyz?verbose", timeout=5) as answer:
        return next(line for line in answer.read().decode().splitlines() if "exemptions" in line)


def test_who_is_named_and_labelled_is_left_alone_by_gatekeepers_policies_and_no_others(
        cluster: Cluster, replica: Replica) -> None:
    assert MESSAGE in pod(cluster, "bare", "monitoring", which="good").stderr, "named, and not labelled"
    assert verbose(replica) == "[+]exemptions ok: exempt from Gatekeeper's policies: no namespace"
    cluster.do("label", "namespace", "monitoring", f"{LABEL}=yes")
    cluster.until(lambda: pod(cluster, "bare", "monitoring", which="good").returncode == 0, "it is left alone")
    assert "blocked" in pod(cluster, "bad", "monitoring", which="bad").stderr, "Kyverno's policies judge on"
    cluster.until(lambda: verbose(replica).endswith(": monitoring"), "it is said", 10)
    assert any("namespace monitoring is exempt from Gatekeeper's policies" in line for line in replica.lines)
    cluster.do("label", "namespace", "monitoring", f"{LABEL}-")
    cluster.until(lambda: MESSAGE in pod(cluster, "other", "monitoring", which="good").stderr, "it is judged again")
    cluster.until(lambda: verbose(replica).endswith(": no namespace"), "it is said", 10)


def test_who_is_not_named_may_not_carry_the_label_and_is_judged_where_it_does(
        cluster: Cluster, replica: Replica) -> None:
    refused = cluster("apply", "-f", "-", given=namespace("shop", label=True))
    assert refused.returncode == 1
    assert ('admission webhook "check-ignore-label.gatekeeper.sh" denied the request: Only exempt namespace can have '
            f"the {LABEL} label") in refused.stderr
    cluster.do("apply", "-f", "-", given=namespace("shop", label=False))
    assert "Only exempt namespace" in cluster("label", "namespace", "shop", f"{LABEL}=").stderr
    assert MESSAGE in pod(cluster, "bare", "shop", which="good").stderr
    assert MESSAGE in pod(cluster, "bare", EARLY, which="good").stderr, "it was labelled before anybody looked"
    assert any(f"namespace {EARLY} carries the label {LABEL} and may not" in line for line in replica.lines)
    assert EARLY not in verbose(replica)


@pytest.mark.usefixtures("replica")
@pytest.mark.parametrize("name", ["kube-extra", "mesh-system"])
def test_who_is_named_by_how_it_begins_or_ends(cluster: Cluster, name: str) -> None:
    cluster.do("apply", "-f", "-", given=namespace(name, label=True))
    cluster.until(lambda: pod(cluster, "bare", name, which="good").returncode == 0, "it is left alone")


def role(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name, "labels": labels}, "rules": []}


def generated(prefix: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": prefix, "labels": labels}}


@pytest.mark.usefixtures("replica")
def test_what_lies_in_no_namespace_is_judged_once_and_changed_as_without_the_flags(cluster: Cluster) -> None:
    """The API server's reviews of it have no namespace."""
    about = {"kinds": [{"apiGroups": ["rbac.authorization.k8s.io"], "kinds": ["ClusterRole"]},
                       {"apiGroups": [""], "kinds": ["Namespace"]}]}
    applied(cluster, constraint(name="roles", match=about), {
        "apiVersion": "mutations.gatekeeper.sh/v1", "kind": "AssignMetadata", "metadata": {"name": "seen"},
        "spec": {"match": about, "location": "metadata.labels.seen", "parameters": {"assign": {"value": "yes"}}}})
    cluster.until(lambda: "[roles]" in cluster("create", "-f", "-", given=role("bare")).stderr, "it is judged")
    refused = cluster("create", "-f", "-", given=role("bare")).stderr
    assert (refused.count(MESSAGE), "not-exempt" in refused) == (1, False)
    cluster.do("create", "-f", "-", given=role("owned", team="a"))
    assert cluster.get("clusterrole", "owned")["metadata"]["labels"] == {"team": "a", "seen": "yes"}
    assert MESSAGE in cluster("label", "clusterrole", "owned", "team-").stderr
    cluster.do("label", "clusterrole", "owned", "more=yes")
    cluster.do("delete", "clusterrole", "owned")
    assert MESSAGE in cluster("create", "-f", "-", given=generated("shop-")).stderr
    assert "namespace/shop-" in cluster.do("create", "-f", "-", given=generated("shop-", team="a"))
    assert "Only exempt namespace" in cluster("create", "-f", "-", given=generated("shop-", team="a",
                                                                                   **{LABEL: ""})).stderr
    assert "namespace/kube-" in cluster.do("create", "-f", "-", given=generated("kube-", **{LABEL: ""})), "exempt"
    cluster.do("delete", "assignmetadata", "seen")
    cluster.do("delete", "k8srequiredlabels", "roles")


def test_the_setting_counts_where_policies_are_files(cluster: Cluster, tmp_path: Path) -> None:
    """Both replicas write the same configurations, as both name the same."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "custody.toml").write_text('exempt_namespaces = ["kube-*"]\n')
    other = Replica(tmp_path / "one", cluster, "--name", "other", "--withdraw").started(60)
    try:
        hooks = cluster.get("validatingwebhookconfiguration", "other")["webhooks"]
        [labelled] = [hook for hook in hooks if hook["name"].startswith("labelled-")]
        assert labelled["matchConditions"] == [Exemption(prefixes=("kube-",)).unnamed()]
    finally:
        assert other.stop() == 0
