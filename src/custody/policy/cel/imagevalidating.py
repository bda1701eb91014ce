"""policies.kyverno.io ImageValidatingPolicy and NamespacedImageValidatingPolicy, as Kyverno 1.19 has them.

Who mutates writes digests into names, and who validates judges what is named then; here one rule does both, so that it
judges the image that it pins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from custody.errors import CustodyError, MalformedError
from custody.policy.cel.autogen import EXTRACT
from custody.policy.cel.constraints import compile_constraints
from custody.policy.cel.environment import Expressions
from custody.policy.cel.heading import JSON, Head, compile_heading, compile_validation
from custody.policy.cel.imageattestors import compile_attestors
from custody.policy.cel.imagenames import ImagePlaces, References
from custody.policy.cel.imageverifying import IMAGE_WORLD, Attestation, Verification, verifying
from custody.policy.cel.templates import pod_requests
from custody.policy.cel.validating import holds
from custody.policy.cel.variables import Variables, activation
from custody.policy.evidenceview import types_of
from custody.policy.excepting import result
from custody.policy.exceptions import IMAGES, VALUES, PolicyException
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.images import Image
from custody.policy.images import image as named
from custody.policy.kyverno.imagefields import ImageFields
from custody.policy.kyverno.images import named_providers
from custody.policy.lookup import UnansweredError
from custody.policy.model import Outcome, Request, RuleResult, Vouched
from custody.policy.phases import Phase
from custody.policy.rule import Needs, Policy, Rule, Spoken
from custody.policy.scope import WRITTEN, Block, Filter, Scope
from custody.policy.summaries import SUMMARY
from custody.policy.worlds import asking
from custody.ports.lookup import Authority
from policylang.cel.compile.program import Program
from policylang.cel.kyverno import env
from policylang.cel.values.errors import CelError
from policylang.errors import LanguageError

KINDS = ("ImageValidatingPolicy", "NamespacedImageValidatingPolicy")
_NONE: dict[str, Any] = {}
_FIELDS = ImageFields({})
_EXPRESSIONS = ("matchConstraints", "matchConditions", "matchImageReferences", "images", "variables", "attestors",
                "attestations", "validations", "auditAnnotations", "credentials", "validationConfigurations")


class Judged(NamedTuple):
    """What a policy says of a request, what it verified on the way, and which images it speaks of."""

    outcome: Outcome
    message: str
    outcomes: dict[str, bool]
    images: tuple[str, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    relied: Mapping[tuple[str, str], tuple[str, ...]] = MappingProxyType({})
    """By image and level of a summary, digests of the evidence."""


class ImageChecks:
    """The compiled expressions of one spec."""

    def __init__(self, fields: Fields, head: Head) -> None:
        """Raises MalformedError, UnsupportedError."""
        expressions = Expressions(env(head.policy.kind, IMAGE_WORLD, namespace=head.namespace, composed={},
                                      json=head.json))
        self.json = head.json
        self._ignores = head.policy.failure_policy == "Ignore"
        base = _base(fields.inner("credentials"))
        self.unresolved = base if base != Authority() else None
        self._conditions = expressions.conditions(fields)
        self.references = References(fields)
        self._places = ImagePlaces(fields, expressions)
        expressions.declare(fields)
        self._attestors = compile_attestors(fields, base, expressions)
        self._attestations = _attestations(fields)
        self._validations = [compile_validation(entry, expressions) for entry in fields.each("validations")]
        if not self._validations:
            raise MalformedError(fields.path("validations"), got="nothing", expected="at least one validation")
        self._audit: dict[str, Program] = {}
        for entry in fields.each("auditAnnotations"):
            key, text = entry.need("key", str), entry.need("valueExpression", str)
            entry.done()
            self._audit[key] = expressions.text_or_null(text, entry.path("valueExpression"))
        settings = fields.inner("validationConfigurations") or Fields({}, fields.path("validationConfigurations"))
        self.mutate_digest, self._verify_digest, self.required = (
            settings.take(name, bool) is not False for name in ("mutateDigest", "verifyDigest", "required"))
        settings.done()
        self.reads = frozenset(expressions.reads)
        self.texts = tuple(expressions.texts)
        self.kinds = expressions.kinds
        self._variables = expressions.variables

    def judge(self, given: Given, rule: Rule) -> Judged:
        """`rule` is whose checks these are. Raises nothing but what a language or an answer that is not there does."""
        known = activation(given, self.reads, absent=_NONE)
        try:
            if not self.json and not holds(self._conditions, known, ignores=self._ignores):
                return Judged(Outcome.SKIP, "skip", {})
            values = Variables(self._variables, known).environment
            images = self._places.of(given.request, values, json=self.json)
            meant = {category: [image for image in listed if self.references.means(image)]
                     for category, listed in images.items()}
        except (LanguageError, CustodyError) as error:
            return _error(error)
        listed = tuple(image for group in meant.values() for image in group)
        verification = Verification(given, self.references.means, self._attestations, values,
                                    unresolved=self.unresolved, rule=rule)
        known |= {"images": meant, "attestations": {name: name for name in self._attestations},
                  "attestors": self._attestors}  # which variables see as well
        values |= known
        with verifying(verification):
            try:
                outcome, message = self._validated(listed, values)
                properties = tuple(self._annotated(values)) if outcome is not Outcome.ERROR else ()
            except (LanguageError, CustodyError) as error:
                return _error(error)._replace(outcomes=verification.outcomes)
        if verification.summed:
            said = "; ".join(f"{image}: {words}" for image, words in verification.summed.items())
            properties = (*properties, (SUMMARY, said))
        return Judged(outcome, message, verification.outcomes, listed, properties, verification.relied)

    def pinned(self, given: Given) -> Iterator[tuple[Image, str]]:
        """The images without a digest that are meant, each with the digest that it has; "" where that is unknown."""
        verification = Verification(given, self.references.means, self._attestations, {}, unresolved=self.unresolved)
        for image in _FIELDS.of(given)[0]:
            if not image.digest and self.references.means(image.written):
                yield image, verification.digest(image.written)

    def _validated(self, images: Sequence[str], values: dict[str, Any]) -> tuple[Outcome, str]:
        if self._verify_digest:
            for image in images:
                if not named(image).digest:
                    return Outcome.FAIL, f"image {image} does not have a digest"
        for at, (program, message, expression) in enumerate(self._validations):
            if program(values) is not True:
                said = message
                if expression is not None:
                    try:
                        said = str(expression(values))
                    except LanguageError as error:
                        said = f"failed to evaluate message expression: {error.message}"
                return Outcome.FAIL, said or f"CEL expression validation failed at index {at}"
        return Outcome.PASS, "success"

    def _annotated(self, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for key, program in self._audit.items():
            try:
                value = program(values)
            except LanguageError as error:
                raise CelError(f"failed to evaluate auditAnnotation '{key}': {error.message}") from None
            if value is None:
                raise CelError(f"failed to convert auditAnnotation '{key}' expression")
            if value:
                yield key, str(value)


class ImageRule(Rule):
    partly = frozenset({IMAGES, VALUES})
    silent_by_kind = True
    pins = True

    def __init__(self, head: Head, config: str, scope: Scope, checks: ImageChecks) -> None:
        self.policy, self.scope, self.checks = head.policy, scope, checks
        self.name = f"autogen-{config}" if config else ""
        self.phase = Phase.VERIFY if head.admission else Phase.AUDIT
        self.enforce = "Deny" in head.actions
        self.warns = "Warn" in head.actions
        self._title = head.name
        self.predicate_types = types_of(checks.kinds)
        self.reads_templates = bool(config)
        self.beside: Sequence[ImageRule] = ()
        """All rules of the kind: an image that one of them verified is verified for each."""
        self.needs_request = "request.userInfo" if any("request.userInfo" in text for text in checks.texts) else ""

    def silence(self, request: Request, answers: Any) -> str | None:
        reason = super().silence(request, answers)
        if reason is None and request.operation == JSON:
            return "it judges objects of a cluster, and this is a JSON document"
        return reason

    def needs(self, given: Given) -> Needs:
        if self.checks.unresolved is not None:
            return Needs()
        images = [image for image in _FIELDS.of(given)[0]
                  if not image.digest and self.checks.references.means(image.written)]
        return Needs({image.name: frozenset() for image in images})

    def evaluate(self, given: Given) -> Spoken:
        if given.request.operation == "DELETE":
            return Spoken([])
        pins = self._pins(given)
        if isinstance(pins, str):
            return Spoken([self._result(given, Outcome.ERROR, "failed to update digest: failed to resolve "
                                        f"digest for image {pins}", rule="mutateDigest")])
        # What is judged is what is pinned.
        pinned = given.changed(pins) if pins else given
        judged = self.judged(pinned)
        if judged.outcome is Outcome.PASS and self.checks.required and (reason := self._unverified(pinned, judged)):
            judged = judged._replace(outcome=Outcome.FAIL, message=reason)
        rule = "evaluation" if judged.outcome is Outcome.ERROR else None
        return Spoken([self._result(given, judged.outcome, judged.message, rule=rule, properties=judged.properties)],
                      pins)

    def _pins(self, given: Given) -> list[dict[str, Any]] | str:
        """What pins the images that are meant; the name of one whose digest is not known."""
        pins: list[dict[str, Any]] = []
        if given.changes and self.pins and self.checks.mutate_digest:
            for image, digest in self.checks.pinned(given):
                if not digest:
                    return image.name
                pins.append({"op": "replace", "path": image.pointer, "value": f"{image.name}@{digest}"})
        return pins

    def vouched(self, given: Given, results: Sequence[RuleResult]) -> Iterator[Vouched]:
        own = [result for result in results if result.rule == self._title]
        pins = self._pins(given)
        if self.exceptions or isinstance(pins, str) or not own or any(
                result.outcome is not Outcome.PASS or SUMMARY in result.properties for result in own):
            return
        judged = self.judged(given.changed(pins) if pins else given)
        for (written, level), evidence in judged.relied.items():
            if digest := named(written).digest:
                yield Vouched(image=written, digest=digest, level=level, evidence=evidence)

    def judged(self, given: Given) -> Judged:
        """Once for a request, whoever asks."""
        known: Judged | None = given.memo.get(self)
        if known is None:
            missed = given.answers.missed
            with asking(given, self):
                known = self._judge(given)
            if given.answers.missed > missed:
                raise UnansweredError(given.answers.last)
            given.memo[self] = known
        return known

    def _judge(self, given: Given) -> Judged:
        return self.checks.judge(given, self)

    def _unverified(self, given: Given, judged: Judged) -> str:
        """Why an image that is meant counts as not verified, though nothing was said against it."""
        for image in judged.images:
            if judged.outcomes.get(image):
                continue
            said = [judged.outcomes.get(image), *(rule.judged(given).outcomes.get(image) for rule in self.beside
                                                  if rule is not self and rule.speaks(given))]
            if True in said:
                continue
            if False in said:
                return f"image {image} failed signature or attestation verification"
            return f"image {image} is not verified: no policy performed a signature or attestation check on it"
        return ""

    def speaks(self, given: Given) -> bool:
        """Whether it is asked about a request, and not excepted from it."""
        return self.silence(given.request, given.answers) is None and not any(
            exception.stands(given.context.now, existing=given.request.existing)
            and exception.holds(given) for exception in self.exceptions)

    def failed(self, given: Given, message: str) -> RuleResult:
        return self._result(given, Outcome.ERROR, message, rule="evaluation")

    def excepted(self, given: Given, holding: Sequence[PolicyException], outcome: Outcome) -> RuleResult:
        names = ", ".join(exception.name for exception in holding)
        word = "passed" if outcome is Outcome.PASS else "skipped"
        return result(self, given, holding, outcome, name="exception",
                      message=f"rule is {word} due to policy exception: {names}")

    def unexcepted(self, given: Given, message: str) -> RuleResult:
        return self.failed(given, f"failed to evaluate policy: {message}")

    def _result(self, given: Given, outcome: Outcome, message: str, *, rule: str | None = None,
                properties: Sequence[tuple[str, str]] = ()) -> RuleResult:
        told = ""
        if outcome in (Outcome.FAIL, Outcome.ERROR):
            told = f"Policy {self._title} {'failed' if outcome is Outcome.FAIL else 'error'}: {message}"
        return RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=self._title if rule is None else rule,
                          outcome=outcome, message=message, resource=given.resource, enforce=self.enforce,
                          warns=self.warns, told=told, properties=dict(properties))

    def sees(self, template: str, field: str) -> bool:  # noqa: ARG002 - every image of a pod
        return True


class ExtractedImageRule(ImageRule):
    """It judges a pod made of each pod template in an object; the first that it has something against counts."""

    pins = False  # a digest would have to be written into the template, as Kyverno does not either

    def _judge(self, given: Given) -> Judged:
        pods = pod_requests(given.request)
        if not pods:
            kind = given.request.kind
            version = f"{kind.group}/{kind.version}" if kind.group else kind.version
            return Judged(Outcome.ERROR, f"error: extraction mode: no pod template found in {version}/{kind.kind}", {})
        last = Judged(Outcome.SKIP, "skip", {})
        for path, request in pods:
            inner = Given(request, given.context, given.evidence, given.answers)
            judged = self.checks.judge(inner, self)
            outcomes = {**last.outcomes, **judged.outcomes}
            if judged.outcome in (Outcome.FAIL, Outcome.ERROR):
                return judged._replace(message=f"{judged.message} (pod template at {path})", outcomes=outcomes)
            last = judged._replace(outcomes=outcomes, images=(*last.images, *judged.images))
        return last


class JsonImageRule(ImageRule):
    """evaluation.mode JSON: of any JSON document, and of no request to an API server."""

    def silence(self, request: Request, answers: Any) -> str | None:  # noqa: ARG002 - it is about no cluster
        return None if request.operation == JSON else "it judges JSON documents, and no requests"


def compile_policy(document: dict[str, Any]) -> Policy:
    """Raises MalformedError and UnsupportedError, whose messages begin with a field's path."""
    return compile_heading(document, "kyverno-images").compiled(_rule, _EXPRESSIONS)


