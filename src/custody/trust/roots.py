"""What is trusted and where to sign: Sigstore's trusted_root.json and signing_config.json.

(protobuf-specs sigstore_trustroot.proto.) Both are read from a ClientTrustConfig too, which holds one of each. The
trusted root is written with media type version 0.1: cosign 3.1 and sigstore-python 4.5 refuse the version 0.2 that the
specification asks for. Every validity is enforced by the verifier.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509 import load_der_x509_certificate

from custody.errors import MalformedError, UnsupportedError
from custody.formats.protojson import Message, encode_base64
from custody.kit import strictjson
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.trust.keys import describe_key

TRUSTED_ROOT = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
SIGNING_CONFIG = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
TRUST_CONFIG = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
_IN_CONFIG = {"trustedRoot": "trusted_root", "signingConfig": "signing_config"}
"""The parts of a ClientTrustConfig, by both names that ProtoJSON has for a field."""
_MAX_SIZE = 4 * 1024 * 1024
_MAX_ENTRIES = 256
_T = TypeVar("_T")


class Validity(msgspec.Struct, frozen=True):
    """A closed interval; an end that is None is open."""

    start: datetime | None = None
    end: datetime | None = None

    def contains(self, moment: datetime) -> bool:
        return (self.start is None or self.start <= moment) and (self.end is None or moment <= self.end)

    def to_json(self) -> dict[str, str]:
        return {name: format_rfc3339(moment) for name, moment in (("start", self.start), ("end", self.end)) if moment}

    def __str__(self) -> str:
        start = format_rfc3339(self.start) if self.start else "always"
        return f"{start} to {format_rfc3339(self.end) if self.end else 'now'}"


class TransparencyLog(msgspec.Struct, frozen=True):
    """A transparency or CT log: its key as DER SubjectPublicKeyInfo, and the ID that entries or SCTs name it by."""

    base_url: str
    key_der: bytes
    key_details: str
    """Name of a PublicKeyDetails value, such as `PKIX_ED25519`."""
    log_id: bytes
    valid: Validity

    def to_json(self) -> dict[str, Any]:
        return {"baseUrl": self.base_url, "hashAlgorithm": "SHA2_256",
                "publicKey": {"rawBytes": encode_base64(self.key_der), "keyDetails": self.key_details,
                              "validFor": self.valid.to_json()},
                "logId": {"keyId": encode_base64(self.log_id)}}


class CertificateAuthority(msgspec.Struct, frozen=True):
    """A CA or timestamp authority: DER certificates, leaf-most first, root last."""

    organization: str
    common_name: str
    uri: str
    chain: tuple[bytes, ...]
    valid: Validity

    def to_json(self) -> dict[str, Any]:
        return {"subject": {"organization": self.organization, "commonName": self.common_name}, "uri": self.uri,
                "certChain": {"certificates": [{"rawBytes": encode_base64(der)} for der in self.chain]},
                "validFor": self.valid.to_json()}


class TrustedRoot(msgspec.Struct, frozen=True):
    tlogs: tuple[TransparencyLog, ...] = ()
    certificate_authorities: tuple[CertificateAuthority, ...] = ()
    ctlogs: tuple[TransparencyLog, ...] = ()
    timestamp_authorities: tuple[CertificateAuthority, ...] = ()

    def to_json(self) -> bytes:
        return _dump({"mediaType": TRUSTED_ROOT, "tlogs": [log.to_json() for log in self.tlogs],
                      "certificateAuthorities": [ca.to_json() for ca in self.certificate_authorities],
                      "ctlogs": [log.to_json() for log in self.ctlogs],
                      "timestampAuthorities": [tsa.to_json() for tsa in self.timestamp_authorities]})


class Service(msgspec.Struct, frozen=True):
    """Where a service is. A timestamp authority's URL is the whole endpoint, the others' a base."""

    url: str
    major_api_version: int
    valid: Validity
    operator: str

    def to_json(self) -> dict[str, Any]:
        return {"url": self.url, "majorApiVersion": self.major_api_version, "validFor": self.valid.to_json(),
                "operator": self.operator}


class SigningConfig(msgspec.Struct, frozen=True):
    """Where to sign; of each kind one service that is valid now is used (selector ANY)."""

    ca: tuple[Service, ...] = ()
    oidc: tuple[Service, ...] = ()
    rekor: tuple[Service, ...] = ()
    tsa: tuple[Service, ...] = ()
    rekor_selector: tuple[str, int] = ("ANY", 0)
    tsa_selector: tuple[str, int] = ("ANY", 0)
    """How many of them others should use: `ANY`, `ALL`, or `EXACT` and a number."""

    def to_json(self) -> bytes:
        ca, oidc, rekor, tsa = ([service.to_json() for service in services]
                                for services in (self.ca, self.oidc, self.rekor, self.tsa))
        return _dump({"mediaType": SIGNING_CONFIG, "caUrls": ca, "oidcUrls": oidc, "rekorTlogUrls": rekor,
                      "rekorTlogConfig": _selected(self.rekor_selector), "tsaUrls": tsa,
                      "tsaConfig": _selected(self.tsa_selector)})


def parse_trusted_root(data: bytes, where: str = "trusted root") -> TrustedRoot:
    """Raises MalformedError or UnsupportedError, naming the field."""
    root = _document(data, where, (TRUSTED_ROOT, "application/vnd.dev.sigstore.trustedroot.v0.1+json"), "trustedRoot")
    result = TrustedRoot(_each(root, "tlogs", _log), _each(root, "certificateAuthorities", _authority),
                         _each(root, "ctlogs", _log), _each(root, "timestampAuthorities", _authority))
    root.done()
    return result


def parse_signing_config(data: bytes, where: str = "signing config", *, signs: bool = True) -> SigningConfig:
    """Raises MalformedError or UnsupportedError, naming the field. `signs`: for who signs by it, and does not with
    several services of a kind.
    """
    root = _document(data, where, (SIGNING_CONFIG,), "signingConfig")
    ca, oidc, rekor, tsa = (_each(root, key, _service) for key in ("caUrls", "oidcUrls", "rekorTlogUrls", "tsaUrls"))
    selectors = []
    for name in ("rekorTlogConfig", "tsaConfig"):
        config = root.optional(name)
        if config is None:
            selectors.append(("ANY", 0))
            continue
        selector, count = config.text("selector", "ANY"), config.integer("count", 0)
        selectors.append((selector, count))
        if selector not in ("ANY", "ALL", "EXACT") or (selector == "EXACT") != (count > 0):
            raise MalformedError(f"{config.where}.selector", got=f"{selector}, count {count}",
                                 expected="ANY, ALL, or EXACT with a count")
        if signs and selector != "ANY" and (selector, count) != ("EXACT", 1):
            raise UnsupportedError(f"{config.where}.selector", f"{selector}: custody signs with one service of a kind",
                                   hint='write "selector": "ANY"')
        config.done()
    root.done()
    return SigningConfig(ca, oidc, rekor, tsa, *selectors)


def _document(data: bytes, where: str, media_types: tuple[str, ...], part: str) -> Message:
    """The document itself, or that `part` of a ClientTrustConfig."""
    root = Message(strictjson.loads(data, where, max_size=_MAX_SIZE, max_depth=16), where)
    media_type = root.text("mediaType", "")
    if media_type == TRUST_CONFIG:
        named = [name for names in _IN_CONFIG.items() for name in names if root.has(name)]
        root.done()
        present = [name for name in (part, _IN_CONFIG[part]) if name in named]
        if len(present) != 1:
            raise MalformedError(f"{where}.{part}", got=" and ".join(present) or "nothing", expected="it once")
        root = root.message(present[0])
        media_type = root.text("mediaType", "")
    if media_type not in media_types:
        raise UnsupportedError(f"{root.where}.mediaType", f"{media_type!r}; custody reads {media_types[0]!r}")
    return root


def _each(root: Message, name: str, read: Callable[[Message], _T]) -> tuple[_T, ...]:
    return tuple(read(message) for message in root.messages(name, _MAX_ENTRIES))


def _validity(period: Message | None) -> Validity:
    if period is None:
        return Validity()
    start, end = (parse_rfc3339(period.raw(name), f"{period.where}.{name}") if period.has(name) else None
                  for name in ("start", "end"))
    if start is not None and end is not None and end < start:
        raise MalformedError(f"{period.where}.end", got=format_rfc3339(end),
                             expected=f"a time that is not before the start, {format_rfc3339(start)}")
    period.done()
    return Validity(start, end)


def _since(owner: Message) -> Validity:
    """What is trusted is so from a time on; without one a key that was stolen would count for ever."""
    valid = _validity(owner.optional("validFor"))
    if valid.start is None:
        raise owner.missing("validFor.start", "the time from which it is trusted")
    return valid


_KINDS: dict[str, type] = {
    "PKIX_ECDSA": ec.EllipticCurvePublicKey, "PKIX_RSA": rsa.RSAPublicKey, "PKIX_ED25519": ed25519.Ed25519PublicKey,
    "PKCS1_RSA": rsa.RSAPublicKey}
_KEY_DETAILS = frozenset({
    "PKIX_ECDSA_P256_SHA_256", "PKIX_ECDSA_P384_SHA_384", "PKIX_ECDSA_P521_SHA_512", "PKIX_ED25519",
    "PKIX_RSA_PKCS1V15_2048_SHA256", "PKIX_RSA_PKCS1V15_3072_SHA256", "PKIX_RSA_PKCS1V15_4096_SHA256",
    "PKCS1_RSA_PKCS1V5"})


def _key(public_key: Message) -> tuple[bytes, str]:
    """The DER of a log's key, and what the root says that it is; those two are of one kind."""
    der, details = public_key.data("rawBytes"), public_key.text("keyDetails", "PUBLIC_KEY_DETAILS_UNSPECIFIED")
    if details not in _KEY_DETAILS:
        raise UnsupportedError(f"{public_key.where}.keyDetails",
                               f"{details}; custody knows {', '.join(sorted(_KEY_DETAILS))}")
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedError(f"{public_key.where}.rawBytes", got=f"{len(der)} bytes that are no key",
                             expected="a public key in DER") from None
    if not isinstance(key, next(kind for prefix, kind in _KINDS.items() if details.startswith(prefix))):
        raise MalformedError(f"{public_key.where}.rawBytes", got=describe_key(key), expected=details)
    return der, details


