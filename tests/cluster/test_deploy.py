"""The manifest: the API server takes all of it, and its roles let a replica do all that it does, and nothing more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.admission.definitions import documents
from tests.cluster.replica import Cluster, Replica, policy
from tests.cluster.test_run import ready
from tests.conftest import ROOT

pytestmark = pytest.mark.peer
MANIFEST = ROOT / "deploy" / "admission.yaml"


def as_account(kubeconfig: Path, folder: Path, token: str) -> Path:
    config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    (folder / "kubeconfig").write_text(json.dumps(config))
    return folder / "kubeconfig"


def test_a_replica_with_the_manifests_account_does_all_its_work(kubeconfig: Path, tmp_path: Path) -> None:
    cluster = Cluster(kubeconfig)
    cluster.do("apply", "--server-side", "-f", str(MANIFEST))
    cluster.do("apply", "--server-side", "-f", "-", given=documents())
    account = as_account(kubeconfig, tmp_path, cluster.do("-n", "custody", "create", "token", "custody").strip())
    replica = Replica(tmp_path / "replica", Cluster(account), "--withdraw").started()
    try:
        cluster.do("apply", "-f", "-", given=policy("one", "bad"))
        assert ready(cluster, "one")["status"] == "True"
        assert "blocked" in cluster.pod("bad", "bad").stderr
        cluster.do("delete", "clusterpolicies.kyverno.io", "one")
    finally:
        code = replica.stop()
    assert code == 0
    said = [line for line in replica.lines if " info " not in line and " decision " not in line][3:]
    # Nobody aggregates `view` here, so that what the policy names cannot be watched; all else may be done.
    assert [line for line in said if 'message="watching ' not in line] == []
    assert cluster.get("validatingwebhookconfigurations") is None


@pytest.mark.parametrize("arguments", [
    ["create", "pods"], ["get", "secrets", "-n", "kube-system"], ["list", "secrets", "-A"],
    ["patch", "clusterpolicies"], ["delete", "validatingwebhookconfigurations/of-somebody-else"],
    ["impersonate", "users"]])
def test_the_account_may_not_do_more(kubeconfig: Path, arguments: list[str]) -> None:
    cluster = Cluster(kubeconfig)
    cluster.do("apply", "--server-side", "-f", str(MANIFEST))
    done = cluster("auth", "can-i", *arguments, "--as", "system:serviceaccount:custody:custody")
    assert done.stdout.strip() == "no", done.stdout + done.stderr


def test_the_manifest_runs_the_command_as_it_is() -> None:
    deployment = next(document for document in yaml.safe_load_all(MANIFEST.read_text())
                      if document["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    done = subprocess.run([sys.executable, "-m", "custody.cli.main", *container["args"], "--kubeconfig", "/nowhere"],
                          capture_output=True, text=True, check=False)
    assert "/nowhere: No such file" in done.stderr
