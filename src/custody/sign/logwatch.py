"""Who signs in one's name: a log read on from where it was read to, and the entries in it by certain signers.

    1. The checkpoint, signed by the log, and not older than the one that was seen before.
    2. Every entry between both, each in turn: its hash goes into the tree, and it is looked at.
    3. The tree that they make with those before is the one that the checkpoint signs. Only then is anything told:
       nothing was left out, changed or added on the way, whoever served it.

A certificate in a log proves nothing by itself: most logs take what nobody issued. So each is followed to an authority
of the trusted root; without one it is somebody's writing of a name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from custody.errors import CustodyError, MalformedError, UsageError, VerificationError
from custody.formats.protojson import Message
from custody.kit import strictjson
from custody.kit.clock import format_rfc3339
from custody.kit.digest import sha256
from custody.kit.merkle import Frontier, leaf_hash
from custody.ports.tiles import LogReader
from custody.sign.certificate import build_chain, extension, load_certificate, read_signing_certificate
from custody.sign.identity import check_given_once, matches
from custody.sign.logentries import Recorded, read_entry
from custody.trust.audit import read_checkpoint
from custody.trust.checkpoint import LogVerifier
from custody.trust.roots import CertificateAuthority
from custody.trust.tiles import WIDTH

_NAMES = b"\x06\x03\x55\x1d\x11"
"""The OID of subject alternative names in DER: a certificate has it, a key does not."""
_TEXTS = re.compile(_NAMES + rb"(?:\x01\x01.)?\x04.\x30.([\x81\x86])(.)", re.DOTALL)
"""An extension with one short e-mail address or URI, which is what nearly every certificate has (RFC 5280, 4.2.1.6)."""
_STATE = "custody.log.watch.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Whose signatures are looked for: what is given must all be so. Patterns are searched for, as in `verify`."""

    subject: str | None = None
    subject_regexp: str | None = None
    issuer: str | None = None
    issuer_regexp: str | None = None
    keys: frozenset[bytes] = frozenset()
    """DER of public keys; a signature by one of them is meant, too."""

    def __post_init__(self) -> None:
        """Raises UsageError where nobody is named, one is named twice, or a pattern is none."""
        for part, exact, pattern in (("identity", self.subject, self.subject_regexp),
                                     ("issuer", self.issuer, self.issuer_regexp)):
            check_given_once(part, f"--{part}", exact, pattern)
        if not (self.certificates or self.keys):
            raise UsageError("whose signatures: nobody is named", hint="--identity NAME, --issuer URL, or --key FILE")

    @property
    def certificates(self) -> bool:
        return bool(self.subject or self.subject_regexp or self.issuer or self.issuer_regexp)

    def may_be(self, der: bytes) -> bool:
        """Whether a certificate has the names in its bytes: those that have not need not be decoded, which takes most
        of the time. True where it cannot be told so.
        """
        if not all(name.encode() in der for name in (self.subject, self.issuer) if name):
            return False
        if self.subject_regexp is None or der.count(_NAMES) != 1 or (short := _TEXTS.search(der)) is None:
            return True
        end, length = short.end(), short[2][0]
        text = der[end:end + length]
        # Each length must be what is left for it: then this is all that the extension says.
        if length > 120 or der[end - 3] != length + 2 or der[end - 5] != length + 4 or not text.isascii():
            return True
        return matches(self.subject_regexp, text.decode())

    def meant(self, subjects: Set[str] | None, issuer: str | None) -> bool:
        """Whether it may be one of those. What is not known (None) may be anybody: better told than missed."""
        if subjects is not None:
            if self.subject and self.subject not in subjects:
                return False
            if self.subject_regexp and not any(matches(self.subject_regexp, subject) for subject in subjects):
                return False
        if issuer is not None:
            if self.issuer and self.issuer != issuer:
                return False
            return not self.issuer_regexp or matches(self.issuer_regexp, issuer)
        return True

    @property
    def digest(self) -> str:
        """Of all that is asked."""
        return sha256(repr((self.subject, self.subject_regexp, self.issuer, self.issuer_regexp,
                            sorted(self.keys))).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """An entry by somebody who was looked for."""

    index: int
    """As the log counts."""
    kind: str
    digest: str
    signer: str
    signed_at: datetime | None
    """When the certificate was issued; a key has no such time."""
    doubt: str = ""
    """Why no verifier would believe the certificate; "" where one would, and of a key."""
    known: bool = False
    """Whether it is one of the entries that were given as one's own."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a log was read."""

    origin: str
    size: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    """The last one that was verified, as the log signed it; "" before any."""
    asked: str = ""
    """What was looked for: of anything else it says nothing."""

    def to_json(self) -> bytes:
        hashes = [digest.hex() for digest in self.hashes]
        return json.dumps({"type": _STATE, "origin": self.origin, "size": self.size, "hashes": hashes,
                           "checkpoint": self.checkpoint, "asked": self.asked}).encode()


def parse_seen(data: bytes, where: str) -> Seen:
    """Raises MalformedError."""
    root = Message(strictjson.loads(data, where, max_size=1 << 16, max_depth=4), where)
    if (kind := root.text("type")) != _STATE:
        raise MalformedError(f"{where}: type", got=kind, expected=_STATE)
    listed = root.raw("hashes")
    try:
        hashes = tuple(bytes.fromhex(digest) for digest in listed)
        seen = Seen(root.text("origin"), root.integer("size"), hashes, root.text("checkpoint", ""),
                    root.text("asked"))
        Frontier(seen.size, hashes)
        if any(len(digest) != 32 for digest in hashes):
            raise ValueError("a hash has 32 bytes")
    except (TypeError, ValueError) as error:
        raise MalformedError(f"{where}: hashes", got=str(error), expected="those of a tree of this size") from None
    root.done()
    return seen


@dataclass(slots=True)
class Watched:
    """What one look at a log found."""

    seen: Seen
    entries: int = 0
    unread: int = 0
    """Entries of a kind that does not say who signed, or not in a way that custody reads."""
    sightings: list[Sighting] = field(default_factory=list)


def begin_at(reader: LogReader, verifier: LogVerifier, index: int) -> Seen:
    """As if all entries before this one had been seen. What the log says of them is checked with the rest."""
    checkpoint = read_checkpoint(reader, verifier)
    if index > reader.first + checkpoint.size:
        raise UsageError(f"--since: got {index}, and the log {checkpoint.origin} has "
                         f"{reader.first + checkpoint.size} entries")
    start = max(0, index - reader.first)
    return Seen(checkpoint.origin, start, tuple(reader.frontier(start, checkpoint.size)), "")


def look(reader: LogReader, verifier: LogVerifier, seen: Seen | None, names: Names,
         authorities: tuple[CertificateAuthority, ...], known: Set[bytes] = frozenset(),
         progress: Callable[[int], None] | None = None) -> Watched:
    """Read a log from where it was `seen` to, or from its beginning. `known`: leaf hashes of one's own entries.

    Raises MalformedError, VerificationError where the log is not what it says, or said before; MissingEvidenceError.
    """
    # 1. The checkpoints, and that time went forward between them.
    new = read_checkpoint(reader, verifier)
    if seen is not None:
        if seen.origin != new.origin:
            raise VerificationError(f"log: it is {new.origin}, and what was seen before is of {seen.origin}")
        if seen.size > new.size:
            raise VerificationError(f"log: shrunken: it had {seen.size} entries and now has {new.size}")
    # 2. Every entry between them.
    tree = Frontier(seen.size, seen.hashes) if seen else Frontier()
    watched = Watched(Seen(new.origin, new.size, (), new.note.decode()))
    for index, entry in enumerate(reader.entries(tree.size, new.size), reader.first + tree.size):
        leaf = leaf_hash(entry)
        tree.push(leaf)
        recorded = read_entry(entry)
        if recorded is None:
            watched.unread += 1
        else:
            watched.sightings += _sightings(index, recorded, names, authorities, leaf in known)
        watched.entries += 1
        if progress and not index % WIDTH:
            progress(WIDTH)
    # 3. All of it against the signed root.
    if tree.root() != new.root:
        raise VerificationError(
            f"log: {'forked or rewritten' if seen else 'rewritten'}: its {new.size} entries hash to root "
            f"{tree.root().hex()}, the checkpoint signs {new.root.hex()}")
    watched.seen = Seen(new.origin, new.size, tuple(tree.hashes), new.note.decode())
    return watched


def _sightings(index: int, recorded: Recorded, names: Names, authorities: tuple[CertificateAuthority, ...],
               known: bool) -> Iterator[Sighting]:
    for verifier in recorded.verifiers:
        if verifier in names.keys:
            yield Sighting(index=index, kind=recorded.kind, digest=recorded.digest, signer=f"key {sha256(verifier)}",
                           signed_at=None, known=known)
        elif names.certificates and _NAMES in verifier and names.may_be(verifier):
            sighting = _certified(index, recorded, verifier, names, authorities, known)
            if sighting is not None:
                yield sighting


def _certified(index: int, recorded: Recorded, der: bytes, names: Names,
               authorities: tuple[CertificateAuthority, ...], known: bool) -> Sighting | None:
    """The sighting, where the certificate is of somebody who was looked for, or has the name and cannot be read."""
    def sighted(signer: str, doubt: str, moment: datetime | None) -> Sighting:
        return Sighting(index=index, kind=recorded.kind, digest=recorded.digest, signer=signer, signed_at=moment,
                        doubt=doubt, known=known)

    try:
        certificate = load_certificate(der, "certificate")
    except CustodyError as error:
        return sighted("a certificate that cannot be read", error.message, None)
    moment = certificate.not_valid_before_utc
    try:
        leaf = read_signing_certificate(der)
    except CustodyError as error:
        subjects = _subjects(certificate)
        if not names.meant(subjects, None):
            return None
        return sighted(" and ".join(sorted(subjects or ())) or "a certificate without a name", error.message, moment)
    signer = leaf.signer
    if not names.meant({signer.subject}, signer.issuer):
        return None
    try:
        build_chain(leaf, (), authorities, moment)
    except VerificationError as error:
        return sighted(f"{signer.subject} ({signer.issuer})", error.message, moment)
    return sighted(f"{signer.subject} ({signer.issuer})", "", moment)


def _subjects(certificate: x509.Certificate) -> Set[str] | None:
    """None where a name is of a kind that is not compared."""
    alternative = extension(certificate, x509.SubjectAlternativeName)
    known = (x509.RFC822Name, x509.UniformResourceIdentifier, x509.DNSName)
    if alternative is None or not all(isinstance(name, known) for name in alternative.value):
        return None
    return {name.value for name in alternative.value if isinstance(name, known)}


def describe(sighting: Sighting) -> str:
    """One line for people."""
    when = f" at {format_rfc3339(sighting.signed_at)}" if sighting.signed_at else ""
    doubt = f"; no verifier believes it: {sighting.doubt}" if sighting.doubt else ""
    return f"entry {sighting.index}: {sighting.digest or sighting.kind} signed by {sighting.signer}{when}{doubt}"
