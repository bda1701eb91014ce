"""X.509 certificates and requests, with the members that Go's structures have in JSON."""

from __future__ import annotations

import base64
import ipaddress
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.utils import CryptographyDeprecationWarning

from policylang.go import pem
from policylang.go.x509 import PURPOSES, CertificateError, Members, certificate, request
from policylang.rego.builtins import chains
from policylang.rego.builtins.encoding import decode64
from policylang.rego.builtins.operands import mapping, string
from policylang.rego.declare import BuiltinError, Context, builtin
from policylang.rego.values import Set, Value, pairs
from policylang.rego.values.numbers import KINDS, plain_integer

_OBJECTS = "array[object[string: any]]"
_VERIFIED = "array<boolean, array[object[string: any]]>"
_PURPOSES = dict(zip((f"KeyUsage{name}" for name in (
    "Any", "ServerAuth", "ClientAuth", "CodeSigning", "EmailProtection", "IPSECEndSystem", "IPSECTunnel", "IPSECUser",
    "TimeStamping", "OCSPSigning", "MicrosoftServerGatedCrypto", "NetscapeServerGatedCrypto",
    "MicrosoftCommercialCodeSigning", "MicrosoftKernelCodeSigning")), map(x509.ObjectIdentifier, PURPOSES),
                    strict=True))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


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

def members(data: bytes, read: Callable[[bytes], Members] = certificate) -> dict[str, Value]:
    """The members of what is in DER, as `read` has them."""
    try:
        return read(data)
    except CertificateError as wrong:
        raise BuiltinError(wrong.message) from None


def _shown(parsed: x509.Certificate, *, strings: bool = True) -> dict[str, Value]:
    """With `URIStrings`, which OPA adds: the URIs among the names, as they are written."""
    return members(parsed.public_bytes(serialization.Encoding.DER), partial(certificate, uri_strings=strings))


def spki(key: Any) -> bytes:
    return bytes(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))


def _names(certificate: x509.Certificate, kind: Any) -> list[Any]:
    names = chains.extension(certificate, x509.SubjectAlternativeName)
    return list(names.get_values_for_type(kind)) if names is not None else []


# --- builtins

@builtin("crypto.x509.parse_certificates", "string", result=_OBJECTS)
def parse_certificates(value: Value) -> Value:
    return [_shown(certificate) for certificate in _certificates(string(value, 1, 3))]


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
        shown = {certificate: _shown(certificate, strings=strings) for certificate in certificates}
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
                         [_PURPOSES[usage] for usage in usages])
    name = str(options.get("DNSName", "")).strip('"')
    if chain is None or (name and not _covers(leaf, name)):
        return [False, []]
    return [True, [shown[certificate] for certificate in chain]]


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
            unknown = [usage for usage in _usages(value) if usage not in _PURPOSES]
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
    address = _address(name.removeprefix("[").removesuffix("]") if name.startswith("[") else name)
    if address is not None:
        return address in _names(leaf, x509.IPAddress)
    host = name.lower().rstrip(".")
    for stated in _names(leaf, x509.DNSName):
        pattern = stated.lower().rstrip(".")
        if pattern == host or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:]
                               and host.partition(".")[0]):
            return True
    return False


@builtin("crypto.x509.parse_certificate_request", "string", result="object[string: any]")
def parse_certificate_request(value: Value) -> Value:
    shown = string(value, 1, 3)
    label = "-----BEGIN CERTIFICATE REQUEST-----"
    data = shown.encode("utf-8", "surrogateescape") if shown.startswith(label) else decode64(shown)
    block = next(pem.blocks(data), None)
    if block is not None:
        if block.kind != "CERTIFICATE REQUEST":
            raise BuiltinError("invalid PEM-encoded certificate signing request")
        data = block.data
    try:
        x509.load_der_x509_csr(data)
    except ValueError as wrong:
        raise BuiltinError(f"asn1: structure error: {wrong}") from None
    return members(data, request)
