"""TLS of the main listener, and clients' certificates as credentials."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from custody.adapters.http.stdlib import StdlibHttp
from custody.cli.run import run
from custody.errors import NetworkError, UsageError
from custody.server.access.mtls import Named, caller_of, names_of
from custody.server.platform import running
from custody.server.tls import server_context
from custody.settings import Settings
from custody.settings.tables import Auth, Grant
from tests.access.site import Authority, Client, basic, htpasswd, server_files, serving

PKCS = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"


class Site:
    def __init__(self, folder: Path, host: str) -> None:
        self.folder, self.host, self.authority = folder, host, Authority()

    def client(self, files: tuple[Path, Path] | None, credentials: str | None = None) -> Client:
        context = ssl.create_default_context(cafile=str(self.folder / "tls" / "ca.crt"))
        if files is not None:
            context.load_cert_chain(*files)
        return Client(self.host, credentials, context)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("mtls")
    certificate, key, _ = server_files(folder / "tls")
    made = Site(folder, "")
    (folder / "htpasswd").write_text(htpasswd(ann="secret", builder="secret"))
    settings = Settings(data_dir=str(folder / "data"), tls_certificate=certificate, tls_key=key,
                        tls_client_ca=str(made.authority.pem(folder / "clients.pem")),
                        auth=Auth(htpasswd=str(folder / "htpasswd"), public=["free/*"], allow=[
                            Grant(by="certificate", identities=["builder", "spiffe://org/ns/*", "ci@org.example",
                                                                "ci.org.example"],
                                  repositories=["team/*"], actions=["pull", "push"]),
                            Grant(by="htpasswd", identities=["ann"], repositories=["ann/*"], actions=["push"])]))
    with serving(settings) as host:
        made.host = host
        yield made


@pytest.mark.parametrize(("common", "names", "allowed"), [
    ("builder", None, True),
    ("another", None, False),
    ("", None, False),
    ("builder", [x509.DNSName("other.example")], False),  # alternative names count, and the common name no more
    ("x", [x509.UniformResourceIdentifier("spiffe://org/ns/shop")], True),
    ("", [x509.UniformResourceIdentifier("spiffe://org/ns/shop")], True),
    ("x", [x509.UniformResourceIdentifier("spiffe://org/other")], False),
    ("x", [x509.RFC822Name("ci@org.example")], True),
    ("x", [x509.DNSName("other.example"), x509.DNSName("ci.org.example")], True),
])
def test_names_of_certificates(site: Site, common: str, names: list[x509.GeneralName] | None, allowed: bool) -> None:
    client = site.client(site.authority.client(site.folder / "clients", common, names))
    assert client.push("team/app").status == (201 if allowed else 403 if common or names else 401)


def test_a_connection_keeps_its_own_name(site: Site) -> None:
    builder = site.client(site.authority.client(site.folder / "clients", "builder"))
    for _ in range(3):
        assert builder.push("team/app").status == 201
        assert site.client(None).push("team/app").status == 401
    assert site.client(None).ask("GET", "/healthz").status == 200


def test_certificates_of_others_end_the_handshake(site: Site) -> None:
    stranger = Authority("clients")  # the same name, another key
    own = site.authority
    for files in (stranger.client(site.folder / "strangers", "builder"),
                  own.client(site.folder / "clients", "builder", days=-1),
                  own.client(site.folder / "clients", "builder", usage=ExtendedKeyUsageOID.SERVER_AUTH)):
        with pytest.raises((ssl.SSLError, OSError)):
            site.client(files).push("team/app")


def test_credentials_count_before_the_certificate(site: Site) -> None:
    files = site.authority.client(site.folder / "clients", "builder")
    assert site.client(files, basic("ann", "secret")).push_blob("ann/app", b"x").status == 201
    assert site.client(files, basic("ann", "secret")).push("team/app").status == 403
    assert site.client(files, basic("ann", "wrong")).push("team/app").status == 401
    assert site.client(None, basic("builder", "secret")).push("team/app").status == 403  # another builder


def test_where_only_certificates_count_there_is_no_challenge(tmp_path: Path) -> None:
    certificate, key, trusting = server_files(tmp_path / "tls")
    settings = Settings(data_dir=str(tmp_path / "data"), tls_certificate=certificate, tls_key=key,
                        tls_client_ca=str(Authority().pem(tmp_path / "c.pem")), auth=Auth())
    with serving(settings) as host:
        for credentials in (None, basic("ann", "x"), "Bearer x"):
            answer = Client(host, credentials, trusting).ask("GET", "/v2/")
            assert answer.error()[:2] == (403, "DENIED")
            assert "a client certificate is expected" in answer.error()[2]
            assert answer.challenges() == []


@pytest.mark.parametrize(("certificate", "key", "client_ca", "reason"), [
    ("tls.key", "tls.key", None, r"tls\.key: got 'a private key', expected certificates in PEM"),
    ("both.pem", "tls.key", None, r"both\.pem: got 'a private key'"),
    ("tls.crt", "tls.crt", None, r"tls\.crt: got 'no private key', expected the private key of .*tls\.crt"),
    ("tls.crt", "ca.key", None, r"ca\.key: got 'the key of another certificate', expected the key of the first"),
    ("tls.crt", "locked.key", None, r"locked\.key: got a key with a password"),
    ("tls.crt", "broken.key", None, r"broken\.key: got '.*', expected the private key of"),
    ("no.crt", "tls.key", None, r"no\.crt: No such file"),
    ("empty", "tls.key", None, r"empty: got '0 bytes without a certificate"),
    ("tls.crt", "tls.key", "ca.key", r"ca\.key: got 'a private key'"),
    ("tls.crt", "tls.key", "empty", r"empty: got '0 bytes without a certificate"),
])
def test_files_in_the_wrong_place(tmp_path: Path, certificate: str, key: str, client_ca: str | None,
                                  reason: str) -> None:
    server_files(tmp_path)
    secret = (tmp_path / "tls.key").read_text()
    (tmp_path / "both.pem").write_text((tmp_path / "tls.crt").read_text() + secret)
    (tmp_path / "empty").write_text("")
    (tmp_path / "locked.key").write_text(PKCS)
    (tmp_path / "broken.key").write_text(secret[:60] + "\n-----END PRIVATE KEY-----\n")
    with pytest.raises(UsageError, match=reason) as caught:
        server_context(tmp_path / certificate, tmp_path / key, tmp_path / client_ca if client_ca else None)
    assert secret[40:60] not in caught.value.message


@pytest.mark.parametrize(("options", "reason"), [
    ({"tls_certificate": "x"}, "tls_key: got none, expected one beside tls_certificate"),
    ({"tls_key": "x"}, "tls_certificate: got none, expected one beside tls_key"),
    ({"tls_client_ca": "x"}, r"tls_client_ca: says who somebody is, for \[auth\]"),
    ({"tls_client_ca": "x", "auth": Auth()}, "tls_client_ca: needs tls_certificate"),
    ({"auth": Auth()}, "auth: got no way to know who somebody is"),
    ({"auth": Auth(htpasswd="no")}, r"auth\.htpasswd: no: No such file"),
])
def test_settings_that_need_others(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    async def main() -> None:
        async with running(Settings(data_dir=str(tmp_path), **options), ["registry"]):
            raise AssertionError("it started")

    with pytest.raises(UsageError, match=reason):
        asyncio.run(main())


def test_old_tls_is_refused(tmp_path: Path) -> None:
    certificate, key, trusting = server_files(tmp_path)
    assert server_context(Path(certificate), Path(key)).minimum_version == ssl.TLSVersion.TLSv1_2
    settings = Settings(data_dir=str(tmp_path / "data"), tls_certificate=certificate, tls_key=key)
    with serving(settings, "log") as host:
        assert Client(host, tls=trusting).ask("GET", "/healthz").status == 200
        with pytest.raises((OSError, Exception)):
            Client(host).ask("GET", "/healthz")


def test_a_client_is_told_what_tls_may_be_the_matter_with(site: Site, monkeypatch: pytest.MonkeyPatch,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    port = site.host.rpartition(":")[2]
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert run(["tree", f"127.0.0.1:{port}/team/app:1"]) == 6
    assert "hint: a server that expects TLS ends a request without it like this" in capsys.readouterr().err
    answer = site.client(None).ask("GET", "/metrics").body.decode()
    assert re.search(r'^custody_http_refused_total\{code="tls"\} [1-9]', answer, re.MULTILINE)

    async def unknown_authority() -> None:
        http = StdlibHttp()
        try:
            with pytest.raises(NetworkError, match="certificate verify failed") as caught:
                await http.request("GET", f"https://localhost:{port}/v2/")
        finally:
            await http.close()
        assert caught.value.hint == "authorities beside the system's: SSL_CERT_FILE=FILE (PEM)"

    asyncio.run(unknown_authority())


def unreadable(kind: str) -> str:
    """PEM of a certificate whose extensions OpenSSL reads and cryptography does not. Its signature is of no matter."""
    first, second = x509.ObjectIdentifier("1.2.3.4.5"), x509.ObjectIdentifier("1.2.3.4.6")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "builder")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    extensions = [(first, b"\x05\x00"), (second, b"\x05\x00")] if kind == "twice" else [
        (x509.ObjectIdentifier("2.5.29.17"), b"\x30\x02\xa5\x00")]  # ediPartyName
    for oid, value in extensions:
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    return ssl.DER_cert_to_PEM_cert(der.replace(b"\x2a\x03\x04\x06", b"\x2a\x03\x04\x05"))


@pytest.mark.parametrize(("kind", "error"), [
    ("twice", x509.DuplicateExtension), ("party", x509.UnsupportedGeneralNameType)])
def test_a_certificate_that_cannot_be_read_names_nobody(kind: str, error: type[Exception]) -> None:
    pem = unreadable(kind)
    with pytest.raises(error):
        names_of(x509.load_pem_x509_certificate(pem.encode()))
    scope: dict[str, Any] = {"type": "http", "extensions": {"tls": {"client_cert_chain": [pem]}}}
    assert caller_of(scope) is None
    sent: list[Any] = []

    async def refused(*_: Any) -> None:
        raise AssertionError("it was let in")

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Named(refused, ["builder"])(scope, refused, send))
    assert sent[0]["status"] == 403
    assert b"the client certificate is of nobody" in sent[1]["body"]
