"""X.509 certificates and requests, with the members that Go's structures have in JSON."""

from __future__ import annotations

import base64
import ipaddress
import warnings
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import NameOID

from policylang.go import pem
from policylang.go.numbers import quote
from policylang.go.urls import UrlError, parse
from policylang.rego.builtins import chains
from policylang.rego.builtins.chains import HANDLED
from policylang.rego.builtins.encoding import decode64
from policylang.rego.builtins.operands import mapping, string
from policylang.rego.declare import BuiltinError, Context, builtin
from policylang.rego.values import Set, Value, pairs
from policylang.rego.values.numbers import KINDS, plain_integer

_OBJECTS = "array[object[string: any]]"
_VERIFIED = "array<boolean, array[object[string: any]]>"
_NAMES = {NameOID.COUNTRY_NAME: "Country", NameOID.ORGANIZATION_NAME: "Organization",
          NameOID.ORGANIZATIONAL_UNIT_NAME: "OrganizationalUnit", NameOID.LOCALITY_NAME: "Locality",
          NameOID.STATE_OR_PROVINCE_NAME: "Province", NameOID.STREET_ADDRESS: "StreetAddress",
          NameOID.POSTAL_CODE: "PostalCode"}
_USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
           "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
_PURPOSES = [x509.ObjectIdentifier(oid) for oid in (  # at Go's x509.ExtKeyUsage
    "2.5.29.37.0", "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.4",
    "1.3.6.1.5.5.7.3.5", "1.3.6.1.5.5.7.3.6", "1.3.6.1.5.5.7.3.7", "1.3.6.1.5.5.7.3.8", "1.3.6.1.5.5.7.3.9",
    "1.3.6.1.4.1.311.10.3.3", "2.16.840.1.113730.4.1", "1.3.6.1.4.1.311.2.1.22", "1.3.6.1.4.1.311.61.1.1")]
_PURPOSE_NAMES = {f"KeyUsage{name}": at for at, name in enumerate(
    ("Any", "ServerAuth", "ClientAuth", "CodeSigning", "EmailProtection", "IPSECEndSystem", "IPSECTunnel", "IPSECUser",
     "TimeStamping", "OCSPSigning", "MicrosoftServerGatedCrypto", "NetscapeServerGatedCrypto",
     "MicrosoftCommercialCodeSigning", "MicrosoftKernelCodeSigning"))}
_ALGORITHMS = {  # Go's x509.SignatureAlgorithm
    "1.2.840.113549.1.1.4": 2, "1.2.840.113549.1.1.5": 3, "1.2.840.113549.1.1.11": 4, "1.2.840.113549.1.1.12": 5,
    "1.2.840.113549.1.1.13": 6, "1.2.840.10040.4.3": 7, "2.16.840.1.101.3.4.3.2": 8, "1.2.840.10045.4.1": 9,
    "1.2.840.10045.4.3.2": 10, "1.2.840.10045.4.3.3": 11, "1.2.840.10045.4.3.4": 12, "1.3.101.112": 16}

def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _oid(oid: x509.ObjectIdentifier) -> list[int]:
    return [int(part) for part in oid.dotted_string.split(".")]


# --- what was given: PEM, or base64 of PEM or of DER

def _data(value: str) -> bytes:
    if value.startswith("-----BEGIN"):
        return value.encode("utf-8", "surrogateescape")
    return decode64(value)


def _ders(data: bytes, *kinds: str) -> list[bytes]:
    """The DER of each PEM block; BuiltinError where one is of another kind."""
    ders = []
    for block in pem.blocks(data):
        if block.kind not in kinds:
            raise BuiltinError(f"PEM block type is '{block.kind}', expected {kinds[0]}")
        ders.append(block.data)
    return ders


def _certificates(value: str) -> list[x509.Certificate]:
    data = _data(value)
    ders = _ders(data, "CERTIFICATE") if data.startswith(b"-----BEGIN") else _split(data)
    try:
        with warnings.catch_warnings():  # about serial numbers that are not positive: shown as they are
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return [x509.load_der_x509_certificate(der) for der in ders]
    except ValueError:
        raise BuiltinError("x509: malformed certificate") from None


def _split(data: bytes) -> list[bytes]:
    """DER certificates after each other."""
    certificates = []
    while data:
        if data[:1] != b"\x30" or len(data) < 2:
            raise BuiltinError("x509: malformed certificate")
        extra = data[1] & 0x7F if data[1] & 0x80 else 0
        length = int.from_bytes(data[2:2 + extra], "big") if extra else data[1]
        size = 2 + extra + length
        certificates.append(data[:size])
        data = data[size:]
    return certificates


