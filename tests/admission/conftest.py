"""A real API server for a module's tests."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.access.site import Authority
from tests.conftest import PEERS, ROOT, peer

TOOLS = Path(os.environ.get("CUSTODY_PEERS_TOOLS", ROOT.parent / "shared" / "peers"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


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
    for name in ("kube-apiserver", "etcd", "kubectl", "openssl"):
        peer(name)
    script = TOOLS / "apiserver"
    if not script.is_file():
        pytest.skip("the script that boots an API server is not here")
    # Image volumes are on by default from Kubernetes 1.35 on only.
    switched_on = folder / "bin" / "kube-apiserver"
    switched_on.parent.mkdir()
    switched_on.write_text(f'#!/bin/sh\nexec {peer("kube-apiserver")} "$@" --feature-gates=ImageVolume=true '
                           f"{' '.join(flags)}\n")
    switched_on.chmod(0o755)
    env = {**os.environ, "PATH": f"{switched_on.parent}:{os.environ['PATH']}:{PEERS}",
           "APISERVER_PORT": str(free_port()),
           "ETCD_PORT": str(etcd_port or free_port())}
    log = (folder / "start.log").open("wb")
    try:
        subprocess.run([script, "start", folder], env=env, stdout=log, stderr=log, timeout=120, check=True)
        yield folder / "kubeconfig"
    finally:
        subprocess.run([script, "stop", folder], env=env, stdout=log, stderr=log, timeout=60, check=False)
        log.close()
