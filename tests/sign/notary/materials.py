"""Keys of every kind with their chains, a directory of notation's with them in it, artifacts, and an authority of time.

Each makes what is right; arguments make one thing wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette

from custody.adapters.http.stdlib import StdlibHttp
from custody.formats import oci
from custody.formats import reference as references
from custody.kit.clock import system_clock
from custody.kit.digest import sha256
from custody.registry.client import RegistryClient
from custody.server import tsa as tsa_server
from custody.sign.notary.directory import Directory
from custody.sign.notary.signingkeys import SigningKey, load_signing_keys, save_signing_keys
from custody.trust.tsa import TimestampAuthority
from tests.serving import served

KINDS = {"RSA-2048": "PS256", "RSA-3072": "PS384", "RSA-4096": "PS512", "EC-256": "ES256", "EC-384": "ES384",
         "EC-521": "ES512"}
"""A key's kind, and the algorithm that goes with it."""
DAY = timedelta(days=1)
PROGRAM = Path(__file__).parent / "plugin_program.py"
_CURVES = {"EC-256": ec.SECP256R1(), "EC-384": ec.SECP384R1(), "EC-521": ec.SECP521R1(), "EC-224": ec.SECP224R1()}
Chain = tuple[x509.Certificate, ...]


@cache
def key_of(kind: str, number: int = 0) -> Any:
    """One key of a kind and number for all tests of a run: RSA keys of 4096 bits take seconds."""
    return ec.generate_private_key(_CURVES[kind]) if kind in _CURVES else rsa.generate_private_key(
        65537, int(kind.removeprefix("RSA-")))


def usage(*names: str) -> x509.KeyUsage:
    fields = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
              "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: name in names for name in fields})


def issue(key: Any, name: str, issuer: tuple[x509.Certificate, Any] | None, *, ca: bool = False,
          usages: tuple[str, ...] | None = None, purposes: list[Any] | None = None, purposes_critical: bool = False,
          start: datetime | None = None, end: datetime | None = None) -> x509.Certificate:
    """`usages` are those of the key, critical; digitalSignature of a leaf, keyCertSign of a CA where none are given."""
    now = datetime.now(UTC).replace(microsecond=0)
    subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in (
        (NameOID.COUNTRY_NAME, "US"), (NameOID.STATE_OR_PROVINCE_NAME, "WA"), (NameOID.ORGANIZATION_NAME, "acme"),
        (NameOID.COMMON_NAME, name))])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(
        issuer[0].subject if issuer else subject).public_key(key.public_key()).serial_number(
        x509.random_serial_number()).not_valid_before(start or now - DAY).not_valid_after(end or now + DAY)
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(True, None), True)
    chosen = usages if usages is not None else (("key_cert_sign",) if ca else ("digital_signature",))
    if chosen:
        builder = builder.add_extension(usage(*chosen), True)
    if purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), purposes_critical)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256())


@cache
def authority() -> tuple[Chain, Any]:
    """An intermediate and its root, and the intermediate's key."""
    root_key, key = key_of("EC-256", 1), key_of("EC-256", 2)
    root = issue(root_key, "root", None, ca=True)
    return (issue(key, "intermediate", (root, root_key), ca=True), root), key


def chain_of(kind: str, **changes: Any) -> Chain:
    """The certificate of a kind's key, and those above it; `changes` are of the first."""
    above, key = authority()
    said = {"purposes": [Usage.CODE_SIGNING], **changes}
    return (issue(key_of(kind), kind, (above[0], key), **said), *above)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def key_pem(key: Any, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    data: bytes = key.private_bytes(Encoding.PEM, form, NoEncryption())
    return data


def list_key(directory: Directory, name: str, key: Any, chain: Chain, *, default: bool = False) -> None:
    """Write a key and its chain, and list them."""
    folder = directory.config / "mine"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.pem").write_bytes(key_pem(key))
    (folder / f"{name}.crt").write_bytes(pem(*chain))
    save_signing_keys(directory, load_signing_keys(directory).with_key(
        SigningKey(name, str(folder / f"{name}.pem"), str(folder / f"{name}.crt")), default=default))


def trust(directory: Directory, store_type: str, name: str, *certificates: x509.Certificate) -> None:
    place = directory.trust_store(store_type, name)
    place.mkdir(parents=True, exist_ok=True)
    for at, certificate in enumerate(certificates):
        (place / f"{at}.pem").write_bytes(pem(certificate))


def install_plugin(directory: Directory, name: str = "try") -> Path:
    """The plugin of these tests, as a program of its own."""
    path = directory.plugin(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\n" + PROGRAM.read_text())
    path.chmod(0o755)
    return path


def directory_in(folder: Path) -> Directory:
    return Directory(folder, folder, folder / "cache")


def environment(directory: Directory) -> dict[str, str]:
    """For notation and custody alike."""
    return {**os.environ, "NOTATION_CONFIG": str(directory.config), "NOTATION_LIBEXEC": str(directory.libexec),
            "NOTATION_CACHE": str(directory.cache), "NOTATION_EXPERIMENTAL": "1"}


def layout(folder: Path, tag: str = "v1") -> str:
    """An OCI layout with one image; the image's digest."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes) -> oci.Descriptor:
        digest = sha256(data)
        (blobs / digest.removeprefix("sha256:")).write_bytes(data)
        return oci.Descriptor(oci.CONFIG, digest, len(data))

    config = put(b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}')
    manifest = put(json.dumps(oci.Manifest(oci.MANIFEST, config, (), annotations={"a": "b"}).to_json()).encode())
    entry = oci.Descriptor(oci.MANIFEST, manifest.digest, manifest.size,
                           {"org.opencontainers.image.ref.name": tag})
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps(oci.Index(oci.INDEX, (entry,)).to_json()))
    return manifest.digest


async def push_image(host: str, name: str) -> str:
    """A small image in a registry; its reference by digest."""
    ref = references.parse(f"{host}/{name}:v1")
    async with RegistryClient(StdlibHttp()) as client:
        config = await client.push_blob(ref, f'{{"architecture":"amd64","os":"linux","x":"{name}"}}'.encode())
        manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, config.digest, config.size), ())
        pushed = await client.push_manifest(ref, json.dumps(manifest.to_json()).encode(), oci.MANIFEST, tag="v1")
    return f"{ref.name}@{pushed.digest}"


@contextlib.contextmanager
def time_authority() -> Iterator[tuple[str, x509.Certificate]]:
    """The URL of an RFC 3161 authority, and the root that it is believed by."""
    root_key, key = key_of("EC-256", 3), key_of("EC-256", 4)
    root = issue(root_key, "tsa root", None, ca=True)
    leaf = issue(key, "tsa", (root, root_key), purposes=[Usage.TIME_STAMPING], purposes_critical=True)
    with served(Starlette(routes=tsa_server.routes(TimestampAuthority(key, (leaf, root), system_clock)))) as url:
        yield f"{url}/api/v1/timestamp", root
