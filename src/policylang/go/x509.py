"""Certificates and certificate requests as Go's crypto/x509 reads them and encoding/json shows them.

`certificate` and `request` give the members of Go's structs, with keys of any kind; `decode_pem` is what Kyverno makes
of them. Nothing is verified here.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from policylang.errors import InputError
from policylang.go.netip import Address
from policylang.go.numbers import quote
from policylang.go.pem import blocks
from policylang.go.urls import Url, UrlError, parse

ALGORITHMS = {  # x509.SignatureAlgorithm
    "1.2.840.113549.1.1.4": 2, "1.2.840.113549.1.1.5": 3, "1.2.840.113549.1.1.11": 4, "1.2.840.113549.1.1.12": 5,
    "1.2.840.113549.1.1.13": 6, "1.2.840.10040.4.3": 7, "2.16.840.1.101.3.4.3.2": 8, "1.2.840.10045.4.1": 9,
    "1.2.840.10045.4.3.2": 10, "1.2.840.10045.4.3.3": 11, "1.2.840.10045.4.3.4": 12, "1.3.101.112": 16}
PURPOSES = (  # x509.ExtKeyUsage, by position
    "2.5.29.37.0", *(f"1.3.6.1.5.5.7.3.{arc}" for arc in range(1, 10)), "1.3.6.1.4.1.311.10.3.3",
    "2.16.840.1.113730.4.1", "1.3.6.1.4.1.311.2.1.22", "1.3.6.1.4.1.311.61.1.1")
_NAMES = {"2.5.4.6": "Country", "2.5.4.10": "Organization", "2.5.4.11": "OrganizationalUnit", "2.5.4.7": "Locality",
          "2.5.4.8": "Province", "2.5.4.9": "StreetAddress", "2.5.4.17": "PostalCode"}
_PSS = "1.2.840.113549.1.1.10"
_PSS_HASHES = {"2.16.840.1.101.3.4.2.1": 13, "2.16.840.1.101.3.4.2.2": 14, "2.16.840.1.101.3.4.2.3": 15}
_RSA, _DSA, _ELLIPTIC, _ED25519 = ("1.2.840.113549.1.1.1", "1.2.840.10040.4.1", "1.2.840.10045.2.1", "1.3.101.112")
_CURVES = {"1.3.132.0.33": 28, "1.2.840.10045.3.1.7": 32, "1.3.132.0.34": 48, "1.3.132.0.35": 66}  # bytes
_REQUESTED = "1.2.840.113549.1.9.14"
_NAME_CONSTRAINTS = "2.5.29.30"
_NEVER_CRITICAL = {"2.5.29.14": "subject key identifier", "2.5.29.35": "authority key identifier",
                   "1.3.6.1.5.5.7.1.1": "authority info access"}
_ALTERNATIVE_NAMES = {0x82: "DNSNames", 0x81: "EmailAddresses", 0x87: "IPAddresses", 0x86: "URIs"}
_CONSTRAINED = {0x82: "DNSDomains", 0x81: "EmailAddresses", 0x87: "IPRanges", 0x86: "URIDomains"}
_LISTS = ("Extensions", "UnhandledCriticalExtensions", "ExtKeyUsage", "UnknownExtKeyUsage", "SubjectKeyId",
          "AuthorityKeyId", "OCSPServer", "IssuingCertificateURL", *_ALTERNATIVE_NAMES.values(),
          *(side + field for side in ("Permitted", "Excluded") for field in _CONSTRAINED.values()),
          "CRLDistributionPoints", "PolicyIdentifiers", "Policies", "PolicyMappings")
_FLAGS = ("BasicConstraintsValid", "IsCA", "MaxPathLenZero", "PermittedDNSDomainsCritical", "InhibitAnyPolicyZero",
          "InhibitPolicyMappingZero", "RequireExplicitPolicyZero")
_COUNTS = ("KeyUsage", "MaxPathLen", "InhibitAnyPolicy", "InhibitPolicyMapping", "RequireExplicitPolicy")
_STRINGS = {12, 18, 19, 20, 22, 30}

Members = dict[str, Any]


class CertificateError(InputError):
    """What Go cannot decode; the message is Go's where it is short."""

    code = "certificate"


