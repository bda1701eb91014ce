"""What the embedded trust services sign with, by role, and what others are told to trust and to ask."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import structs

from custody.errors import MalformedError
from custody.kit.clock import Clock
from custody.kit.folder import refuse_open
from custody.trust.checkpoint import LogSigner, LogVerifier
from custody.trust.keyfiles import KEYS, NEXT_ROOT, ORGANIZATION, ensure, read_certificate, read_key, read_p256
from custody.trust.keys import spki
from custody.trust.roots import CertificateAuthority, Service, SigningConfig, TransparencyLog, TrustedRoot, Validity


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The URLs that clients know the services by; they need not be where the services listen."""

    oidc: str
    ca: str
    log: str
    ct: str
    tsa: str

    @classmethod
    def at(cls, base: str) -> Endpoints:
        """All services below one base URL, such as http://127.0.0.1:5080."""
        base = base.rstrip("/")
        return cls(f"{base}/oidc", base, base, f"{base}/ct", f"{base}/api/v1/timestamp")

    @property
    def log_origin(self) -> str:
        """The host name of the log's base URL: what sigstore-go looks for in checkpoints."""
        return urlsplit(self.log).hostname or self.log

    @property
    def ct_origin(self) -> str:
        parts = urlsplit(self.ct)
        return f"{parts.hostname}{parts.path}"


@dataclass(frozen=True, slots=True)
class _Ca:
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]
    ctlog_key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class _Log:
    key: ed25519.Ed25519PrivateKey
    since: datetime


@dataclass(frozen=True, slots=True)
class _Tsa:
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]


