"""A registry behind a gate: users, an OIDC issuer, an authority of client certificates, and a client without habits."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from custody.admission.certs import ServingCertificate
from custody.kit.clock import system_clock
from custody.server.platform import running
from custody.settings import Settings
from custody.trust.oidc import OidcIssuer

ISSUER, AUDIENCE = "https://issuer.example", "registry.example"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def htpasswd(**users: str) -> str:
    return "".join(f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"
                   for user, password in users.items())


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Authority:
    """Signs client certificates."""

    def __init__(self, name: str = "clients") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(name, self.key, None, ca=True)

    def _sign(self, common: str, key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName] | None, *,
              ca: bool = False, usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
              days: int = 1) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])
        now = datetime.now(UTC)
        builder = (x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
                   .issuer_name(subject if ca else self.certificate.subject).serial_number(x509.random_serial_number())
                   .not_valid_before(now - timedelta(days=3)).not_valid_after(now + timedelta(days=days))
                   .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True))
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not common)
        return builder.sign(self.key, hashes.SHA256())

    def client(self, folder: Path, common: str, names: list[x509.GeneralName] | None = None,
               **options: Any) -> tuple[Path, Path]:
        """Files of a new client's certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        folder.mkdir(exist_ok=True)
        name = hashlib.sha256(repr((common, names, options)).encode()).hexdigest()[:8]
        files = folder / f"{name}.crt", folder / f"{name}.key"
        files[0].write_bytes(self._sign(common, key, names, **options).public_bytes(Encoding.PEM))
        files[1].touch(0o600)
        files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files

    def pem(self, path: Path) -> Path:
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return path


@dataclass
class Issuer:
    """An OIDC issuer with its key set in a file."""

    folder: Path
    url: str = ISSUER
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def jwks(self) -> str:
        path = self.folder / f"{hashlib.sha256(self.url.encode()).hexdigest()[:8]}.jwks"
        path.write_bytes(self._issuer().jwks())
        return str(path)

    def _issuer(self) -> OidcIssuer:
        return OidcIssuer(self.url, self.key, system_clock)

    def token(self, email: str = "ann@example.com", *, audience: str = AUDIENCE, minutes: int = 10,
              **claims: Any) -> str:
        return self._issuer().mint({"sub": email, "email": email, "email_verified": True, **claims},
                                   audience=audience, lifetime=timedelta(minutes=minutes))


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def challenges(self) -> list[str]:
        return [value for key, value in self.headers if key.lower() == "www-authenticate"]

    def error(self) -> tuple[int, str, str]:
        entry = json.loads(self.body)["errors"][0]
        return self.status, entry["code"], entry["message"]


@dataclass
class Client:
    host: str
    credentials: str | None = None
    tls: ssl.SSLContext | None = None

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        place = (http.client.HTTPSConnection(self.host, timeout=60, context=self.tls) if self.tls
                 else http.client.HTTPConnection(self.host, timeout=60))
        if self.credentials is not None:
            headers.setdefault("Authorization", self.credentials)
        try:
            place.request(method, path, body, headers)
            answer = place.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            place.close()

    def push_blob(self, repository: str, data: bytes) -> Answer:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        return self.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", data)

    def push(self, repository: str, tag: str = "1", data: bytes = b"{}") -> Answer:
        """One blob, and a manifest that has it as its configuration."""
        blob = self.push_blob(repository, data)
        if blob.status != 201:
            return blob
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(data)}}).encode()
        return self.ask("PUT", f"/v2/{repository}/manifests/{tag}", manifest, **{"Content-Type": MANIFEST})


@contextlib.contextmanager
def serving(settings: Settings, *roles: str) -> Iterator[str]:
    """Host and port of the main listener, in a thread."""
    ready, box, failures = threading.Event(), list[Any](), list[BaseException]()

    async def main() -> None:
        async with running(settings, roles or ("registry",)) as found:
            stop = asyncio.Event()
            box.extend([found.url.partition("//")[2], asyncio.get_running_loop(), stop])
            ready.set()
            await stop.wait()

    def start() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=start)
    thread.start()
    ready.wait()
    if failures:
        raise failures[0]
    try:
        yield box[0]
    finally:
        box[1].call_soon_threadsafe(box[2].set)
        thread.join()


def server_files(folder: Path) -> tuple[str, str, ssl.SSLContext]:
    """A server's certificate and key for 127.0.0.1, and a client's context that trusts it."""
    serving_certificate = ServingCertificate(folder, ["127.0.0.1", "localhost"])
    serving_certificate.ensure(datetime.now(UTC))
    return (str(serving_certificate.certificate), str(serving_certificate.key),
            ssl.create_default_context(cafile=str(folder / "ca.crt")))
