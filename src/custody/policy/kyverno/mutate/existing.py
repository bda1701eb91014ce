"""A rule with `mutate.targets`: what it patches lies in the cluster (Kyverno mutate_existing.go)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from custody.errors import CustodyError, MalformedError
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kyverno import objects
from custody.policy.kyverno.context import Context, compile_context
from custody.policy.kyverno.judgement import Judgement
from custody.policy.kyverno.match import written_selector
from custody.policy.kyverno.mutate.rule import Mutation
from custody.policy.kyverno.rule import Head, KyvernoRule
from custody.policy.kyverno.variables import variables
from custody.policy.lookup import UnansweredError
from custody.policy.model import Change, Outcome
from custody.policy.phases import Phase
from custody.policy.rule import Spoken
from custody.policy.scope import WRITTEN
from policylang.conditions import Conditions, compile_conditions
from policylang.errors import LanguageError
from policylang.go.wildcards import glob
from policylang.jmespath import QueryError
from policylang.variables import Value, compile_value

MAX_TARGETS = 10_000
"""Objects that one rule patches because of one request."""


class _Target(NamedTuple):
    written: dict[str, Any]
    fill: Value | None
    context: Context
    preconditions: Conditions | None


class MutateExistingRule(KyvernoRule):
    phase = Phase.GENERATE
    reads_images = False

    def __init__(self, head: Head, fields: Fields, *, existing: bool = False) -> None:
        """`existing`: what the policy says of all its rules. Raises UnsupportedError, MalformedError."""
        super().__init__(head)
        self.enforce = False
        self.scope.judged = WRITTEN
        self.reads_templates = True
        said = fields.take("mutateExistingOnPolicyUpdate", bool)
        self.existing = existing if said is None else said
        """Whether what lies in the cluster when the policy comes is a trigger, too."""
        roots = head.roots.extended(("target",), current="target")
        named: list[_Target] = []
        names: list[str] = []
        for target in fields.each("targets"):
            written: dict[str, Any] = {name: target.take(name, str) or "" for name in ("apiVersion", "kind",
                                                                                       "namespace", "name")}
            target.take("uid", str)
            written["selector"] = written_selector(target)
            if not written["kind"] or not written["apiVersion"]:
                raise MalformedError(target.where, got="no apiVersion or no kind", expected="those of what is patched")
            context, inner = compile_context(target.each("context"), roots, head.namespace)
            block = target.any("preconditions")
            conditions = None if block is None else compile_conditions(block, target.path("preconditions"), inner)
            named.append(_Target(written, compile_value(written, target.where, head.roots), context, conditions))
            names += inner.deferred
            target.done()
        self._targets = named
        self._mutation = Mutation(fields, head._replace(roots=roots.extended((), names)), "target")

    def judged(self, given: Given) -> Spoken:
        judgements: list[Judgement] = []
        changes: list[Change] = []
        missing: UnansweredError | None = None
        for at, target in enumerate(self._targets):
            try:
                for resource in self._objects(at, target, given):
                    judgement, after = self._of(target, resource, given)
                    judgements.append(judgement)
                    if judgement.outcome is Outcome.PASS:
                        if len(changes) >= MAX_TARGETS:
                            raise MalformedError("mutate.targets", got=f"more than {MAX_TARGETS} objects",
                                                 expected="fewer")
                        changes.append(Change(policy=self.policy.name, rule=self.name, verb="patch", object=after,
                                              before=resource))
            except UnansweredError as error:
                missing = missing or error  # so that all are asked at once
            except (CustodyError, LanguageError) as error:
                judgements.append(Judgement(Outcome.ERROR, error.message))
        if missing is not None:
            raise missing
        return Spoken([self.result(given, judgement, enforce=False) for judgement in judgements], changes=changes)

    def _objects(self, at: int, target: _Target, given: Given) -> Iterator[dict[str, Any]]:
        """Raises UnansweredError, LookupFailedError, QueryError."""
        written = target.written
        if target.fill is not None:
            try:
                written = target.fill(variables(given), given.context.now)
            except QueryError as error:
                raise QueryError(f"failed to substitute variables in target[{at}]: {error.message}") from None
        namespace = self._head.namespace or str(written["namespace"])
        kind, name = str(written["kind"]), str(written["name"])
        api_version = objects.served(str(written["apiVersion"]), kind)
        if name and not _pattern(name) and not _pattern(namespace) and not written["selector"]:
            resource = objects.get(given, api_version, kind, namespace, name)
            if resource is not None:
                yield {"apiVersion": api_version, "kind": kind, **resource}
            return
        within = "" if _pattern(namespace) else namespace
        for resource in objects.listed(given, api_version, kind, within, written["selector"]):
            metadata = resource.get("metadata") or {}
            if (not name or glob(name, str(metadata.get("name") or ""))) and (
                    not namespace or glob(namespace, str(metadata.get("namespace") or ""))):
                yield resource

    def _of(self, target: _Target, resource: dict[str, Any], given: Given) -> tuple[Judgement, Any]:
        data = target.context.opened({**variables(given), "target": resource}, given)
        if target.preconditions is not None:
            try:
                holds, message = target.preconditions(data, given.context.now)
            except UnansweredError:
                raise
            except (CustodyError, LanguageError) as error:
                return Judgement(Outcome.ERROR, f"failed to evaluate preconditions: {error.message}"), resource
            if not holds:
                said = "; ".join(filter(None, ["preconditions not met", message]))
                return Judgement(Outcome.SKIP, said), resource
        return self._mutation(resource, data, given)


def _pattern(text: str) -> bool:
    return "*" in text or "?" in text