# --- as Go shows it

def _name(name: x509.Name) -> dict[str, Value]:
    made: dict[str, Any] = dict.fromkeys(_NAMES.values())
    made |= {"CommonName": "", "SerialNumber": "", "ExtraNames": None, "Names": None}
    for attribute in name:
        shown = attribute.value if isinstance(attribute.value, str) else attribute.value.decode("utf-8", "replace")
        made["Names"] = [*(made["Names"] or []), {"Type": _oid(attribute.oid), "Value": shown}]
        if attribute.oid == NameOID.COMMON_NAME:
            made["CommonName"] = shown
        elif attribute.oid == NameOID.SERIAL_NUMBER:
            made["SerialNumber"] = shown
        elif attribute.oid in _NAMES:
            made[_NAMES[attribute.oid]] = [*(made[_NAMES[attribute.oid]] or []), shown]
    return made


def _public(key: Any) -> tuple[Value, int]:
    """The key, and Go's x509.PublicKeyAlgorithm."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"N": numbers.n, "E": numbers.e}, 1
    if isinstance(key, ec.EllipticCurvePublicKey):
        point = key.public_numbers()
        return {"Curve": {}, "X": point.x, "Y": point.y}, 3
    if isinstance(key, ed25519.Ed25519PublicKey):
        return b64(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)), 4
    return None, 0


def spki(key: Any) -> bytes:
    return bytes(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))


def _url(text: str) -> dict[str, Value]:
    try:
        url = parse(text)
    except UrlError:
        raise BuiltinError(f"x509: cannot parse URI {quote(text)}: invalid URI") from None
    return {"ForceQuery": url.force_query, "Fragment": url.fragment, "Host": url.host, "OmitHost": url.omit_host,
            "Opaque": url.opaque, "Path": url.path, "RawFragment": "", "RawPath": url.raw_path, "RawQuery": url.query,
            "Scheme": url.scheme, "User": None if url.user is None else {}}


def _extensions(stated: x509.Extensions) -> list[Value] | None:
    return [{"Id": _oid(each.oid), "Critical": each.critical, "Value": b64(each.value.public_bytes())}
            for each in stated] or None


def _alternatives(stated: x509.Extensions) -> dict[str, Value]:
    try:
        names = stated.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return {"DNSNames": names.get_values_for_type(x509.DNSName) or None,
            "EmailAddresses": names.get_values_for_type(x509.RFC822Name) or None,
            "IPAddresses": [str(each) for each in names.get_values_for_type(x509.IPAddress)] or None,
            "URIs": [_url(each) for each in uris] or None, "URIStrings": uris or None}


def _get(stated: x509.Extensions, kind: Any) -> Any:
    try:
        return stated.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def members(certificate: x509.Certificate, *, strings: bool = True) -> dict[str, Value]:
    stated = certificate.extensions
    key, algorithm = _public(certificate.public_key())
    constraints, usage = _get(stated, x509.BasicConstraints), _get(stated, x509.KeyUsage)
    purposes, limits = _get(stated, x509.ExtendedKeyUsage) or [], _get(stated, x509.NameConstraints)
    own, authority = _get(stated, x509.SubjectKeyIdentifier), _get(stated, x509.AuthorityKeyIdentifier)
    access = _get(stated, x509.AuthorityInformationAccess) or []
    policies = _get(stated, x509.CertificatePolicies) or []
    depth = constraints.path_length if constraints is not None else None
    limit = _get(stated, x509.PolicyConstraints)
    made: dict[str, Value] = {
        "Raw": b64(certificate.public_bytes(serialization.Encoding.DER)),
        "RawTBSCertificate": b64(certificate.tbs_certificate_bytes),
        "RawSubjectPublicKeyInfo": b64(spki(certificate.public_key())),
        "RawSubject": b64(certificate.subject.public_bytes()), "RawIssuer": b64(certificate.issuer.public_bytes()),
        "Signature": b64(certificate.signature), "SignatureAlgorithm": _ALGORITHMS.get(
            certificate.signature_algorithm_oid.dotted_string, 0),
        "PublicKeyAlgorithm": algorithm, "PublicKey": key, "Version": certificate.version.value + 1,
        "SerialNumber": _serial(certificate), "Issuer": _name(certificate.issuer),
        "Subject": _name(certificate.subject), "NotBefore": _time(certificate.not_valid_before_utc),
        "NotAfter": _time(certificate.not_valid_after_utc), "KeyUsage": _usage(usage),
        "Extensions": _extensions(stated), "ExtraExtensions": None,
        "UnhandledCriticalExtensions": [_oid(each.oid) for each in stated
                                        if each.critical and each.oid.dotted_string not in HANDLED] or None,
        "ExtKeyUsage": [_PURPOSES.index(each) for each in purposes if each in _PURPOSES] or None,
        "UnknownExtKeyUsage": [_oid(each) for each in purposes if each not in _PURPOSES] or None,
        "BasicConstraintsValid": constraints is not None, "IsCA": constraints is not None and constraints.ca,
        "MaxPathLen": 0 if constraints is None else -1 if depth is None else depth, "MaxPathLenZero": depth == 0,
        "SubjectKeyId": b64(own.digest) if own is not None else None,
        "AuthorityKeyId": b64(authority.key_identifier) if authority and authority.key_identifier else None,
        "OCSPServer": _access(access, "1.3.6.1.5.5.7.48.1"),
        "IssuingCertificateURL": _access(access, "1.3.6.1.5.5.7.48.2"),
        "CRLDistributionPoints": _lists(_get(stated, x509.CRLDistributionPoints)),
        "PolicyIdentifiers": [_oid(each.policy_identifier) for each in policies] or None,
        "Policies": [each.policy_identifier.dotted_string for each in policies] or None,
        "PolicyMappings": None,
        **_skips("InhibitAnyPolicy", getattr(_get(stated, x509.InhibitAnyPolicy), "skip_certs", None)),
        **_skips("InhibitPolicyMapping", getattr(limit, "inhibit_policy_mapping", None)),
        **_skips("RequireExplicitPolicy", getattr(limit, "require_explicit_policy", None)),
        "PermittedDNSDomainsCritical": limits is not None and any(
            each.critical for each in stated if each.oid.dotted_string == "2.5.29.30")}
    for side in ("permitted", "excluded"):
        trees = (getattr(limits, f"{side}_subtrees") if limits is not None else None) or []
        for kind, name in ((x509.DNSName, "DNSDomains"), (x509.RFC822Name, "EmailAddresses"),
                           (x509.UniformResourceIdentifier, "URIDomains"), (x509.IPAddress, "IPRanges")):
            made[side.capitalize() + name] = [_limit(each.value) for each in trees if isinstance(each, kind)] or None
    made |= _alternatives(stated)
    if not strings:
        del made["URIStrings"]
    return made


def _skips(name: str, count: int | None) -> dict[str, Value]:
    return {name: count or 0, f"{name}Zero": count == 0}


def _serial(certificate: x509.Certificate) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return certificate.serial_number


def _limit(value: Any) -> Value:
    if isinstance(value, str):
        return value
    return {"IP": str(value.network_address), "Mask": b64(value.netmask.packed)}


def _time(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def _usage(usage: x509.KeyUsage | None) -> int:
    if usage is None:
        return 0
    names = _USAGES if usage.key_agreement else _USAGES[:-2]
    return sum(1 << bit for bit, name in enumerate(names) if getattr(usage, name))


def _access(stated: Iterable[Any], method: str) -> list[str] | None:
    return [each.access_location.value for each in stated if each.access_method.dotted_string == method] or None


def _lists(points: Any) -> list[str] | None:
    return [name.value for point in points or [] for name in point.full_name or []
            if isinstance(name, x509.UniformResourceIdentifier)] or None


# --- builtins

@builtin("crypto.x509.parse_certificates", "string", result=_OBJECTS)
def parse_certificates(value: Value) -> Value:
    return [members(each) for each in _certificates(string(value, 1, 3))]


@builtin("crypto.x509.parse_and_verify_certificates", "string", result=_VERIFIED, context=True)
def parse_and_verify_certificates(context: Context, value: Value) -> Value:
    """[true, the chain from the leaf], or [false, []]. The first is a root to trust, the last the leaf."""
    return _verified(context, string(value, 1, 3), {})


@builtin("crypto.x509.parse_and_verify_certificates_with_options", "string", "object[string: any]", result=_VERIFIED,
         context=True)
def parse_and_verify_certificates_with_options(context: Context, value: Value, options: Value) -> Value:
    shown, given = string(value, 1, 3), mapping(options, 2)
    return _verified(context, shown, given, strings=False)


def _verified(context: Context, value: str, options: dict[Any, Value], *, strings: bool = True) -> Value:
    try:
        certificates = _certificates(value)
    except BuiltinError:
        return [False, []]
    _check_options(options)
    moment = plain_integer(options["CurrentTime"]) if "CurrentTime" in options else None
    if moment is None and "CurrentTime" in options:
        raise BuiltinError("'CurrentTime' should be a valid int64 number")
    if len(certificates) < 2:
        return [False, []]
    if moment is None:
        from policylang.rego.builtins.times import now_ns
        moment = now_ns(context)
    *above, leaf = certificates
    usages = _usages(options.get("KeyUsages", [])) or ["KeyUsageServerAuth"]  # of none Go means the server's
    chain = chains.build(leaf, above[0], above[1:], datetime.fromtimestamp(moment / 1e9, UTC),
                         [_PURPOSES[_PURPOSE_NAMES[usage]] for usage in usages])
    name = str(options.get("DNSName", "")).strip('"')
    if chain is None or (name and not _covers(leaf, name)):
        return [False, []]
    return [True, [members(certificate, strings=strings) for certificate in chain]]


def _check_options(options: dict[Any, Value]) -> None:
    for name, value in pairs(options):
        if type(name) is not str:
            continue
        if name == "DNSName":
            if type(value) is not str:
                raise BuiltinError("'DNSName' should be a string")
        elif name in ("CurrentTime", "MaxConstraintComparisons"):
            if type(value) not in KINDS:
                raise BuiltinError(f"'{name}' should be a number")
            if name == "MaxConstraintComparisons" and plain_integer(value) is None:
                raise BuiltinError("'MaxConstraintComparisons' should be a valid number")
        elif name == "KeyUsages":
            if type(value) not in (list, Set):
                raise BuiltinError("'KeyUsages' should be an Array or Set")
            unknown = [usage for usage in _usages(value) if usage not in _PURPOSE_NAMES]
            if unknown:
                raise BuiltinError(f"invalid entries for 'KeyUsages' found: [{' '.join(unknown)}]")
        else:
            raise BuiltinError("invalid key option")


def _usages(value: Value) -> list[str]:
    return [usage.strip('"') for usage in (value.ordered() if type(value) is Set else value) if type(usage) is str]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _covers(leaf: x509.Certificate, name: str) -> bool:
    named = _alternatives(leaf.extensions)
    if (address := _address(name.removeprefix("[").removesuffix("]") if name.startswith("[") else name)) is not None:
        return str(address) in (named["IPAddresses"] or [])
    for each in named["DNSNames"] or []:
        pattern, wanted = each.lower().rstrip("."), name.lower().rstrip(".")
        if pattern == wanted or (pattern.startswith("*.") and wanted.partition(".")[2] == pattern[2:]
                                 and wanted.partition(".")[0]):
            return True
    return False


@builtin("crypto.x509.parse_certificate_request", "string", result="object[string: any]")
def parse_certificate_request(value: Value) -> Value:
    shown = string(value, 1, 3)
    label = "-----BEGIN CERTIFICATE REQUEST-----"
    data = shown.encode("utf-8", "surrogateescape") if shown.startswith(label) else decode64(shown)
    if (block := next(pem.blocks(data), None)) is not None:
        if block.kind != "CERTIFICATE REQUEST":
            raise BuiltinError("invalid PEM-encoded certificate signing request")
        data = block.data
    try:
        request = x509.load_der_x509_csr(data)
    except ValueError as wrong:
        raise BuiltinError(f"asn1: structure error: {wrong}") from None
    key, algorithm = _public(request.public_key())
    stated = request.extensions
    extensions = _extensions(stated)
    attributes = [[{"Type": each["Id"], "Value": each["Critical"] or each["Value"]} for each in extensions or []]]
    made = {
        "Raw": b64(request.public_bytes(serialization.Encoding.DER)),
        "RawTBSCertificateRequest": b64(request.tbs_certrequest_bytes),
        "RawSubject": b64(request.subject.public_bytes()),
        "RawSubjectPublicKeyInfo": b64(spki(request.public_key())), "Version": 0,
        "Signature": b64(request.signature),
        "SignatureAlgorithm": _ALGORITHMS.get(request.signature_algorithm_oid.dotted_string, 0),
        "PublicKeyAlgorithm": algorithm, "PublicKey": key, "Subject": _name(request.subject),
        "Attributes": [{"Type": [1, 2, 840, 113549, 1, 9, 14], "Value": attributes}] if extensions else None,
        "Extensions": extensions, "ExtraExtensions": None} | _alternatives(stated)
    del made["URIStrings"]
    return made
