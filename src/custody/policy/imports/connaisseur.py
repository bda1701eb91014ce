"""Connaisseur's configuration as an engine (connaisseur v3: its config.yaml, or the values.yaml of its chart).

Each image of a pod, or of what makes pods, is judged by the most specific rule whose pattern fits; where none does, it
is denied. It has no kind: a document with `validators`, or with `application.validators`, is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.policy.engine import Documents, Finding, Unit
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.images import Image, images_of
from custody.policy.imports.parents import parent_images
from custody.policy.imports.specificity import Pattern, Specificity
from custody.policy.imports.validators import Demand, Options, Signed, Static, Validator, options, validator
from custody.policy.kinds import Kinds
from custody.policy.kyverno.imagefields import ImageFields
from custody.policy.kyverno.sought import evidence_for
from custody.policy.lookup import LookupFailedError, Together
from custody.policy.model import Outcome, RuleResult, Vouched
from custody.policy.phases import Phase
from custody.policy.podfields import TEMPLATES
from custody.policy.rule import Needs, Policy, Rule, Spoken
from custody.policy.scope import WRITTEN, Block, Filter, LabelSelector, Named, Requirement, Scope
from custody.policy.summaries import SUMMARY, summary_of, vouched
from custody.ports.lookup import Authority, Question

KIND = "Connaisseur"
"""What its policy is called in results."""
_NAME = "connaisseur"
_LABEL = "securesystemsengineering.connaisseur/webhook"
_KINDS = ("Pod", "Pod/ephemeralcontainers", "Deployment", "ReplicaSet", "DaemonSet", "StatefulSet",
          "ReplicationController", "Job", "CronJob")
_FIELDS = ImageFields({})
_NOTHING = Signed(None)
_MODES = ("mutate", "insecureValidateOnly")


class PatternRule(NamedTuple):
    pattern: Pattern
    validator: str
    approve: bool | None
    """Of a static validator; None for others."""
    type: str
    place: Authority
    demand: Demand | None
    mutates: bool


class Features(NamedTuple):
    """application.features of the chart's values, as far as they decide."""

    unchanged: bool = False
    """Images that an update leaves as they were pass."""
    children: bool = True
    """Images that the owner of an object has too pass."""
    detection: bool = False
    """Nothing is denied."""
    pods: bool = False
    """Of what is no Pod nothing is denied."""


