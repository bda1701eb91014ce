"""`custody watch --kubeconfig` on a real API server: `affected` says in which pods an image runs, while it does."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.commands import custody
from tests.cluster.replica import Cluster
from tests.contents import images


def test_pods_that_run_an_image(kubeconfig: Path, tmp_path: Path) -> None:
    layout = images.layout(tmp_path / "image", [images.tar([("app/flask-1.0.dist-info/METADATA",
                                                             b"Name: flask\nVersion: 1.0\n")])])
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    assert custody("sbom", "oci:image", "--keep", cwd=tmp_path).returncode == 0
    cluster = Cluster(kubeconfig)
    cluster.do("create", "-f", "-", given={
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": [{"name": "web", "image": "shop:1.0"}]}})
    status = {"phase": "Running", "containerStatuses": [{
        "name": "web", "image": "shop:1.0", "imageID": f"registry.example/shop@{digest}", "ready": True,
        "restartCount": 0}]}
    cluster.do("patch", "pod", "web", "--subresource=status", "--type=merge", "-p",
            json.dumps({"status": status}))

    def pods() -> list[str]:
        done = custody("watch", "--once", "--kubeconfig", str(kubeconfig), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        document = json.loads(custody("affected", "flask", "-o", "json", cwd=tmp_path).stdout)
        return [name.partition("/")[2] for name in document["affected"][0]["pods"]]

    assert pods() == ["default/web"]
    cluster.do("delete", "pod", "web", "--grace-period=0", "--force")
    assert pods() == []
