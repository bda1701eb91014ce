"""What a signed DSSE envelope says: an in-toto statement about some digests."""

from __future__ import annotations

from custody.errors import VerificationError
from custody.formats import intoto
from custody.formats.dsse import Envelope
from custody.sign.claim import Content


def read_statement(envelope: Envelope, subject: str) -> Content:
    """Raises MalformedError, UnsupportedError, or VerificationError for a payload that is no statement."""
    if envelope.payload_type != intoto.PAYLOAD_TYPE:
        raise VerificationError(f"payload type: got {envelope.payload_type!r}, expected {intoto.PAYLOAD_TYPE!r}")
    statement = intoto.parse_statement(envelope.payload)
    named, about = statement.subject_of(subject), None
    if named is None:
        digests = ", ".join(f"{algorithm}:{value}" for listed in statement.subjects[:2]
                            for algorithm, value in listed.digest.items())
        about = f"the statement is about {digests[:200]}"
    signature = statement.predicate_type == intoto.COSIGN_SIGN
    return Content(kind="signature" if signature else "attestation", predicate_type=statement.predicate_type,
                   predicate={} if signature else statement.predicate,
                   annotations=dict(named.annotations) if named else {}, about=about)