class Material:
    """Keys and certificates in a folder; a role's are read, or made, when the first of them is asked for.

    Chains are leaf-most first, root last. Each property raises MalformedError for a file that is missing, broken or
    belongs to another; UsageError for a key that others may read.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.directory = directory
        self._clock = clock

    @property
    def ca_key(self) -> ec.EllipticCurvePrivateKey:
        return self._ca.key

    @property
    def ca_chain(self) -> tuple[x509.Certificate, ...]:
        return self._ca.chain

    @property
    def ctlog_key(self) -> ec.EllipticCurvePrivateKey:
        return self._ca.ctlog_key

    @property
    def log_key(self) -> ed25519.Ed25519PrivateKey:
        return self._log.key

    @property
    def tsa_key(self) -> ec.EllipticCurvePrivateKey:
        return self._tsa.key

    @property
    def tsa_chain(self) -> tuple[x509.Certificate, ...]:
        return self._tsa.chain

    @cached_property
    def oidc_key(self) -> ec.EllipticCurvePrivateKey:
        ensure(self.directory, "oidc", self._clock)
        return read_p256(self.directory, "oidc")

    @property
    def tuf_key(self) -> ec.EllipticCurvePrivateKey:
        """That of the online roles, as it is now: a rotation replaces the file."""
        ensure(self.directory, "tuf", self._clock)
        return read_p256(self.directory, "tuf-online")

    def tuf_root_keys(self) -> list[ec.EllipticCurvePrivateKey]:
        """The TUF root key and the one that is to follow it, as far as they are here."""
        ensure(self.directory, "tuf", self._clock)
        return [read_p256(self.directory, name) for name in ("tuf-root", NEXT_ROOT)
                if (self.directory / f"{name}.key").is_file()]

    def log_signer(self, endpoints: Endpoints) -> LogSigner:
        return LogSigner(endpoints.log_origin, self.log_key)

    def ct_signer(self, endpoints: Endpoints) -> LogSigner:
        return LogSigner(endpoints.ct_origin, self.ctlog_key)

    def trusted_root(self, endpoints: Endpoints, roles: Collection[str] = tuple(KEYS)) -> TrustedRoot:
        """What verifiers trust of the services of `roles` (trusted_root.json)."""
        root = TrustedRoot()
        if "ca" in roles:
            valid = self._valid("ca")
            root = structs.replace(
                root, certificate_authorities=(_authority(endpoints.ca, self.ca_chain, valid),), ctlogs=(_log(
                    endpoints.ct, self.ct_signer(endpoints).verifier, "PKIX_ECDSA_P256_SHA_256", valid),))
        if "log" in roles:
            root = structs.replace(root, tlogs=(
                _log(endpoints.log, self.log_signer(endpoints).verifier, "PKIX_ED25519", self._valid("log")),))
        if "tsa" in roles:
            root = structs.replace(root, timestamp_authorities=(
                _authority(endpoints.tsa, self.tsa_chain, self._valid("tsa")),))
        return root

    def signing_config(self, endpoints: Endpoints, roles: Collection[str] = tuple(KEYS)) -> SigningConfig:
        """Where signers sign (signing_config.json). The version of all but the log is 1 (sigstore's convention)."""
        ca, oidc, rekor, tsa = (
            (Service(url, version, self._valid(role), ORGANIZATION),) if role in roles else () for role, url, version in
            (("ca", endpoints.ca, 1), ("oidc", endpoints.oidc, 1), ("log", endpoints.log, 2),
             ("tsa", endpoints.tsa, 1)))
        return SigningConfig(ca=ca, oidc=oidc, rekor=rekor, tsa=tsa)

    def _valid(self, role: str) -> Validity:
        """Since when a role's keys count."""
        if role == "oidc":  # no signature is verified by it later
            ensure(self.directory, "oidc", self._clock)
            made = (self.directory / "oidc.key").stat().st_mtime
            return Validity(datetime.fromtimestamp(int(made), UTC))
        return Validity(self._log.since if role == "log" else
                        (self.ca_chain if role == "ca" else self.tsa_chain)[-1].not_valid_before_utc)

    @cached_property
    def _ca(self) -> _Ca:
        ensure(self.directory, "ca", self._clock)
        return _Ca(*self._pair("intermediate", "root"), read_p256(self.directory, "ctlog"))

    @cached_property
    def _tsa(self) -> _Tsa:
        ensure(self.directory, "tsa", self._clock)
        return _Tsa(*self._pair("tsa", "tsa-root"))

    @cached_property
    def _log(self) -> _Log:
        ensure(self.directory, "log", self._clock)
        key = read_key(self.directory, "log")
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise MalformedError(str(self.directory / "log.key"), got=type(key).__name__, expected="an Ed25519 key")
        # Folders of older versions have all roles' keys, of the root's age, and no log.crt.
        dated = "log" if (self.directory / "log.crt").is_file() else "root"
        return _Log(key, read_certificate(self.directory, dated).not_valid_before_utc)

    def _pair(self, name: str, root: str) -> tuple[ec.EllipticCurvePrivateKey, tuple[x509.Certificate, ...]]:
        chain = tuple(read_certificate(self.directory, part) for part in (name, root))
        key = read_p256(self.directory, name)
        if key.public_key() != chain[0].public_key():
            raise MalformedError(str(self.directory / f"{name}.crt"), got="another key's certificate",
                                 expected=f"the certificate of {name}.key")
        refuse_open(self.directory / f"{root}.key")
        return key, chain

def load_or_create(directory: Path, clock: Clock, roles: Iterable[str] = tuple(KEYS)) -> Material:
    """The folder's material, with what `roles` need made and read. Raises MalformedError, UsageError."""
    material = Material(directory, clock)
    for role in roles:
        getattr(material, f"{role}_key")
    return material


def _log(url: str, verifier: LogVerifier, details: str, valid: Validity) -> TransparencyLog:
    return TransparencyLog(url, spki(verifier.key), details, verifier.log_id, valid)


def _authority(url: str, chain: tuple[x509.Certificate, ...], valid: Validity) -> CertificateAuthority:
    return CertificateAuthority(ORGANIZATION, f"{ORGANIZATION} root", url,
                                tuple(certificate.public_bytes(Encoding.DER) for certificate in chain), valid)
