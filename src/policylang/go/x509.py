# ruff: noqa: ARG001 - readers of extensions have one signature
"""Certificates and certificate requests as Go's crypto/x509 turns them into JSON."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from policylang.errors import InputError
from policylang.go.numbers import quote
from policylang.go.pem import blocks

_NAMES = {"2.5.4.6": "Country", "2.5.4.10": "Organization", "2.5.4.11": "OrganizationalUnit", "2.5.4.7": "Locality",
          "2.5.4.8": "Province", "2.5.4.9": "StreetAddress", "2.5.4.17": "PostalCode"}
_SIGNATURES = {"1.2.840.113549.1.1.4": 2, "1.2.840.113549.1.1.5": 3, "1.2.840.113549.1.1.11": 4,
               "1.2.840.113549.1.1.12": 5, "1.2.840.113549.1.1.13": 6, "1.2.840.10040.4.3": 7,
               "2.16.840.1.101.3.4.3.2": 8, "1.2.840.10045.4.1": 9,
               "1.2.840.10045.4.3.2": 10, "1.2.840.10045.4.3.3": 11, "1.2.840.10045.4.3.4": 12, "1.3.101.112": 16}
_PSS = {"2.16.840.1.101.3.4.2.1": 13, "2.16.840.1.101.3.4.2.2": 14, "2.16.840.1.101.3.4.2.3": 15}
_RSA, _DSA, _ECDSA = "1.2.840.113549.1.1.1", "1.2.840.10040.4.1", "1.2.840.10045.2.1"
_ED25519 = "1.3.101.112"
USAGES = {"2.5.29.37.0": 0, **{f"1.3.6.1.5.5.7.3.{one}": one for one in range(1, 10)},
           "1.3.6.1.4.1.311.10.3.3": 10, "2.16.840.1.113730.4.1": 11,
           "1.3.6.1.4.1.311.2.1.22": 12, "1.3.6.1.4.1.311.61.1.1": 13}
_STRINGS = {12, 19, 20, 22, 30, 18}


class CertificateError(InputError):
    """What Go cannot decode; the message is Go's where it is short."""

    code = "certificate"


class Element(NamedTuple):
    """One DER element: `tag` is its first byte, `raw` all of it, `body` what is inside."""

    tag: int
    raw: bytes
    body: bytes

    def children(self) -> list[Element]:
        found, at = [], 0
        while at < len(self.body):
            child, at = read(self.body, at)
            found.append(child)
        return found


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


def decode_pem(text: str) -> dict[str, Any]:
    """The first certificate or request in PEM, with an RSA key, as the map that its Go struct is in JSON."""
    block = next(blocks(text.encode("utf-8", "surrogateescape")), None)
    if block is None:
        raise CertificateError("failed to decode PEM block")
    if block.kind not in ("CERTIFICATE", "CERTIFICATE REQUEST"):
        raise CertificateError("PEM block neither contains a CERTIFICATE or CERTIFICATE REQUEST")
    return decode(block.kind, block.data)


def decode(kind: str, data: bytes, key: Key | None = None) -> dict[str, Any]:
    """The DER of a `CERTIFICATE` or a `CERTIFICATE REQUEST`, likewise. `key`: the reader of its public key, of which
    `any_key` takes those that are not RSA's too.
    """
    try:
        return (_certificate if kind == "CERTIFICATE" else _request)(data, key or _rsa_key)
    except (IndexError, ValueError, UnicodeError, OverflowError):
        raise CertificateError("x509: malformed certificate") from None


