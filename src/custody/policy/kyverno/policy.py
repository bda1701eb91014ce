"""A ClusterPolicy, compiled: `rules` in order, each with what it matches and how it judges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.policy.kinds import Selector
from custody.policy.kyverno.fields import Fields
from custody.policy.kyverno.images import VerifyImages
from custody.policy.kyverno.match import Block
from custody.policy.kyverno.scope import ROOTS, Image, Input
from custody.policy.kyverno.validate import Judgement, Validate
from custody.policy.model import Kind, Outcome, Request, RuleResult
from policylang.conditions import Conditions, compile_conditions
from policylang.errors import LanguageError

AUTOGEN = "pod-policies.kyverno.io/autogen-controllers"
_OWN = "policies.custody.internal/"
ATTESTATIONS = f"{_OWN}attestations"
"""Annotation: `newest` (default) or `all`. Which of one signer's attestations of one type must meet the conditions."""


class Policy:
    """One compiled document. Raises MalformedError and UnsupportedError, whose messages begin with a field's path."""

    def __init__(self, document: Any) -> None:
        top = Fields(document, "")
        kind, version = top.need("kind", str), top.need("apiVersion", str)
        if (kind, version) != ("ClusterPolicy", "kyverno.io/v1"):
            raise UnsupportedError("kind", f"{version} {kind} is not evaluated by custody yet",
                                   hint="kyverno.io/v1 ClusterPolicy is")
        metadata = top.need("metadata", dict)
        self.name = Fields(metadata, "metadata").need("name", str)
        annotations = Fields(metadata, "metadata").text_map("annotations")
        if unknown := [name for name in annotations if name.startswith(_OWN) and name != ATTESTATIONS]:
            raise UnsupportedError(f"metadata.annotations.{unknown[0]}", "custody has no such annotation",
                                   hint=f"{ATTESTATIONS} is")
        autogen = annotations.get(AUTOGEN)
        if autogen not in (None, "none"):
            raise UnsupportedError(f"metadata.annotations.{AUTOGEN}", f"{autogen!r} is not evaluated by custody yet",
                                   hint="the pods of a Deployment are judged when it creates them; write none")
        self.attestations = annotations.get(ATTESTATIONS, "newest")
        if self.attestations not in ("newest", "all"):
            raise MalformedError(f"metadata.annotations.{ATTESTATIONS}", got=self.attestations,
                                 expected="newest or all")
        spec = Fields(top.need("spec", dict), "spec")
        top.any("status")
        top.done()
        self.action = _action(spec.take("validationFailureAction", str), "spec.validationFailureAction") or "Audit"
        self.failure_policy = spec.take("failurePolicy", str) or "Fail"
        if self.failure_policy not in ("Fail", "Ignore"):
            raise MalformedError("spec.failurePolicy", got=self.failure_policy, expected="Fail or Ignore")
        spec.only("background", True, False)  # is about scans of what already runs, which are not part of a decision
        spec.only("admission", True)
        spec.only("emitWarning", True, hint="custody always warns about failures under Audit")
        self.timeout = spec.take("webhookTimeoutSeconds", int)
        if self.timeout is not None and not 1 <= self.timeout <= 30:
            raise MalformedError("spec.webhookTimeoutSeconds", got=self.timeout, expected="1 to 30")
        self.rules = [Rule(entry, self) for entry in spec.each("rules")]
        spec.done()
        names = [rule.name for rule in self.rules]
        if not names or len(set(names)) != len(names):
            raise MalformedError("spec.rules", got=", ".join(names) or "nothing", expected="rules, each name once")


