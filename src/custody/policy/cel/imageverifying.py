"""What expressions of an ImageValidatingPolicy ask about images, answered from verified evidence.

One evaluation keeps what was verified: a payload is only given of what an attestor vouched for, and `required` is of
checks that were made, not of what an expression makes of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from custody.errors import CustodyError, MalformedError
from custody.evidence.model import EvidenceSet, State, Verified, unreached
from custody.evidence.newest import speaking, unread
from custody.formats import intoto
from custody.policy.cel.imageattestors import Attestor
from custody.policy.given import Given
from custody.policy.images import image as named
from custody.policy.kyverno.sought import evidence_for
from custody.policy.lookup import LookupFailedError, UnansweredError
from custody.policy.rule import Rule
from custody.policy.summaries import summary_of
from custody.policy.worlds import WORLD
from custody.ports.lookup import Authority, ImageData
from policylang.cel.libraries.kyverno.ports import AnswerError, Object


class Attestation(NamedTuple):
    """intoto or referrer: the predicate type, or the artifact type."""

    kind: str
    type: str


class Verification:
    """One evaluation. `matches` says of which images the policy speaks; the functions count nothing for others."""

    def __init__(self, given: Given, matches: Callable[[str], bool], attestations: Mapping[str, Attestation],
                 values: dict[str, Any], *, unresolved: Authority | None = None, rule: Rule | None = None) -> None:
        """`values` are those that attestors' expressions are evaluated on.

        `unresolved`: whom a tag is asked for with, where that is nobody's usual way. `rule` is whose summaries count.
        """
        self.given = given
        self.outcomes: dict[str, bool] = {}
        """By image, as it is written: whether a check of it succeeded; not there where none was made."""
        self._matches = matches
        self._attestations = attestations
        self._values = values
        self._unresolved = unresolved
        self._types = tuple(sorted({intoto.COSIGN_SIGN, *(attestation.type for attestation in attestations.values())}))
        self._payloads: dict[tuple[str, str], Any] = {}
        self._rule = rule
        self.relied: dict[tuple[str, str], tuple[str, ...]] = {}
        """By image, as it is written, and level of a summary: digests of the evidence that an attestor vouched for."""
        self.summed: dict[str, str] = {}
        """By image: words for the summary that something rests on."""

    def signatures(self, image: str, attestors: Sequence[Any]) -> int:
        if not self._matches(image):
            return 0
        count = 0
        for attestor in map(_attestor, attestors):
            try:
                count += self._of(image, attestor, None) is not None
            except UnansweredError:
                count += 1  # so that the evaluation goes on to the next question; what it gives is not used
        return self._counted(image, count, attestors)

    def attestations(self, image: str, name: str, attestors: Sequence[Any]) -> int:
        if not self._matches(image):
            return 0
        attestation = self._attestation(name)
        count = 0
        for attestor in map(_attestor, attestors):
            if attestor.notary and attestation.kind != "referrer":
                raise AnswerError("notary verifier only supports oci 1.1 referrers as attestations")
            if not attestor.notary and attestation.kind != "intoto":
                continue
            try:
                statements = self._of(image, attestor, attestation.type)
            except UnansweredError:
                count += 1  # as above
                continue
            if statements is not None:
                count += 1
                if statements:
                    self._payloads[image, name] = _payload(statements[0], attestation)
        return self._counted(image, count, attestors)

    def payload(self, image: str, name: str) -> Any:
        attestation = self._attestation(name)
        if (image, name) not in self._payloads:
            raise AnswerError(f"failed to get payload: {attestation.kind} attestation payload cannot be fetch before "
                              f"verifying {attestation.kind} attestation")
        return self._payloads[image, name]

    def data(self, image: str) -> Object:
        try:
            value = _told(lambda: self.given.answers.value(ImageData(image)))
        except UnansweredError as error:
            raise AnswerError(error.message) from None
        if not isinstance(value, dict):
            raise AnswerError(f"failed to get imagedata: {image}: not found")
        return value

    def _counted(self, image: str, count: int, attestors: Sequence[Any]) -> int:
        if attestors:
            self.outcomes[image] = self.outcomes.get(image, False) or count > 0
        return count

    def _attestation(self, name: str) -> Attestation:
        if name not in self._attestations:
            raise AnswerError(f"attestation not found in policy: {name}")
        return self._attestations[name]

    def _of(self, image: str, attestor: Attestor, kind: str | None) -> list[Verified] | None:
        """The statements that an attestor vouches for, none where a summary says that it did; None where it does not.

        `kind` is None for signatures. Raises AnswerError, UnansweredError.
        """
        reason = ""
        try:
            evidence = self._evidence(image, attestor)
        except LookupFailedError as error:
            evidence, reason = unreached(State.UNVERIFIABLE, error.message), error.message
        except UnansweredError:
            raise
        except CustodyError as error:
            raise AnswerError(error.message) from None
        statements = list(evidence.signatures) if kind is None else speaking(evidence, kind)
        if kind is not None and (unknown := unread(evidence.rejected, (kind,))) is not None:
            reason = reason or f"{unknown.source}: {unknown.reason}"
        accepted = [statement for statement in statements if attestor.accepts(statement)]
        said = self._level(attestor, kind)
        if accepted:
            if not attestor.by_request:
                self.relied[image, said] = tuple(statement.evidence for statement in accepted)
            return accepted
        if not (evidence.reached or attestor.by_request or self.given.context.summaries is None) and (
                self._rule is not None):
            about = named(self.resolved(image))
            summary = summary_of(self._rule, self.given, about.ref, about.digest, said)
            if isinstance(summary, tuple):
                self.summed[image] = summary[1]
                return []
        if reason:
            raise AnswerError(reason)
        return None

    def _level(self, attestor: Attestor, kind: str | None) -> str:
        """What a summary's `verifiedLevels` call that an attestor vouched for an image."""
        policy = self._rule.policy if self._rule is not None else None
        name = f"{policy.kind}/{policy.name}/{attestor.name}" if policy is not None else attestor.name
        return f"CUSTODY_ATTESTOR {name} {kind or intoto.COSIGN_SIGN}"

    def _evidence(self, image: str, attestor: Attestor) -> EvidenceSet:
        authority = attestor.believed(self.given, self._values)
        return evidence_for(self.given, self.resolved(image), authority, self._types)

    def resolved(self, image: str) -> str:
        """The name that an image's evidence is asked for by. Raises MalformedError where it has no digest."""
        about = named(image)
        if about.digest:
            return about.name
        digest = self.digest(image)
        if not digest:
            raise MalformedError(image, got="no digest", expected="an image that the registry has")
        return f"{about.ref.name}@{digest}"

    def digest(self, image: str) -> str:
        """Of an image; "" where it could not be had. Raises UnansweredError, LookupFailedError, MalformedError."""
        about = named(image)
        if about.digest:
            return about.digest
        if self._unresolved is not None:
            return evidence_for(self.given, about.name, self._unresolved, self._types).subject
        evidence = self.given.evidence_of(about)
        return evidence.subject if evidence is not None else ""