class ConnaisseurRule(Rule):
    phase = Phase.VERIFY
    reads_templates = True

    def __init__(self, policy: Policy, scope: Scope, rules: Sequence[PatternRule], features: Features) -> None:
        self.policy, self.scope = policy, scope
        self.name = "policy"
        self.enforce = not features.detection
        self.rules = rules
        self.features = features
        self._specificity = Specificity([rule.pattern for rule in rules])

    def needs(self, given: Given) -> Needs:
        images: dict[str, frozenset[str]] = {}
        questions: list[Question] = []
        for image in _FIELDS.of(given)[0]:
            rule = self._of(image)
            if rule is None or rule.demand is None:
                continue
            if image.digest:
                questions += rule.demand.questions(f"{image.ref.name}@{image.digest}")
            elif rule.place == Authority():
                images[image.name] = frozenset()
        return Needs(images, questions)

    def evaluate(self, given: Given) -> Spoken:
        if given.request.operation == "DELETE" or _deleted(given):
            return Spoken([])
        images, unreadable = _FIELDS.of(given)
        judges = self.enforce and not (self.features.pods and given.request.kind.kind != "Pod")
        results = [self._result(given, Outcome.FAIL, f"invalid image reference: {error.message}", enforce=judges)
                   for error in unreadable]
        pins: list[dict[str, Any]] = []
        together = Together()
        for image in images:
            with together:
                outcome, message, signed, digest = self._judged(given, image)
                results.append(self._result(given, outcome, message, image, signed, enforce=judges))
                if digest and not image.digest and given.changes:
                    pins.append({"op": "replace", "path": image.pointer, "value": f"{image.name}@{digest}"})
        together.done()
        pods = not self.features.pods or given.request.kind.kind == "Pod"
        fine = pods and not any(result.outcome in (Outcome.FAIL, Outcome.ERROR) for result in results)
        return Spoken(results, pins if fine else ())

    def _of(self, image: Image) -> PatternRule | None:
        at = self._specificity.of(image)
        return None if at is None else self.rules[at]

    def _judged(self, given: Given, image: Image) -> tuple[Outcome, str, Signed, str]:
        """The outcome, words, what it relies on, and the digest that is to be pinned."""
        rule = self._of(image)
        if rule is None:
            return Outcome.FAIL, f"{image.written}: no matching rule", _NOTHING, ""
        if rule.demand is None:
            said = "allow" if rule.approve else "deny"
            return (Outcome.PASS if rule.approve else Outcome.FAIL,
                    f"static {said} for image {image.written} using rule {rule.pattern.text}", _NOTHING, "")
        if self.features.unchanged and image.written in _before(given):
            return (Outcome.SKIP, f"skipped validation: unchanged image reference for image {image.written}", _NOTHING,
                    "")
        if self.features.children and not self.features.pods and image.written in parent_images(given):
            return (Outcome.SKIP, "skipped validation: automatic approval of child image reference for image "
                    f"{image.written}", _NOTHING, "")
        signed, digest = self._validated(given, rule, image)
        if signed.problem is not None:
            return (Outcome.FAIL, f"error during {rule.type} validation of image {image.written}: {signed.problem}",
                    signed, "")
        return (Outcome.PASS, f"successfully validated image {image.written} using rule {rule.pattern.text} and "
                f"validator {rule.validator}. Result is {image.name.partition('@')[0]}@{digest}.", signed,
                digest if rule.mutates else "")

    def _validated(self, given: Given, rule: PatternRule, image: Image) -> tuple[Signed, str]:
        """What was found, once a request, and the image's digest."""
        known: tuple[Signed, str] | None = given.memo.get((self, image.name))
        if known is None:
            known = given.memo[self, image.name] = self._validate(given, rule, image)
        return known

    def _validate(self, given: Given, rule: PatternRule, image: Image) -> tuple[Signed, str]:
        assert rule.demand is not None
        try:
            digest, reason = _digest(given, rule, image)
            if not digest:
                return Signed(f"{image.name}: {reason or 'its digest is not known'}"), ""
            reached: dict[str, bool] = {}
            signed = rule.demand.judge(given, f"{image.ref.name}@{digest}", reached)
            if signed.problem is None or any(reached.values()):
                return signed, digest
            # None of the evidence can be had: a summary may say what was found before.
            summary = summary_of(self, given, image.ref, digest)
            if isinstance(summary, tuple):
                return Signed(None, [summary[0]], summary[1]), digest
            reason = f"; by no summary either: {summary}" if summary else ""
            return Signed(signed.problem + reason), digest
        except LookupFailedError as error:
            return Signed(error.message), ""

    def _result(self, given: Given, outcome: Outcome, message: str, image: Image | None = None,
                signed: Signed = _NOTHING, *, enforce: bool) -> RuleResult:
        return RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=self.name, outcome=outcome,
                          message=message, resource=given.resource, image=image.written if image else None,
                          evidence=tuple(dict.fromkeys(statement.evidence for statement in signed.statements)),
                          enforce=enforce, properties={SUMMARY: signed.summary} if signed.summary else {})

    def vouched(self, given: Given, results: Sequence[RuleResult]) -> Iterator[Vouched]:
        return vouched(self, given, results, lambda _: True)

    def sees(self, template: str, field: str) -> bool:  # noqa: ARG002 - every image of a pod
        return template in TEMPLATES.values()


def _digest(given: Given, rule: PatternRule, image: Image) -> tuple[str, str]:
    """Of an image, or why it is not known. Raises UnansweredError, LookupFailedError."""
    if image.digest:
        return image.digest, ""
    evidence = given.evidence_of(image) if rule.place == Authority() else evidence_for(
        given, image.name, rule.place, ())
    if evidence is None:
        return "", ""
    return evidence.subject, "; ".join(rejected.reason for rejected in evidence.rejected[:5])


def _deleted(given: Given) -> bool:
    """Whether an update is of what is being deleted: then only finalizers go."""
    metadata = (given.request.old_object or {}).get("metadata")
    return given.request.operation == "UPDATE" and isinstance(metadata, dict) and bool(
        metadata.get("deletionTimestamp"))


def _before(given: Given) -> frozenset[str]:
    """Names of images that an update finds."""
    pointer = TEMPLATES.get(given.request.kind.kind)
    if given.request.operation != "UPDATE" or pointer is None or given.request.old_object is None:
        return frozenset()
    return frozenset(image.written for image in images_of(given.request.old_object, pointer)[0])


