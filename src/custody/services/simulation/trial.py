"""One resource tried out: every policy in the order in which the Kyverno CLI asks them, each on what those before made.

A cluster asks phase by phase (`policy.decide`); who tries policies out is told of each policy by itself, with the
object as that policy left it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from custody.errors import CustodyError
from custody.evidence.model import EvidenceSet
from custody.policy.decide import spoken
from custody.policy.given import Given
from custody.policy.kinds import Kinds
from custody.policy.load import PolicySet
from custody.policy.lookup import Answers
from custody.policy.model import Change, Context, Outcome, Request, Resource, RuleResult
from custody.policy.phases import Phase
from custody.policy.rule import Rule, Spoken
from custody.ports.lookup import Answer, Question
from custody.services.simulation.documents import guessed, kind_of, name_of, namespace_of
from custody.services.simulation.policies import CEL, KYVERNO, Tried
from custody.services.simulation.values import Values, Who, put
from custody.services.simulation.world import World


class Type(enum.StrEnum):
    """What a rule does, in the words of the Kyverno CLI."""

    MUTATION = "Mutation"
    IMAGES = "ImageVerify"
    VALIDATION = "Validation"
    GENERATION = "Generation"
    DELETION = "Deletion"


class Said(NamedTuple):
    """What a rule says of the resource."""

    type: Type
    result: RuleResult
    changes: tuple[Change, ...] = ()

    @property
    def generated(self) -> list[dict[str, Any]]:
        return [change.object for change in self.changes if change.verb in ("create", "apply")]

    @property
    def targets(self) -> list[dict[str, Any]]:
        """Objects that were there, as the rule changes them."""
        return [change.object for change in self.changes if change.verb == "patch"]


@dataclass
class Response:
    """One policy about one resource. Without rules, none of its rules spoke."""

    tried: Tried
    resource: dict[str, Any]
    patched: dict[str, Any]
    """The resource as it is after the policy."""
    rules: list[Said] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is tried out, and on what."""

    policies: Sequence[Tried]
    compiled: PolicySet
    """All of them."""
    kinds: Kinds
    world: World
    values: Values
    who: Who
    now: datetime


class Asked(NamedTuple):
    """What a trial met and nobody had said."""

    questions: dict[Question, None]
    images: dict[str, None]


_KPOL = ("ClusterPolicy", "Policy")
_GENERATING = ("GeneratingPolicy", "NamespacedGeneratingPolicy")
_DELETING = ("DeletingPolicy", "NamespacedDeletingPolicy", "CleanupPolicy", "ClusterCleanupPolicy")
_IMAGES = ("ImageValidatingPolicy", "NamespacedImageValidatingPolicy")


