"""A policy engine in one file: `Label` policies put a label on pods, and may want one that a namespace has.

    apiVersion: toy.example/v1
    kind: Label
    metadata: {name: n}
    spec: {label: team, value: a}               or   fromNamespace: true, image: ghcr.io/myorg/other:1, timeout: 3

`patch` is a JSON Patch of its own beside the label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.policy.engine import Finding, Unit
from custody.policy.engines import standing
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kinds import Kinds
from custody.policy.model import Outcome, RuleResult
from custody.policy.phases import Phase
from custody.policy.rule import Needs, Policy, Rule, Spoken, copied
from custody.policy.scope import WRITTEN, Block, Filter, Named, Scope
from custody.ports.lookup import NamespaceLabels


class LabelRule(Rule):
    phase = Phase.MUTATE
    enforce = True

    def __init__(self, policy: Policy, fields: Fields) -> None:
        self.policy, self.name = policy, "label"
        self.label = fields.need("label", str)
        self.value = fields.take("value", str) or ""
        self.from_namespace = fields.take("fromNamespace", bool) is True
        self.computed = fields.take("computed", bool) is True
        self.image = fields.take("image", str)
        self.path = fields.take("path", str)
        self.patch: list[dict[str, Any]] = fields.take("patch", list) or []
        fields.done()
        self.scope = Scope(Block([Filter(kinds=[Named("spec.kinds[0]", "Pod")], operations=WRITTEN)]))

    def needs(self, given: Given) -> Needs:
        asks = self.from_namespace and not self.computed
        return Needs({}, [NamespaceLabels(given.request.namespace)] if asks else [])

    def evaluate(self, given: Given) -> Spoken:
        value = self.value
        if self.from_namespace:
            value = str((given.answers.value(NamespaceLabels(given.request.namespace)) or {}).get(self.label, ""))
        metadata = (given.object or {}).get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, dict) else None
        patch: list[dict[str, Any]] = [] if isinstance(labels, dict) else [
            {"op": "add", "path": "/metadata/labels", "value": {}}]
        patch.append({"op": "add", "path": self.path or f"/metadata/labels/{self.label}", "value": value})
        if self.image:
            patch.append({"op": "add", "path": "/spec/initContainers", "value": [
                {"name": "sidecar", "image": self.image}]})
        patch += self.patch
        said = RuleResult(policy=self.policy.name, rule=self.name, outcome=Outcome.PASS, message=f"label {value}",
                          resource=given.resource)
        return Spoken([said], patch)


class Toy:
    evaluates = "toy.example/v1 Label"

    def compile(self, document: dict[str, Any]) -> Policy:
        fields = Fields(document, "")
        if document["apiVersion"] != "toy.example/v1":
            raise UnsupportedError("apiVersion", f"{document['apiVersion']} is not read")
        policy = Policy(Fields(fields.need("metadata", dict), "metadata").need("name", str), "toy")
        policy.rules = [LabelRule(policy, Fields(fields.need("spec", dict), "spec"))]
        return policy

    def again(self, compiled: Any) -> Any:
        return copied(compiled) if isinstance(compiled, Policy) else compiled

    def link(self, units: Sequence[Unit]) -> Iterator[Policy]:
        for unit in units:
            policy: Policy = unit.compiled
            policy.parts = (unit.at,)
            yield policy

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:
        if units[0].document["spec"].get("value") == "":
            yield "spec.value", "says-nothing", "warning", "the label is empty", ""


ROW = {("toy.example", "Label"): Toy()}


class Pairing(Toy):
    """A Label takes its value of the LabelValue of the same name: a policy of two documents."""

    def compile(self, document: dict[str, Any]) -> Any:
        return document if document["kind"] == "LabelValue" else super().compile(document)

    def link(self, units: Sequence[Unit]) -> Iterator[Policy]:
        policies = {policy.name: policy for policy in super().link([unit for unit in units
                                                                     if isinstance(unit.compiled, Policy)])}
        for unit in units:
            if isinstance(unit.compiled, dict):
                with standing(unit.where):
                    name = unit.document["metadata"]["name"]
                    if name not in policies:
                        raise MalformedError("metadata.name", got=name, expected="that of a Label")
                policies[name].rules[0].value = unit.document["value"]
                policies[name].parts = tuple(sorted((*policies[name].parts, unit.at)))
        yield from policies.values()

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:
        yield "spec", "made-of", "note", " and ".join(unit.where for unit in units), ""


_PAIRING = Pairing()
PAIRS = {("toy.example", "Label"): _PAIRING, ("toy.example", "LabelValue"): _PAIRING}


def label(name: str = "toy", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "toy.example/v1", "kind": "Label", "metadata": {"name": name},
            "spec": {"label": "team", "value": "a"} | spec}