def _certificate(data: bytes, public_key: Key) -> dict[str, Any]:
    """x509.Certificate."""
    whole, end = read(data)
    if end != len(data):
        raise CertificateError("x509: trailing data")
    body, algorithm, signature = whole.children()
    fields = body.children()
    version = 1
    if fields[0].tag == 0xA0:
        version = fields.pop(0).children()[0].body[-1] + 1
    serial, _, issuer, validity, subject, key, *rest = fields
    extensions = [one for part in rest if part.tag == 0xA3 for one in part.children()[0].children()]
    starts, ends = map(_time, validity.children())
    made = {
        "Raw": _b64(whole.raw), "RawTBSCertificate": _b64(body.raw), "RawSubjectPublicKeyInfo": _b64(key.raw),
        "RawSubject": _b64(subject.raw), "RawIssuer": _b64(issuer.raw), "Signature": _b64(signature.body[1:]),
        "SignatureAlgorithm": _signature(algorithm), **public_key(key), "Version": version,
        "SerialNumber": int.from_bytes(serial.body, "big", signed=True), "Issuer": _name(issuer),
        "Subject": _name(subject), "NotBefore": starts, "NotAfter": ends, "KeyUsage": 0, "ExtraExtensions": None,
        **dict.fromkeys(("Extensions", "UnhandledCriticalExtensions", "ExtKeyUsage", "UnknownExtKeyUsage",
                         "SubjectKeyId", "AuthorityKeyId", "OCSPServer", "IssuingCertificateURL", "DNSNames",
                         "EmailAddresses", "IPAddresses", "URIs", "PermittedDNSDomains", "ExcludedDNSDomains",
                         "PermittedIPRanges", "ExcludedIPRanges", "PermittedEmailAddresses", "ExcludedEmailAddresses",
                         "PermittedURIDomains", "ExcludedURIDomains", "CRLDistributionPoints", "PolicyIdentifiers",
                         "Policies", "PolicyMappings")),
        **dict.fromkeys(("BasicConstraintsValid", "IsCA", "MaxPathLenZero", "PermittedDNSDomainsCritical",
                         "InhibitAnyPolicyZero", "InhibitPolicyMappingZero", "RequireExplicitPolicyZero"), False),
        **dict.fromkeys(("MaxPathLen", "InhibitAnyPolicy", "InhibitPolicyMapping", "RequireExplicitPolicy"), 0)}
    for element in extensions:
        shown, oid, critical, value = _extension(element)
        made["Extensions"] = [*(made["Extensions"] or ()), shown]
        reader = _EXTENSIONS.get(oid)
        known = reader(value, made, critical) if reader is not None else False
        if critical and not known:
            made["UnhandledCriticalExtensions"] = [*(made["UnhandledCriticalExtensions"] or ()), shown["Id"]]
    return made


def _request(data: bytes, public_key: Key) -> dict[str, Any]:
    """x509.CertificateRequest."""
    whole, end = read(data)
    if end != len(data):
        raise CertificateError("asn1: syntax error: trailing data")
    body, algorithm, signature = whole.children()
    version, subject, key, *rest = body.children()
    attributes: list[Any] = []
    extensions: list[Element] = []
    for attribute in (one for part in rest for one in part.children()):
        oid, values = attribute.children()
        if _oid(oid.body) == "1.2.840.113549.1.9.14":
            extensions += values.children()[0].children()
            sets = [[{"Type": _arcs(_oid(one.children()[0].body)), "Value": _any(one.children()[1])}
                     for one in each.children()] for each in values.children()]
            attributes.append({"Type": _arcs(_oid(oid.body)), "Value": sets})
    made: dict[str, Any] = {
        "Raw": _b64(whole.raw), "RawTBSCertificateRequest": _b64(body.raw), "RawSubjectPublicKeyInfo": _b64(key.raw),
        "RawSubject": _b64(subject.raw), "Version": int.from_bytes(version.body, "big"),
        "Signature": _b64(signature.body[1:]), "SignatureAlgorithm": _signature(algorithm), **public_key(key),
        "Subject": _name(subject), "Attributes": attributes or None, "Extensions": None, "ExtraExtensions": None,
        "DNSNames": None, "EmailAddresses": None, "IPAddresses": None, "URIs": None}
    for element in extensions:
        shown, name, critical, value = _extension(element)
        made["Extensions"] = [*(made["Extensions"] or ()), shown]
        if name == "2.5.29.17":
            _alternative_names(value, made, critical)
    return made


# ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────────────

def _b64(data: bytes) -> str:
    return b64encode(data).decode()


def _oid(body: bytes) -> str:
    arcs, value = [], 0
    for byte in body:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _arcs(oid: str) -> list[int]:
    return list(map(int, oid.split(".")))


def _time(element: Element) -> str:
    text = element.body.decode("ascii")
    if element.tag == 0x17:
        year = int(text[:2])
        text = f"{1900 + year if year >= 50 else 2000 + year}{text[2:]}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(element: Element) -> str:
    kind = element.tag & 0x1F
    return element.body.decode("utf-16-be" if kind == 30 else "utf-8" if kind == 12 else "latin-1")


def _any(element: Element) -> Any:
    kind = element.tag & 0x1F
    if kind in _STRINGS:
        return _text(element)
    if kind == 1:
        return element.body != b"\0"
    if kind == 2:
        return int.from_bytes(element.body, "big", signed=True)
    return _b64(element.body) if kind == 4 else _arcs(_oid(element.body)) if kind == 6 else None


def _name(element: Element) -> dict[str, Any]:
    made: dict[str, Any] = {**dict.fromkeys(_NAMES.values()), "SerialNumber": "", "CommonName": "", "Names": None,
                            "ExtraNames": None}
    for pair in (pair for names in element.children() for pair in names.children()):
        kind, value = pair.children()
        oid, text = _oid(kind.body), _any(value)
        made["Names"] = [*(made["Names"] or ()), {"Type": _arcs(oid), "Value": text}]
        if not isinstance(text, str):
            continue
        if field := _NAMES.get(oid):
            made[field] = [*(made[field] or ()), text]
        elif oid in ("2.5.4.3", "2.5.4.5"):
            made["CommonName" if oid == "2.5.4.3" else "SerialNumber"] = text
    return made


def _signature(element: Element) -> int:
    kind, *parameters = element.children()
    oid = _oid(kind.body)
    if oid == "1.2.840.113549.1.1.10" and parameters:
        hashes = [part for part in parameters[0].children() if part.tag == 0xA0]
        return _PSS.get(_oid(hashes[0].children()[0].children()[0].body), 0) if hashes else 0
    return _SIGNATURES.get(oid, 0)


def _rsa_key(element: Element) -> dict[str, Any]:
    """{N, E} as Kyverno has it, with N as a text."""
    made = any_key(element)
    if made["PublicKeyAlgorithm"] != 1:
        raise CertificateError("certificate should use rsa algorithm")
    made["PublicKey"]["N"] = str(made["PublicKey"]["N"])
    return made


def any_key(element: Element) -> dict[str, Any]:
    """Go's x509.PublicKeyAlgorithm, and the key of an RSA, DSA, ECDSA or Ed25519 one, in whole numbers."""
    algorithm, bits = element.children()
    oid, data = _oid(algorithm.children()[0].body), bits.body[1:]
    if oid == _RSA:
        modulus, exponent = (int.from_bytes(number.body, "big") for number in read(data)[0].children())
        return {"PublicKeyAlgorithm": 1, "PublicKey": {"N": modulus, "E": exponent}}
    if oid == _DSA:
        numbers = [*algorithm.children()[1].children(), read(data)[0]]
        return {"PublicKeyAlgorithm": 2, "PublicKey": {name: int.from_bytes(number.body, "big")
                                                       for name, number in zip("PQGY", numbers, strict=True)}}
    if oid == _ECDSA and data[:1] == b"\x04":
        half = len(data) // 2
        point = [int.from_bytes(number, "big") for number in (data[1:half + 1], data[half + 1:])]
        return {"PublicKeyAlgorithm": 3, "PublicKey": {"Curve": {}, "X": point[0], "Y": point[1]}}
    if oid == _ED25519:
        return {"PublicKeyAlgorithm": 4, "PublicKey": _b64(data)}
    return {"PublicKeyAlgorithm": 0, "PublicKey": None}


