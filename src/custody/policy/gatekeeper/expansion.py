"""ExpansionTemplate (expansion.gatekeeper.sh v1beta1, v1alpha1): what objects will be made of one that is admitted.

Gatekeeper pkg/expansion: a Deployment is judged as the pod that its controller will create, too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.gatekeeper.constraint import ACTIONS, ConstraintRule, point_of
from custody.policy.gatekeeper.mutation import Mutation
from custody.policy.gatekeeper.mutators import apply_to, name_and_spec
from custody.policy.gatekeeper.reviewed import Reviewed
from custody.policy.given import Given
from custody.policy.kinds import Selector
from custody.policy.lookup import Answers
from custody.policy.model import Kind, Request, RuleResult
from custody.policy.phases import Phase
from custody.policy.rule import Rule, Spoken
from custody.policy.scope import Block, Filter, Scope

VERSIONS = ("v1beta1", "v1alpha1")
_DEPTH = 30


class Implied(NamedTuple):
    """An object that will come, by which template, and what its violations lead to; empty: what constraints say."""

    request: Reviewed
    template: str
    action: str


class ExpansionTemplate:
    def __init__(self, fields: Fields) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.name, spec = name_and_spec(fields)
        self.apply_to = apply_to(spec)
        self.source = spec.need("templateSource", str).split(".")
        generated = Fields(spec.need("generatedGVK", dict), "spec.generatedGVK")
        self.generates = Kind(generated.need("kind", str), generated.need("version", str),
                              generated.take("group", str) or "")
        generated.done()
        self.action = spec.take("enforcementAction", str) or ""
        spec.done()
        if self.action and self.action not in ACTIONS:
            raise MalformedError("spec.enforcementAction", got=self.action, expected=", ".join(ACTIONS))
        if self.applies(self.generates):
            raise MalformedError("spec.generatedGVK", got=self.generates.kind, expected="another kind than it is for")

    def applies(self, kind: Kind) -> bool:
        return any(entry.names(kind) for entry in self.apply_to)

    def expanded(self, document: dict[str, Any], namespace: str) -> dict[str, Any]:
        """Raises MalformedError where the object lacks the source."""
        source: Any = document
        for step in self.source:
            source = source.get(step) if isinstance(source, dict) else None
        if not isinstance(source, dict):
            raise MalformedError(".".join(self.source), got="nothing",
                                 expected=f"an object, of which template {self.name} makes a {self.generates.kind}")
        implied = copy.deepcopy(source)
        kind, parent = self.generates, document.get("metadata") or {}
        implied["apiVersion"] = f"{kind.group}/{kind.version}" if kind.group else kind.version
        implied["kind"] = kind.kind
        metadata = implied["metadata"] = dict(implied["metadata"]) if isinstance(implied.get("metadata"), dict) else {}
        home = namespace or parent.get("namespace")
        if home:
            metadata["namespace"] = home
        metadata["name"] = f"{parent.get('name') or ''}-{kind.kind}".lower()
        owner = {"apiVersion": document.get("apiVersion"), "kind": document.get("kind"), "name": parent.get("name")}
        owners = metadata.get("ownerReferences")
        owners = owners if isinstance(owners, list) else []
        if all(owner.values()) and not any(isinstance(known, dict) and owner.items() <= known.items()
                                           for known in owners):
            metadata["ownerReferences"] = [*owners, {**owner, "uid": ""}]
        return implied


def check_ends(template: ExpansionTemplate, before: Sequence[ExpansionTemplate]) -> None:
    """Raises MalformedError where a template closes a cycle with others: what it makes leads back to what it is for."""
    waiting: list[tuple[Kind, tuple[str, ...]]] = [(template.generates, ())]
    seen = set[Kind]()
    while waiting:
        kind, way = waiting.pop()
        if template.applies(kind):
            beside = f" with {', '.join(way)}" if way else ""
            raise MalformedError("spec.generatedGVK", got=f"template {template.name} forms an expansion cycle{beside}",
                                 expected="templates that end")
        if kind not in seen:
            seen.add(kind)
            waiting += [(next_.generates, (*way, next_.name)) for next_ in before if next_.applies(kind)]


class Expansion:
    """Templates together, with the mutators that shape what they make."""

    def __init__(self, templates: Sequence[ExpansionTemplate], mutation: Mutation) -> None:
        """Raises MalformedError for templates that make each other without end."""
        self.templates = sorted(templates, key=lambda template: template.name)
        self._mutation = mutation
        for at, template in enumerate(self.templates):
            check_ends(template, self.templates[:at])

    def of(self, request: Request, answers: Answers) -> list[Implied]:
        """What will come of a request's object. Raises MalformedError, UnansweredError, LookupFailedError."""
        return list(self._of(request, answers, 0)) if request.object is not None else []

    def _of(self, request: Request, answers: Answers, depth: int) -> Iterator[Implied]:
        if depth >= _DEPTH:
            raise MalformedError("object", got=f"templates that make objects {_DEPTH} times", expected="fewer")
        here = []
        for template in self.templates:
            if template.applies(request.kind) and request.object is not None:
                document = template.expanded(request.object, request.namespace)
                generated = _implied(request, template.generates, document)
                mutated, _ = self._mutation.mutate(generated, answers)
                here.append(Implied(generated if mutated is None else _implied(request, template.generates, mutated),
                                    template.name, template.action))
        for parent in here:
            yield from self._of(parent.request, answers, depth + 1)
        yield from here


