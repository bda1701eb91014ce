"""CleanupPolicy and ClusterCleanupPolicy (kyverno.io v2, v2beta1): what is to be deleted, whenever a schedule says so.

A policy is asked about each object that lies in the cluster (`Course.GENERATING`), which its conditions call `target`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.kit.cron import Schedule, standard
from custody.policy.engine import Documents, Unit
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kinds import Kinds
from custody.policy.kyverno.context import compile_context
from custody.policy.kyverno.guarded import Found
from custody.policy.kyverno.match import compile_block, is_empty
from custody.policy.kyverno.variables import ROOTS, variables
from custody.policy.lookup import Answers, UnansweredError
from custody.policy.model import Change, Outcome, Request, RuleResult
from custody.policy.phases import Phase
from custody.policy.rule import Policy, Rule, Spoken
from custody.policy.scope import Scope
from policylang.conditions import compile_conditions
from policylang.errors import LanguageError

VERSIONS = ("kyverno.io/v2", "kyverno.io/v2beta1")
KINDS = ("ClusterCleanupPolicy", "CleanupPolicy")
PROPAGATIONS = ("Foreground", "Background", "Orphan")
_WHO = ("subjects", "roles", "clusterRoles")


class CleanupRule(Rule):
    phase = Phase.GENERATE
    enforce = False
    reads_images = False

    def __init__(self, policy: Policy, spec: Fields, namespace: str) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.policy = policy
        self.name = policy.name.rpartition("/")[2]
        match, exclude = Fields(spec.need("match", dict), "spec.match"), spec.inner("exclude")
        _need_nobody(match)
        if exclude is not None:
            _need_nobody(exclude)
        excluded = None if exclude is None or is_empty(exclude) else compile_block(
            exclude, exclude=True, legacy=False, namespaced=bool(namespace))
        self.scope = Scope(compile_block(match, legacy=False, namespaced=bool(namespace)), excluded,
                           namespace=namespace)
        self._context, roots = compile_context(spec.each("context"), ROOTS.extended(("target",)), namespace)
        block = spec.any("conditions")
        self._conditions = None if block is None else compile_conditions(block, "spec.conditions", roots)
        text = spec.need("schedule", str)
        self.schedule = Schedule(text)
        if not standard(text):
            raise MalformedError("spec.schedule", got=text, expected="a schedule of crontab")
        self._propagation = spec.take("deletionPropagationPolicy", str) or ""
        if self._propagation and self._propagation not in PROPAGATIONS:
            raise MalformedError("spec.deletionPropagationPolicy", got=self._propagation,
                                 expected=", ".join(PROPAGATIONS))
        spec.done()

    def silence(self, request: Request, answers: Answers) -> str | None:
        if not request.existing:
            return "its policy is about what lies in the cluster, whenever its schedule says so"
        return super().silence(request, answers)

    def evaluate(self, given: Given) -> Spoken:
        document = given.request.object
        if document is None:
            return Spoken([])
        if self._conditions is not None:
            data = self._context.opened({**variables(given), "target": document}, given)
            try:
                holds, _ = self._conditions(data, given.context.now)
            except UnansweredError:
                raise
            except (CustodyError, LanguageError) as error:
                return Spoken([self._result(given, Outcome.ERROR, f"failed to check condition: {error.message}")])
            if not holds:
                return Spoken([self._result(given, Outcome.SKIP, "conditions do not hold")])
        change = Change(policy=self.policy.name, rule=self.name, verb="delete", object=document,
                        propagation=self._propagation)
        return Spoken([self._result(given, Outcome.PASS, "resource matched")], changes=[change])

    def _result(self, given: Given, outcome: Outcome, message: str) -> RuleResult:
        return RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=self.name, outcome=outcome,
                          message=message, resource=given.resource, enforce=False)


def _need_nobody(block: Fields) -> None:
    """Nobody asks for what is cleaned up. Raises MalformedError for a match by who asks."""
    parts: list[tuple[str, Any]] = [(block.where, {name: block.peek(name) for name in _WHO})]
    parts += [(f"{block.path(form)}[{at}]", part) for form in ("any", "all") if isinstance(block.peek(form), list)
              for at, part in enumerate(block.peek(form)) if isinstance(part, dict)]
    for where, part in parts:
        if named := next((name for name in _WHO if part.get(name)), None):
            raise MalformedError(f"{where}.{named}", got="who asks",
                                 expected="nothing: nobody asks for what is cleaned up")


class Cleaning(Documents):
    """The engine of both kinds."""

    evaluates = "kyverno.io CleanupPolicy and ClusterCleanupPolicy"

    def compile(self, document: dict[str, Any]) -> Policy:
        """Raises MalformedError, UnsupportedError."""
        top = Fields(document, "")
        kind, version = top.need("kind", str), top.need("apiVersion", str)
        if version not in VERSIONS:
            raise UnsupportedError("kind", f"{version} {kind} is not evaluated by custody yet",
                                   hint=f"{' and '.join(VERSIONS)} {kind} are")
        metadata = Fields(top.need("metadata", dict), "metadata")
        name, namespace = metadata.need("name", str), metadata.take("namespace", str) or ""
        if kind == KINDS[0] and namespace:
            raise MalformedError("metadata.namespace", got=namespace, expected=f"none for a {kind}")
        if kind == KINDS[1]:
            namespace = namespace or "default"
            name = f"{namespace}/{name}"
        spec = Fields(top.need("spec", dict), "spec")
        top.any("status")
        top.done()
        policy = Policy(name, "kyverno", "Ignore", kind=kind)
        policy.rules = [CleanupRule(policy, spec, namespace)]
        return policy

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Found]:  # noqa: ARG002
        return iter(())
