"""An engine for tests whose policies change other objects: what is to be made stands in the policy, word for word."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from custody.policy.engine import Finding, Unit
from custody.policy.given import Given
from custody.policy.kinds import Kinds
from custody.policy.model import Change, Outcome, RuleResult
from custody.policy.phases import Phase
from custody.policy.rule import Policy, Rule, Spoken
from custody.policy.scope import WRITTEN, Block, Filter, Named, Scope


class MakingRule(Rule):
    """`verb` and `object` of spec; NAME in the object's names is the trigger's."""

    phase = Phase.GENERATE
    enforce = True

    def __init__(self, policy: Policy, spec: dict[str, Any]) -> None:
        self.policy, self.name, self._spec = policy, "make", spec
        self.scope = Scope(Block([Filter(kinds=[Named("spec.kind", spec["kind"])], operations=WRITTEN)]))

    def evaluate(self, given: Given) -> Spoken:
        trigger = given.object or {}
        wanted = copy.deepcopy(self._spec.get("object")) or {
            "apiVersion": trigger["apiVersion"], "kind": trigger["kind"], "metadata": dict(trigger["metadata"])}
        metadata = wanted["metadata"]
        for field in ("name", "namespace"):
            if field in metadata:
                metadata[field] = metadata[field].replace("NAME", trigger["metadata"]["name"])
        if self._spec.get("synchronize"):
            metadata["labels"] = {
                "generate.kyverno.io/policy-name": self.policy.name, "generate.kyverno.io/policy-namespace": "",
                "generate.kyverno.io/rule-name": "", "generate.kyverno.io/trigger-uid": trigger["metadata"]["uid"]}
        label = (self._spec.get("where") or {}).get("label")
        meant = label is None or label in (trigger["metadata"].get("labels") or {})
        said = RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=self.name, outcome=Outcome.PASS,
                          message="", resource=given.resource)
        verb = self._spec.get("verb", "apply")
        return Spoken([said], changes=[Change(policy=self.policy.name, rule="", verb=verb, object=wanted,
                                              source=self._spec.get("source"),
                                              synchronize=bool(self._spec.get("synchronize")))] if meant else [])


class Making:
    evaluates = "toy.example/v1 Making"

    def compile(self, document: dict[str, Any]) -> Policy:
        policy = Policy(document["metadata"]["name"], "toy", kind=document["kind"])
        policy.rules = [MakingRule(policy, document["spec"])]
        return policy

    def link(self, units: Sequence[Unit]) -> Iterator[Policy]:
        for unit in units:
            unit.compiled.parts = (unit.at,)
            yield unit.compiled

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:
        return iter(())


_MAKING = Making()
ROWS = {("toy.example", "Making"): _MAKING, ("toy.example", "CleanupPolicy"): _MAKING}


def making(name: str, kind: str, *, policy: str = "Making", **spec: Any) -> dict[str, Any]:
    evaluation = {"synchronize": {"enabled": bool(spec.get("synchronize"))},
                  "generateExisting": {"enabled": bool(spec.get("existing"))}}
    return {"apiVersion": "toy.example/v1", "kind": policy, "metadata": {"name": name},
            "spec": {"kind": kind, "evaluation": evaluation, **spec}}


def config_map(name: str, namespace: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}
