"""Constraints (constraints.gatekeeper.sh): a template's judgement, with parameters, of what a match selects.

What a violation leads to depends on where it is found: at admission, in what lies in a cluster, or at a command line
(frameworks/constraint pkg/apis/constraints, Gatekeeper pkg/util/enforcement_action.go).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from custody.errors import MalformedError
from custody.policy.areas import Areas
from custody.policy.evidencecontents import types_of
from custody.policy.evidenceview import needs_of, relied_on, viewed
from custody.policy.fields import Fields
from custody.policy.gatekeeper import config
from custody.policy.gatekeeper.config import Config
from custody.policy.gatekeeper.matching import Match, scope_of
from custody.policy.gatekeeper.provider import NOBODY, Providers
from custody.policy.gatekeeper.regosource import Violation
from custody.policy.gatekeeper.reviewed import Reviewed
from custody.policy.gatekeeper.template import Template
from custody.policy.given import Given
from custody.policy.model import Outcome, Request, RuleResult
from custody.policy.phases import Phase
from custody.policy.rule import Needs, Policy, Rule, Spoken

VERSIONS = ("v1beta1", "v1alpha1")
WEBHOOK, AUDIT, COMMAND, ADMISSION_POLICY = (
    "validation.gatekeeper.sh", "audit.gatekeeper.sh", "gator.gatekeeper.sh", "vap.k8s.io")
POINTS = (WEBHOOK, AUDIT, COMMAND, ADMISSION_POLICY)
ACTIONS = ("deny", "dryrun", "warn")
_SCOPED, _EVERYWHERE = "scoped", "*"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class SchemaError(MalformedError):
    """A constraint is not what its template describes."""


class Constraint:
    """One constraint, before its template is known."""

    def __init__(self, document: dict[str, Any], kind: str) -> None:
        """Raises MalformedError."""
        self.kind = kind
        self.document = document
        self.name = Fields(Fields(document, "").need("metadata", dict), "metadata").need("name", str)
        if not _NAME.fullmatch(self.name) or len(self.name) > 253:
            raise MalformedError("metadata.name", got=self.name, expected="a DNS subdomain in small letters")

    def of(self, template: Template, providers: Providers = NOBODY) -> ConstraintRule:
        """With its template's schema held, and defaults written in. Raises SchemaError, MalformedError."""
        document = copy.deepcopy({name: value for name, value in self.document.items() if name != "status"})
        if faults := template.schema.faults(document, ""):
            raise SchemaError("schema", got=faults[0], expected=f"what template {template.name} describes")
        if unknown := sorted(template.schema.unknown(document, "")):
            raise MalformedError(unknown[0], got="a field that nobody described",
                                 expected=f"what template {template.name} describes")
        template.schema.fill(document)
        return ConstraintRule(template, document, self.name, providers)