class Element(NamedTuple):
    """One DER element: `tag` is its first byte, `raw` all of it, `body` what is inside."""

    tag: int
    raw: bytes
    body: bytes

    def children(self) -> list[Element]:
        return elements(self.body)

    @property
    def integer(self) -> int:
        return int.from_bytes(self.body, "big", signed=True)

    @property
    def true(self) -> bool:
        return self.body != b"\0"

    @property
    def oid(self) -> str:
        arcs, value = [], 0
        for byte in self.body:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                arcs.append(value)
                value = 0
        first = min(arcs[0] // 40, 2)
        return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def read(data: bytes, at: int = 0) -> tuple[Element, int]:
    """The element at `at` and where it ends. Raises CertificateError for what is no DER."""
    start = at
    if len(data) < at + 2 or data[at] & 0x1F == 0x1F:
        raise CertificateError("x509: malformed certificate")
    tag, length, at = data[at], data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or len(data) < at + count:
            raise CertificateError("x509: malformed certificate")
        length, at = int.from_bytes(data[at:at + count], "big"), at + count
    if len(data) < at + length:
        raise CertificateError("x509: malformed certificate")
    return Element(tag, data[start:at + length], data[at:at + length]), at + length


def elements(data: bytes) -> list[Element]:
    """Elements after each other, as certificates may stand in one text. Raises CertificateError."""
    read_so_far, at = [], 0
    while at < len(data):
        element, at = read(data, at)
        read_so_far.append(element)
    return read_so_far


def decode_pem(text: str) -> Members:
    """The first certificate or request in PEM, with an RSA key, as Kyverno's x509_decode shows it."""
    block = next(blocks(text.encode("utf-8", "surrogateescape")), None)
    if block is None:
        raise CertificateError("failed to decode PEM block")
    if block.kind not in ("CERTIFICATE", "CERTIFICATE REQUEST"):
        raise CertificateError("PEM block neither contains a CERTIFICATE or CERTIFICATE REQUEST")
    members = certificate(block.data) if block.kind == "CERTIFICATE" else request(block.data)
    if members["PublicKeyAlgorithm"] != 1:
        raise CertificateError("certificate should use rsa algorithm")
    members["PublicKey"]["N"] = str(members["PublicKey"]["N"])
    return members


def certificate(der: bytes, *, uri_strings: bool = False) -> Members:
    """x509.Certificate; with `uri_strings` also URIStrings, the text of each of URIs. Raises CertificateError."""
    return _shown(_certificate, der, "x509: trailing data", uri_strings)


def request(der: bytes) -> Members:
    """x509.CertificateRequest. Raises CertificateError."""
    return _shown(_request, der, "asn1: syntax error: trailing data", False)


def _shown(read_members: Callable[[Element], Members], der: bytes, trailing: str, uri_strings: bool) -> Members:
    try:
        whole, end = read(der)
        if end != len(der):
            raise CertificateError(trailing)
        members = read_members(whole)
    except (IndexError, ValueError, OverflowError):
        raise CertificateError("x509: malformed certificate") from None
    urls: list[Url] | None = members["URIs"]
    if uri_strings:
        members["URIStrings"] = urls and list(map(str, urls))
    members["URIs"] = urls and [url.members() for url in urls]
    return members


def _certificate(whole: Element) -> Members:
    body, algorithm, signature = whole.children()
    fields = body.children()
    version = fields.pop(0).children()[0].integer + 1 if fields[0].tag == 0xA0 else 1
    serial, _, issuer, validity, subject, key, *rest = fields
    starts, ends = map(_time, validity.children())
    members: Members = {
        "Raw": _b64(whole.raw), "RawTBSCertificate": _b64(body.raw), "RawSubjectPublicKeyInfo": _b64(key.raw),
        "RawSubject": _b64(subject.raw), "RawIssuer": _b64(issuer.raw), "Signature": _b64(signature.body[1:]),
        "SignatureAlgorithm": _signature(algorithm), **_public_key(key), "Version": version,
        "SerialNumber": serial.integer, "Issuer": _name(issuer), "Subject": _name(subject), "NotBefore": starts,
        "NotAfter": ends, "ExtraExtensions": None,
        **dict.fromkeys(_LISTS), **dict.fromkeys(_FLAGS, False), **dict.fromkeys(_COUNTS, 0)}
    extensions = [_Extension.of(element) for part in rest if part.tag == 0xA3
                  for element in part.children()[0].children()]
    seen: set[str] = set()
    unhandled = []
    for extension in extensions:
        if extension.oid in seen:
            raise CertificateError(f"x509: certificate contains duplicate extension with OID {quote(extension.oid)}")
        seen.add(extension.oid)
        if extension.critical and extension.oid in _NEVER_CRITICAL:
            raise CertificateError(f"x509: {_NEVER_CRITICAL[extension.oid]} incorrectly marked critical")
        reader = _EXTENSIONS.get(extension.oid)
        stated = reader(extension.value) if reader is not None else {}
        members |= stated
        if extension.oid == _NAME_CONSTRAINTS:
            members["PermittedDNSDomainsCritical"] = extension.critical
        if extension.critical and (reader is None or members.pop(_UNHANDLED, False)):
            unhandled.append(_arcs(extension.oid))
        members.pop(_UNHANDLED, None)
    return members | {"Extensions": [extension.shown for extension in extensions] or None,
                      "UnhandledCriticalExtensions": unhandled or None}


def _request(whole: Element) -> Members:
    body, algorithm, signature = whole.children()
    version, subject, key, *rest = body.children()
    attributes: list[Members] = []
    extensions: list[_Extension] = []
    for attribute in (attribute for part in rest for attribute in part.children()):
        kind, values = attribute.children()
        if kind.oid == _REQUESTED:
            extensions += map(_Extension.of, values.children()[0].children())
            attributes.append({"Type": _arcs(kind.oid), "Value": [
                [_typed(pair.children()[0], pair.children()[1]) for pair in pairs.children()]
                for pairs in values.children()]})
    members: Members = {
        "Raw": _b64(whole.raw), "RawTBSCertificateRequest": _b64(body.raw), "RawSubjectPublicKeyInfo": _b64(key.raw),
        "RawSubject": _b64(subject.raw), "Version": version.integer, "Signature": _b64(signature.body[1:]),
        "SignatureAlgorithm": _signature(algorithm), **_public_key(key), "Subject": _name(subject),
        "Attributes": attributes or None, "Extensions": [extension.shown for extension in extensions] or None,
        "ExtraExtensions": None, **dict.fromkeys(_ALTERNATIVE_NAMES.values())}
    for extension in extensions:
        if extension.oid == "2.5.29.17":
            members |= _alternative_names(extension.value)
    members.pop(_UNHANDLED, None)
    return members


# ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────────────

def _b64(data: bytes) -> str:
    return b64encode(data).decode()


def _arcs(oid: str) -> list[int]:
    return list(map(int, oid.split(".")))


def _time(element: Element) -> str:
    text = element.body.decode("ascii")
    if element.tag == 0x17:
        year = int(text[:2])
        text = f"{1900 + year if year >= 50 else 2000 + year}{text[2:]}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _any(element: Element) -> Any:
    kind = element.tag & 0x1F
    if kind in _STRINGS:
        return element.body.decode("utf-16-be" if kind == 30 else "utf-8" if kind == 12 else "latin-1")
    if kind == 1:
        return element.true
    if kind == 2:
        return element.integer
    return _b64(element.body) if kind == 4 else _arcs(element.oid) if kind == 6 else None


def _typed(kind: Element, value: Element) -> Members:
    return {"Type": _arcs(kind.oid), "Value": _any(value)}


def _lists(pairs: Iterable[tuple[str, Any]]) -> Members:
    """The values of each field, in their order."""
    lists: dict[str, list[Any]] = {}
    for field, value in pairs:
        lists.setdefault(field, []).append(value)
    return dict(lists)


def _name(element: Element) -> Members:
    pairs = [pair.children() for names in element.children() for pair in names.children()]
    texts = [(kind.oid, text) for kind, value in pairs if isinstance(text := _any(value), str)]
    single = dict(texts)
    return {**dict.fromkeys(_NAMES.values()), "SerialNumber": single.get("2.5.4.5", ""),
            "CommonName": single.get("2.5.4.3", ""),
            "Names": [_typed(kind, value) for kind, value in pairs] or None, "ExtraNames": None,
            **_lists((_NAMES[oid], text) for oid, text in texts if oid in _NAMES)}


def _signature(element: Element) -> int:
    kind, *parameters = element.children()
    if kind.oid == _PSS and parameters:
        hashes = [part for part in parameters[0].children() if part.tag == 0xA0]
        return _PSS_HASHES.get(hashes[0].children()[0].children()[0].oid, 0) if hashes else 0
    return ALGORITHMS.get(kind.oid, 0)


def _public_key(element: Element) -> Members:
    """The key, and x509.PublicKeyAlgorithm; null and 0 of a kind that Go does not know."""
    algorithm, bits = element.children()
    kind, *parameters = algorithm.children()
    data, number = bits.body[1:], 0
    key: Members | str | None = None
    if kind.oid == _RSA:
        modulus, exponent = read(data)[0].children()
        number, key = 1, {"N": modulus.integer, "E": exponent.integer}
    elif kind.oid == _DSA:
        integers = [*parameters[0].children(), read(data)[0]]
        number, key = 2, {name: integer.integer for name, integer in zip("PQGY", integers, strict=True)}
    elif kind.oid == _ELLIPTIC:
        size = _CURVES.get(parameters[0].oid)
        if size is None:
            raise CertificateError("x509: unsupported elliptic curve")
        if data[:1] != b"\4" or len(data) != 1 + 2 * size:
            raise CertificateError("x509: failed to unmarshal elliptic curve point")
        number, key = 3, {"Curve": {}, "X": int.from_bytes(data[1:1 + size], "big"),
                          "Y": int.from_bytes(data[1 + size:], "big")}
    elif kind.oid == _ED25519:
        number, key = 4, _b64(data)
    return {"PublicKeyAlgorithm": number, "PublicKey": key}


# ── extensions ──────────────────────────────────────────────────────────────────────────────────────────────────────

_UNHANDLED = "unhandled"  # a member that says: Go knows the extension, and not what is in it


class _Extension(NamedTuple):
    oid: str
    critical: bool
    data: bytes

    @classmethod
    def of(cls, element: Element) -> _Extension:
        kind, *flag, data = element.children()
        return cls(kind.oid, bool(flag) and flag[0].true, data.body)

    @property
    def shown(self) -> Members:
        return {"Id": _arcs(self.oid), "Critical": self.critical, "Value": _b64(self.data)}

    @property
    def value(self) -> Element:
        return read(self.data)[0] if self.data else Element(0, b"", b"")


def _key_usage(value: Element) -> Members:
    bits = int.from_bytes(value.body[1:], "big")
    width = 8 * (len(value.body) - 1)
    return {"KeyUsage": sum(1 << at for at in range(min(9, width)) if bits >> (width - 1 - at) & 1)}


def _basic_constraints(value: Element) -> Members:
    parts = value.children()
    depth = next((part.integer for part in parts if part.tag == 2), -1)
    return {"BasicConstraintsValid": True, "IsCA": any(part.true for part in parts if part.tag == 1),
            "MaxPathLen": depth, "MaxPathLenZero": depth == 0}


def _alternative_names(value: Element) -> Members:
    names = _lists((_ALTERNATIVE_NAMES[part.tag], _general_name(part)) for part in value.children()
                   if part.tag in _ALTERNATIVE_NAMES)
    return names or {_UNHANDLED: True}


def _general_name(element: Element) -> str | Url:
    if element.tag == 0x87:
        return _address(element.body)
    text = element.body.decode("ascii")
    if element.tag != 0x86:
        return text
    try:
        return parse(text)
    except UrlError as wrong:
        raise CertificateError(f"x509: cannot parse URI {quote(text)}: {wrong.message}") from None


def _address(body: bytes) -> str:
    if len(body) not in (4, 16):
        raise CertificateError(f"x509: cannot parse IP address of length {len(body)}")
    return str(Address(4 if len(body) == 4 else 6, int.from_bytes(body, "big")))


def _extended_usage(value: Element) -> Members:
    return _lists(("ExtKeyUsage", PURPOSES.index(part.oid)) if part.oid in PURPOSES
                  else ("UnknownExtKeyUsage", _arcs(part.oid)) for part in value.children())


def _subject_key(value: Element) -> Members:
    return {"SubjectKeyId": _b64(value.body)}


def _authority_key(value: Element) -> Members:
    key_id = next((part.body for part in value.children() if part.tag == 0x80), None)
    return {} if key_id is None else {"AuthorityKeyId": _b64(key_id)}


def _authority_access(value: Element) -> Members:
    fields = {"1.3.6.1.5.5.7.48.1": "OCSPServer", "1.3.6.1.5.5.7.48.2": "IssuingCertificateURL"}
    return _lists((fields[method.oid], location.body.decode("ascii"))
                  for method, location in map(Element.children, value.children())
                  if location.tag == 0x86 and method.oid in fields)


def _revocation_lists(value: Element) -> Members:
    return _lists(("CRLDistributionPoints", name.body.decode("ascii")) for point in value.children()
                  for part in point.children() if part.tag == 0xA0
                  for full in part.children() if full.tag == 0xA0
                  for name in full.children() if name.tag == 0x86)


def _policies(value: Element) -> Members:
    oids = [part.children()[0].oid for part in value.children()]
    return {"PolicyIdentifiers": list(map(_arcs, oids)) or None, "Policies": oids or None}


def _policy_mappings(value: Element) -> Members:
    return _lists(("PolicyMappings", {"IssuerDomainPolicy": issuer.oid, "SubjectDomainPolicy": subject.oid})
                  for issuer, subject in map(Element.children, value.children()))


def _policy_constraints(value: Element) -> Members:
    fields = {0x80: "RequireExplicitPolicy", 0x81: "InhibitPolicyMapping"}
    members: Members = {}
    for part in value.children():
        if field := fields.get(part.tag):
            members |= {field: part.integer, f"{field}Zero": part.integer == 0}
    return members


def _inhibit_any_policy(value: Element) -> Members:
    return {"InhibitAnyPolicy": value.integer, "InhibitAnyPolicyZero": value.integer == 0}


def _name_constraints(value: Element) -> Members:
    sides = [("Permitted" if subtrees.tag == 0xA0 else "Excluded", tree.children()[0])
             for subtrees in value.children() for tree in subtrees.children()]
    members = _lists((side + _CONSTRAINED[base.tag], _constraint(base)) for side, base in sides
                     if base.tag in _CONSTRAINED)
    return members | {_UNHANDLED: any(base.tag not in _CONSTRAINED for _, base in sides)}


def _constraint(base: Element) -> str | Members:
    if base.tag != 0x87:
        return base.body.decode("ascii")
    half = len(base.body) // 2
    return {"IP": _address(base.body[:half]), "Mask": _b64(base.body[half:])}


_EXTENSIONS: dict[str, Callable[[Element], Members]] = {
    "2.5.29.15": _key_usage, "2.5.29.19": _basic_constraints, "2.5.29.17": _alternative_names,
    "2.5.29.37": _extended_usage, "2.5.29.14": _subject_key, "2.5.29.35": _authority_key,
    "1.3.6.1.5.5.7.1.1": _authority_access, "2.5.29.31": _revocation_lists, "2.5.29.32": _policies,
    "2.5.29.33": _policy_mappings, "2.5.29.36": _policy_constraints, "2.5.29.54": _inhibit_any_policy,
    _NAME_CONSTRAINTS: _name_constraints}
HANDLED = frozenset(_EXTENSIONS)
"""Identifiers of the extensions that may be critical."""
