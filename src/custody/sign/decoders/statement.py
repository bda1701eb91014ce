"""What a signed DSSE envelope says: an in-toto statement about some digests."""

from __future__ import annotations

from collections.abc import Callable

from custody.errors import VerificationError
from custody.formats import intoto
from custody.formats.dsse import Envelope
from custody.sign.claim import Content


def reader(envelope: Envelope) -> Callable[[str], Content]:
    """`Claim.read` of an envelope."""

    def read(subject: str) -> Content:
        if envelope.payload_type != intoto.PAYLOAD_TYPE:
            raise VerificationError(f"payload type: got {envelope.payload_type!r}, expected {intoto.PAYLOAD_TYPE!r}")
        statement = intoto.parse_statement(envelope.payload)
        named = statement.subject_of(subject)
        signature = statement.predicate_type == intoto.COSIGN_SIGN
        return Content(kind="signature" if signature else "attestation", predicate_type=statement.predicate_type,
                       predicate={} if signature else statement.predicate,
                       annotations=dict(named.annotations) if named else {},
                       about=None if named else _about(statement))

    return read


def _about(statement: intoto.Statement) -> str:
    digests = ", ".join(f"{algorithm}:{value}" for subject in statement.subjects[:2]
                        for algorithm, value in subject.digest.items())
    return f"the statement is about {digests[:200]}"
