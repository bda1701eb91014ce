"""VEX documents and ignore files, and whose word they are.

A plain file on the command line is the word of who runs the scan. Whatever is signed, a file or an attestation of the
image, counts only where its signer is one that was chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from custody.errors import CustodyError, MalformedError, UsageError
from custody.evidence.model import Evidence, EvidenceSet, Verified
from custody.formats import bundle, dsse, ignorefile, intoto, vex
from custody.formats.vex.openvex import PREDICATE_TYPES
from custody.kit import strictjson
from custody.services.verify import Terms, judge
from custody.sign.decoders import decode
from custody.vulns.vex.waivers import Rules, Spoken, Use, refusal

OWN_WORD = "the user"
_LARGEST_RULES = 4 << 20
_TYPES = (*PREDICATE_TYPES, "https://cyclonedx.org/vex", "https://docs.oasis-open.org/csaf/csaf/v2.0",
          "https://cyclonedx.org/bom")
"""Predicates that are VEX documents, or may have VEX in them."""


class Signed(NamedTuple):
    """What became of a signed document."""

    subjects: tuple[str, ...]
    """Digests of the images that it is about."""
    spoken: tuple[Spoken, ...]
    """Nothing where it does not count; what it says of each of them otherwise."""
    refused: tuple[Use, ...]
    """Why it does not."""


def read_file(path: Path, subject: str, terms: Terms | None, now: datetime) -> tuple[list[Spoken], list[Use]]:
    """A document, or one that is signed about the image of this digest, on these terms.

    Raises UsageError, MalformedError, UnsupportedError; UsageError too for a signed file where no signer was chosen.
    """
    data = _bytes(path, vex.MAX_SIZE)
    where = str(path)
    document = strictjson.loads(data, where, max_size=vex.MAX_SIZE, max_depth=64)
    media_type = _signed(document)
    if media_type is None:
        return [Spoken(document=vex.of_json(document, where), source=where, by=OWN_WORD)], []
    if terms is None:
        raise _nobody(path)
    return of_evidence([judge(Evidence(subject=subject, media_type=media_type, data=data, source=where), terms, now)])


def read_signed(path: Path, terms: Terms | None, now: datetime) -> Signed | None:
    """A document that is signed about images, whichever they are, on these terms; None for a plain one.

    Raises as `read_file` does.
    """
    data = _bytes(path, vex.MAX_SIZE)
    where = str(path)
    media_type = _signed(strictjson.loads(data, where, max_size=vex.MAX_SIZE, max_depth=64))
    if media_type is None:
        return None
    if terms is None:
        raise _nobody(path)
    subjects = _subjects(Evidence(subject="", media_type=media_type, data=data, source=where))
    # The signature is over the whole statement: what holds of it for one of its subjects holds for all.
    spoken, refused = of_evidence([judge(Evidence(subject=next(iter(subjects), ""), media_type=media_type, data=data,
                                                  source=where), terms, now)])
    return Signed(subjects, tuple(spoken), tuple(refused))


def _subjects(evidence: Evidence) -> tuple[str, ...]:
    """The digests that a signed statement names; none where it cannot be read, which whoever judges it says."""
    try:
        payload = decode(evidence).payload
        statement = intoto.parse_statement(payload) if payload is not None else None
    except CustodyError:
        return ()
    return tuple(dict.fromkeys(f"{algorithm}:{value}" for subject in (statement.subjects if statement else ())
                               for algorithm, value in subject.digest.items()))


def _nobody(path: Path) -> UsageError:
    return UsageError(f"--vex {path}: it is signed, and nobody was chosen whose word counts",
                      hint="--vex-key FILE, or --vex-identity ID --vex-issuer URL; or its plain document")


def attested(judged: EvidenceSet) -> tuple[list[Spoken], list[Use]]:
    """VEX of what is signed about an image; evidence of other kinds is passed over, unless it could not be read."""
    return of_evidence([*judged.verified, *judged.rejected])


def of_evidence(judged: Iterable[Any]) -> tuple[list[Spoken], list[Use]]:
    """Documents of what verified; the rest, where it may have been VEX, as refused."""
    spoken: list[Spoken] = []
    refused: list[Use] = []
    for result in judged:
        kind = result.predicate_type
        if not isinstance(result, Verified):
            if kind is None or kind in _TYPES:
                refused.append(refusal(result.source, f"not verified: {result.reason}"))
            continue
        if kind not in _TYPES or (kind == _TYPES[-1] and "vulnerabilities" not in (result.predicate or {})):
            continue
        try:
            document = vex.of_json(result.predicate, result.source)
        except CustodyError as error:
            refused.append(refusal(result.source, error, by=str(result.signer)))
            continue
        spoken.append(Spoken(document=document, source=result.source, by=str(result.signer)))
    return spoken, refused


def read_rules(paths: Sequence[Path]) -> list[Rules]:
    """Ignore files. Raises UsageError, MalformedError, UnsupportedError."""
    return [Rules(rules=ignorefile.read(_bytes(path, _LARGEST_RULES), str(path)), source=str(path)) for path in paths]


def _signed(document: Any) -> str | None:
    """The media type of a document that is signed; None for a plain one."""
    if not isinstance(document, dict):
        return None
    if "payloadType" in document and "signatures" in document:
        return dsse.MEDIA_TYPE
    if "dsseEnvelope" in document or "verificationMaterial" in document:
        stated = document.get("mediaType")
        return stated if isinstance(stated, str) else bundle.MEDIA_TYPE
    return None


def _bytes(path: Path, largest: int) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(largest + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(data) > largest:
        raise MalformedError(str(path), got=f"more than {largest} bytes", expected=f"at most {largest}")
    return data
