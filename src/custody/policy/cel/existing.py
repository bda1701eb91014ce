"""Mutation of what lies in the cluster: MutatingPolicies with `evaluation.mutateExisting` (pkg/background/mpol).

A request that the policy matches is a trigger. Targets are what `targetMatchConstraints` select, by rules or by an
expression, and without them what `matchConstraints` do; those that `targetMatchConditions` hold for are changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from custody.errors import CustodyError, MalformedError
from custody.formats import jsonpatch
from custody.policy.cel.constraints import compile_constraints
from custody.policy.cel.evaluated import Evaluated, hold
from custody.policy.cel.mutating import MutatingRule
from custody.policy.evidenceview import types_of
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kinds import builtin
from custody.policy.lookup import Answers, LookupFailedError, UnansweredError
from custody.policy.model import Change, Outcome, Request, Resource, RuleResult
from custody.policy.phases import Phase
from custody.policy.rule import Spoken
from custody.policy.worlds import asking, path_of
from custody.ports.lookup import ApiCall
from policylang.cel.types import ANY, DYN, STRING, map_of
from policylang.errors import LanguageError, Shape

MAX_TARGETS = 10_000
"""Objects that one trigger may change."""


class ExistingRule(Evaluated):
    """It changes other objects than the one that is asked about."""

    phase = Phase.GENERATE

    def __init__(self, mutation: MutatingRule, targets: dict[str, Any] | None, namespace: str, *,
                 admission: bool, background_requests: bool = False) -> None:
        """`mutation` is the policy's rule of pods or whatever it is about. `background_requests`: whether what
        controllers of policies ask for is a trigger. Raises MalformedError, UnsupportedError."""
        self.skip_background_requests = not background_requests
        self.policy, self.scope, self.variables = mutation.policy, mutation.scope, mutation.variables
        self._mutation, self._namespace, self._admission = mutation, namespace, admission
        self._chosen = None
        self._targets = mutation.scope
        if targets is not None:
            fields = Fields(targets, "spec.targetMatchConstraints")
            if (text := fields.take("expression", str)) is not None:
                self._chosen = mutation.expressions.program(text, fields.path("expression"), map_of(STRING, ANY), DYN,
                                                            map_of(STRING, DYN))
                compile_constraints(fields, where=fields.where, needed=False, operations="optional")
            else:
                self._targets, _ = compile_constraints(fields, where=fields.where, namespace=namespace,
                                                       operations="optional")
        self.reads = frozenset(mutation.expressions.reads)
        self.predicate_types = types_of(mutation.expressions.kinds)

    def silence(self, request: Request, answers: Answers) -> str | None:
        if request.existing:  # whatever evaluation.background says: that is about reports
            return self.scope.silence(request, answers)
        if not self._admission:
            return "its policy is about what lies in the cluster alone (evaluation.admission: false)"
        return super().silence(request, answers)

    def evaluate(self, given: Given) -> Spoken:
        results: list[RuleResult] = []
        changes: list[Change] = []
        with asking(given, self):
            try:
                if not hold(self._mutation.conditions, self.trigger(given)):
                    return Spoken([self.result(given, Outcome.SKIP, "skip")])
                results += [self._mutated(given, target, changes) for target in self._objects(given)]
            except UnansweredError:
                raise
            except (CustodyError, LanguageError) as error:
                results.append(self.erred(given, error))
        return Spoken(results or [self.result(given, Outcome.SKIP, "no targets matched")], changes=changes)

    def trigger(self, given: Given) -> dict[str, Any]:
        """What expressions about the trigger are evaluated on: of what is deleted, `object` is what it was."""
        request = given.request
        return self.values(given, **({"object": request.old_object} if request.operation == "DELETE"
                                     and request.object is None else {}))

    def _mutated(self, given: Given, target: dict[str, Any], changes: list[Change]) -> RuleResult:
        values = self.values(given, object=target, oldObject=None)
        try:
            if not hold(self._mutation.target_conditions, values):
                return self.result(given, Outcome.SKIP, "skip")
            patched = self._mutation.mutated(values, target, given)
        except UnansweredError:
            raise
        except (CustodyError, LanguageError) as error:
            return self.erred(given, error)
        if not jsonpatch.equal(patched, target):
            changes.append(Change(policy=self.policy.name, rule=self.name, verb="patch", object=patched, before=target))
        return self.result(given, Outcome.PASS, "success")

    def _objects(self, given: Given) -> Iterator[dict[str, Any]]:
        """The targets. Raises UnansweredError, LookupFailedError."""
        if self._chosen is not None:
            listed = self._chosen(self.trigger(given))
            yield from _items(listed, "spec.targetMatchConstraints.expression")
            return
        missing: UnansweredError | None = None
        count = 0
        for path in self._paths():
            question = ApiCall(path)
            try:
                listed = given.answers.value(question)
            except UnansweredError as error:
                missing = missing or error  # so that all are asked at once
                continue
            if missing is not None or listed is None:
                continue
            if not isinstance(listed, dict):
                raise LookupFailedError(question, f"got {Shape(listed)}, expected a list")
            for target in _items(listed, path):
                if self._selected(target, given):
                    count += 1
                    if count > MAX_TARGETS:
                        raise MalformedError("targets", got="more", expected=f"at most {MAX_TARGETS} objects to change")
                    yield target
        if missing is not None:
            raise missing

    def _selected(self, target: dict[str, Any], given: Given) -> bool:
        """As if the trigger's operation were on the target."""
        request = msgspec.structs.replace(Request.create(target), operation=given.request.operation)
        return self._targets.silence(request, given.answers) is None

    def _paths(self) -> list[str]:
        """Of the lists of what may be a target."""
        paths: dict[str, None] = {}
        for rule in (rule for part in self._targets.match.filters for rule in part.resources):
            for resource in builtin().resources:
                if rule.selects(Resource(resource.plural, resource.version, resource.group), "", ""):
                    version = f"{resource.group}/{resource.version}" if resource.group else resource.version
                    paths[path_of(version, resource.plural, self._namespace if resource.namespaced else "")] = None
        return [*paths]


def _items(listed: Any, where: str) -> Iterator[dict[str, Any]]:
    """Of a list as the API server answers it, whose items leave out what the list says; or one object."""
    if not isinstance(listed, dict):
        raise MalformedError(where, got=Shape(listed), expected="an object or a list of objects")
    if not isinstance(listed.get("items"), list):
        yield listed
        return
    kind = str(listed.get("kind") or "").removesuffix("List")
    for item in listed["items"]:
        if isinstance(item, dict):
            yield {"apiVersion": listed.get("apiVersion"), "kind": kind, **item}
