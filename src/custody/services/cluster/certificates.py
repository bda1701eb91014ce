"""The webhook's authority and certificate in Secrets, the same for all replicas, renewed in time.

An authority is followed by another that is in `caBundle` long before it signs anything, and stays there until it runs
out: at no moment does the API server see a certificate of an authority that it was not told of. Whoever is first
writes; the Secret's version tells the others.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from custody.admission.certs import Pair, authority, names_of, serving
from custody.errors import ConflictError, MalformedError, UsageError
from custody.policy.resources import ApiResource
from custody.ports.cluster import ApiError, ClusterObjects, Object

SECRETS = ApiResource(version="v1", kind="Secret", plural="secrets", namespaced=True)
_AUTHORITY = timedelta(days=365)
_AUTHORITY_LEFT = timedelta(days=120)
"""What an authority has left when the next one is made: more than the certificates that it signs live."""
_OVERLAP = timedelta(hours=1)
"""For which the next authority is known to the API server before it signs."""
_SERVING = timedelta(days=90)
_SERVING_LEFT = timedelta(days=30)
_ATTEMPTS = 5


class Certificate(NamedTuple):
    """What a replica serves with, and what the API server is to believe."""

    pair: Pair
    bundle: bytes
    """PEM of all authorities; empty where somebody else tells the API server."""


class _Authorities(NamedTuple):
    signing: Pair
    following: Pair | None
    retired: tuple[bytes, ...]
    """PEM of those that sign no more and have not run out."""

    @property
    def bundle(self) -> bytes:
        following = (self.following.certificate,) if self.following else ()
        return b"".join((self.signing.certificate, *following, *self.retired))


class OwnCertificates:
    """Of two Secrets of a namespace, made where there are none: NAME-ca with the authorities' keys, which only custody
    may read, and NAME-tls."""

    def __init__(self, cluster: ClusterObjects, namespace: str, name: str, hosts: Sequence[str]) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._ca, self._tls = f"{name}-ca", f"{name}-tls"
        self._hosts = list(hosts)
        names_of(self._hosts)  # said before anything is written

    async def ensure(self, now: datetime) -> Certificate:
        """Those of now, renewed where it is time. Raises CustodyError."""
        for _ in range(_ATTEMPTS):
            held = await self._cluster.get(SECRETS, self._ca, self._namespace)
            authorities = _advanced(held, now)
            if _data(held) != _ca_data(authorities) and not await self._write(self._ca, "Opaque", held,
                                                                              _ca_data(authorities)):
                continue
            served = await self._cluster.get(SECRETS, self._tls, self._namespace)
            pair = _pair(_data(served), "tls")
            if pair is None or not self._good(pair, authorities, now):
                pair = serving(authorities.signing, self._hosts, now, _SERVING)
                data = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authorities.bundle}
                if not await self._write(self._tls, "kubernetes.io/tls", served, data):
                    continue
            return Certificate(pair, authorities.bundle)
        raise ConflictError(f"Secret {self._namespace}/{self._ca}: somebody else wrote it {_ATTEMPTS} times meanwhile")

    def _good(self, pair: Pair, authorities: _Authorities, now: datetime) -> bool:
        certificate = pair.read
        try:
            certificate.verify_directly_issued_by(authorities.signing.read)
            named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):  # of another, or without names
            return False
        return certificate.not_valid_after_utc - now > _SERVING_LEFT and list(named) == names_of(self._hosts)

    async def _write(self, name: str, kind: str, before: Object | None, data: Mapping[str, bytes]) -> bool:
        """Whether nobody else did meanwhile."""
        secret = {"apiVersion": "v1", "kind": "Secret", "type": (before or {}).get("type", kind),
                  "metadata": {"name": name, "namespace": self._namespace,
                               "labels": {"app.kubernetes.io/part-of": "custody"}},
                  "data": {key: base64.b64encode(value).decode() for key, value in data.items()}}
        try:
            if before is None:
                await self._cluster.create(SECRETS, secret)
            else:
                await self._cluster.replace(SECRETS, {**secret, "metadata": before["metadata"]})
        except ApiError as error:
            if error.reason in ("AlreadyExists", "Conflict"):
                return False
            raise
        return True


class GivenCertificate:
    """Of a Secret that somebody else keeps, such as cert-manager: `tls.crt`, `tls.key` and perhaps `ca.crt`."""

    def __init__(self, cluster: ClusterObjects, namespace: str, name: str, *, injected: bool) -> None:
        """`injected`: somebody else writes caBundle too, and no `ca.crt` is needed."""
        self._cluster = cluster
        self._namespace, self._name = namespace, name
        self._injected = injected

    async def ensure(self, now: datetime) -> Certificate:
        """Raises UsageError where there is none yet, or none that is valid."""
        where = f"Secret {self._namespace}/{self._name}"
        secret = await self._cluster.get(SECRETS, self._name, self._namespace)
        data = _data(secret)
        pair = _pair(data, "tls")
        if pair is None:
            raise UsageError(f"{where}: got {'no such Secret' if secret is None else 'no tls.crt with its tls.key'}, "
                             "expected the webhook's certificate")
        if pair.read.not_valid_after_utc <= now:
            raise UsageError(f"{where}: tls.crt ran out at {pair.read.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC")
        if self._injected:
            return Certificate(pair, b"")
        if not data.get("ca.crt"):
            raise UsageError(f"{where}: got no ca.crt, expected the authority for caBundle",
                             hint="--inject-ca-from NAMESPACE/CERTIFICATE lets cert-manager write it")
        return Certificate(pair, data["ca.crt"])


def _data(secret: Object | None) -> dict[str, bytes]:
    """Raises MalformedError."""
    try:
        held: dict[str, str] = (secret or {}).get("data") or {}
        return {key: base64.b64decode(value, validate=True) for key, value in held.items()}
    except (binascii.Error, TypeError, ValueError):
        raise MalformedError("Secret: data", got="other values", expected="base64") from None


def _pair(data: Mapping[str, bytes], name: str) -> Pair | None:
    """None where there is none that can be read."""
    certificate, key = data.get(f"{name}.crt"), data.get(f"{name}.key")
    if not certificate or not key:
        return None
    pair = Pair(certificate, key)
    try:
        _ = pair.read
    except ValueError:
        return None
    return pair


def _advanced(secret: Object | None, now: datetime) -> _Authorities:
    """As they are to be now: the first or the next one made, the next one in the place of the one before."""
    data = _data(secret)
    signing, following = _pair(data, "tls"), _pair(data, "next")
    kept = _certificates(data.get("ca.crt", b""))
    if following is not None and (signing is None or now - following.read.not_valid_before_utc > _OVERLAP):
        signing, following = following, None
    if signing is None or signing.read.not_valid_after_utc - now <= _SERVING:  # nobody looked at it for months
        signing, following = authority(now, _AUTHORITY), None
    elif following is None and signing.read.not_valid_after_utc - now < _AUTHORITY_LEFT:
        following = authority(now, _AUTHORITY)
    known = [pair.read for pair in (signing, following) if pair is not None]
    retired = tuple(certificate.public_bytes(Encoding.PEM) for certificate in kept
                    if certificate not in known and certificate.not_valid_after_utc > now)
    return _Authorities(signing, following, retired)


def _certificates(data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        return []


def _ca_data(authorities: _Authorities) -> dict[str, bytes]:
    data = {"tls.crt": authorities.signing.certificate, "tls.key": authorities.signing.key,
            "ca.crt": authorities.bundle}
    if authorities.following is not None:
        data |= {"next.crt": authorities.following.certificate, "next.key": authorities.following.key}
    return data