def _implied(request: Request, kind: Kind, document: dict[str, Any]) -> Reviewed:
    metadata = document["metadata"]
    return Reviewed(operation=request.operation, kind=kind, name=metadata["name"], object=document, generated=True,
                    namespace=request.namespace or metadata.get("namespace", ""), user=request.user,
                    dry_run=request.dry_run, existing=request.existing)


class ImpliedRule(Rule):
    """A constraint, of the objects that will come of the one that is asked about."""

    phase = Phase.VALIDATE
    name = "implied"
    reads_templates = True

    def __init__(self, constraint: ConstraintRule, expansion: Expansion) -> None:
        self.policy, self._constraint, self._expansion = constraint.policy, constraint, expansion
        self.enforce = constraint.enforce or any(template.action == "deny" for template in expansion.templates)
        self.scope = Scope(Block([_Generators(expansion)]), judged=constraint.scope.judged)

    def evaluate(self, given: Given) -> Spoken:
        spoken_at = self._constraint.actions[point_of(given)]
        if not spoken_at:
            return Spoken([])
        held = given.memo.get(id(self._expansion))
        if held is None:
            held = given.memo[id(self._expansion)] = self._expansion.of(given.request, given.answers)
        results = []
        for implied in held:
            if self._constraint.silence(implied.request, given.answers) is not None:
                continue
            inner = Given(implied.request, given.context, given.evidence, given.answers, changes=given.changes)
            actions = (implied.action,) if implied.action else spoken_at
            for result in self._constraint.judged(inner, actions):
                message = f"[Implied by {implied.template}] {result.message}" if result.message else ""
                results.append(msgspec.structs.replace(
                    result, rule=self.name, message=message, resource=given.resource,
                    told=f"[{self.policy.name}] {message}" if message else ""))
        return Spoken(results)

    def failed(self, given: Given, message: str) -> RuleResult:
        return msgspec.structs.replace(self._constraint.failed(given, message), rule=self.name)

    def sees(self, template: str, field: str) -> bool:
        return self._constraint.sees(template, field)


class _Generators(Filter):
    """The kinds that templates are for."""

    def __init__(self, expansion: Expansion) -> None:
        super().__init__(where="spec.applyTo")
        self._expansion = expansion
        self.selectors = [Selector(group or "*", version, kind, "") for template in expansion.templates
                          for entry in template.apply_to for group in entry.groups for version in entry.versions
                          for kind in entry.kinds]
        self.empty = False
        self.chosen = ("applyTo",)
        self.matches = lambda request, _: not self.apart(request)

    def apart(self, request: Request) -> bool:
        return not any(template.applies(request.kind) for template in self._expansion.templates)