class ConstraintRule(Rule):
    phase = Phase.VALIDATE
    settings: Config | None = None
    """What leaves namespaces out."""

    def __init__(self, template: Template, document: dict[str, Any], name: str,
                 providers: Providers = NOBODY) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.name = ""
        self.providers = providers
        self.policy = Policy(name, "gatekeeper", kind=template.kind)
        self.policy.rules = [self]
        self.template, self.document = template, document
        spec = Fields(document.get("spec") or {}, "spec")
        self.scope, self.match = scope_of(spec.inner("match"), template.operations)
        self.actions = _actions(spec)
        self.enforce = "deny" in self.actions[WEBHOOK]
        self.policy.background = bool(self.actions[AUDIT] or self.actions[COMMAND])
        self.policy.admission = bool(self.actions[WEBHOOK])
        self.reads_templates = any("template" in text for text in template.source.texts)
        self._kinds = template.source.kinds_with((document.get("spec") or {}).get("parameters"))
        self.predicate_types = types_of(self._kinds)
        self._asks = template.source, json.dumps(
            document if template.source.whole else (document.get("spec") or {}).get("parameters"), sort_keys=True)
        """What makes two constraints ask the same of one request."""

    def areas(self) -> Areas | None:
        return self.template.source.areas

    @property
    def wants(self) -> bool:
        return bool(self._kinds)

    def needs(self, given: Given) -> Needs:
        return needs_of(given, self._kinds)

    def silence(self, request: Request, answers: Any) -> str | None:
        reason = super().silence(request, answers)
        if reason is None and not request.existing and request.operation not in self.scope.judged and not (
                # A review that is tried out at a command line was asked about, whatever a webhook would have been.
                isinstance(request, Reviewed) and not self.template.operations):
            return f"its template is about {', '.join(self.scope.judged)}"
        if reason is None and self.settings is not None:
            return self.settings.silence(request, config.AUDIT if request.existing else config.WEBHOOK)
        return reason

    def evaluate(self, given: Given) -> Spoken:
        actions = self.actions[point_of(given)]
        return Spoken(self.judged(given, actions) if actions else [])  # it speaks at other points

    def judged(self, given: Given, actions: tuple[str, ...]) -> list[RuleResult]:
        """A result each violation, else one that it passes. Raises UnansweredError, LookupFailedError."""
        judged = given.memo.get(self._asks)
        if judged is None:
            before = viewed(given)
            violations = [*self.template.source.violations(given, self.document, self.providers)]
            judged = given.memo[self._asks] = violations, relied_on(given, before)
        violations, relied = judged
        results = [self._result(given, violation, actions) for violation in violations] or [RuleResult(
            policy=self.policy.name, kind=self.policy.kind, rule="", outcome=Outcome.PASS, message="",
            resource=given.resource, enforce="deny" in actions)]
        return [msgspec.structs.replace(result, evidence=relied) for result in results] if relied else results

    def _result(self, given: Given, violation: Violation, actions: tuple[str, ...]) -> RuleResult:
        return RuleResult(
            policy=self.policy.name, kind=self.policy.kind, rule="", resource=given.resource,
            outcome=Outcome.ERROR if violation.error else Outcome.FAIL, message=violation.message,
            enforce="deny" in actions, warns="warn" in actions, told=f"[{self.policy.name}] {violation.message}",
            properties={"enforcementAction": ",".join(actions), **(
                {"details": json.dumps(violation.details, sort_keys=True)} if violation.details else {})})

    def failed(self, given: Given, message: str) -> RuleResult:
        actions = self.actions[point_of(given)]
        result = self._result(given, Violation(message, error=True), actions)
        return result if actions else msgspec.structs.replace(result, outcome=Outcome.SKIP)  # it speaks at other points

    def sees(self, template: str, field: str) -> bool:  # noqa: ARG002 - code may build a path
        words = [word for word in field.split("/") if word not in ("", "[]")]
        return all(any(word in text for text in self.template.source.texts) for word in words)


def point_of(given: Given) -> str:
    """Where a request is judged."""
    return given.context.point or (AUDIT if given.request.existing else WEBHOOK)


def _actions(spec: Fields) -> dict[str, tuple[str, ...]]:
    """By point; () where a constraint is not enforced. Raises MalformedError."""
    action = spec.take("enforcementAction", str) or "deny"
    scoped = spec.each("scopedEnforcementActions")
    if action != _SCOPED:
        if action not in ACTIONS:
            raise MalformedError(spec.path("enforcementAction"), got=action,
                                 expected=", ".join([*ACTIONS, _SCOPED]))
        return dict.fromkeys(POINTS, (action,))
    if not scoped:
        raise MalformedError(spec.path("scopedEnforcementActions"), got="nothing", expected="at least one action")
    actions: dict[str, dict[str, None]] = {point: {} for point in POINTS}
    for entry in scoped:
        named = entry.need("action", str)
        if named not in ACTIONS:
            raise MalformedError(entry.path("action"), got=named, expected=", ".join(ACTIONS))
        points = list(_points(entry))
        if not points:
            raise MalformedError(entry.path("enforcementPoints"), got="nothing", expected="at least one point, or *")
        for point in points:
            actions[point][named] = None
    return {point: tuple(named) for point, named in actions.items()}


def _points(entry: Fields) -> Iterator[str]:
    for point in entry.each("enforcementPoints"):
        name = point.need("name", str)
        if name == _EVERYWHERE:
            yield from POINTS
        elif name in POINTS:
            yield name
        else:
            raise MalformedError(point.path("name"), got=name, expected=", ".join([*POINTS, _EVERYWHERE]))


__all__ = ["ADMISSION_POLICY", "AUDIT", "COMMAND", "POINTS", "WEBHOOK", "Constraint", "ConstraintRule", "Match",
           "SchemaError", "point_of"]
