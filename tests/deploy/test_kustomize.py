"""Each overlay is put together by kubectl, taken by an API server, and runs what the chart runs."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, peer
from tests.deploy.conftest import CHART, Server, of_kind

pytestmark = pytest.mark.peer
FOLDER = ROOT / "deploy" / "kustomize"
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "custody"}}
OVERLAYS = ["base", "guard", *sorted(f"overlays/{folder.name}" for folder in (FOLDER / "overlays").iterdir())]


def built(name: str) -> list[dict[str, Any]]:
    done = subprocess.run([peer("kubectl"), "kustomize", str(FOLDER / name)], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_api_server_takes_it(server: Server, name: str) -> None:
    documents = built(name)
    namespace = next((document for document in documents if document["kind"] == "Namespace"), NAMESPACE)
    server.cluster.do("apply", "--server-side", "--force-conflicts", "-f", "-", given=namespace)
    done = server.cluster("apply", "--server-side", "--force-conflicts", "--validate=strict", "--dry-run=server", "-f",
                          "-", given=documents)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


def test_an_overlay_of_certificates_is_the_charts(server: Server) -> None:
    """Its account may read the one Secret, and its replica is told of it."""
    assert server
    documents = built("overlays/cert-manager")
    rendered = CHART.documents({"certificates": {"certManager": {"enabled": True}}})
    assert _sorted(of_kind(documents, "Role")["rules"]) == _sorted(of_kind(rendered, "Role")["rules"])
    assert _arguments(documents) == _arguments(rendered)
    for kind in ("Certificate", "Issuer"):
        assert _sorted([document["spec"] for document in documents if document["kind"] == kind]) == _sorted(
            [document["spec"] for document in rendered if document["kind"] == kind])


def _arguments(documents: list[dict[str, Any]]) -> set[str]:
    return set(of_kind(documents, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"])


def _sorted(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(documents, key=str)


def test_an_overlay_for_one_node_is_one_replica_without_budget() -> None:
    documents = built("overlays/one-replica")
    assert of_kind(documents, "Deployment")["spec"]["replicas"] == 1
    assert not [document for document in documents if document["kind"] in ("PodDisruptionBudget", "NetworkPolicy")]