def _extension(element: Element) -> tuple[dict[str, Any], str, bool, Element]:
    kind, *rest = element.children()
    critical = len(rest) > 1 and rest[0].body != b"\0"
    oid, value = _oid(kind.body), rest[-1].body
    inner = read(value)[0] if value else Element(0, b"", b"")
    return {"Id": _arcs(oid), "Critical": critical, "Value": _b64(value)}, oid, critical, inner


Key = Callable[[Element], dict[str, Any]]
Reader = Callable[[Element, dict[str, Any], bool], bool]


def _key_usage(value: Element, made: dict[str, Any], critical: bool) -> bool:
    bits = int.from_bytes(value.body[1:], "big")
    width = 8 * (len(value.body) - 1)
    made["KeyUsage"] = sum(1 << at for at in range(min(9, width)) if bits >> (width - 1 - at) & 1)
    return True


def _constraints(value: Element, made: dict[str, Any], critical: bool) -> bool:
    parts = value.children()
    made["BasicConstraintsValid"] = True
    made["MaxPathLen"] = -1
    for part in parts:
        if part.tag == 1:
            made["IsCA"] = part.body != b"\0"
        elif part.tag == 2:
            made["MaxPathLen"] = int.from_bytes(part.body, "big")
    made["MaxPathLenZero"] = made["MaxPathLen"] == 0
    return True


def _alternative_names(value: Element, made: dict[str, Any], critical: bool) -> bool:
    fields = {0x81: "EmailAddresses", 0x82: "DNSNames", 0x86: "URIs", 0x87: "IPAddresses"}
    for part in value.children():
        field = fields.get(part.tag)
        if field is None:
            continue
        text: Any = _address(part.body) if part.tag == 0x87 else part.body.decode("ascii")
        if part.tag == 0x86:
            text = _url(text)
        made[field] = [*(made[field] or ()), text]
    return any(made[field] for field in fields.values())


def _address(body: bytes) -> str:
    from policylang.go.netip import Address
    if len(body) not in (4, 16):
        raise CertificateError(f"x509: cannot parse IP address of length {len(body)}")
    return str(Address(4 if len(body) == 4 else 6, int.from_bytes(body, "big")))


def _url(text: str) -> dict[str, Any]:
    """A net/url.URL, field by field."""
    from policylang.go.urls import UrlError, parse
    try:
        url = parse(text)
    except UrlError as wrong:
        raise CertificateError(f"x509: cannot parse URI {quote(text)}: {wrong.message}") from None
    user: dict[str, Any] | None = None if url.user is None else {}
    return {"Scheme": url.scheme, "Opaque": url.opaque, "User": user, "Host": url.host, "Path": url.path,
            "RawPath": url.raw_path, "OmitHost": url.omit_host, "ForceQuery": url.force_query, "RawQuery": url.query,
            "Fragment": url.fragment, "RawFragment": ""}


def _extended_usage(value: Element, made: dict[str, Any], critical: bool) -> bool:
    for part in value.children():
        oid = _oid(part.body)
        known = USAGES.get(oid)
        field = "UnknownExtKeyUsage" if known is None else "ExtKeyUsage"
        made[field] = [*(made[field] or ()), _arcs(oid) if known is None else known]
    return True


def _refuse_critical(what: str, critical: bool) -> None:
    if critical:
        raise CertificateError(f"x509: {what} incorrectly marked critical")


def _subject_key(value: Element, made: dict[str, Any], critical: bool) -> bool:
    _refuse_critical("subject key identifier", critical)
    made["SubjectKeyId"] = _b64(value.body)
    return True