class Connaisseur(Documents):
    """One configuration is one policy."""

    evaluates = "connaisseur 3 config.yaml and values.yaml"

    def compile(self, document: dict[str, Any]) -> Policy:
        return compile_configuration(document)

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:  # noqa: ARG002
        yield from ()


def compile_configuration(document: dict[str, Any]) -> Policy:
    """Raises MalformedError and UnsupportedError, whose messages begin with a field's path."""
    top = Fields(document, "")
    policy = Policy(_NAME, _NAME, kind=KIND)
    features, conditions = Features(), None
    application = top.inner("application")
    if application is not None:
        policy.failure_policy = _installed(top)
        features, conditions = _features(application.inner("features"))
        application.any("logLevel")
    alerting = top.take("alerting", dict)
    if alerting:
        raise UnsupportedError("alerting", "nobody here sends Connaisseur's alerts",
                               hint="events, reports and metrics say what was decided")
    spec = top if application is None else application
    validators: dict[str, Validator] = {}
    for entry in spec.each("validators"):
        name, made = validator(entry)
        if name in validators:
            raise MalformedError(entry.path("name"), got=f"{name} twice", expected="each name once")
        validators[name] = made
    entries = spec.each("policy")
    for field, said in (("validators", validators), ("policy", entries)):
        if not said:
            raise MalformedError(spec.path(field), got="nothing", expected="at least one")
    rules = [_rule(entry, validators) for entry in entries]
    spec.done()
    top.done()
    scope = Scope(Block([Filter(where="policy", kinds=[Named("policy", kind) for kind in _KINDS], operations=WRITTEN,
                                namespace_labels=conditions)]))
    policy.rules = [ConnaisseurRule(policy, scope, rules, features)]
    return policy


def _installed(top: Fields) -> str:
    """The webhook's failurePolicy. What else stands there is how Connaisseur itself is installed."""
    installed = top.take("kubernetes", dict) or {}
    webhook = Fields(installed.get("webhook") or {}, "kubernetes.webhook")
    policy = webhook.take("failurePolicy", str) or "Fail"
    if policy not in ("Fail", "Ignore"):
        raise MalformedError(webhook.path("failurePolicy"), got=policy, expected="Fail or Ignore")
    return policy


def _features(fields: Fields | None) -> tuple[Features, LabelSelector | None]:
    """What is not said is as the chart has it: namespaces may leave themselves out by a label."""
    if fields is None:
        fields = Fields({}, "application.features")
    unchanged, detection = (fields.take(name, bool) is True for name in (
        "automaticUnchangedApproval", "detectionMode"))
    children = fields.take("automaticChildApproval", bool) is not False
    mode = (fields.take("resourceValidationMode", str) or "all").lower()
    if mode not in ("all", "podsonly"):
        raise MalformedError(fields.path("resourceValidationMode"), got=mode, expected="all or podsOnly")
    fields.any("cache")  # how long Connaisseur keeps what it found: `keep_evidence` says it here
    validated = fields.inner("namespacedValidation") or Fields({}, fields.path("namespacedValidation"))
    where = validated.take("mode", str) or "ignore"
    validated.take("enabled", bool)
    validated.done()
    fields.done()
    if where not in ("ignore", "validate"):
        raise MalformedError(validated.path("mode"), got=where, expected="ignore or validate")
    selector = LabelSelector({}, [Requirement(_LABEL, "In" if where == "validate" else "NotIn", (where,))])
    return Features(unchanged, children, detection, mode == "podsonly"), selector


def _rule(fields: Fields, validators: Mapping[str, Validator]) -> PatternRule:
    pattern = Pattern.compile(fields.need("pattern", str), fields.path("pattern"))
    name = fields.take("validator", str) or "default"
    chosen = validators.get(name)
    if chosen is None:
        raise MalformedError(fields.path("validator"), got=f'validator "{name}" not found',
                             expected=", ".join(validators) or "one of validators")
    said = fields.inner("with")
    mode = (said.take("mode", str) if said is not None else None) or "mutate"
    if mode not in _MODES:
        raise MalformedError(fields.path("with.mode"), got=mode, expected=" or ".join(_MODES))
    demanded: Options = options(said, chosen.type)
    fields.done()
    if isinstance(chosen, Static):
        return PatternRule(pattern, name, chosen.approve, chosen.type, Authority(), None, mutates=False)
    return PatternRule(pattern, name, None, chosen.type, chosen.place, chosen.demand(demanded, fields.path("with")),
                 mutates=mode == "mutate")
