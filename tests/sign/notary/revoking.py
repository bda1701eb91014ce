"""An authority that says which certificates it revoked: a responder and lists, each as wrong as a test wants it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.serving import served
from tests.sign.notary.materials import DAY, issue, key_of, usage

ROOT_KEY, STRANGE_KEY, RESPONDER_KEY = key_of("EC-256", 21), key_of("EC-256", 22), key_of("EC-256", 23)
REASONS = x509.ReasonFlags


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class Authority:
    """What its servers say, by the paths of their URLs; a text is a status to fail with."""

    root: x509.Certificate
    lists: dict[str, bytes | int] = field(default_factory=dict)
    responses: dict[str, Any] = field(default_factory=dict)
    """`(certificate) -> bytes`, or a status."""
    asked: list[str] = field(default_factory=list)
    url: str = ""
    leaf: x509.Certificate | None = None

    async def list(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        data = self.lists.get(request.path_params["name"], 404)
        return Response(status_code=data) if isinstance(data, int) else Response(data)

    async def answer(self, request: Request) -> Response:
        self.asked.append(f"/ocsp/{request.path_params['name']}")
        said = self.responses.get(request.path_params["name"], 404)
        return Response(status_code=said) if isinstance(said, int) else Response(
            said, media_type="application/ocsp-response")

    def issued(self, *, responders: tuple[str, ...] = (), lists: tuple[str, ...] = (), freshest: str = "",
               kind: str = "EC-256", urls: tuple[str, ...] = (), stamping: bool = False
               ) -> tuple[x509.Certificate, ...]:
        """A chain whose leaf names these paths; `stamping`: a timestamp authority's."""
        name = x509.Name([x509.NameAttribute(oid, text) for oid, text in (
            (NameOID.COUNTRY_NAME, "US"), (NameOID.STATE_OR_PROVINCE_NAME, "WA"), (NameOID.ORGANIZATION_NAME, "acme"),
            (NameOID.COMMON_NAME, "revocable"))])
        builder = (x509.CertificateBuilder().subject_name(name).issuer_name(self.root.subject)
                   .public_key(key_of(kind).public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now() - DAY).not_valid_after(now() + DAY)
                   .add_extension(usage("digital_signature"), True)
                   .add_extension(x509.ExtendedKeyUsage([Usage.TIME_STAMPING if stamping else Usage.CODE_SIGNING]),
                                  stamping))
        if responders:
            builder = builder.add_extension(x509.AuthorityInformationAccess([x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(f"{self.url}/ocsp/{path}"))
                for path in responders]), False)
        if lists or urls:
            builder = builder.add_extension(x509.CRLDistributionPoints([
                _point(url) for url in (*(f"{self.url}/crl/{path}" for path in lists), *urls)]), False)
        if freshest:
            builder = builder.add_extension(x509.FreshestCRL([_point(f"{self.url}/crl/{freshest}")]), False)
        self.leaf = builder.sign(ROOT_KEY, hashes.SHA256())
        return self.leaf, self.root

    def revoked(self, *entries: tuple[x509.ReasonFlags | None, datetime | None], number: int = 1, key: Any = ROOT_KEY,
                issuer: x509.Name | None = None, age: timedelta = timedelta(hours=1), until: timedelta = DAY,
                delta_of: int | None = None, newer: str = "", extensions: tuple[Any, ...] = (),
                serial: int | None = None, algorithm: Any = None) -> bytes:
        """A list with entries for the leaf: a reason, and since when it is invalid."""
        assert self.leaf is not None
        builder = (x509.CertificateRevocationListBuilder().issuer_name(issuer or self.root.subject)
                   .last_update(now() - age).next_update(now() + until).add_extension(x509.CRLNumber(number), False))
        for reason, invalid in entries:
            entry = x509.RevokedCertificateBuilder().serial_number(serial or self.leaf.serial_number).revocation_date(
                now() - timedelta(hours=2 - number * 0.5))
            if reason is not None:
                entry = entry.add_extension(x509.CRLReason(reason), False)
            if invalid is not None:
                entry = entry.add_extension(x509.InvalidityDate(invalid), False)
            builder = builder.add_revoked_certificate(entry.build())
        if delta_of is not None:
            builder = builder.add_extension(x509.DeltaCRLIndicator(delta_of), True)
        if newer:
            builder = builder.add_extension(x509.FreshestCRL([_point(f"{self.url}/crl/{newer}")]), False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(key, algorithm or hashes.SHA256()).public_bytes(Encoding.DER)

    def response(self, status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD, *, key: Any = ROOT_KEY,
                 responder: x509.Certificate | None = None, until: timedelta | None = DAY,
                 age: timedelta = timedelta(hours=1), certificate: x509.Certificate | None = None,
                 reason: x509.ReasonFlags | None = None) -> bytes:
        bad = status is ocsp.OCSPCertStatus.REVOKED
        assert self.leaf is not None
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=certificate or self.leaf, issuer=self.root, algorithm=hashes.SHA1(),
            cert_status=status, this_update=now() - age, next_update=None if until is None else now() + until,
            revocation_time=now() - timedelta(hours=2) if bad else None, revocation_reason=reason if bad else None)
        own = self.root if key is ROOT_KEY else issue(key, "stranger", None, ca=True)
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, responder or own)
        if responder is not None:
            builder = builder.certificates([responder])
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)

    def responder(self, *, purposes: list[Any] | None = None, key: Any = ROOT_KEY, end: datetime | None = None
                  ) -> x509.Certificate:
        """A certificate that the authority made for whoever answers in its place."""
        return issue(RESPONDER_KEY, "responder", (self.root, key), end=end,
                     purposes=[Usage.OCSP_SIGNING] if purposes is None else purposes)


def _point(url: str) -> x509.DistributionPoint:
    return x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)


@contextlib.contextmanager
def authority() -> Iterator[Authority]:
    """One that is asked at its own address."""
    made = Authority(issue(ROOT_KEY, "revoking root", None, ca=True, usages=("key_cert_sign", "crl_sign")))
    routes = [Route("/crl/{name}", made.list), Route("/ocsp/{name}", made.answer, methods=["GET", "POST"]),
              Route("/ocsp/{name}/{request:path}", made.answer)]
    with served(Starlette(routes=routes)) as url:
        made.url = url
        yield made
