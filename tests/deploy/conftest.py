"""An API server that keeps an audit log, and a chart's rendering installed in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.admission.conftest import api_server
from tests.cluster.replica import Cluster
from tests.conftest import ROOT
from tests.controllers.conftest import definition
from tests.deploy.template import Chart

CHART = Chart(ROOT / "deploy" / "helm" / "custody")
_AUDIT = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"],
          "rules": [{"level": "Metadata"}]}
STRANGERS = [definition("wgpolicyk8s.io", "v1alpha2", "PolicyReport"),
             definition("wgpolicyk8s.io", "v1alpha2", "ClusterPolicyReport", namespaced=False),
             definition("openreports.io", "v1alpha1", "Report"),
             definition("openreports.io", "v1alpha1", "ClusterReport", namespaced=False),
             definition("cert-manager.io", "v1", "Issuer"), definition("cert-manager.io", "v1", "Certificate"),
             definition("monitoring.coreos.com", "v1", "ServiceMonitor")]
"""Kinds of others, with every field kept: their own schemas are not here."""


class Server(NamedTuple):
    cluster: Cluster
    audit: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("apiserver")
    (folder / "audit.yaml").write_text(json.dumps(_AUDIT))
    log = folder / "audit.log"
    with api_server(folder, f"--audit-policy-file={folder / 'audit.yaml'}", f"--audit-log-path={log}") as path:
        cluster = Cluster(path)
        cluster.do("apply", "--server-side", "-f", "-", given=[*CHART.crds, *STRANGERS])
        cluster.do("wait", "--for=condition=Established", "crd", "--all")
        yield Server(cluster, log)


def install(cluster: Cluster, documents: list[dict[str, Any]]) -> None:
    cluster.do("apply", "--server-side", "-f", "-", given={
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "custody"}})
    cluster.do("apply", "--server-side", "-f", "-", given=documents)


def of_kind(documents: list[dict[str, Any]], *kinds: str, component: str = "admission") -> dict[str, Any]:
    """The only one, of the replicas or of the guard."""
    (document,) = (document for document in documents if document["kind"] in kinds and (
        document["metadata"].get("labels") or {}).get("app.kubernetes.io/component", component) == component)
    return document
