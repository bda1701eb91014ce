"""The webhook's TLS: names that can be chosen, a certificate of others, and callers that must show theirs."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from custody.admission.certs import ServingCertificate
from custody.admission.configuration import Service, configurations
from custody.cli.run import run
from custody.errors import MalformedError, UsageError
from custody.policy.load import PolicySet
from custody.server.platform import running
from custody.settings import Settings
from tests.access.site import Authority


def started(tmp_path: Path, port: int = 0, **options: Any) -> list[str]:
    """The names in the certificate of a webhook that was started with these settings."""
    host = options.pop("host", "127.0.0.1")
    names = options.pop("webhook_names_given", ())

    async def main() -> list[str]:
        settings = Settings(data_dir=str(tmp_path / "data"), **options)
        async with running(settings, ["admission"], host=host, webhook_port=port, webhook_names=names,
                           policies=PolicySet([])) as found:
            assert found.webhook is not None
            number = int(found.webhook.rpartition(":")[2])
            pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", number))
            shown = x509.load_pem_x509_certificate(pem.encode())
            alternatives = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            return [str(name.value) for name in alternatives]

    return asyncio.run(main())


def test_webhook_san(tmp_path: Path) -> None:
    assert started(tmp_path, host="0.0.0.0") == ["127.0.0.1", "localhost"]  # nobody calls it 0.0.0.0
    assert started(tmp_path, host="0.0.0.0", webhook_names=["custody.custody.svc", "10.1.2.3"]) == [
        "127.0.0.1", "custody.custody.svc", "10.1.2.3", "localhost"]
    assert started(tmp_path, webhook_names=["a.example"], webhook_names_given=["b.example", "a.example"]) == [
        "127.0.0.1", "a.example", "b.example", "localhost"]
    for name in ("https://a.example", "a.example:443", "a b", ""):
        with pytest.raises(MalformedError, match=r"webhook's name: got .*, expected a host's name or IP address"):
            started(tmp_path, webhook_names=[name])


@contextmanager
def serve(folder: Path, *arguments: str) -> Iterator[None]:
    """`custody serve` as a process, until its last line."""
    process = subprocess.Popen([sys.executable, "-m", "custody.cli.main", "serve", *arguments], cwd=folder,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        assert any(b"ctrl-c" in line for line in process.stderr)
        yield
    finally:
        process.terminate()
        process.stderr.close()
        process.wait(30)


def test_webhook_cert_names(tmp_path: Path) -> None:
    """By each name that the API server may use, and by the address on which the process is looked after."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with serve(tmp_path, "--roles", "admission", "--host", "0.0.0.0", "--webhook-port", str(port), "--webhook-name",
               "10.1.2.3", "--webhook-service", "custody/hook"):
        context = ssl.create_default_context(cafile=str(tmp_path / ".custody" / "admission" / "ca.crt"))
        for name in ("127.0.0.1", "10.1.2.3", "hook.custody.svc", "hook.custody.svc.cluster.local", "localhost"):
            with (socket.create_connection(("127.0.0.1", port)) as plain,
                  context.wrap_socket(plain, server_hostname=name) as connection):
                connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.1 200"), name
        with (socket.create_connection(("127.0.0.1", port)) as plain,
              pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch")):
            context.wrap_socket(plain, server_hostname="other.example")


def test_a_service_is_named_alike_in_configuration_and_certificate(tmp_path: Path,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    ServingCertificate(tmp_path, ["x"]).ensure(datetime.now(UTC))
    assert run(["admission", "config", "--service", "custody/hook:8443", "--ca-bundle", str(tmp_path / "ca.crt")]) == 0
    for document in yaml.safe_load_all(capsys.readouterr().out):
        for webhook in document["webhooks"]:
            assert webhook["clientConfig"]["service"] == {
                "namespace": "custody", "name": "hook", "port": 8443,
                "path": "/mutate" if document["kind"].startswith("Mutating") else "/validate"}
            assert "url" not in webhook["clientConfig"]
    assert Service.parse("custody/hook", "s").hosts == ("hook.custody.svc", "hook.custody.svc.cluster.local")
    for arguments in ([], ["--service", "a/b", "--url", "https://x"]):
        assert run(["admission", "config", "--ca-bundle", str(tmp_path / "ca.crt"), *arguments]) == 2
        assert "give one of --url and --service" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["hook", "a/b/c", "A/b", "a/b:0", "a/b:65536", "a/b:x", "a/1b", "a/-b", "/b", "a/",
                                  "a/b\n", "a/" + "b" * 64])
def test_what_is_no_service(text: str) -> None:
    with pytest.raises(MalformedError, match=r"s: got .*, expected NAMESPACE/NAME\[:PORT\]"):
        Service.parse(text, "s", port=True)
    with pytest.raises(MalformedError, match="expected NAMESPACE/NAME, such"):
        Service.parse("a/b:443", "s")
    assert configurations(Service("a", "b"), b"CA")[0]["webhooks"][0]["clientConfig"]["service"]["port"] == 443


def test_the_certificate_of_others(tmp_path: Path) -> None:
    other = ServingCertificate(tmp_path / "other", ["webhook.example"])
    other.ensure(datetime.now(UTC))
    files = {"webhook_certificate": str(other.certificate), "webhook_key": str(other.key)}
    assert started(tmp_path, **files) == ["webhook.example"]
    assert not (tmp_path / "data" / "admission").exists()  # no authority is made beside it
    with pytest.raises(UsageError, match=r"webhook_names: got a\.example, and the names are those of webhook_certif"):
        started(tmp_path, **files, webhook_names=["a.example"])
    with pytest.raises(UsageError, match="webhook_key: got none, expected one beside webhook_certificate"):
        started(tmp_path, webhook_certificate=str(other.certificate))


class Hook:
    """A webhook that demands certificates of an authority."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder, self.authority = folder, Authority()
        self.settings = Settings(data_dir=str(folder / "data"), **options,
                                 webhook_client_ca=str(self.authority.pem(folder / "apiserver.pem")))

    def answers(self, *clients: tuple[Path, Path] | None) -> list[int | None]:
        """The status for each client; None where the handshake failed. Last, that of the plain port's /readyz."""

        async def main() -> list[int | None]:
            async with running(self.settings, ["admission"], policies=PolicySet([])) as found:
                assert found.webhook is not None
                port = int(found.webhook.rpartition(":")[2])
                outcomes = [await asyncio.to_thread(self._ask, port, client) for client in clients]
                return [*outcomes, await asyncio.to_thread(self._plain, int(found.url.rpartition(":")[2]))]

        return asyncio.run(main())

    def _ask(self, port: int, client: tuple[Path, Path] | None) -> int | None:
        context = ssl.create_default_context(cafile=str(self.folder / "data" / "admission" / "ca.crt"))
        if client is not None:
            context.load_cert_chain(*client)
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    @staticmethod
    def _plain(port: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status
        finally:
            connection.close()


def test_a_client_certificate_can_be_demanded(tmp_path: Path) -> None:
    hook = Hook(tmp_path)
    own = hook.authority.client(tmp_path / "c", "kube-apiserver")
    stranger = Authority().client(tmp_path / "s", "kube-apiserver")
    late = hook.authority.client(tmp_path / "c", "kube-apiserver", days=-1)
    assert hook.answers(own, None, stranger, late) == [200, None, None, None, 200]


def test_names_of_clients_can_be_demanded_too(tmp_path: Path) -> None:
    """Where the authority is the cluster's, whose certificates others have as well."""
    hook = Hook(tmp_path, webhook_client_names=["kube-apiserver", "api.example"])
    own = hook.authority.client(tmp_path / "c", "kube-apiserver")
    named = hook.authority.client(tmp_path / "c", "x", [x509.DNSName("api.example")])
    admin = hook.authority.client(tmp_path / "c", "kubernetes-admin")
    hidden = hook.authority.client(tmp_path / "c", "kube-apiserver", [x509.DNSName("other.example")])
    nameless = hook.authority.client(tmp_path / "c", "")
    assert hook.answers(own, named, admin, hidden, nameless, None) == [200, 200, 403, 403, 403, None, 200]
    with pytest.raises(UsageError, match="webhook_client_names: needs webhook_client_ca"):
        started(tmp_path, webhook_client_names=["x"])
