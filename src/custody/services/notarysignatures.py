"""Signatures of the Notary Project beside an artifact, found and verified: in a registry, or in an OCI layout.

(notaryproject/specifications signature-specification, OCI signatures: those whose artifact type, or in their older form
whose configuration's media type, is application/vnd.cncf.notary.signature.) The subject that a registry reports only
says where to look: what binds a signature to an image is signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.errors import (
    MalformedError,
    MissingEvidenceError,
    NotFoundError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from custody.formats import notary, oci
from custody.kit import regular
from custody.services.notaryplaces import Place
from custody.services.telling import Telling
from custody.sign.notary.trustpolicy import SKIP, Statement, Validation
from custody.sign.notary.verify import Demands, Outcome, Verifier
from custody.sign.steps import SILENT

MAX_SIGNATURES = 100
_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class Judged:
    """One signature that was looked at."""

    source: str
    """Digest of its manifest."""
    outcome: Outcome | None
    """None where it could not be had."""
    reason: str
    """Why it does not count; "" where it does."""

    @property
    def signer(self) -> str:
        """The subject of its certificate; "" where nobody knows whose it is."""
        chain = self.outcome.chain if self.outcome is not None else ()
        return chain[0].subject.rfc4514_string() if chain else ""


async def verify_artifact(place: Place, subject: oci.Descriptor, statement: Statement, verifier: Verifier,
                          demands: Demands = Demands(), limit: int = MAX_SIGNATURES,
                          tell: Callable[[str], None] = lambda _: None, required: int = 1,
                          telling: Telling | None = None) -> list[Judged]:
    """Signatures in the place's order, up to the one with which `required` of them count, which is the last one then.

    Where more than one is required they are of as many signers, each with a name and a key that no other has; one whose
    signer the trust policy does not insist on knowing is nobody's, and does not count then. The caller must still ask
    `counts`.

    At level skip nothing is looked at: one outcome without results. Raises MissingEvidenceError where there is no
    signature, VerificationError where there are more than `limit` and none of the first ones counts. `telling` is told
    each step of each.
    """
    if statement.level == SKIP:
        if required > 1:
            raise VerificationError(f"trust policy {statement.name} skips verification, and {required} signatures are "
                                    "required", hint="a level at which they are looked at, such as strict")
        if telling is not None:
            telling.passed_over("signatures", f"trust policy {statement.name} skips verification")
        return [Judged(subject.digest, Outcome(SKIP), "")]
    signatures = await place.signatures(subject)
    if not signatures:
        raise MissingEvidenceError(f"{subject.digest}: no signature of the Notary Project is beside it")
    target = notary.Target(subject.media_type, subject.digest, subject.size, {})
    judged: list[Judged] = []
    signers = _Signers()
    for at, signature in enumerate(signatures[:limit]):
        tell(f"signature {signature.digest}")
        try:
            data, media_type = await place.envelope(signature)
        except (MalformedError, NotFoundError, UnsupportedError, VerificationError) as error:
            # Broken by itself, whoever pushed it: the signature beside it may count.
            judged.append(Judged(signature.digest, None, error.message))
            if telling is not None:
                telling.broken(signature.digest, error)
            tell(f"signature {signature.digest}: {error.message}")
            continue
        trace = telling.open(signature.digest, data, media_type, notary=True) if telling is not None else SILENT
        outcome = await verifier.verify(data, media_type, statement, lambda _: target, demands, trace,
                                        partial(place.staples, signature))
        reason = outcome.error.message if outcome.error else signers.add(outcome) if required > 1 else ""
        judged.append(Judged(signature.digest, outcome, reason))
        if telling is not None:
            telling.closed(signature.digest, outcome.chain[0].subject.rfc4514_string() if outcome.chain else None,
                           "" if outcome.error else reason)
        if counts(judged, required):
            if telling is not None:
                for unread in signatures[at + 1:]:
                    telling.passed_over(unread.digest, "enough signatures count without it")
            return judged
        tell(f"signature {signature.digest}: {reason or 'counts, and more are required'}")
    if len(signatures) > limit:
        number = sum(not entry.reason for entry in judged)
        raise VerificationError(f"{subject.digest}: {number or 'none'} of {limit} signatures counts, and there are "
                                f"{len(signatures)}", hint="--max-signatures looks at more")
    return judged


def counts(judged: Sequence[Judged], required: int = 1) -> bool:
    """Whether as many signatures count as are required."""
    return sum(not entry.reason for entry in judged) >= required


class _Signers:
    """Whose signatures counted. One who has two certificates, or two names for one key, is one signer."""

    def __init__(self) -> None:
        self._names: set[frozenset[tuple[str, str]]] = set()
        self._keys: set[bytes] = set()

    def add(self, outcome: Outcome) -> str:
        """Why the signature is not of one more signer; "" where it is."""
        if outcome.failed(Validation.AUTHENTICITY):
            return "nobody knows who signed: the trust policy only logs authenticity, and more than one is required"
        leaf = outcome.chain[0]
        # The order and the case of a name's parts make nobody another.
        name = frozenset((part.oid.dotted_string, str(part.value).casefold()) for part in leaf.subject)
        key = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if name in self._names or key in self._keys:
            kind = "name" if name in self._names else "key"
            return f"its signer counts already, by the same {kind}: {leaf.subject.rfc4514_string()}"
        self._names.add(name)
        self._keys.add(key)
        return ""


def refusal(judged: Sequence[Judged], name: str, required: int = 1) -> VerificationError:
    """The error for an artifact of which too few signatures count."""
    number = sum(not entry.reason for entry in judged)
    said = f"{number} of {required} required signatures count" if required > 1 else "no signature that counts"
    return VerificationError(f"{name}: {said}\n" + "\n".join(
        f"  {entry.source}: {entry.reason or f'counts: {entry.signer}'}" for entry in judged))


def describe_file(path: Path, media_type: str) -> Callable[[str], notary.Target]:
    """What a signature of a file must be of, by the hash that it is named with. Raises UsageError when it is read."""
    def describe(algorithm: str) -> notary.Target:
        state, size = hashlib.new(algorithm), 0
        with regular.opened(path) as stream:
            while chunk := stream.read(_READ):
                state.update(chunk)
                size += len(chunk)
        return notary.Target(media_type, f"{algorithm}:{state.hexdigest()}", size, {})

    return describe


def envelope_file(path: Path) -> tuple[bytes, str]:
    """A signature file and the media type that its name tells: FILE.jws.sig, FILE.cose.sig.

    Raises UsageError, MalformedError.
    """
    parts = path.name.split(".")
    media_type = notary.FORMATS.get(parts[-2]) if len(parts) > 2 else None
    if media_type is None:
        raise UsageError(f"{path}: its name does not say which envelope it is, expected FILE.jws.sig or FILE.cose.sig")
    return regular.read(path, notary.MAX_ENVELOPE), media_type
