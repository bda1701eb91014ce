"""What an attestor looks among: the verified statements about one image of one kind, by whomever it believes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from custody.errors import MalformedError
from custody.evidence.model import EvidenceSet, Rejected, State, Verified
from custody.evidence.newest import speaking
from custody.policy.given import Given
from custody.policy.images import Image
from custody.policy.lookup import LookupFailedError
from custody.policy.podfields import HOLDERS
from custody.ports.lookup import Authority, BlobEvidence, ImageEvidence

_MOST_SECRETS = 8
_SECRET = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
Absent = Callable[[], str]
"""Says why there are no candidates."""


class Sought:
    """`kind` is the predicate type of attestations; None for signatures."""

    def __init__(self, given: Given, image: Image, kind: str | None, types: frozenset[str], *, every: bool = False,
                 unresolved: bool = False, reached: dict[str, bool] | None = None, keys: str = "") -> None:
        """`types` are all that the policy's entry reads of this image, so that it asks once.

        `every`: of one signer all attestations of the kind, and not only the newest. `unresolved`: an image without a
        digest is asked for by its tag, which nobody else can resolve. `reached` is told what could be had and what not.
        `keys` are PEM keys of the entry, which are verified with wherever nobody else is named.
        """
        self._keys = keys
        self.given = given
        self.image = image
        self.kind = kind
        self._types = tuple(sorted(types))
        self._every = every
        self._unresolved = unresolved
        self._reached = reached

    def candidates(self, authority: Authority | None) -> tuple[list[Verified], Absent]:
        """The statements that count for whoever believes an authority, and why there is none where there is none.

        Raises UnansweredError, LookupFailedError.
        """
        evidence = self.evidence(authority)
        absent = partial(_absent, evidence, self.kind)
        if self.kind is None:
            return list(evidence.signatures), absent
        return speaking(evidence, self.kind, every=self._every), absent

    def evidence(self, authority: Authority | None) -> EvidenceSet:
        """Raises UnansweredError, LookupFailedError."""
        place = repr(authority)
        try:
            known = self._evidence(authority)
        except LookupFailedError:
            self._tell(place, reached=False)
            raise
        self._tell(place, reached=known.reached)
        return known

    def _tell(self, place: str, *, reached: bool) -> None:
        if self._reached is not None:
            self._reached[place] = reached

    def _evidence(self, authority: Authority | None) -> EvidenceSet:
        """With the pod's own logins where nothing could be had without (Kyverno 1.19)."""
        known = self._asked(authority)
        if known.subject or not (secrets := pull_secrets(self.given)):
            return known
        if authority is not None and self._unresolved:
            return evidence_for(self.given, self.image.name, msgspec.structs.replace(authority, pull_secrets=secrets),
                                self._types)
        usual = Authority(also=self._keys, pull_secrets=secrets)
        known = evidence_for(self.given, self.image.name, usual, self._types)
        if authority is None or not known.subject:
            return known
        return evidence_for(self.given, f"{self.image.ref.name}@{known.subject}",
                            msgspec.structs.replace(authority, pull_secrets=secrets), self._types)

    def _asked(self, authority: Authority | None) -> EvidenceSet:
        gathered = None if authority is not None and self._unresolved else self.given.evidence_of(self.image)
        if authority is None:
            return gathered if gathered is not None else EvidenceSet(subject="")
        if self._unresolved:
            return evidence_for(self.given, self.image.name, authority, self._types)
        if gathered is None or not gathered.subject:
            return gathered if gathered is not None else EvidenceSet(subject="")
        # By its digest: a tag that is moved meanwhile must not make two images of one.
        return evidence_for(self.given, f"{self.image.ref.name}@{gathered.subject}", authority, self._types)


def pull_secrets(given: Given) -> tuple[str, ...]:
    """`namespace/name` of the Secrets that a node would pull a pod's images with, as far as the pod names them."""
    at: Any = given.request.object
    for step in HOLDERS.get(given.request.kind.kind, "").split("/")[1:]:
        at = at.get(step) if isinstance(at, dict) else None
    listed = at.get("imagePullSecrets") if isinstance(at, dict) else None
    names = [entry.get("name") if isinstance(entry, dict) else None
             for entry in (listed if isinstance(listed, list) else [])[:_MOST_SECRETS]]
    return tuple(f"{given.request.namespace}/{name}" for name in names
                 if isinstance(name, str) and _SECRET.fullmatch(name)) if given.request.namespace else ()


def evidence_for(given: Given, name: str, authority: Authority, types: Sequence[str]) -> EvidenceSet:
    """Raises UnansweredError, LookupFailedError, and MalformedError for an answer that is no evidence."""
    return evidence_of(given, ImageEvidence(name, authority, tuple(types)))


def evidence_of(given: Given, question: ImageEvidence | BlobEvidence) -> EvidenceSet:
    """As `evidence_for`."""
    known: EvidenceSet | None = given.memo.get(question)
    if known is None:
        known = given.memo[question] = _read(given.answers.value(question), str(question))
    return known


def _read(answer: Any, where: str) -> EvidenceSet:
    try:
        return msgspec.convert(answer, EvidenceSet)
    except msgspec.ValidationError as error:
        raise MalformedError(where, got=str(error), expected="evidence") from None


def _absent(evidence: EvidenceSet, kind: str | None) -> str:
    """Why there is nothing, by the states of what was rejected; `kind` None for signatures."""
    what = "no signatures found" if kind is None else f"attestations not found for predicate type {kind}"

    def speaks(rejected: Rejected) -> bool:
        return rejected.predicate_type in (None, kind) or (kind is None and "cosign" in (rejected.predicate_type or ""))

    reasons = [f"{rejected.state}: {rejected.source}: {rejected.reason}" for rejected in evidence.rejected
               if speaks(rejected)]
    return f"{what} ({'; '.join(reasons[:5]) or State.MISSING})"
