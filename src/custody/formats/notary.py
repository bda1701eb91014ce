"""Signature envelopes of the Notary Project, JWS and COSE, as one shape.

(notaryproject/specifications signature-envelope-jws and -cose.) Nothing here is verified. What an envelope marks as
critical and is of no header that is known here is for its verification plugin: whoever verifies without one must refuse
it (`Envelope.unprocessed`), for it may say that the signature does not count.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.formats import cbor
from custody.formats.protojson import Message
from custody.kit import strictjson
from custody.kit.clock import parse_rfc3339
from policylang.errors import Shape

ARTIFACT_TYPE = "application/vnd.cncf.notary.signature"
JWS = "application/jose+json"
COSE = "application/cose"
FORMATS = {"jws": JWS, "cose": COSE}
"""Media types by what flags and the names of files call them."""
ENVELOPES = (JWS, COSE)
PAYLOAD_TYPE = "application/vnd.cncf.notary.payload.v1+json"
MAX_ENVELOPE = 1 << 20
X509 = "notary.x509"
SIGNING_AUTHORITY = "notary.x509.signingAuthority"
PLUGIN = "io.cncf.notary.verificationPlugin"
PLUGIN_MIN_VERSION = "io.cncf.notary.verificationPluginMinVersion"
_SCHEMES = (X509, SIGNING_AUTHORITY)
_NAME = "io.cncf.notary."
_CRITICAL = {f"{_NAME}{name}" for name in ("signingScheme", "authenticSigningTime", "expiry")}
_MUST = f"{_NAME}signingScheme"
COSE_ALGORITHMS = {-37: "PS256", -38: "PS384", -39: "PS512", -7: "ES256", -35: "ES384", -36: "ES512"}
_ALGORITHMS_READ = "ES and PS with SHA-256, 384 and 512 are read"
_PARAMETERS = ("alg", "crit", "cty")
"""Of every envelope, by their names in JWS; in COSE the labels 1, 2 and 3, in this order."""
_MAX_CHAIN = 16


@dataclass(frozen=True, slots=True)
class Target:
    """The artifact that was signed."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Envelope:
    algorithm: str
    """PS256, PS384, PS512, ES256, ES384 or ES512."""
    signed: bytes
    """The bytes that the signature is over."""
    signature: bytes
    """Of ECDSA r and s, each as long as the curve's order."""
    chain: tuple[bytes, ...]
    """DER, leaf first, root last."""
    scheme: str
    """notary.x509 or notary.x509.signingAuthority."""
    signing_time: datetime
    """As the signer says; for a signing authority, as it vouches."""
    expiry: datetime | None
    timestamp: bytes | None
    """DER TimeStampToken over the signature."""
    target: Target
    agent: str = ""
    """What signed, as that says itself; not signed."""
    extended: Mapping[str, Any] = field(default_factory=dict)
    """Signed attributes that the specification leaves to plugins, by name."""
    critical: frozenset[str] = frozenset()
    """Which of those nobody may overlook."""

    @property
    def unprocessed(self) -> list[str]:
        """Critical attributes that a plugin has to know."""
        return sorted(self.critical - {PLUGIN, PLUGIN_MIN_VERSION})


def parse_envelope(data: bytes, media_type: str, where: str = "envelope") -> Envelope:
    """Raises MalformedError, and UnsupportedError for a media type or critical attribute that custody does not know."""
    if len(data) > MAX_ENVELOPE:
        raise MalformedError(where, got=f"{len(data)} bytes", expected=f"at most {MAX_ENVELOPE}")
    if media_type == JWS:
        return _jws(data, where)
    if media_type == COSE:
        return _cose(data, where)
    raise UnsupportedError(where, f"an envelope of type {media_type}; {JWS} and {COSE} are read")


