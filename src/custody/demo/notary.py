"""The organisation's own certificates for Notation: an authority, whom its trust policy believes, and who signs by it.

The folder is laid out as `notation` reads it (`sign/notary/directory`), so that `NOTATION_CONFIG` may name it.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from custody.formats import oci
from custody.formats.reference import Reference
from custody.kit.clock import system_clock
from custody.registry.client import RegistryClient
from custody.services.notaryplaces import RegistryPlace
from custody.services.notarysigning import sign_artifact
from custody.sign.notary.directory import Directory, write_document
from custody.sign.notary.sign import LocalKey, Signed, Terms

STORE = "myorg"
SIGNER = "C=US, ST=WA, O=myorg, CN=release"
"""Whom the trust policy believes, as it writes names."""
_LIFETIME = timedelta(days=1)


class Authority:
    """A root with a key of its own, that gives certificates for signing to whom it likes."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("myorg root")
        self.certificate = _certificate(self._name, self._key.public_key(), self._name, self._key, ca=True)

    def signing_key(self, common_name: str = "release") -> LocalKey:
        """A new key with its chain."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _certificate(_name(common_name), key.public_key(), self._name, self._key, ca=False)
        return LocalKey(key, (leaf, self.certificate), f"key of {common_name}")


def trust(folder: Path, authority: Authority, repository: str) -> None:
    """Make the folder: the authority in a trust store, and a policy by which one name counts for a repository."""
    directory = Directory(folder, folder, folder / "cache")
    write_document(directory.trust_store("ca", STORE) / "root.crt", authority.certificate.public_bytes(Encoding.PEM))
    statement = {"name": "shop", "registryScopes": [repository], "signatureVerification": {"level": "strict"},
                 "trustStores": [f"ca:{STORE}"], "trustedIdentities": [f"x509.subject: {SIGNER}"]}
    write_document(directory.oci_policy,
                   json.dumps({"version": "1.0", "trustPolicies": [statement]}, indent=1).encode())


async def notarise(client: RegistryClient, ref: Reference, image: oci.Descriptor,
                   key: LocalKey) -> tuple[oci.Descriptor, Signed]:
    """Sign an image as `notation sign` does, beside it."""
    subject = oci.Descriptor(image.media_type, image.digest, image.size)
    return await sign_artifact(RegistryPlace(client, ref, fallback=False), subject, key, Terms(), system_clock)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in (
        (NameOID.COUNTRY_NAME, "US"), (NameOID.STATE_OR_PROVINCE_NAME, "WA"), (NameOID.ORGANIZATION_NAME, "myorg"),
        (NameOID.COMMON_NAME, common_name))])


def _certificate(subject: x509.Name, public: ec.EllipticCurvePublicKey, issuer: x509.Name,
                 key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
    start = system_clock().replace(microsecond=0)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public).serial_number(
        x509.random_serial_number()).not_valid_before(start).not_valid_after(start + _LIFETIME).add_extension(
        x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True).add_extension(x509.KeyUsage(
            digital_signature=not ca, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=ca, crl_sign=ca, encipher_only=False, decipher_only=False),
        critical=True).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()),
                                     critical=False).add_extension(
        x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
    return builder.sign(key, hashes.SHA256())
