"""A rule with `verifyImages`: what it says of each image, and the digests that it pins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from custody.errors import MalformedError
from custody.evidence.model import Verified
from custody.policy.given import Given
from custody.policy.images import Image
from custody.policy.kyverno.action import enforced
from custody.policy.kyverno.imageentry import ImageEntry
from custody.policy.kyverno.imagefields import ImageFields
from custody.policy.kyverno.images import VerifyImages
from custody.policy.kyverno.judgement import Judgement
from custody.policy.kyverno.rule import Head, KyvernoRule
from custody.policy.lookup import LookupFailedError, Together
from custody.policy.model import Outcome, Request, RuleResult, Vouched
from custody.policy.phases import Phase
from custody.policy.podfields import HOLDERS
from custody.policy.rule import Needs, Spoken
from custody.policy.summaries import SUMMARY, summary_of, vouched


class VerifyRule(KyvernoRule):
    phase = Phase.VERIFY

    def __init__(self, head: Head, entries: Sequence[ImageEntry], fields: ImageFields) -> None:
        """Raises UnsupportedError, MalformedError."""
        super().__init__(head)
        self.entries = [(entry, _enforces(entry.draft, head)) for entry in entries]
        self.enforce = any(enforce or (enforce is None and head.action.may_enforce) for _, enforce in self.entries)
        self.keys = [key for entry in entries for key in entry.draft.keys]
        self.predicate_types = frozenset(kind for entry in entries for kind in entry.draft.predicate_types)
        self._fields = fields
        self._validates = any(entry.draft.validates for entry in entries)
        if fields.queries and any(entry.draft.mutate_digest for entry in entries):
            raise MalformedError(f"{entries[0].draft.where}.mutateDigest", got="true beside a jmesPath",
                                 expected="false",
                                 hint="a digest can only be written where the whole text is the image's name")
        self.reads_templates = True

    def needs(self, given: Given) -> Needs:
        """The images that it verifies or pins: not those that an update leaves as they were admitted."""
        return Needs({image.name: self.predicate_types for entry, image in self._wanted(given)
                      if entry.authority is None})

    def _entries(self, given: Given) -> Iterator[tuple[VerifyImages, bool | None]]:
        for entry, enforce in self.entries:
            yield entry.filled(given), enforce

    def _wanted(self, given: Given) -> Iterator[tuple[VerifyImages, Image]]:
        updates = given.request.operation == "UPDATE"
        for entry, _ in self._entries(given):
            for image in self._fields.of(given)[0]:
                if entry.wants(image) and not entry.skips(image) and not (
                        updates and _unchanged(given.request, image)):
                    yield entry, image

    def judged(self, given: Given) -> Spoken:
        if given.request.operation == "DELETE":
            return Spoken([])
        images, unreadable = self._fields.of(given)
        # A name that cannot be read may be any image, so it is one that this rule speaks of.
        results = [self.result(given, Judgement(Outcome.FAIL, f"failed to verify images: {error.message}",
                                                "write an image name that a node can pull"))
                   for error in unreadable]
        together = Together()
        for entry, enforce in self._entries(given):
            for image in images:
                if entry.wants(image) and entry.demands(given, image):
                    with together:
                        results.append(self._of_image(given, entry, image, enforce=enforce))
        together.done()
        if not given.changes:
            return Spoken(results)
        # Only a rule that judged, and has nothing against any image, pins.
        outcomes = [result.outcome for result in results]
        passed = outcomes.count(Outcome.PASS)
        pins = passed and passed + outcomes.count(Outcome.SKIP) == len(outcomes)
        return Spoken(results, list(self._pins(given)) if pins else ())

    def _of_image(self, given: Given, entry: VerifyImages, image: Image, *,
                  enforce: bool | None) -> RuleResult:
        relied: tuple[str, ...] = ()
        if entry.verifies and entry.skips(image):
            judgement = Judgement(Outcome.SKIP, f"skipping image reference image {image.name}, policy "
                                  f"{self.policy.name} ruleName {self.name}")
            if entry.verify_digest and not (entry.mutate_digest or given.changes or image.digest):
                judgement = _unpinned(entry, given, image)  # exempt from signatures alone
        elif given.request.operation == "UPDATE" and _unchanged(given.request, image):
            judgement = Judgement(Outcome.SKIP, f"no change in image, skipping check of {image.name}")
        elif entry.verifies and not entry.required and not given.changes and not given.request.existing:
            judgement = Judgement(Outcome.SKIP, f"{image.name} is verified where it is mutated (required: false)")
            if entry.verify_digest and not image.digest:
                judgement = _unpinned(entry, given, image)
        else:
            judgement, relied = self._judged(entry, given, image)
            pinned = bool(image.digest) or (given.changes and entry.mutate_digest and bool(
                _resolved(entry, given, image)))
            if (judgement.outcome is Outcome.PASS or not entry.verifies) and entry.verify_digest and not pinned:
                judgement = _unpinned(entry, given, image)
            elif judgement.outcome is Outcome.PASS and self._validates:
                judgement = Judgement(Outcome.PASS, f"verifyImages validation is passed in {self.name} rule")
        result = self.result(given, judgement, image=image.written, enforce=enforce, evidence=relied)
        if given.context.summaries is not None and (SUMMARY, image.written) in given.memo and relied:
            properties = {**result.properties, SUMMARY: given.memo[SUMMARY, image.written]}
            result = msgspec.structs.replace(result, properties=properties)
        return result

    def _judged(self, entry: VerifyImages, given: Given, image: Image) -> tuple[Judgement, tuple[str, ...]]:
        """The judgement on an image and the digests of what it relies on; once a request, however often it is named."""
        judged: tuple[Judgement, tuple[str, ...]] | None = given.memo.get((entry, image.name))
        if judged is None:
            judged = self._earlier(entry, given, image)
            if judged is None and entry.verifies:
                judged = self._verified(entry, given, image)
            given.memo[entry, image.name] = judged = judged or (_unverified(entry, given, image), ())
        return judged

    def _verified(self, entry: VerifyImages, given: Given, image: Image) -> tuple[Judgement, tuple[str, ...]]:
        """By the evidence; by a summary of what was found before, where none of it can be had and one counts."""
        failure: LookupFailedError | None = None
        judgement = Judgement(Outcome.FAIL, "")
        try:
            judgement, relied = entry.verify(given, image)
            if judgement.outcome is Outcome.PASS or given.context.summaries is None:
                return judgement, tuple(dict.fromkeys(statement.evidence for statement in relied))
        except LookupFailedError as error:
            if given.context.summaries is None:
                raise
            failure = error
        said: tuple[Verified, str] | str = ""
        digest = image.digest or _resolved(entry, given, image)
        if digest and self.summed(entry) and entry.out_of_reach(given, image):
            said = summary_of(self, given, image.ref, digest)
        if isinstance(said, tuple):
            given.memo[SUMMARY, image.written] = said[1]
            return Judgement(Outcome.PASS, f"verified by a summary for {image.name}: {said[1]}"), (said[0].evidence,)
        if failure is not None:
            raise failure
        reason = f"; by no summary either: {said}" if said else ""
        return msgspec.structs.replace(judgement, message=judgement.message + reason), ()

    def summed(self, entry: VerifyImages) -> bool:
        """Whether a summary can speak of what an entry says of an image: it is by the image's evidence alone."""
        return entry.verifies and not entry.reads_request and any(own.draft is entry for own, _ in self.entries)

    def vouched(self, given: Given, results: Sequence[RuleResult]) -> Iterator[Vouched]:
        def speaks(image: Image) -> bool:
            judged = [entry for entry, _ in self._entries(given) for named in self._fields.of(given)[0]
                      if named.written == image.written and entry.wants(named)]
            return bool(judged) and all(map(self.summed, judged))

        return vouched(self, given, results, speaks)

    def _earlier(self, entry: VerifyImages, given: Given, image: Image) -> tuple[Judgement, tuple[str, ...]] | None:
        """What was said of the same image before it had this name, where only the evidence decides."""
        if given.before is None or entry.reads_request:
            return None
        digest = _resolved(entry, given, image)
        for earlier in self._fields.of(given.before)[0]:
            if earlier.ref.name == image.ref.name and (entry, earlier.name) in given.before.memo and (
                    _resolved(entry, given.before, earlier) == digest):
                judgement, relied = given.before.memo[entry, earlier.name]
                message = judgement.message.replace(f"image {earlier.name}:", f"image {image.name}:", 1)
                return msgspec.structs.replace(judgement, message=message), relied
        return None

    def _pins(self, given: Given) -> Iterator[dict[str, Any]]:
        """Operations that add digests to the names of the images that this rule has judged, and no others.

        An update's image that is as it was admitted was not judged: pinned, it would become another one.
        """
        for entry, image in self._wanted(given):
            digest = _resolved(entry, given, image)
            if (entry.mutate_digest and not image.digest and digest
                    and self._judged(entry, given, image)[0].outcome is Outcome.PASS):
                yield {"op": "replace", "path": image.pointer, "value": f"{image.name}@{digest}"}

    def sees(self, template: str, field: str) -> bool:  # noqa: ARG002 - every image of a pod
        return template in HOLDERS.values()


