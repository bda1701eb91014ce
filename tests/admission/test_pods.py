"""A real API server asked which images its pods run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.admission.test_cluster import kubectl
from tests.cli.commands import custody
from tests.contents import images

pytestmark = pytest.mark.peer


def test_a_real_api_server_says_where_an_image_runs(kubeconfig: Path, tmp_path: Path) -> None:
    """What the node would write into a pod's status is written here: there is no node."""
    images.layout(tmp_path / "image", [images.tar([("app/flask-1.0.dist-info/METADATA",
                                                    b"Name: flask\nVersion: 1.0\n")])])
    digest = json.loads((tmp_path / "image" / "index.json").read_text())["manifests"][0]["digest"]
    assert custody("scan", "oci:image", "--allow-empty-db", cwd=tmp_path).returncode == 0
    kubectl(kubeconfig, "create", "namespace", "running")
    kubectl(kubeconfig, "-n", "running", "create", "serviceaccount", "default")
    kubectl(kubeconfig, "-n", "running", "run", "web", "--image", f"r.example/shop@{digest}")
    status = {"status": {"phase": "Running", "containerStatuses": [{
        "name": "web", "image": "shop", "imageID": f"r.example/shop@{digest}", "ready": True, "restartCount": 0}]}}
    kubectl(kubeconfig, "-n", "running", "patch", "pod", "web", "--subresource", "status", "-p", json.dumps(status))
    done = custody("watch", "--once", "--kubeconfig", str(kubeconfig), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(custody("affected", "flask", "-o", "json", cwd=tmp_path).stdout)
    assert [pod.partition("/")[2] for pod in document["affected"][0]["pods"]] == ["running/web"]
    kubectl(kubeconfig, "-n", "running", "delete", "pod", "web", "--force", "--grace-period=0")
    assert custody("watch", "--once", "--kubeconfig", str(kubeconfig), cwd=tmp_path).returncode == 0
    document = json.loads(custody("affected", "flask", "-o", "json", cwd=tmp_path).stdout)
    assert document["affected"][0]["pods"] == []