def _jws(data: bytes, where: str) -> Envelope:
    root = Message(strictjson.loads(data, where, max_size=MAX_ENVELOPE, max_depth=8), where)
    written = {name: root.text(name) for name in ("payload", "protected", "signature")}
    header = root.message("header")
    root.done()
    parts = {name: _base64url(value, f"{where}.{name}") for name, value in written.items()}
    protected = strictjson.loads(parts["protected"], f"{where}.protected", max_depth=4)
    if not isinstance(protected, dict):
        raise MalformedError(f"{where}.protected", got=Shape(protected), expected="a JSON object")
    chain = header.raw("x5c")
    if not isinstance(chain, list) or not all(isinstance(entry, str) for entry in chain):
        raise MalformedError(f"{where}.header.x5c", got=Shape(chain), expected="a list of certificates")
    stamp = header.raw(f"{_NAME}timestampSignature")
    parameters = {name: protected.pop(name, None) for name in _PARAMETERS}
    return _envelope(parameters, protected, where, signed=f"{written['protected']}.{written['payload']}".encode(),
                     signature=parts["signature"], payload=parts["payload"],
                     chain=[_base64(entry, f"{where}.header.x5c") for entry in chain],
                     stamp=None if stamp is None else _base64(stamp, f"{where}.header.timestampSignature"),
                     agent=header.raw(f"{_NAME}signingAgent"),
                     moment=lambda value, path: parse_rfc3339(value, path))


def _cose(data: bytes, where: str) -> Envelope:
    sign1 = cbor.loads(data, where)
    if not isinstance(sign1, cbor.Tagged) or sign1.tag != 18 or not isinstance(sign1.value, list) or len(
            sign1.value) != 4:
        raise MalformedError(where, got="another value", expected="a COSE_Sign1 with its tag")
    raw, header, payload, signature = sign1.value
    if not (isinstance(raw, bytes) and isinstance(header, dict) and isinstance(payload, bytes)
            and isinstance(signature, bytes)):
        raise MalformedError(where, got="other parts", expected="protected, unprotected, payload and signature")
    protected = cbor.loads(raw, f"{where}.protected")
    if not isinstance(protected, dict):
        raise MalformedError(f"{where}.protected", got=Shape(protected), expected="a map")
    chain, stamp = header.get(33), header.get(f"{_NAME}timestampSignature")
    chain = [chain] if isinstance(chain, bytes) else chain
    if not isinstance(chain, list) or not all(isinstance(entry, bytes) for entry in chain):
        raise MalformedError(f"{where}.x5chain", got=Shape(chain), expected="a list of certificates")
    if stamp is not None and not isinstance(stamp, bytes):
        raise MalformedError(f"{where}.timestampSignature", got=Shape(stamp), expected="bytes")
    # COSE's parameters are numbers alone (RFC 9052 section 3.1): a text such as "crit" is an attribute like any other.
    parameters = {name: protected.pop(label, None) for label, name in enumerate(_PARAMETERS, 1)}
    algorithm = parameters["alg"]
    if algorithm is not None:
        if not isinstance(algorithm, int) or algorithm not in COSE_ALGORITHMS:
            raise UnsupportedError(f"{where}.alg", f"{algorithm!r}; {_ALGORITHMS_READ}, by their numbers")
        parameters["alg"] = COSE_ALGORITHMS[algorithm]
    signed = cbor.array(cbor.text("Signature1"), cbor.byte_string(raw), cbor.byte_string(b""),
                        cbor.byte_string(payload))
    return _envelope(parameters, protected, where, signed=signed, signature=signature, payload=payload,
                     chain=chain, stamp=stamp, agent=header.get(f"{_NAME}signingAgent"), moment=_seconds)


