"""Certificate revocation lists: whether one that an issuer made names a certificate (RFC 5280 sections 5 and 6.3).

Lists are kept where `notation` keeps them, in its form: `CACHE/crl/HEX`, the SHA-256 of the list's URL, a JSON object
with `baseCRL` and `deltaCRL` in base64. What is kept is trusted for nothing: it is checked like what was just fetched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from custody.errors import CustodyError, MalformedError, VerificationError
from custody.formats.protojson import Message, decode_base64, encode_base64
from custody.kit import strictjson
from custody.kit.clock import format_rfc3339
from custody.sign.certificate import extension, is_ca
from custody.sign.notary.directory import read_document, write_document

MAX_LIST = 32 * 1024 * 1024
_MAX_KEPT = strictjson.MAX_SIZE
_AHEAD = timedelta(minutes=5)
"""How far the clock of an issuer may be ahead of ours."""
_UNDERSTOOD = (x509.IssuingDistributionPoint, x509.DeltaCRLIndicator)
_HASHES = ("sha256", "sha384", "sha512")
_ALL = frozenset(x509.ReasonFlags) - {x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl}
_HOLD, _REMOVED = x509.ReasonFlags.certificate_hold, x509.ReasonFlags.remove_from_crl
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class RevocationList:
    """As it was read, and the bytes: the library makes those that were signed anew from what it read, which of a long
    list takes a second that nothing else runs in."""

    read: x509.CertificateRevocationList
    der: bytes


@dataclass(frozen=True, slots=True)
class Lists:
    """A list, and one of what changed since then."""

    base: RevocationList
    delta: RevocationList | None = None

    @property
    def made(self) -> datetime:
        """When the newer one of them was."""
        return (self.delta or self.base).read.last_update_utc

    def current(self, now: datetime) -> bool:
        return all(made.read.next_update_utc is not None and now <= made.read.next_update_utc
                   for made in (self.base, self.delta) if made is not None)


def load(der: bytes, where: str) -> RevocationList:
    """Raises MalformedError."""
    try:
        if len(der) > MAX_LIST:
            raise ValueError("too long")
        made = x509.load_der_x509_crl(der)
        _ = (made.extensions, made.issuer, made.last_update_utc, made.next_update_utc, made.signature_algorithm_oid)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
            x509.UnsupportedGeneralNameType):
        raise MalformedError(where, got=f"{len(der)} bytes", expected="a revocation list in DER") from None
    return RevocationList(made, der)


def places(certificate: x509.Certificate) -> list[str]:
    """URLs of lists that a certificate names."""
    points = extension(certificate, x509.CRLDistributionPoints)
    return list(_urls(points.value)) if points else []


def newer_places(made: RevocationList) -> list[str]:
    """URLs of lists of what changed since this one."""
    points = _of(made, x509.FreshestCRL)
    return list(_urls(points)) if points else []


def _urls(points: x509.CRLDistributionPoints | x509.FreshestCRL) -> Iterator[str]:
    for point in points:
        for name in point.full_name or ():
            if isinstance(name, x509.UniformResourceIdentifier):
                yield name.value


def unread_reasons(certificate: x509.Certificate, read: Sequence[tuple[str, Lists]]) -> list[str]:
    """Reasons for a revocation that none of the lists is of, each with the URL that it was asked for at."""
    covered: frozenset[x509.ReasonFlags] = frozenset()
    for place, lists in read:
        scope = _of(lists.base, x509.IssuingDistributionPoint)
        some = _ALL if scope is None or scope.only_some_reasons is None else scope.only_some_reasons
        points = [point for point in _points(certificate) if place in _texts(point.full_name)]
        # One that names no reasons is asked for all; of several at one place, what each has.
        covered |= some & frozenset().union(*(_ALL if point.reasons is None else point.reasons for point in points))
    return sorted(reason.value for reason in _ALL - covered)


def revoked(certificate: x509.Certificate, issuer: x509.Certificate, lists: Lists, signed_at: datetime | None,
            now: datetime, *, place: str | None = None) -> str:
    """Why the certificate counts no more; "" where the lists say nothing against it, which says nothing of the reasons
    that they are not of: see `unread_reasons`.

    `signed_at` is when an authority says that it was used: it may have been right until then. `place` is the URL that
    was asked; None: any of the certificate's. Raises VerificationError where the lists say nothing at all: they are not
    the issuer's, too old, or of other certificates.
    """
    _check(lists.base, issuer, now, "list")
    _check_scope(lists.base, certificate, place)
    if _of(lists.base, x509.DeltaCRLIndicator) is not None:
        raise VerificationError("the list is one of changes alone (delta CRL indicator), expected the whole list")
    if lists.delta is not None:
        _check(lists.delta, issuer, now, "list of changes")
        _check_changes(lists.base, lists.delta)
    elif extension(certificate, x509.FreshestCRL) is not None:
        raise VerificationError("the certificate names a list of changes, which its list does not: it is not read")
    entry = _named(lists.base, certificate)
    if entry is not None and _entry(entry)[1] is _REMOVED:
        raise VerificationError("the list's entry is removeFromCRL, which only a list of changes can say")
    # What changed since then counts over what was; but only a hold can end.
    change = _named(lists.delta, certificate) if lists.delta is not None else None
    if change is not None and _entry(change)[1] is _REMOVED:
        if entry is None or _entry(entry)[1] is _HOLD:
            return ""
    elif change is not None:
        entry = change
    if entry is None:
        return ""
    invalid, reason = _entry(entry)
    if signed_at is not None and invalid is not None and signed_at < invalid:
        return ""
    if reason is _HOLD:
        return f"on hold since {format_rfc3339(entry.revocation_date_utc)}"
    return f"revoked since {format_rfc3339(entry.revocation_date_utc)}" + (f" ({reason.value})" if reason else "")


def _check(made: RevocationList, issuer: x509.Certificate, now: datetime, kind: str) -> None:
    usage = extension(issuer, x509.KeyUsage)
    if made.read.issuer != issuer.subject:
        raise VerificationError(f"the {kind} is by {made.read.issuer.rfc4514_string()}, expected "
                                f"{issuer.subject.rfc4514_string()}")
    if usage is not None and not usage.value.crl_sign:
        raise VerificationError(f"{issuer.subject.rfc4514_string()} may not sign revocation lists (key usage)")
    if not _is_signed(made, issuer):
        raise VerificationError(f"the {kind} is not signed by {issuer.subject.rfc4514_string()}")
    if made.read.next_update_utc is None or now > made.read.next_update_utc:
        until = "no time" if made.read.next_update_utc is None else format_rfc3339(made.read.next_update_utc)
        raise VerificationError(f"the {kind} is too old: it is good until {until}")
    if made.read.last_update_utc > now + _AHEAD:
        raise VerificationError(f"the {kind} is of the future: {format_rfc3339(made.read.last_update_utc)}")
    for present in made.read.extensions:
        if present.critical and not isinstance(present.value, _UNDERSTOOD):
            raise VerificationError(f"the {kind} has the critical extension {present.oid.dotted_string}")


def _check_scope(made: RevocationList, certificate: x509.Certificate, place: str | None) -> None:
    """RFC 5280 section 6.3.3 b 2."""
    scope = _of(made, x509.IssuingDistributionPoint)
    if scope is None:
        return
    if (scope.indirect_crl or scope.only_contains_attribute_certs
            or (scope.only_contains_user_certs and is_ca(certificate))
            or (scope.only_contains_ca_certs and not is_ca(certificate))):
        raise VerificationError("the list is of other certificates (issuing distribution point)")
    if scope.relative_name is not None:
        raise VerificationError("the list's distribution point has a relative name, expected a URL")
    if scope.full_name is None:
        return
    named = _texts(scope.full_name)
    if not any(named & _texts(point.full_name) for point in _points(certificate)
               if place is None or place in _texts(point.full_name)):
        raise VerificationError("the list is of another distribution point, "
                                f"{', '.join(sorted(named)[:3]) or 'which is no URL'}, expected "
                                f"{place or 'one of the certificate'}")


def _points(certificate: x509.Certificate) -> list[x509.DistributionPoint]:
    points = extension(certificate, x509.CRLDistributionPoints)
    return [*points.value] if points else []


def _texts(names: Sequence[x509.GeneralName] | None) -> set[str]:
    return {name.value for name in names or () if isinstance(name, x509.UniformResourceIdentifier)}


def _is_signed(made: RevocationList, issuer: x509.Certificate) -> bool:
    """RFC 5280 section 5.1.1: the algorithm that is signed with the list is the one beside the signature."""
    try:
        algorithm, key = made.read.signature_hash_algorithm, issuer.public_key()
        scheme = made.read.signature_algorithm_parameters
        if algorithm is None or algorithm.name not in _HASHES:
            return False
        signed, named = (made.der[start:end] for start, end in islice(_values(made.der, *_inside(made.der, 0)), 2))
        within = [signed[start:end] for start, end in islice(_values(signed, *_inside(signed, 0)), 2)]
        if named not in within[:1 if within[0][:1] == b"\x30" else 2]:  # behind the version, where there is one
            return False
        digest, hashed = hashlib.new(algorithm.name, signed).digest(), Prehashed(algorithm)
        if isinstance(key, rsa.RSAPublicKey) and isinstance(scheme, (padding.PSS, padding.PKCS1v15)):
            key.verify(made.read.signature, digest, scheme, hashed)
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(scheme, ec.ECDSA):
            key.verify(made.read.signature, digest, ec.ECDSA(hashed))
        else:
            return False
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm, InvalidSignature):
        return False
    return True


def _inside(der: bytes, at: int) -> tuple[int, int]:
    """Where the contents of a DER value begin and end."""
    long = der[at + 1] & 0x7F if der[at + 1] & 0x80 else 0
    begin = at + 2 + long
    return begin, begin + (int.from_bytes(der[at + 2:begin], "big") if long else der[at + 1])


def _values(der: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Where each of the DER values that stand one behind another begins and ends."""
    while at < end:
        begin, at = at, _inside(der, at)[1]
        yield begin, at