def _rule(spec: Fields, head: Head, config: str) -> Rule:
    checks = ImageChecks(spec, head)
    constraints = spec.inner("matchConstraints")
    if head.json:
        spec.done()
        return JsonImageRule(head, "", Scope(Block([Filter(where="spec.matchConstraints")])), checks)
    scope, _ = compile_constraints(constraints, namespace=head.namespace, judged=WRITTEN)
    spec.done()
    return (ExtractedImageRule if config == EXTRACT else ImageRule)(head, config, scope, checks)


def _base(fields: Fields | None) -> Authority:
    """How the registry is asked."""
    if fields is None:
        return Authority()
    insecure = fields.take("allowInsecureRegistry", bool) is True
    providers = named_providers(fields)
    secrets = tuple(name if "/" in name else f"kyverno/{name}" for name in fields.texts("secrets"))
    fields.done()
    return Authority(secrets=secrets, providers=providers, insecure=insecure)


def _attestations(fields: Fields) -> dict[str, Attestation]:
    attestations: dict[str, Attestation] = {}
    for entry in fields.each("attestations"):
        name = entry.need("name", str)
        forms = [form for form in ("intoto", "referrer") if entry.has(form)]
        if len(forms) != 1:
            raise MalformedError(entry.where, got=" and ".join(forms) or "nothing", expected="one of intoto, referrer")
        inner = entry.inner(forms[0])
        assert inner is not None
        attestations[name] = Attestation(forms[0], inner.need("type", str))
        inner.done()
        entry.done()
    return attestations


def _error(error: LanguageError | CustodyError) -> Judged:
    return Judged(Outcome.ERROR, f"failed to evaluate policy: {error.message}", {})