def _envelope(parameters: Mapping[str, Any], attributes: dict[Any, Any], where: str, *, signed: bytes, signature: bytes,
              payload: bytes, chain: list[bytes], stamp: bytes | None, agent: Any, moment: Any) -> Envelope:
    """`parameters`: the envelope's own three, which no attribute can say anything of."""
    if absent := [name for name in _PARAMETERS if parameters[name] is None]:
        raise MalformedError(f"{where}.{absent[0]}", got="nothing", expected="alg, crit and cty, of COSE the labels 1, "
                             "2 and 3")
    algorithm, critical, content_type = (parameters[name] for name in _PARAMETERS)
    if algorithm not in COSE_ALGORITHMS.values():
        raise UnsupportedError(f"{where}.alg", f"{algorithm!r}; {_ALGORITHMS_READ}")
    if content_type != PAYLOAD_TYPE:
        raise UnsupportedError(f"{where}.cty", f"{content_type!r}; {PAYLOAD_TYPE} is read")
    if not isinstance(critical, list) or _MUST not in critical or not all(isinstance(name, str) for name in critical):
        raise MalformedError(f"{where}.crit", got=critical, expected=f"a list with {_MUST}")
    if len({*critical}) < len(critical):
        raise MalformedError(f"{where}.crit", got="a name twice", expected="each once")
    if missing := sorted(name for name in critical if name not in attributes):
        raise MalformedError(f"{where}.crit", got=f"{missing[0]}, which is not there", expected="what is there")
    # What must be critical and is not could be left out by whoever reads it.
    for name in _CRITICAL:
        if name in attributes and name not in critical:
            raise MalformedError(f"{where}.crit", got=f"no {name}", expected="it, as it is there")
    scheme = attributes.pop(_MUST)
    if scheme not in _SCHEMES:
        raise UnsupportedError(f"{where}.signingScheme", f"{scheme!r}; {' and '.join(_SCHEMES)} are read")
    own, foreign = ("signingTime", "authenticSigningTime")[::1 if scheme == X509 else -1]
    if f"{_NAME}{foreign}" in attributes:
        raise MalformedError(f"{where}.{foreign}", got=f"one beside {scheme}", expected=own)
    times = {name: moment(attributes.pop(f"{_NAME}{name}"), f"{where}.{name}") for name in (own, "expiry")
             if f"{_NAME}{name}" in attributes}
    if own not in times:
        raise MalformedError(f"{where}.{own}", got="nothing", expected="the time of the signature")
    if "expiry" in times and times["expiry"] <= times[own]:
        raise MalformedError(f"{where}.expiry", got=f"{times['expiry']:%Y-%m-%dT%H:%M:%SZ}", expected="a time after "
                             "that of the signature")
    if f"{_NAME}signingTime" in critical and scheme == X509:
        raise MalformedError(f"{where}.crit", got="signingTime", expected="no time that is the signer's word alone")
    if unnamed := [name for name in attributes if not isinstance(name, str)]:
        raise UnsupportedError(f"{where}.protected", f"{unnamed[0]!r}, which custody does not know")
    if agent is not None and not isinstance(agent, str):
        raise MalformedError(f"{where}.signingAgent", got=Shape(agent), expected="text")
    if not 1 <= len(chain) <= _MAX_CHAIN:
        raise MalformedError(f"{where}.x5c", got=f"{len(chain)} certificates", expected=f"1 to {_MAX_CHAIN}")
    return Envelope(algorithm, signed, signature, tuple(chain), scheme, times[own], times.get("expiry"), stamp,
                    _target(payload, f"{where}.payload"), agent or "", attributes,
                    frozenset(name for name in critical if name in attributes))


def _target(payload: bytes, where: str) -> Target:
    root = Message(strictjson.loads(payload, where, max_size=MAX_ENVELOPE, max_depth=8), where)
    target = root.message("targetArtifact")
    annotations = target.raw("annotations") or {}
    if not isinstance(annotations, dict) or not all(isinstance(value, str) for value in annotations.values()):
        raise MalformedError(f"{where}.annotations", got="other values", expected="a map of texts")
    return Target(target.text("mediaType"), target.text("digest"), target.integer("size"), annotations)


def _seconds(value: Any, where: str) -> datetime:
    if not isinstance(value, cbor.Tagged) or value.tag != 1 or not isinstance(value.value, int) or not (
            0 < value.value < 1 << 36):
        raise MalformedError(where, got=repr(value), expected="seconds since 1970 with tag 1")
    return datetime.fromtimestamp(value.value, UTC)


def _base64url(text: str, where: str) -> bytes:
    try:
        if "=" in text or not text.isascii():
            raise ValueError
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise MalformedError(where, got=text[:60], expected="base64url without padding") from None
    return _canonical(data, base64.urlsafe_b64encode(data).rstrip(b"="), text, where)


def _base64(text: Any, where: str) -> bytes:
    try:
        if not isinstance(text, str):
            raise ValueError
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise MalformedError(where, got=str(text)[:60], expected="base64") from None
    return _canonical(data, base64.b64encode(data), text, where)


def _canonical(data: bytes, encoded: bytes, text: str, where: str) -> bytes:
    """One text for the same bytes: what a last letter says beyond them is zero (RFC 4648, section 3.5)."""
    if encoded.decode() != text:
        raise MalformedError(where, got=f"…{text[-8:]}", expected=f"…{encoded[-8:].decode()}, the same bytes in base64 "
                             "whose unused bits are zero")
    return data