def _check_changes(base: RevocationList, delta: RevocationList) -> None:
    """RFC 5280 sections 5.2.4 and 6.3.3 c."""
    if _of(base, x509.IssuingDistributionPoint) != _of(delta, x509.IssuingDistributionPoint):
        raise VerificationError("the list of changes is of another distribution point than the list that it changes")
    since, number, least = _of(base, x509.CRLNumber), _of(delta, x509.CRLNumber), _of(delta, x509.DeltaCRLIndicator)
    if since is None or number is None or least is None:
        raise VerificationError("the list of changes, or the list that it changes, has no number")
    if number.crl_number <= since.crl_number:
        raise VerificationError(f"the list of changes has the number {number.crl_number}, expected more than "
                                f"{since.crl_number}, the list's")
    if least.crl_number > since.crl_number:
        raise VerificationError(f"the list of changes is to the list {least.crl_number}, expected at most "
                                f"{since.crl_number}, the list's")


def _named(made: RevocationList, certificate: x509.Certificate) -> x509.RevokedCertificate | None:
    try:
        return made.read.get_revoked_certificate_by_serial_number(certificate.serial_number)
    except ValueError:
        raise VerificationError("the list's entries cannot be read") from None


def _entry(entry: x509.RevokedCertificate) -> tuple[datetime | None, x509.ReasonFlags | None]:
    invalid: datetime | None = None
    reason: x509.ReasonFlags | None = None
    try:
        for present in entry.extensions:
            if isinstance(present.value, x509.InvalidityDate):
                invalid = present.value.invalidity_date.replace(tzinfo=UTC)
            elif isinstance(present.value, x509.CRLReason):
                reason = present.value.reason
            elif present.critical:
                raise VerificationError(f"an entry of the list has the critical extension {present.oid.dotted_string}")
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise VerificationError("the certificate's entry in the list cannot be read") from None
    return invalid, reason


