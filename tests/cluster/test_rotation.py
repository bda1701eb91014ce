"""Certificates change while the API server asks: no handshake fails, and nothing is judged otherwise. Of custody's own
authority, and of a Secret as cert-manager keeps it (tls.crt with its chain, tls.key, ca.crt), whose injector writes
caBundle."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.admission.load import ApiServer, load
from tests.cluster.replica import Cluster, Replica, policy
from tests.cluster.test_run import cluster as definitions
from tests.cluster.test_run import configuration, ready
from tests.server.test_certificates import Authority

pytestmark = pytest.mark.peer
cluster = definitions
CONFIGURATIONS = ("validatingwebhookconfiguration/custody", "validatingwebhookconfiguration/custody-policies")
INJECT = "cert-manager.io/inject-ca-from"


class Handshakes:
    """New connections to a port, one after the other, each verified by an authority."""

    def __init__(self, port: int, authority: bytes) -> None:
        self.serials: list[int] = []
        self.failures: list[str] = []
        self._port = port
        self._tls = ssl.create_default_context(cadata=authority.decode())
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.02):
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=20) as plain, self._tls.wrap_socket(
                        plain, server_hostname="127.0.0.1") as secured:
                    shown = secured.getpeercert(binary_form=True)
                    assert shown is not None
                    self.serials.append(x509.load_der_x509_certificate(shown).serial_number)
            except OSError as error:
                self.failures.append(str(error))

    @contextlib.contextmanager
    def running(self) -> Iterator[Handshakes]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()


class CertManager:
    """What cert-manager writes: a Certificate's Secret by an intermediate authority, and the injector's caBundle."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.root, self._issuer = Authority("root"), Authority("issuer")
        self._issuer.certificate = self.root._issue(self._issuer.key, self._issuer.name, 365, ca=True)

    def issue(self) -> int:
        """The serial number of the new certificate."""
        certificate, key = self._issuer.leaf()
        chain = certificate + self._issuer.certificate.public_bytes(Encoding.PEM)
        data = {"tls.crt": chain, "tls.key": key, "ca.crt": self.root.pem}
        self._cluster.do("apply", "--server-side", "--force-conflicts", "-f", "-", given={
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {
                "name": "custody-tls", "namespace": "custody", "labels": {
                    "controller.cert-manager.io/fao": "true"},
                "annotations": {"cert-manager.io/certificate-name": "custody", "cert-manager.io/issuer-kind": "Issuer",
                                "cert-manager.io/ip-sans": "127.0.0.1"}},
            "data": {name: base64.b64encode(value).decode() for name, value in data.items()}})
        return x509.load_pem_x509_certificate(certificate).serial_number

    def inject(self) -> None:
        """Into each configuration that is annotated."""
        bundle = base64.b64encode(self.root.pem).decode()
        for name in CONFIGURATIONS:
            document = self._cluster.get(*name.split("/"))
            if document is not None:
                assert document["metadata"]["annotations"][INJECT] == "custody/custody"
                self._cluster.do("patch", name, "--type=json", "-p", json.dumps([
                    {"op": "add", "path": f"/webhooks/{at}/clientConfig/caBundle", "value": bundle}
                    for at in range(len(document["webhooks"]))]))


def looked_at(cluster: Cluster, mark: str) -> None:
    """Whatever happens to a configuration, a replica looks at all that it keeps; else it does so twice a minute."""
    cluster.do("label", "--overwrite", "validatingwebhookconfiguration", "custody", f"mark={mark}")


def bundles(cluster: Cluster) -> set[str]:
    return {webhook["clientConfig"].get("caBundle", "") for webhook in configuration(cluster)["webhooks"]}


def rotated(cluster: Cluster, replica: Replica, authority: bytes, change: Any) -> None:
    """`change` makes a new certificate; under load nothing is lost by it, and new connections show it."""
    cluster.until(lambda: "blocked" in cluster.pod("bad", "bad").stderr, "it is asked", seconds=40)
    with load(ApiServer(cluster.kubeconfig), ["good", "bad"], rate=30) as answers, Handshakes(
            replica.port, authority).running() as handshakes:
        cluster.until(lambda: len(handshakes.serials) > 3, "connections are made", seconds=40)
        before = handshakes.serials[-1]
        change()
        looked_at(cluster, "rotated")
        cluster.until(lambda: handshakes.serials[-1] != before, "the new one is shown", seconds=60)
        more = len(handshakes.serials)
        cluster.until(lambda: len(handshakes.serials) > more + 20, "and stays", seconds=40)
    assert handshakes.failures == []
    assert len(set(handshakes.serials)) == 2
    assert len(answers) > 20
    for answer in answers:
        assert answer.status == 201 if answer.labels == "good" else "was blocked" in answer.message, answer


@pytest.fixture(autouse=True)
def _clear(cluster: Cluster) -> Iterator[None]:
    yield
    cluster("delete", "clusterpolicies.kyverno.io", "--all")
    cluster("delete", "validatingwebhookconfigurations,mutatingwebhookconfigurations", "--all")


def test_custodys_own_certificate_is_made_anew_under_load(cluster: Cluster, tmp_path: Path) -> None:
    replica = Replica(tmp_path / "own", cluster).started(60)
    try:
        cluster.do("apply", "-f", "-", given=policy("one", "bad"))
        ready(cluster, "one")
        authority = base64.b64decode(cluster.get("-n", "custody", "secret", "custody-webhook-ca")["data"]["ca.crt"])
        rotated(cluster, replica, authority,
                lambda: cluster.do("-n", "custody", "delete", "secret", "custody-webhook-tls"))
    finally:
        replica.stop()


def test_a_secret_of_cert_manager_is_served_with_its_chain_and_read_again(cluster: Cluster, tmp_path: Path) -> None:
    cluster("create", "namespace", "custody")
    manager = CertManager(cluster)
    first = manager.issue()
    replica = Replica(tmp_path / "theirs", cluster, "--tls-secret", "custody-tls", "--inject-ca-from",
                      "custody/custody").started(60)
    try:
        manager.inject()
        cluster.do("apply", "-f", "-", given=policy("one", "bad"))
        ready(cluster, "one")
        assert bundles(cluster) == {""}, "it is left to the injector"
        manager.inject()
        issued: list[int] = []
        rotated(cluster, replica, manager.root.pem, lambda: issued.append(manager.issue()))
        assert issued[0] != first
        assert bundles(cluster) == {base64.b64encode(manager.root.pem).decode()}, "what was injected stays"
    finally:
        replica.stop()