def _enforces(entry: VerifyImages, head: Head) -> bool | None:
    """None where the namespace decides."""
    said = enforced(entry.failure_action, f"{entry.where}.failureAction")
    enforce = said if said is not None else head.action.stated if head.action.fixed else None
    if not (head.action.stated if enforce is None else enforce) and entry.mutate_digest:
        raise MalformedError(f"{entry.where}.mutateDigest", got="true under Audit", expected="false",
                             hint="Kyverno refuses this too: what is only audited must not change the pod")
    return enforce


def _unchanged(request: Request, image: Image) -> bool:
    """Whether an update leaves this container's image as it was admitted."""
    written: Any = request.old_object
    for step in image.pointer.split("/")[1:]:
        if step.isdecimal():
            written = written[int(step)] if isinstance(written, list) and int(step) < len(written) else None
        else:
            written = written.get(step) if isinstance(written, dict) else None
    return bool(written == image.written)


def _resolved(entry: VerifyImages, given: Given, image: Image) -> str:
    """The digest that the image's tag was found to mean; "" where it could not be had."""
    evidence = entry.image_of(given, image)
    return evidence.subject if evidence is not None else ""


def _unverified(entry: VerifyImages, given: Given, image: Image) -> Judgement:
    """Of an image for which nobody need vouch: that it is verified all the same cannot be had."""
    if entry.required:
        return Judgement(Outcome.FAIL, f"unverified image {image.name}",
                         "name attestors, or write required: false where images are only to be pinned")
    return Judgement(Outcome.PASS, "mutated image digest" if given.changes and entry.mutate_digest else
                     "image verified")


def _unpinned(entry: VerifyImages, given: Given, image: Image) -> Judgement:
    evidence = entry.image_of(given, image)
    unresolved = evidence is not None and not evidence.subject
    reasons = [rejected.reason for rejected in evidence.rejected] if evidence is not None and unresolved else []
    said = f"missing digest for {image.name}" + (f": {'; '.join(reasons[:5])}" if reasons else "")
    return Judgement(Outcome.FAIL, said, "look at the registry and the network to it, then ask again" if reasons else
                     "pin the image by its digest, or let the mutating webhook do it")
