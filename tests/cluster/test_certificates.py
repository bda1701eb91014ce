"""Authorities and certificates in Secrets, through a year of renewals and races."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from custody.admission.certs import Pair, serving
from custody.errors import MalformedError, UsageError
from custody.ports.cluster import ApiError
from custody.services.cluster.certificates import Certificate, GivenCertificate, OwnCertificates

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Secrets:
    """Objects with versions; `before_write` is what somebody else does just then."""

    url = "https://cluster"

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 0
        self.before_write: Any = None

    async def get(self, _: Any, name: str, namespace: str = "") -> dict[str, Any] | None:
        return self.objects.get(name)

    async def create(self, _: Any, document: dict[str, Any]) -> None:
        await self._meanwhile()
        if document["metadata"]["name"] in self.objects:
            raise ApiError("create", {"reason": "AlreadyExists"}, 409)
        self._put(document)

    async def replace(self, _: Any, document: dict[str, Any]) -> None:
        await self._meanwhile()
        known = self.objects[document["metadata"]["name"]]
        if known["metadata"]["resourceVersion"] != document["metadata"]["resourceVersion"]:
            raise ApiError("replace", {"reason": "Conflict"}, 409)
        self._put(document)

    async def _meanwhile(self) -> None:
        if self.before_write is not None:
            happens, self.before_write = self.before_write, None
            await happens()

    def _put(self, document: dict[str, Any]) -> None:
        self.version += 1
        self.objects[document["metadata"]["name"]] = {
            **document, "metadata": {**document["metadata"], "resourceVersion": str(self.version)}}


def own(secrets: Secrets, *hosts: str) -> OwnCertificates:
    return OwnCertificates(secrets, "custody", "w", hosts or ("custody.custody.svc",))  # type: ignore[arg-type]


def ensure(certificates: OwnCertificates | GivenCertificate, now: datetime) -> Certificate:
    return asyncio.run(certificates.ensure(now))


def issuers(certificate: Certificate) -> list[x509.Certificate]:
    return [authority for authority in x509.load_pem_x509_certificates(certificate.bundle)
            if authority.subject == certificate.pair.read.issuer]


def test_through_two_years_the_certificate_is_of_an_authority_that_was_told_before() -> None:
    secrets = Secrets()
    told = ensure(own(secrets), BEGIN).bundle
    served = set()
    for hour in range(6, 2 * 365 * 24, 12):
        now = BEGIN + timedelta(hours=hour)
        current = ensure(own(secrets), now)
        leaf = current.pair.read
        served.add(leaf.serial_number)
        assert leaf.not_valid_after_utc - now > timedelta(days=29)
        known = [authority for authority in x509.load_pem_x509_certificates(told)
                 if authority.subject == leaf.issuer and authority.not_valid_after_utc > now]
        assert known, f"after {hour} h the API server was not told yet"
        leaf.verify_directly_issued_by(known[0])
        told = current.bundle
    assert 10 < len(served) < 20
    assert len(x509.load_pem_x509_certificates(told)) <= 3, "those that ran out are gone"


def test_other_names_make_another_certificate_of_the_same_authority() -> None:
    secrets = Secrets()
    before = ensure(own(secrets, "a.example"), BEGIN)
    after = ensure(own(secrets, "a.example", "127.0.0.1"), BEGIN)
    assert after.bundle == before.bundle
    assert after.pair != before.pair
    assert ensure(own(secrets, "a.example", "127.0.0.1"), BEGIN) == after


def test_two_replicas_that_start_together_serve_the_same() -> None:
    secrets = Secrets()
    first = own(secrets)

    async def another() -> None:
        await own(secrets).ensure(BEGIN)

    secrets.before_write = another
    assert ensure(first, BEGIN) == ensure(own(secrets), BEGIN)


def test_an_authority_that_nobody_looked_at_for_a_year_is_replaced() -> None:
    secrets = Secrets()
    before = ensure(own(secrets), BEGIN)
    after = ensure(own(secrets), BEGIN + timedelta(days=400))
    assert issuers(after)
    assert before.bundle not in after.bundle


def test_a_secret_with_other_things_in_it_is_made_anew_or_refused() -> None:
    secrets = Secrets()
    ensure(own(secrets), BEGIN)
    secrets.objects["w-tls"]["data"]["tls.crt"] = base64.b64encode(b"nonsense").decode()
    assert issuers(ensure(own(secrets), BEGIN))
    secrets.objects["w-ca"]["data"]["tls.crt"] = "%%%"
    with pytest.raises(MalformedError, match="expected base64"):
        ensure(own(secrets), BEGIN)
    with pytest.raises(MalformedError, match="a host's name or IP address"):
        own(secrets, "https://a")


def given(secrets: Secrets, pair: Pair | None, ca: bytes = b"", *, injected: bool = False) -> GivenCertificate:
    if pair is not None:
        data = {"tls.crt": pair.certificate, "tls.key": pair.key, **({"ca.crt": ca} if ca else {})}
        secrets.objects["theirs"] = {"data": {key: base64.b64encode(value).decode() for key, value in data.items()}}
    return GivenCertificate(secrets, "custody", "theirs", injected=injected)  # type: ignore[arg-type]


def test_somebody_elses_certificate_is_served_as_it_is_and_its_lack_is_said() -> None:
    secrets = Secrets()
    authority = ensure(own(secrets), BEGIN)
    data = secrets.objects["w-ca"]["data"]
    issuer = Pair(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"]))
    pair = serving(issuer, ["custody.custody.svc"], BEGIN, timedelta(days=10))
    with pytest.raises(UsageError, match="got no such Secret"):
        ensure(given(secrets, None), BEGIN)
    with pytest.raises(UsageError, match=r"got no ca\.crt"):
        ensure(given(secrets, pair), BEGIN)
    assert ensure(given(secrets, pair, injected=True), BEGIN) == Certificate(pair, b"")
    assert ensure(given(secrets, pair, authority.bundle), BEGIN) == Certificate(pair, authority.bundle)
    with pytest.raises(UsageError, match=r"tls\.crt ran out at 2026-01-11"):
        ensure(given(secrets, pair, authority.bundle), BEGIN + timedelta(days=11))
