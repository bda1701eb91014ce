"""A listener's certificate is replaced while it serves: new handshakes see the new one, a broken file keeps the old."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import re
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from prometheus_client.parser import text_string_to_metric_families

from custody.errors import UsageError
from custody.policy.load import PolicySet
from custody.server.platform import Running, running
from custody.server.watching import FileWatch
from custody.settings import Settings

DAY = datetime.timedelta(days=1)


class Authority:
    def __init__(self, name: str) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._issue(self.key, self.name, 3650, ca=True)
        self.pem = self.certificate.public_bytes(Encoding.PEM)

    def _issue(self, key: ec.EllipticCurvePrivateKey, name: x509.Name, days: int, *, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        return (x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(now - 30 * DAY)
                .not_valid_after(now + days * DAY)
                .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
                .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                                                            x509.DNSName("localhost")]), critical=False)
                .sign(self.key, hashes.SHA256()))

    def leaf(self, days: int = 90) -> tuple[bytes, bytes]:
        """Certificate and key, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
        return (self._issue(key, name, days, ca=False).public_bytes(Encoding.PEM),
                key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def put(path: Path, content: bytes) -> None:
    """As a careful writer does: renamed into its place, private."""
    draft = path.with_suffix(".draft")
    draft.write_bytes(content)
    draft.chmod(0o600)
    draft.replace(path)


def served(services: Running) -> bytes:
    """The certificate that a new handshake shows, in DER."""
    assert services.webhook is not None
    host, _, port = services.webhook.removeprefix("https://").partition(":")
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port)), timeout=10))


def der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def with_webhook(folder: Path, drive: Callable[[Running, FileWatch[object]], Awaitable[None]], **more: str) -> None:
    settings = Settings(data_dir=str(folder / "data"), webhook_certificate=str(folder / "tls.crt"),
                        webhook_key=str(folder / "tls.key"), **more)

    async def main() -> None:
        async with running(settings, ["admission"], port=None, policies=PolicySet([])) as services:
            (watch,) = services.listeners.watches
            await drive(services, watch)

    asyncio.run(main())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority("test")
    certificate, key = made.leaf()
    put(tmp_path / "tls.crt", certificate)
    put(tmp_path / "tls.key", key)
    return made


def expiry(services: Running) -> float:
    (value,) = [sample.value for family in text_string_to_metric_families(services.metrics.text().decode())
                for sample in family.samples if sample.name == "custody_certificate_expiry_timestamp_seconds"]
    return value