class Rule:
    def __init__(self, fields: Fields, policy: Policy) -> None:
        self.name = fields.need("name", str)
        self.policy = policy
        match, exclude = fields.inner("match"), fields.inner("exclude")
        if match is None:
            raise MalformedError(fields.path("match"), got="nothing", expected="what the rule speaks of")
        self.match = Block(match)
        self.exclude = Block(exclude, exclude=True) if exclude is not None else None
        block = fields.any("preconditions")
        self.preconditions: Conditions | None = None if block is None else compile_conditions(
            block, fields.path("preconditions"), ROOTS)
        self.reads_images = _mentions(fields.peek("validate"), "image")
        """Whether a validate rule may speak of the names of images."""
        self.reads_templates = _reads_template(fields.peek("validate"))
        """Whether a validate rule may look into the spec of a pod template, and not only at its labels."""
        validate, images = fields.inner("validate"), fields.each("verifyImages")
        self.where = fields.where
        fields.done()
        if (validate is None) == (not images):
            raise MalformedError(fields.where, got="none or both of them", expected="one of validate, verifyImages")
        self.validate = Validate(validate, self.name) if validate is not None else None
        self.images = [VerifyImages(entry, every=policy.attestations == "all") for entry in images]
        selectors = [Selector.parse(text) for text in self.match.kinds]
        pods = all(selector.kind == "Pod" and selector.subresource in ("", "ephemeralcontainers")
                   for selector in selectors)
        self.selects_pods = any(selector.selects(Kind("Pod"), "") for selector in selectors)
        if not pods and (images or self._is_security()):
            raise UnsupportedError(f"{match.where}", "verifyImages and podSecurity are evaluated on Pods only",
                                   hint="the pods of a Deployment are judged when it creates them")
        if self.validate is not None:
            self.enforce = self._enforces(self.validate.failure_action, f"{self.where}.validate.failureAction")
        for entry in self.images:
            if not self._enforces(entry.failure_action, f"{entry.where}.failureAction") and entry.mutate_digest:
                raise MalformedError(f"{entry.where}.mutateDigest", got="true under Audit", expected="false",
                                     hint="Kyverno refuses this too: what is only audited must not change the pod")

    def _is_security(self) -> bool:
        return self.validate is not None and self.validate.pod_security

    def _enforces(self, action: str | None, where: str) -> bool:
        return (_action(action, where) or self.policy.action) == "Enforce"

    def matches(self, request: Request) -> bool:
        return self.silence(request) is None

    def wanted(self, given: Input) -> Iterator[tuple[VerifyImages, Image]]:
        """Images that this rule verifies or pins: not those that an update leaves as they were admitted."""
        for entry in self.images:
            for image in given.images:
                if entry.wants(image) and not entry.skips(image) and not _unchanged(given.request, image):
                    yield entry, image

    def silence(self, request: Request) -> str | None:
        """Why the rule is not asked about a request; None where it is."""
        if not self.match.matches(request):
            return "its match does not select this request"
        if self.exclude is not None and self.exclude.matches(request):
            return "its exclude leaves this request out"
        if request.bare and self.validate is not None and not self.reads_images:
            return "it speaks of the pod, and only an image was given"
        return None

    # ── evaluation ──────────────────────────────────────────────────────────────────────────────────────────────

    def results(self, given: Input, *, pinning: bool) -> list[RuleResult]:
        """What the rule says of a request that it is asked about; nothing where it has nothing to judge by.

        `pinning`: tags will be replaced by digests where the rule says so, so they need no digest yet.
        """
        if self.preconditions is not None:
            try:
                holds, message = self.preconditions(given.variables, given.context.now)
            except (CustodyError, LanguageError) as error:
                judgement = Judgement(Outcome.ERROR, f"failed to evaluate preconditions: {error.message}")
                return [self._result(given, judgement)]
            if not holds:
                said = "; ".join(filter(None, ["preconditions not met", message]))
                return [self._result(given, Judgement(Outcome.SKIP, said))]
        if self.validate is not None:
            return self._validated(given, self.validate)
        return self._verified(given, pinning)

    def failed(self, given: Input, message: str) -> RuleResult:
        """The result where the rule itself could not be carried out."""
        return self._result(given, Judgement(Outcome.ERROR, message))

    def _validated(self, given: Input, validate: Validate) -> list[RuleResult]:
        judgement = validate.judge(given)
        if judgement is None:
            return []
        request = given.request
        if (judgement.outcome is Outcome.FAIL and request.operation == "UPDATE" and request.old_object is not None
                and self.enforce and validate.allow_existing):
            # As if the old object were created now: a rule about a subresource does not speak of that, and so excuses
            # nothing.
            old = msgspec.structs.replace(request, operation="CREATE", object=request.old_object, old_object=None,
                                          subresource="")
            before = Input(old, given.context, given.evidence)
            if self.matches(old) and self._applies(before):
                prior = validate.judge(before)
                if prior is not None and prior.outcome is Outcome.FAIL:
                    # Kyverno is silent here, and so would let a violation in behind another one.
                    now = ("and is another one now" if prior.message != judgement.message else
                           "unchanged" if _content(request.object) == _content(request.old_object) else
                           "its place is the same, the object is not")
                    judgement = Judgement(Outcome.WARN, "a violation that was there before is allowed on update "
                                          f"({now}): {judgement.message}",
                                          "mend the object, or set validate.allowExistingViolations: false")
        return [self._result(given, judgement)]

    def _applies(self, given: Input) -> bool:
        """Whether the rule spoke of the old object. Where that cannot be said its violations are not excused."""
        try:
            return self.preconditions is None or self.preconditions(given.variables, given.context.now)[0]
        except (CustodyError, LanguageError):
            return False

    def _verified(self, given: Input, pinning: bool) -> list[RuleResult]:
        if given.request.operation == "DELETE":
            return []
        # A name that cannot be read may be any image, so it is one that this rule speaks of.
        results = [self._result(given, Judgement(Outcome.FAIL, f"failed to verify images: {error.message}",
                                                 "write an image name that a node can pull"))
                   for error in given.unreadable]
        for entry in self.images:
            enforce = self._enforces(entry.failure_action, entry.where)
            for image in given.images:
                if not entry.wants(image):
                    continue
                relied: tuple[str, ...] = ()
                if entry.skips(image):
                    judgement = Judgement(Outcome.SKIP, f"skipping image reference image {image.name}, policy "
                                          f"{self.policy.name} ruleName {self.name}")
                elif _unchanged(given.request, image):
                    judgement = Judgement(Outcome.SKIP, f"no change in image, skipping check of {image.name}")
                else:
                    judgement, relied = self._judged(entry, given, image)
                    pinned = bool(image.digest) or (pinning and entry.mutate_digest and bool(_resolved(given, image)))
                    if judgement.outcome is Outcome.PASS and entry.verify_digest and not pinned:
                        judgement = _unpinned(given, image)
                results.append(self._result(given, judgement, image=image.written, enforce=enforce, evidence=relied))
        return results

    def _judged(self, entry: VerifyImages, given: Input, image: Image) -> tuple[Judgement, tuple[str, ...]]:
        """The judgement on an image and the digests of what it relies on; once a request, however often it is named."""
        key = (entry, image.name)
        if key not in given.judged:
            if entry.verifies:
                judgement, relied = entry.verify(given, image)
            else:
                judgement, relied = Judgement(Outcome.PASS, "mutated image digest"), []
            given.judged[key] = judgement, tuple(dict.fromkeys(statement.evidence for statement in relied))
        judged: tuple[Judgement, tuple[str, ...]] = given.judged[key]
        return judged

    def pins(self, given: Input) -> Iterator[dict[str, Any]]:
        """JSON Patch operations that add digests to the names of the images that this rule has judged, and no others.

        An update's image that is as it was admitted was not judged: pinned, it would become another one. `results` must
        have spoken of the request.
        """
        for entry, image in self.wanted(given):
            digest = _resolved(given, image)
            if (entry.mutate_digest and not image.digest and digest
                    and self._judged(entry, given, image)[0].outcome is Outcome.PASS):
                yield {"op": "replace", "path": image.pointer, "value": f"{image.name}@{digest}"}

    def _result(self, given: Input, judgement: Judgement, *, image: str | None = None, enforce: bool | None = None,
                evidence: tuple[str, ...] = ()) -> RuleResult:
        if enforce is None:
            enforce = self.enforce if self.validate is not None else any(
                self._enforces(entry.failure_action, entry.where) for entry in self.images)
        if judgement.outcome is Outcome.ERROR and self.policy.failure_policy == "Ignore":
            enforce = False
        return RuleResult(policy=self.policy.name, rule=self.name, outcome=judgement.outcome,
                          message=judgement.message, resource=given.resource, image=image, evidence=evidence,
                          remedy=judgement.remedy, enforce=enforce)


