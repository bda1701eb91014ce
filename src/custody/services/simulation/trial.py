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
from custody.policy.model import Change, Context, Kind, Outcome, Request, Resource, RuleResult
from custody.policy.phases import Phase
from custody.policy.rule import Rule, Spoken
from custody.ports.lookup import Answer, Question
from custody.services.simulation.documents import guessed, kind_of, name_of, namespace_of
from custody.services.simulation.plan import DELETING, IMAGES, Plan, Step, plan
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


@dataclass(slots=True)
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
    _plurals: dict[Kind, str] = field(default_factory=dict)
    _plans: dict[tuple[bool, bool], Plan] = field(default_factory=dict)

    def plural(self, kind: Kind) -> str:
        if kind not in self._plurals:
            known = next((known for known in self.kinds.resources if (known.kind, known.version, known.group) == (
                kind.kind, kind.version, kind.group)), None)
            self._plurals[kind] = (known or guessed(kind)).plural
        return self._plurals[kind]

    def plan(self, *, default: bool, payload: bool) -> Plan:
        if (default, payload) not in self._plans:
            self._plans[default, payload] = plan(self.policies, default=default, payload=payload)
        return self._plans[default, payload]


class Asked(NamedTuple):
    """What a trial met and nobody had said."""

    questions: dict[Question, None]
    images: dict[str, None]


_CHANGING = frozenset({Phase.MUTATE, Phase.VERIFY})


class Trial:
    """All policies on one resource. `operation` is of the request where the values do not say another."""

    def __init__(self, bench: Bench, resource: dict[str, Any], operation: str = "", *,
                 outside: Mapping[Question, Answer], evidence: Mapping[str, EvidenceSet], default: bool = True,
                 payload: bool = False) -> None:
        """`default`: whether policies that no request asks, which delete, speak too. `payload`: JSON, no object of
        Kubernetes: only policies about such documents speak.
        """
        self._bench = bench
        self._resource = resource
        self._current = resource
        self._operation = operation
        self._evidence = evidence
        self._default = default
        self._payload = payload
        self._answers = {engine: Answers(bench.world.answers(engine, outside)) for engine in (KYVERNO, CEL)}
        self._plain: dict[str, Given] = {}
        """By engine, the request that policies of which no values are said share, while none changes the object."""
        self.responses: list[Response] = []

    def run(self) -> list[Response]:
        plan = self._bench.plan(default=self._default, payload=self._payload)
        for step in plan.first:
            self._respond(step)
        before = len(self.responses)
        for step in plan.together:
            self._respond(step)
        for response in self.responses[before:]:
            response.patched = self._current
        for step in plan.last:
            self._respond(step)
        return self.responses

    def asks(self) -> Asked:
        questions: dict[Question, None] = {}
        images: dict[str, None] = {}
        for answers in self._answers.values():
            questions |= answers.asked
            images |= answers.images
        return Asked(questions, images)

    def _respond(self, step: Step) -> None:
        given = self._plain.get(step.group) if step.alike else None
        if given is None:
            given = self._given(step)
        rules: list[Said] = []
        for phase, rule in step.asked(given.request):
            given.changes = phase in _CHANGING
            said = spoken(rule, given)
            if isinstance(said, str):
                continue
            if said.patch and given.changes:
                given, said = _changed(rule, given, said)
            if step.judges:
                rules += [Said(Type.VALIDATION, result) for result in said.results]
            else:
                rules += _said(step.tried, phase, said)
        if not (rules or step.empty):
            return
        patched = given.object or {}
        if step.cascade and patched is not self._current:
            self._current = patched
            self._plain.clear()
        self.responses.append(Response(step.tried, self._resource, patched, rules))

    def _given(self, step: Step) -> Given:
        bench, tried, group = self._bench, step.tried, step.group
        resource = self._current
        json, deleting = self._payload or tried.of_json, tried.kind in DELETING
        simulated = None
        operation = self._operation
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
        if json:
            request = msgspec.structs.replace(request, operation="", object=resource, old_object=None)
        elif deleting:
            request = msgspec.structs.replace(request, existing=True)
        for name, value in values.items():
            if name.startswith("request."):
                request = _with(request, name.removeprefix("request."), value)
        given = Given(bench.kinds.located(request), Context(now=bench.now, simulated=simulated), self._evidence,
                      self._answers[group])
        if step.alike and not self._payload and (group == CEL or bench.values.silent):
            self._plain[group] = given
        return given


def _said(tried: Tried, phase: Phase, said: Spoken) -> Iterator[Said]:
    changes = tuple(said.changes)
    kind = {Phase.MUTATE: Type.MUTATION, Phase.VERIFY: Type.IMAGES, Phase.GENERATE: Type.GENERATION}.get(
        phase, Type.VALIDATION)
    if tried.kind in DELETING:
        kind = Type.DELETION
    elif tried.kind in IMAGES:
        kind = Type.IMAGES
    elif phase is Phase.GENERATE and (
            "Mutating" in tried.kind or any(change.verb == "patch" for change in changes)):
        kind = Type.MUTATION
    for at, result in enumerate(said.results):
        if kind is Type.DELETION:  # in words of who asks whether it would go
            result = msgspec.structs.replace(result, rule=tried.name)
            if result.outcome is Outcome.SKIP:
                result = msgspec.structs.replace(result, outcome=Outcome.FAIL, message="resource did not match")
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
    plural = bench.plural(kind)
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


def outcome(said: RuleResult, tried: Tried, *, audit_warn: bool = False) -> str:
    """What a report calls it: a failure of a policy that is not scored is a warning."""
    if said.outcome is Outcome.FAIL and (not tried.scored or (audit_warn and not said.enforce)):
        return "warn"
    return said.outcome.value