def _attestor(value: Any) -> Attestor:
    if not isinstance(value, Attestor):
        raise AnswerError(f"type conversion error from {type(value).__name__} to attestor")
    return value


def _payload(statement: Verified, attestation: Attestation) -> Any:
    """A referrer's document; of in-toto the statement, as cosign hands it to policies."""
    if attestation.kind == "referrer":
        return statement.predicate
    digest = statement.subject.partition(":")
    return {"predicateType": statement.predicate_type, "predicate": statement.predicate,
            "subject": [{"digest": {digest[0]: digest[2]}}]}


def _told(ask: Callable[[], Any]) -> Any:
    """Raises AnswerError for what could not be had, and UnansweredError."""
    try:
        return ask()
    except UnansweredError:
        raise
    except CustodyError as error:
        raise AnswerError(error.message) from None


_CURRENT: ContextVar[Verification] = ContextVar("verification")


@contextmanager
def verifying(verification: Verification) -> Iterator[None]:
    """Programs that were compiled with `IMAGE_WORLD` ask this verification while it lasts."""
    token = _CURRENT.set(verification)
    try:
        yield
    finally:
        _CURRENT.reset(token)


class _Verifier:
    """policylang's ImageVerifier, of the evaluation that is under way."""

    def signatures(self, image: str, attestors: list[Any]) -> int:
        return _CURRENT.get().signatures(image, attestors)

    def attestations(self, image: str, attestation: str, attestors: list[Any]) -> int:
        return _CURRENT.get().attestations(image, attestation, attestors)

    def payload(self, image: str, attestation: str) -> Any:
        return _CURRENT.get().payload(image, attestation)

    def data(self, image: str) -> Object:
        return _CURRENT.get().data(image)


IMAGE_WORLD = dataclasses.replace(WORLD, verifier=_Verifier())