class Trial:
    """All policies on one resource. `operation` is of the request where the values do not say another."""

    def __init__(self, bench: Bench, resource: dict[str, Any], operation: str = "", *,
                 outside: Mapping[Question, Answer], evidence: Mapping[str, EvidenceSet], default: bool = True) -> None:
        """`default`: whether policies that no request asks, which delete, speak too."""
        self._bench = bench
        self._resource = resource
        self._current = resource
        self._operation = operation
        self._evidence = evidence
        self._default = default
        self._answers = {engine: Answers(bench.world.answers(engine, outside)) for engine in (KYVERNO, CEL)}
        self.responses: list[Response] = []

    def run(self) -> list[Response]:
        mine = self._bench.policies
        classic = [tried for tried in mine if tried.kind in _KPOL]
        for tried in classic:
            if tried.writes("mutate"):
                self._respond(tried, (Phase.MUTATE,), cascade=True)
        for tried in classic:
            if tried.writes("verifyImages"):
                self._respond(tried, (Phase.VERIFY,), cascade=True)
        for tried in classic:
            if tried.writes("validate"):
                self._respond(tried, (Phase.VALIDATE,), cascade=True)
        for tried in mine:
            if tried.kind == "MutatingAdmissionPolicy":
                self._respond(tried, (Phase.MUTATE,), cascade=True, empty=False)
        self._mutating([tried for tried in mine if tried.kind in ("MutatingPolicy", "NamespacedMutatingPolicy")])
        for tried in mine:
            if tried.kind in ("ValidatingPolicy", "NamespacedValidatingPolicy"):
                self._respond(tried, (Phase.VALIDATE, Phase.AUDIT), empty=not plain(tried))
        for tried in mine:
            if tried.kind in _GENERATING:
                self._respond(tried, (Phase.GENERATE,), empty=False)
        for tried in classic:
            if tried.writes("generate"):
                self._respond(tried, (Phase.GENERATE,), empty=False, only="generate")
        for tried in mine:
            if tried.kind == "ValidatingAdmissionPolicy":
                self._respond(tried, (Phase.VALIDATE, Phase.AUDIT))
        for tried in mine:
            if tried.kind in _IMAGES:
                self._respond(tried, (Phase.VERIFY, Phase.VALIDATE))
        for tried in mine:
            if tried.kind in _DELETING and self._default:
                self._respond(tried, (Phase.GENERATE,), empty=False)
        return self.responses

    def asks(self) -> Asked:
        questions: dict[Question, None] = {}
        images: dict[str, None] = {}
        for answers in self._answers.values():
            questions |= answers.asked
            images |= answers.images
        return Asked(questions, images)

    def _mutating(self, policies: Sequence[Tried]) -> None:
        """They answer together: each is told with the object as all of them leave it."""
        before = len(self.responses)
        for tried in policies:
            self._respond(tried, (Phase.MUTATE,), cascade=True, empty=not plain(tried))
        for response in self.responses[before:]:
            response.patched = self._current
        for tried in policies:
            self._respond(tried, (Phase.GENERATE,), empty=False)

    def _respond(self, tried: Tried, phases: tuple[Phase, ...], *, cascade: bool = False, empty: bool = True,
                 only: str = "") -> None:
        """`empty`: whether there is an answer where no rule speaks. `only`: which rules, of those that generate."""
        given = self._given(tried)
        rules: list[Said] = []
        for phase, rule in _rules(tried, phases, only):
            given.changes = phase in (Phase.MUTATE, Phase.VERIFY)
            said = spoken(rule, given)
            if isinstance(said, str):
                continue
            if said.patch and given.changes:
                given, said = _changed(rule, given, said)
            rules += _said(tried, phase, said)
        if not (rules or empty):
            return
        if cascade:
            self._current = given.object or {}
        self.responses.append(Response(tried, self._resource, given.object or {}, rules))

    def _given(self, tried: Tried) -> Given:
        bench = self._bench
        group = KYVERNO if tried.group == KYVERNO else CEL
        simulated = None
        operation = self._operation
        resource = self._current
        values: dict[str, Any] = {}
        if group == KYVERNO:
            values = bench.values.of(tried.name, name_of(resource))
            if operation:
                values["request.operation"] = operation
            operation = str(values["request.operation"])
            simulated = bench.values.simulated(tried.name, values)
        else:
            operation = operation or bench.values.operation
        request = _request(resource, operation, bench)
        for name, value in values.items():
            if name.startswith("request."):
                request = _with(request, name.removeprefix("request."), value)
        return Given(bench.kinds.located(request), Context(now=bench.now, simulated=simulated), self._evidence,
                     self._answers[group])


def _rules(tried: Tried, phases: tuple[Phase, ...], only: str) -> Iterator[tuple[Phase, Rule]]:
    existing = _existing(tried) if tried.kind in _KPOL else frozenset()
    for phase in phases:
        for rule in tried.policy.rules:
            base = rule.name.removeprefix("autogen-cronjob-").removeprefix("autogen-")
            if rule.phase is Phase.GENERATE and tried.kind in _KPOL:
                mutates = base in existing
                if (phase is Phase.MUTATE and mutates) or (phase is Phase.GENERATE and only and not mutates):
                    yield Phase.GENERATE, rule
            elif rule.phase is phase:
                yield phase, rule


def _existing(tried: Tried) -> frozenset[str]:
    """Names of the rules that change what is there."""
    rules = [rule for rule in tried.spec.get("rules") or () if isinstance(rule, dict)]
    return frozenset(str(rule.get("name")) for rule in rules
                     if isinstance(mutate := rule.get("mutate"), dict) and mutate.get("targets"))