def test_a_certificate_that_ran_out_while_it_is_served_is_not_ready(
        tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drive(services: Running, watch: FileWatch[object]) -> None:
        assert services.admission is not None
        health = services.admission.health
        assert health is not None
        assert (await health.state("webhook-certificate")).ready
        (tmp_path / "tls.crt").write_bytes(b"half")
        await watch.reload()
        late = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
        monkeypatch.setattr("custody.server.listeners.system_clock", lambda: late)
        state = await health.state("webhook-certificate")
        assert (state.alive, state.ready) == (True, False)
        assert re.match("it ran out at .*; .*tls.crt: got '4 bytes without a certificate", state.note)

    with_webhook(tmp_path, drive)


def test_a_new_certificate_is_served_and_counted(tmp_path: Path, authority: Authority) -> None:
    async def drive(services: Running, watch: FileWatch[object]) -> None:
        before = await asyncio.to_thread(served, services)
        assert before == der((tmp_path / "tls.crt").read_bytes())
        certificate, key = authority.leaf(days=45)
        put(tmp_path / "tls.key", key)
        put(tmp_path / "tls.crt", certificate)
        await watch.reload()
        assert watch.failure is None
        assert await asyncio.to_thread(served, services) == der(certificate) != before
        values = {sample.name: sample.value for family in text_string_to_metric_families(
            services.metrics.text().decode()) for sample in family.samples}
        expires = x509.load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp()
        assert values["custody_certificate_expiry_timestamp_seconds"] == expires
        assert values["custody_reloads_total"] == 1

    with_webhook(tmp_path, drive)


def _swapped(folder: Path, authority: Authority) -> None:
    put(folder / "tls.crt", authority.leaf()[0])


def _key_as_certificate(folder: Path, authority: Authority) -> None:
    put(folder / "tls.crt", authority.leaf()[1])


def _expired(folder: Path, authority: Authority) -> None:
    certificate, key = authority.leaf(days=-1)
    put(folder / "tls.crt", certificate)
    put(folder / "tls.key", key)


def _garbage(folder: Path, authority: Authority) -> None:
    put(folder / "tls.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def _gone(folder: Path, authority: Authority) -> None:
    (folder / "tls.crt").unlink()


@pytest.mark.parametrize(("breaking", "reason"), [
    (_swapped, "the key of another certificate"), (_key_as_certificate, "got 'a private key'"),
    (_expired, "the certificate ran out at"), (_garbage, "without a certificate that can be read"),
    (_gone, "No such file")])
def test_a_broken_file_keeps_the_old_certificate_and_says_so(
        tmp_path: Path, authority: Authority, breaking: Callable[[Path, Authority], None], reason: str,
        caplog: pytest.LogCaptureFixture) -> None:
    async def drive(services: Running, watch: FileWatch[object]) -> None:
        before = await asyncio.to_thread(served, services)
        breaking(tmp_path, authority)
        await watch.reload()
        assert watch.failure is not None
        assert reason in watch.failure
        assert reason in caplog.text
        assert "PRIVATE KEY-----" not in caplog.text
        assert await asyncio.to_thread(served, services) == before
        assert expiry(services) == x509.load_der_x509_certificate(before).not_valid_after_utc.timestamp()
        certificate, key = authority.leaf()
        put(tmp_path / "tls.crt", certificate)
        put(tmp_path / "tls.key", key)
        await watch.reload()
        assert watch.failure is None
        assert await asyncio.to_thread(served, services) == der(certificate)

    with_webhook(tmp_path, drive)


def test_a_start_with_a_certificate_that_ran_out_is_refused(tmp_path: Path, authority: Authority) -> None:
    _expired(tmp_path, authority)

    async def never(services: Running, watch: FileWatch[object]) -> None:
        raise AssertionError("it started")

    with pytest.raises(UsageError, match=r"tls.crt: the certificate ran out at"):
        with_webhook(tmp_path, never)


def test_another_client_authority_counts_for_new_handshakes(tmp_path: Path, authority: Authority) -> None:
    ours, theirs = Authority("ours"), Authority("theirs")
    put(tmp_path / "clients.crt", ours.pem)
    for name, issuer in (("a", ours), ("b", theirs)):
        certificate, key = issuer.leaf()
        put(tmp_path / f"{name}.pem", certificate + key)

    async def drive(services: Running, watch: FileWatch[object]) -> None:
        assert await asyncio.to_thread(accepts, services, tmp_path / "a.pem")
        assert not await asyncio.to_thread(accepts, services, tmp_path / "b.pem")
        put(tmp_path / "clients.crt", theirs.pem)
        await watch.reload()
        assert watch.failure is None
        assert not await asyncio.to_thread(accepts, services, tmp_path / "a.pem")
        assert await asyncio.to_thread(accepts, services, tmp_path / "b.pem")

    with_webhook(tmp_path, drive, webhook_client_ca=str(tmp_path / "clients.crt"))


def accepts(services: Running, client: Path) -> bool:
    """Whether a request with this client's certificate is answered."""
    import http.client

    context = ssl._create_unverified_context()
    context.load_cert_chain(client)
    assert services.webhook is not None
    connection = http.client.HTTPSConnection(services.webhook.removeprefix("https://"), context=context, timeout=10)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return False
    finally:
        connection.close()


def test_the_certificate_that_is_made_here_is_renewed_in_time(tmp_path: Path) -> None:
    """Looked at again without any file having changed: its 30 days begin while the process runs."""
    async def main() -> None:
        async with running(Settings(data_dir=str(tmp_path)), ["admission"], port=None,
                           policies=PolicySet([])) as services:
            (watch,) = services.listeners.watches
            before = await asyncio.to_thread(served, services)
            (tmp_path / "admission" / "tls.crt").unlink()
            await watch.reload()
            assert watch.failure is None
            after = await asyncio.to_thread(served, services)
            assert after != before
            assert after == der((tmp_path / "admission" / "tls.crt").read_bytes())

    asyncio.run(main())
