"""Distinguished names as trust policies write them (RFC 4514), and whether a certificate's subject has one's parts.

(notaryproject/specifications trust-store-trust-policy, trusted identities.) A name has each type once; the country, the
state and the organisation are there. What Notation cannot compare is refused by name: several values in one part, `#`
before encoded values, the same type twice, and in a subject a type that has no name here.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography import x509
from cryptography.x509.oid import NameOID

from custody.errors import MalformedError, UnsupportedError

_TYPES = {NameOID.COUNTRY_NAME: "C", NameOID.ORGANIZATION_NAME: "O", NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
          NameOID.COMMON_NAME: "CN", NameOID.SERIAL_NUMBER: "SERIALNUMBER", NameOID.LOCALITY_NAME: "L",
          NameOID.STATE_OR_PROVINCE_NAME: "ST", NameOID.STREET_ADDRESS: "STREET", NameOID.POSTAL_CODE: "POSTALCODE"}
_SINGLE = {"CN", "SERIALNUMBER"}
"""Types of which a subject's last one counts; of another type two are too many."""
_MANDATORY = ("C", "ST", "O")
_ESCAPABLE = b' "#+,;<=>\\'
_MAX_NAME = 8192

Name = Mapping[str, str]
"""Types and values: `{"C": "US", "ST": "WA", "O": "acme"}`."""


def parse_name(text: str, where: str) -> Name:
    """A name of a trust policy. Raises MalformedError, or UnsupportedError for what is not compared."""
    if len(text) > _MAX_NAME:
        raise MalformedError(where, got=f"a name of {len(text)} characters", expected=f"at most {_MAX_NAME}")
    if "=#" in text:
        raise UnsupportedError(where, f"{text!r}: a value that is encoded (=#) is not compared with subjects")
    values: dict[str, str] = {}
    for attributes in _parts(text.encode(), where):
        if len(attributes) > 1:
            raise UnsupportedError(where, f"{text!r}: several values in one part (+) are not compared with subjects")
        for kind, value in attributes:
            kind = "ST" if kind == "S" else kind
            if values.get(kind):
                raise MalformedError(where, got=f"{kind} twice", expected="each type once")
            values[kind] = value
    return _complete(values, where)


def subject_name(certificate: x509.Certificate, where: str) -> Name:
    """A certificate's subject. Raises MalformedError, or UnsupportedError for what is not compared."""
    values: dict[str, str] = {}
    for attribute in certificate.subject:
        kind = _TYPES.get(attribute.oid)
        if kind is None:
            raise UnsupportedError(where, f"its subject has the type {attribute.oid.dotted_string}, which identities "
                                   "of trust policies are not compared with", hint="trust the identity \"*\" where "
                                   "the trust store holds certificates that sign for this alone")
        value = str(attribute.value)
        if kind in values and kind not in _SINGLE:
            raise UnsupportedError(where, f"its subject has {kind} twice, and identities of trust policies are not "
                                   "compared with such")
        if value.startswith("#") or "=#" in value:
            raise UnsupportedError(where, f"{kind} of its subject has '#' where encoded values have it")
        values[kind] = value
    return _complete(values, where)


def is_part(name: Name, of: Name) -> bool:
    """Whether every part of `name` is in `of`, with the same value, letter by letter."""
    return all(of.get(kind, "") == value for kind, value in name.items())


def _complete(values: dict[str, str], where: str) -> Name:
    for kind in _MANDATORY:
        if not values.get(kind):
            raise MalformedError(where, got=", ".join(values) or "nothing",
                                 expected=f"a name with C, ST and O: {kind} is missing")
    return values


def _parts(text: bytes, where: str) -> list[list[tuple[str, str]]]:
    """The relative names, each with its types and values."""
    relative: list[list[tuple[str, str]]] = []
    attributes: list[tuple[str, str]] = []
    kind, start, escaped = "", 0, False
    if not text.strip():
        return relative
    for at, byte in enumerate(text):
        if escaped:
            escaped = False
        elif byte == 0x5C:  # backslash
            escaped = True
        elif byte == 0x3D and not kind:  # =
            kind = _unescaped(text[start:at], where)
            start = at + 1
        elif byte in b",+;":
            if not kind:
                raise MalformedError(where, got=text, expected="a type before each value: C=US, ST=WA, O=acme")
            attributes.append((kind, _unescaped(text[start:at], where)))
            kind, start = "", at + 1
            if byte != 0x2B:
                relative.append(attributes)
                attributes = []
    if not kind:
        raise MalformedError(where, got=text, expected="a type before each value: C=US, ST=WA, O=acme")
    attributes.append((kind, _unescaped(text[start:], where)))
    relative.append(attributes)
    return relative


def _unescaped(part: bytes, where: str) -> str:
    bare = part.strip(b" ")
    if bare.endswith(b"\\") and part.endswith(b" "):
        bare += b" "
    made = bytearray()
    at = 0
    while at < len(bare):
        if bare[at] != 0x5C:
            made.append(bare[at])
            at += 1
        elif at + 1 < len(bare) and bare[at + 1] in _ESCAPABLE:
            made.append(bare[at + 1])
            at += 2
        else:
            digits = bare[at + 1:at + 3]
            if len(digits) != 2 or not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
                raise MalformedError(where, got=bare[at:at + 3], expected="\\ before a special character or two "
                                     "hexadecimal digits")
            made.append(int(digits, 16))
            at += 3
    try:
        return made.decode()
    except UnicodeDecodeError:
        raise MalformedError(where, got=bytes(made), expected="UTF-8") from None
