"""Constraints, and objects that they are about, all from one heap of documents: what `gator test` does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from custody.errors import MalformedError
from custody.policy.decide import spoken
from custody.policy.engine import Unit
from custody.policy.engines import ENGINES, Compiled
from custody.policy.gatekeeper.constraint import COMMAND, Constraint, ConstraintRule
from custody.policy.gatekeeper.engine import Gatekeeper
from custody.policy.gatekeeper.expansion import Expansion, ExpansionTemplate, ImpliedRule
from custody.policy.gatekeeper.mutation import Mutation
from custody.policy.gatekeeper.mutators import Mutator
from custody.policy.gatekeeper.reviewed import Reviewed
from custody.policy.gatekeeper.template import Template
from custody.policy.given import Given
from custody.policy.kinds import Kinds
from custody.policy.lookup import Answers, UnansweredError
from custody.policy.model import Context, Outcome, Request
from custody.ports.lookup import Answer, Answered, ExternalData, NamespaceLabels, Question
from custody.services.simulation.suites import Offline

Ask = Callable[[Sequence[Question]], Mapping[Question, Answer]]
Located = Sequence[tuple[str, dict[str, Any]]]
"""Documents, and where each stands."""
ROUNDS = 8
_GROUPS = frozenset(group for group, _ in ENGINES if group.endswith(".gatekeeper.sh")) - {
    "config.gatekeeper.sh", "syncset.gatekeeper.sh"}  # what a cluster keeps: here the heap is the inventory


class Violation(NamedTuple):
    """What a constraint has against an object."""

    constraint: dict[str, Any]
    """With its defaults."""
    message: str
    details: Any
    actions: tuple[str, ...]
    """deny, warn or dryrun; several of a scoped constraint."""
    object: dict[str, Any]
    scoped: bool

    @property
    def denies(self) -> bool:
        return "deny" in self.actions


class Trial:
    def __init__(self, documents: Located, kinds: Kinds, now: datetime, ask: Ask | None = None, *,
                 language: str = "") -> None:
        """`ask` answers what providers are asked; without it they have not answered. `language`: Rego or
        K8sNativeValidation, for that alone; templates without it are in `skipped`, with their constraints.

        Raises MalformedError, UnsupportedError, with the place of the document.
        """
        self._ask = ask
        self._objects = [document for _, document in documents]
        self._kinds, self._now = kinds, now
        engine = Gatekeeper()
        self.setup: dict[str, float] = {}
        """Seconds that templates, constraints and objects took."""
        begun = time.perf_counter()
        units = [Compiled(document, where).unit(at, where, shared=False)
                 for at, (where, document) in enumerate(documents)
                 if str(document.get("apiVersion")).partition("/")[0] in _GROUPS]
        self.skipped: tuple[list[str], list[str]] = [], []
        """Names of templates and of constraints."""
        if language:
            units = self._speaking(units, language)
        self.templates = sum(isinstance(unit.compiled, Template) for unit in units)
        begun = self._took("templates", begun)
        self._mutation = Mutation([unit.compiled for unit in units if isinstance(unit.compiled, Mutator)],
                                  engine.providers(units))
        self._expansion = Expansion([unit.compiled for unit in units if isinstance(unit.compiled, ExpansionTemplate)],
                                    self._mutation)
        self._rules = [(rule, isinstance(rule, ImpliedRule)) for policy in engine.link(units) for rule in policy.rules
                       if isinstance(rule, (ConstraintRule, ImpliedRule))]
        self._constraints = {(rule.policy.kind, rule.policy.name): rule for rule, _ in self._rules
                             if isinstance(rule, ConstraintRule)}
        self.constraints = len(self._constraints)
        begun = self._took("constraints", begun)
        kept = Offline(self._objects)
        kept.setdefault(NamespaceLabels("default"), Answered({}))
        self._answers = kept
        self._took("objects", begun)

    def _took(self, name: str, begun: float) -> float:
        now = time.perf_counter()
        self.setup[name] = now - begun
        return now

    def _speaking(self, units: Sequence[Unit], language: str) -> list[Unit]:
        kinds = set()
        for unit in units:
            if isinstance(unit.compiled, Template):
                if language in unit.compiled.sources:
                    unit.compiled.source = unit.compiled.sources[language]
                else:
                    self.skipped[0].append(unit.compiled.name)
                    kinds.add(unit.compiled.kind)
        self.skipped[1].extend(unit.compiled.name for unit in units
                               if isinstance(unit.compiled, Constraint) and unit.compiled.kind in kinds)
        return [unit for unit in units if not (isinstance(unit.compiled, (Template, Constraint))
                                               and unit.compiled.kind in kinds)]

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Those that are none of Gatekeeper's own."""
        return [document for document in self._objects
                if str(document.get("apiVersion")).partition("/")[0] not in _GROUPS]

    def review(self, document: dict[str, Any]) -> list[Violation]:
        return [*self._of(document, Answers(self._answers))]

    def violations(self) -> list[Violation]:
        """Of all objects, in gator's order: by action and message."""
        violations = [violation for document in self._objects for violation in self._known(document)]
        return sorted(violations, key=lambda violation: (violation.constraint["spec"].get("enforcementAction", ""),
                                                    violation.message))

    def _known(self, document: dict[str, Any]) -> list[Violation]:
        """Once all that is asked of providers was asked. Raises MalformedError, UnansweredError."""
        for _ in range(ROUNDS):
            answers, unanswered, violations = Answers(self._answers), None, list[Violation]()
            try:
                violations += self._of(document, answers)
            except UnansweredError as error:
                unanswered = error
            questions = [question for question in answers.asked if isinstance(question, ExternalData)]
            if self._ask is None or not questions:
                if unanswered is not None:
                    raise unanswered
                return violations
            self._answers.update(self._ask(questions))
        name = str((document.get("metadata") or {}).get("name"))
        raise MalformedError(name, got=f"more than {ROUNDS} rounds of questions to providers", expected="fewer")

    def _of(self, document: dict[str, Any], answers: Answers) -> Iterator[Violation]:
        request = self._request(document)
        given = Given(request, Context(now=self._now, point=COMMAND), {}, answers)
        mutated, _ = self._mutation.mutate(request, given.answers)
        shaped = given if mutated is None else Given(
            msgspec.structs.replace(request, object=mutated), given.context, {}, given.answers)
        for rule, is_implied in self._rules:
            said = spoken(rule, shaped if is_implied else given)
            if isinstance(said, str):
                continue
            constraint = self._constraints[rule.policy.kind, rule.policy.name].document
            for result in said.results:
                if result.outcome in (Outcome.FAIL, Outcome.ERROR):
                    stated = result.properties.get("details")
                    yield Violation(constraint, result.message, json.loads(stated) if stated else {},
                                    tuple(result.properties["enforcementAction"].split(",")),
                                    document if mutated is None else mutated,
                                    constraint["spec"].get("enforcementAction") == "scoped")

    def implied(self) -> Iterator[dict[str, Any]]:
        """The objects that will come of those that are here. Raises MalformedError."""
        for document in self._objects:
            request = self._request(document)
            answers = Answers(self._answers)
            mutated, _ = self._mutation.mutate(request, answers)
            shaped = request if mutated is None else msgspec.structs.replace(request, object=mutated)
            for implied in self._expansion.of(shaped, answers):
                assert implied.request.object is not None
                yield implied.request.object

    def _request(self, document: dict[str, Any]) -> Request:
        created = Request.create(document)
        return Reviewed(operation="CREATE", kind=created.kind, namespace=created.namespace, name=created.name,
                        object=document, existing=True,
                        unnamed=not created.namespace and self._kinds.namespaced(created.kind) is not False)
