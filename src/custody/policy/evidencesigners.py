"""Whose statements count, where a policy says so itself: certificates' names, and keys, by kind of evidence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from custody.errors import MalformedError, UsageError
from custody.evidence.model import CertificateSigner, KeylessSigner, KeySigner, Signer
from custody.kit.digest import sha256
from custody.policy.evidencecontents import KINDS
from policylang.errors import Shape
from policylang.go.regex import PatternError, compiled

_SHOWN = 200
_MAX_SIGNERS = 64


class Accepted(NamedTuple):
    """One whose statements count: all that is stated must hold; of keys the fingerprint."""

    exact: Mapping[str, str]
    patterns: Mapping[str, Any]
    key: str = ""
    pem: str = ""
    """Of a key that the evidence is to be verified with, whoever else is believed."""
    ignore_log: bool = False
    """A signature by it needs no entry in a transparency log."""
    name: Mapping[str, str] = MappingProxyType({})
    """Of a Notary Project signer: parts of the certificate's subject."""

    def takes(self, signer: Signer) -> bool:
        if self.name:
            return isinstance(signer, CertificateSigner) and _named(self.name, signer.subject)
        if self.key:
            return isinstance(signer, KeySigner) and signer.fingerprint == self.key
        return isinstance(signer, KeylessSigner) and all(
            getattr(signer, name) == text for name, text in self.exact.items()) and all(
            pattern.fullmatch(getattr(signer, name)) is not None for name, pattern in self.patterns.items())


Who = Mapping[str, Sequence[Accepted]]
"""By kind, whose statements count; other kinds are not asked for."""


def accepted(written: Any) -> Who:
    """`{"signatures": [{"issuer": …, "subject": …}], …}`; also `issuerRegExp`, `subjectRegExp`, which the whole text
    must match, and `key`: a public key in PEM, with `ignoreTlog` where no log has its signatures, or the fingerprint of
    one that evidence is verified with anyway; and `x509Subject`, parts of the subject of whoever made a signature of
    the Notary Project, as trust policies write it.

    Raises MalformedError.
    """
    if not isinstance(written, dict):
        raise MalformedError("who", got=Shape(written), expected="a map of kinds of evidence")
    who: dict[str, Sequence[Accepted]] = {}
    for kind, entries in written.items():
        if kind not in KINDS:
            raise MalformedError("who", got=str(kind)[:_SHOWN], expected=", ".join(KINDS))
        if not isinstance(entries, list) or not entries or len(entries) > _MAX_SIGNERS:
            raise MalformedError(f"who.{kind}", got=Shape(entries), expected=f"a list of 1 to {_MAX_SIGNERS} signers")
        who[kind] = [_accepted(entry, f"who.{kind}[{at}]") for at, entry in enumerate(entries)]
    if not who:
        raise MalformedError("who", got="nothing", expected=", ".join(KINDS))
    return who


def _accepted(entry: Any, where: str) -> Accepted:
    if not isinstance(entry, dict) or not all(isinstance(value, str) and value for name, value in entry.items()
                                              if name != "ignoreTlog"):
        raise MalformedError(where, got=Shape(entry), expected="a map of texts")
    known = {"issuer", "subject", "issuerRegExp", "subjectRegExp", "key", "ignoreTlog", "x509Subject"}
    if unknown := sorted(str(name) for name in entry if name not in known):
        raise MalformedError(where, got=unknown[0][:_SHOWN], expected=", ".join(sorted(known)))
    if "key" in entry:
        return _key(entry, where)
    if "ignoreTlog" in entry:
        raise MalformedError(f"{where}.ignoreTlog", got="it", expected="it beside a key alone")
    if "x509Subject" in entry:
        from custody.sign.notary.distinguishedname import parse_name

        if len(entry) > 1:
            raise MalformedError(where, got=", ".join(sorted(entry)), expected="x509Subject alone")
        return Accepted({}, {}, name=parse_name(entry["x509Subject"], f"{where}.x509Subject"))
    for name in ("issuer", "subject"):
        if (name in entry) == (f"{name}RegExp" in entry):
            raise MalformedError(where, got=f"{'both' if name in entry else 'neither'} of {name} and {name}RegExp",
                                 expected="one of them")
    return Accepted({name: entry[name] for name in ("issuer", "subject") if name in entry},
                    {name: _pattern(entry[f"{name}RegExp"], f"{where}.{name}RegExp")
                     for name in ("issuer", "subject") if f"{name}RegExp" in entry})


def _named(name: Mapping[str, str], subject: str) -> bool:
    """Whether a subject has these parts; one that cannot be compared has none."""
    from custody.sign.notary.distinguishedname import is_part, parse_name

    try:
        return is_part(name, parse_name(subject, "subject"))
    except UsageError:
        return False


def _key(entry: Mapping[str, Any], where: str) -> Accepted:
    written, ignores = entry["key"], entry.get("ignoreTlog", False)
    ignores = {"true": True, "false": False}.get(ignores, ignores) if isinstance(ignores, str) else ignores
    if not isinstance(ignores, bool) or {*entry} - {"key", "ignoreTlog"}:
        raise MalformedError(f"{where}.key", got=", ".join(sorted(entry)),
                             expected="the key alone, and ignoreTlog: true or false")
    if re.fullmatch("sha256:[0-9a-f]{64}", written):
        if "ignoreTlog" in entry:
            raise MalformedError(f"{where}.ignoreTlog", got="it", expected="it beside a key in PEM alone")
        return Accepted({}, {}, written)
    try:
        loaded = load_pem_public_key(written.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedError(f"{where}.key", got=written[:60], expected="a public key in PEM, or sha256:… of one (DER)"
                             ) from None
    der = loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Accepted({}, {}, sha256(der), written.strip() + "\n", ignores)


def _pattern(text: str, where: str) -> Any:
    try:
        return compiled(text)
    except PatternError as error:
        raise MalformedError(where, got=text[:_SHOWN], expected=f"a regular expression: {error}") from None
