"""The webhook as the chart installs it: its account's token, its arguments, its ConfigMaps."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from custody.admission.certs import authority, serving
from tests.deploy.conftest import CHART, Server, install, of_kind
from tests.deploy.installation import account, replica
from tests.deploy.renderings import POLICY

pytestmark = pytest.mark.peer


def test_files_of_policies_settings_and_a_certificate_of_yours(server: Server, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = server.cluster
    values: dict[str, Any] = {"policies": {"inline": {"label.yaml": POLICY}}, "reports": "none", "withdraw": True,
                              "certificates": {"secret": "custody-cert"},
                              "settings": {"keep_decisions": 1}}
    documents = CHART.documents(values)
    install(cluster, documents)
    cluster.do("apply", "--server-side", "-f", "-", given=_certificate())
    running = replica(documents, account(cluster, tmp_path), tmp_path / "pod", monkeypatch).started()
    try:
        assert "blocked" in cluster.pod("bad", "bad").stderr
        assert cluster.pod("good", "good").returncode == 0
        # Its own namespace is never asked about, so that it can start by itself.
        assert cluster.pod("bad", "bad", "custody").returncode == 0
        assert (tmp_path / "pod" / "data" / "decisions.db").is_file(), "data_dir is the volume's"
        assert cluster.get("secrets", "custody-webhook-ca", "-n", "custody") is None
    finally:
        code = running.stop()
    assert code == 0, "".join(running.lines)
    assert all(line.startswith("{") for line in running.lines), "log_format is the chart's"


def _certificate() -> dict[str, Any]:
    now = datetime.now(UTC)
    issuer = authority(now)
    pair = serving(issuer, ["127.0.0.1", "custody.custody.svc"], now)
    data = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": issuer.certificate}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "custody-cert", "namespace": "custody"},
            "data": {name: base64.b64encode(text).decode() for name, text in data.items()}}


def test_without_a_right_it_is_not_ready_and_says_which(server: Server, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """Here that to tell the API server what to ask: who is asked nothing must not pass for one that judges."""
    cluster = server.cluster
    documents = CHART.documents({"reports": "none"})
    role = of_kind(documents, "ClusterRole")
    role["rules"] = [rule for rule in role["rules"] if not (
        rule.get("resourceNames") == ["custody", "custody-policies"] and "patch" in rule["verbs"])]
    install(cluster, documents)
    running = replica(documents, account(cluster, tmp_path), tmp_path / "pod", monkeypatch)
    try:
        cluster.until(lambda: any("cannot patch resource" in line for line in running.lines), "it says so")
        assert not running.ready
        said = json.loads(next(line for line in running.lines if "cannot patch resource" in line))
        assert "validatingwebhookconfigurations" in said["message"]
    finally:
        running.stop()