def _certificate(message: Message) -> bytes:
    der = message.data("rawBytes")
    try:
        load_der_x509_certificate(der)
    except ValueError:
        raise MalformedError(f"{message.where}.rawBytes", got=f"{len(der)} bytes that are no certificate",
                             expected="an X.509 certificate in DER") from None
    message.done()
    return der


def _log(log: Message) -> TransparencyLog:
    algorithm = log.text("hashAlgorithm", "HASH_ALGORITHM_UNSPECIFIED")
    if algorithm != "SHA2_256":
        raise UnsupportedError(f"{log.where}.hashAlgorithm", f"{algorithm}; Merkle trees are over SHA2_256")
    key, log_id = log.message("publicKey"), log.optional("logId")
    result = TransparencyLog(log.text("baseUrl", ""), *_key(key), log_id.data("keyId", b"") if log_id else b"",
                             _since(key))
    checkpoint_id = log.optional("checkpointKeyId")
    if checkpoint_id is not None and checkpoint_id.data("keyId")[:4] != result.log_id[:4]:
        raise UnsupportedError(f"{checkpoint_id.where}", "differs from logId.keyId")
    if not result.log_id:
        raise log.missing("logId.keyId", "the ID that the log's entries name")
    log.raw("operator")
    key.done()
    log.done()
    return result


def _authority(authority: Message) -> CertificateAuthority:
    subject = authority.optional("subject")
    chain = tuple(map(_certificate, authority.message("certChain").messages("certificates", 16)))
    if not chain:
        raise authority.missing("certChain.certificates", "at least the root certificate")
    result = CertificateAuthority(subject.text("organization", "") if subject else "",
                                  subject.text("commonName", "") if subject else "", authority.text("uri", ""), chain,
                                  _since(authority))
    authority.raw("operator")
    authority.done()
    return result


def _service(service: Message) -> Service:
    url = service.text("url")
    if not url.startswith(("http://", "https://")):
        raise MalformedError(f"{service.where}.url", got=url, expected="an http or https URL")
    result = Service(url, service.integer("majorApiVersion", 0), _validity(service.optional("validFor")),
                     service.text("operator", ""))
    service.done()
    return result


def _selected(selector: tuple[str, int]) -> dict[str, Any]:
    mode, count = selector
    return {"selector": mode, "count": count} if mode == "EXACT" else {"selector": mode}


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=2).encode() + b"\n"