def _of(made: RevocationList, kind: type[_Extension]) -> _Extension | None:
    try:
        return made.read.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


@dataclass(frozen=True, slots=True)
class ListCache:
    """Lists that were fetched before, in notation's folder."""

    folder: Path
    ready: Callable[[], object] = lambda: None
    """Called before something is written: it makes what the folder is to stand in."""

    def known(self, url: str, now: datetime) -> Lists | None:
        """Those of a URL that are still good. Whatever is broken counts as not there."""
        try:
            data = read_document(self._path(url), _MAX_KEPT)
            if data is None:
                return None
            kept = Message(strictjson.loads(data, str(self._path(url)), max_depth=4), "revocation lists")
            delta = kept.raw("deltaCRL")
            lists = Lists(load(kept.data("baseCRL"), "baseCRL"),
                          None if delta is None else load(decode_base64(delta, "deltaCRL"), "deltaCRL"))
        except CustodyError:
            return None
        return lists if lists.current(now) else None

    def keep(self, url: str, base: bytes, delta: bytes | None) -> None:
        """Raises CustodyError where it cannot be written, which takes nothing away from what was fetched."""
        document = {"baseCRL": encode_base64(base)} | ({"deltaCRL": encode_base64(delta)} if delta is not None else {})
        data = json.dumps(document, separators=(",", ":")).encode()
        if len(data) <= _MAX_KEPT:
            self.ready()
            write_document(self._path(url), data)

    def _path(self, url: str) -> Path:
        return self.folder / hashlib.sha256(url.encode()).hexdigest()
