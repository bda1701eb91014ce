"""A real API server for a module's tests."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import apiserver
from tests.access.site import Authority


def _shows_a_certificate(folder: Path) -> Path:
    """What makes an API server show a client's certificate to webhooks, as docs/guides/admission.md says."""
    authority = Authority()
    folder.mkdir()
    certificate, key = authority.client(folder, "kube-apiserver")
    authority.pem(folder / "ca.pem")
    user = {"name": "*", "user": {"client-certificate": str(certificate), "client-key": str(key)}}
    (folder / "webhooks.kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "users": [user]}))
    configuration = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration",
                     "kubeConfigFile": str(folder / "webhooks.kubeconfig")}
    (folder / "admission.yaml").write_text(json.dumps({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [
            {"name": name, "configuration": configuration}
            for name in ("ValidatingAdmissionWebhook", "MutatingAdmissionWebhook")]}))
    return folder / "admission.yaml"


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Its kubeconfig; the files of its folder are those of `apiserver start`."""
    folder = tmp_path_factory.mktemp("apiserver")
    with api_server(folder, f"--admission-control-config-file={_shows_a_certificate(folder / 'client')}") as path:
        yield path


@contextlib.contextmanager
def api_server(folder: Path, *flags: str, etcd_port: int | None = None) -> Iterator[Path]:
    """The kubeconfig of a real API server that runs with these flags; skips by name where a part is not installed."""
    with contextlib.ExitStack() as stack:
        try:
            kubeconfig = stack.enter_context(apiserver.running(folder, *flags, etcd_port=etcd_port))
        except apiserver.AbsentError as absent:
            pytest.skip(str(absent))
        yield kubeconfig