def _mentions(block: Any, word: str) -> bool:
    """Whether a rule's block names a field or a variable of this name, or of its plural."""
    if isinstance(block, dict):
        return any(_named(word, str(key)) or _mentions(value, word) for key, value in block.items()
                   if key != "message")
    if isinstance(block, list):
        return any(_mentions(value, word) for value in block)
    return isinstance(block, str) and "{{" in block and _named(word, block)


def _reads_template(block: Any) -> bool:
    if isinstance(block, dict):
        return any((_named("template", str(key)) and _mentions(value, "spec")) or _reads_template(value)
                   for key, value in block.items() if key != "message")
    if isinstance(block, list):
        return any(map(_reads_template, block))
    return isinstance(block, str) and "{{" in block and re.search(r"\btemplate\b.*\bspec\b", block) is not None


def _named(word: str, text: str) -> bool:
    return re.search(rf"\b{word}s?\b", text) is not None


def _content(document: dict[str, Any] | None) -> dict[str, Any]:
    """What an object asks for, beside its name and labels and what the API server keeps in it."""
    return {name: value for name, value in (document or {}).items() if name not in ("metadata", "status")}


def _unchanged(request: Request, image: Image) -> bool:
    """Whether an update leaves this container's image as it was admitted."""
    if request.operation != "UPDATE":
        return False
    found: Any = request.old_object
    for step in image.pointer.split("/")[1:]:
        if step.isdecimal():
            found = found[int(step)] if isinstance(found, list) and int(step) < len(found) else None
        else:
            found = found.get(step) if isinstance(found, dict) else None
    return bool(found == image.written)


def _resolved(given: Input, image: Image) -> str:
    """The digest that the image's tag was found to mean; "" where it could not be had."""
    evidence = given.evidence.get(image.name)
    return evidence.subject if evidence is not None else ""


def _unpinned(given: Input, image: Image) -> Judgement:
    evidence = given.evidence.get(image.name)
    unresolved = evidence is not None and not evidence.subject
    reasons = [rejected.reason for rejected in evidence.rejected] if evidence is not None and unresolved else []
    said = f"missing digest for {image.name}" + (f": {'; '.join(reasons[:5])}" if reasons else "")
    return Judgement(Outcome.FAIL, said, "look at the registry and the network to it, then ask again" if reasons else
                     "pin the image by its digest, or let the mutating webhook do it")


def _action(text: str | None, where: str) -> str | None:
    if text is None:
        return None
    if text.lower() not in ("enforce", "audit"):
        raise MalformedError(where, got=text, expected="Enforce or Audit")
    return text.capitalize()