def _said(tried: Tried, phase: Phase, said: Spoken) -> Iterator[Said]:
    changes = tuple(said.changes)
    kind = {Phase.MUTATE: Type.MUTATION, Phase.VERIFY: Type.IMAGES, Phase.GENERATE: Type.GENERATION}.get(
        phase, Type.VALIDATION)
    if tried.kind in _DELETING:
        kind = Type.DELETION
    elif tried.kind in _IMAGES:
        kind = Type.IMAGES
    elif phase is Phase.GENERATE and (
            "Mutating" in tried.kind or any(change.verb == "patch" for change in changes)):
        kind = Type.MUTATION
    for at, result in enumerate(said.results):
        yield Said(kind, result, changes if at == 0 else ())


def _changed(rule: Rule, given: Given, said: Spoken) -> tuple[Given, Spoken]:
    try:
        changed = given.changed(said.patch)
    except CustodyError as error:
        return given, Spoken([rule.failed(given, f"its patch does not fit: {error.message}")])
    return changed, said


def _request(resource: dict[str, Any], operation: str, bench: Bench) -> Request:
    own = kind_of(resource)
    part = next((part for part in bench.values.parts if part.own == own), None)
    kind = part.parent if part is not None else own
    known = next((known for known in bench.kinds.resources
                  if (known.kind, known.version, known.group) == (kind.kind, kind.version, kind.group)), None)
    plural = (known or guessed(kind)).plural
    deleted, updated = operation == "DELETE", operation == "UPDATE"
    return Request(
        operation=operation if operation in ("CREATE", "UPDATE", "DELETE", "CONNECT") else "CREATE", kind=own,
        namespace=resource_namespace(resource, kind.kind), name=name_of(resource), user=bench.who.user,
        object=None if deleted else resource, old_object=resource if deleted or updated else None,
        subresource=part.name if part is not None else "", parent=part.parent if part is not None else None,
        resource=Resource(plural, kind.version, kind.group))


def resource_namespace(resource: dict[str, Any], kind: str) -> str:
    """As the API server says it of a request: a Namespace is in itself."""
    return name_of(resource) if kind == "Namespace" and kind_of(resource).group == "" else namespace_of(resource)


_TEXTS: dict[str, Callable[[Request, str], Request]] = {
    "namespace": lambda request, value: msgspec.structs.replace(request, namespace=value),
    "name": lambda request, value: msgspec.structs.replace(request, name=value)}


def _with(request: Request, name: str, value: Any) -> Request:
    """The request with what a values file says of it."""
    if name in _TEXTS and isinstance(value, str):
        return _TEXTS[name](request, value)
    field_name, dot, rest = name.partition(".")
    if field_name in ("object", "oldObject"):
        attribute = "object" if field_name == "object" else "old_object"
        holder: dict[str, Any] = {field_name: getattr(request, attribute) or {}}
        put(holder, name, value)
        return msgspec.structs.replace(request, **{attribute: holder[field_name]})
    if field_name == "userInfo" and dot:
        user = msgspec.structs.asdict(request.user)
        if rest in ("username", "uid") and isinstance(value, str):
            user[rest] = value
        elif rest == "groups" and isinstance(value, list):
            user["groups"] = tuple(map(str, value))
        return msgspec.structs.replace(request, user=type(request.user)(**user))
    if name == "dryRun" and isinstance(value, bool):
        return msgspec.structs.replace(request, dry_run=value)
    return request


def plain(tried: Tried) -> bool:
    """Whether a policy selects by one rule of resources and nothing else.

    The Kyverno CLI says nothing at all of such a policy where it does not match, and "excluded" of any other.
    """
    match = tried.spec.get("matchConstraints")
    if not isinstance(match, dict):
        return False
    for name in ("namespaceSelector", "objectSelector"):
        selector = match.get(name)
        if isinstance(selector, dict) and (selector.get("matchLabels") or selector.get("matchExpressions")):
            return False
    rules = match.get("resourceRules") or []
    return not match.get("excludeResourceRules") and len(rules) == 1 and not rules[0].get("resourceNames")


def outcome(said: RuleResult, tried: Tried, *, audit_warn: bool = False) -> str:
    """What a report calls it: a failure of a policy that is not scored is a warning."""
    if said.outcome is Outcome.FAIL and (not tried.scored or (audit_warn and not said.enforce)):
        return "warn"
    return said.outcome.value