def _authority_key(value: Element, made: dict[str, Any], critical: bool) -> bool:
    _refuse_critical("authority key identifier", critical)
    for part in value.children():
        if part.tag == 0x80:
            made["AuthorityKeyId"] = _b64(part.body)
    return True


def _authority_access(value: Element, made: dict[str, Any], critical: bool) -> bool:
    _refuse_critical("authority info access", critical)
    fields = {"1.3.6.1.5.5.7.48.1": "OCSPServer", "1.3.6.1.5.5.7.48.2": "IssuingCertificateURL"}
    for part in value.children():
        method, location = part.children()
        if location.tag == 0x86 and (field := fields.get(_oid(method.body))):
            made[field] = [*(made[field] or ()), location.body.decode("ascii")]
    return True


def _revocation_lists(value: Element, made: dict[str, Any], critical: bool) -> bool:
    for point in value.children():
        for name in (name for part in point.children() if part.tag == 0xA0 for full in part.children()
                     if full.tag == 0xA0 for name in full.children() if name.tag == 0x86):
            made["CRLDistributionPoints"] = [*(made["CRLDistributionPoints"] or ()), name.body.decode("ascii")]
    return True


def _policies(value: Element, made: dict[str, Any], critical: bool) -> bool:
    oids = [_oid(part.children()[0].body) for part in value.children()]
    made["PolicyIdentifiers"] = [_arcs(oid) for oid in oids] or None
    made["Policies"] = oids or None
    return True


def _name_constraints(value: Element, made: dict[str, Any], critical: bool) -> bool:
    fields = {0x82: "DNSDomains", 0x81: "EmailAddresses", 0x86: "URIDomains", 0x87: "IPRanges"}
    known = True
    for subtrees in value.children():
        word = "Permitted" if subtrees.tag == 0xA0 else "Excluded"
        for base in (tree.children()[0] for tree in subtrees.children()):
            field = fields.get(base.tag)
            if field is None:
                known = False
                continue
            half = len(base.body) // 2
            text: Any = ({"IP": _address(base.body[:half]), "Mask": _b64(base.body[half:])} if base.tag == 0x87
                         else base.body.decode("ascii"))
            made[word + field] = [*(made[word + field] or ()), text]
    made["PermittedDNSDomainsCritical"] = critical
    return known


def _policy_constraints(value: Element, made: dict[str, Any], critical: bool) -> bool:
    for part in value.children():
        _skips("RequireExplicitPolicy" if part.tag == 0x80 else "InhibitPolicyMapping", part, made)
    return True


def _inhibit_any_policy(value: Element, made: dict[str, Any], critical: bool) -> bool:
    _skips("InhibitAnyPolicy", value, made)
    return True


def _skips(name: str, value: Element, made: dict[str, Any]) -> None:
    made[name] = int.from_bytes(value.body, "big")
    made[f"{name}Zero"] = made[name] == 0


def _policy_mappings(value: Element, made: dict[str, Any], critical: bool) -> bool:
    pairs = [[_oid(policy.body) for policy in part.children()] for part in value.children()]
    made["PolicyMappings"] = [{"IssuerDomainPolicy": issuer, "SubjectDomainPolicy": subject}
                              for issuer, subject in pairs] or None
    return True


_EXTENSIONS: dict[str, Reader] = {
    "2.5.29.15": _key_usage, "2.5.29.19": _constraints, "2.5.29.17": _alternative_names, "2.5.29.37": _extended_usage,
    "2.5.29.14": _subject_key, "2.5.29.35": _authority_key, "1.3.6.1.5.5.7.1.1": _authority_access,
    "2.5.29.31": _revocation_lists, "2.5.29.32": _policies, "2.5.29.30": _name_constraints,
    "2.5.29.36": _policy_constraints, "2.5.29.54": _inhibit_any_policy, "2.5.29.33": _policy_mappings}
HANDLED = frozenset(_EXTENSIONS)  # as critical ones
