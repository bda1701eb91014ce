"""GeneratingPolicy and NamespacedGeneratingPolicy (policies.kyverno.io v1, v1beta1, v1alpha1).

What a policy generates because of a request becomes changes of other objects, with Kyverno's labels: which policy made
them, and because of what.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custody.errors import CustodyError, MalformedError
from custody.policy.cel.constraints import compile_constraints
from custody.policy.cel.environment import Expressions
from custody.policy.cel.evaluated import Changing, Evaluated, Header, annotated, compile_audit, enabled, hold
from custody.policy.cel.generation import GENERATING, MAX_GENERATED, compile_generation
from custody.policy.evidenceview import types_of
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kinds import builtin
from custody.policy.lookup import Answers, UnansweredError
from custody.policy.model import Change, Kind, Outcome, Request, RuleResult
from custody.policy.phases import Phase
from custody.policy.rule import Policy, Spoken
from custody.policy.worlds import asking
from policylang.cel.kyverno.environment import env
from policylang.cel.values.errors import CelError
from policylang.errors import LanguageError

MANAGED = "app.kubernetes.io/managed-by"
_LABEL = "generate.kyverno.io/"
_SERVERS = ("uid", "selfLink", "creationTimestamp", "managedFields", "resourceVersion")
"""What the server alone says of an object."""


class GeneratingRule(Evaluated):
    phase = Phase.GENERATE

    def __init__(self, policy: Policy, header: Header) -> None:
        """Raises MalformedError, UnsupportedError."""
        self.policy, self._namespace = policy, header.namespace
        self.name = self._plain = header.plain
        fields = Fields(header.spec, "spec")
        expressions = Expressions(env(header.kind, GENERATING, namespace=header.namespace, composed={}))
        self._conditions = expressions.conditions(fields)
        expressions.declare(fields)
        self.variables = expressions.variables
        self._generations = [compile_generation(entry, expressions) for entry in fields.each("generate")]
        self._annotations = compile_audit(fields, expressions)
        self.scope, _ = compile_constraints(fields.inner("matchConstraints"), namespace=header.namespace)
        self.reads = frozenset(expressions.reads)
        self.predicate_types = types_of(expressions.kinds)
        self.server_side = fields.take("useServerSideApply", bool) is True
        evaluation = fields.inner("evaluation")
        self.admission = enabled(evaluation, "admission", True)
        self.existing = enabled(evaluation, "generateExisting", False)
        """Whether what lies in the cluster when the policy comes is a trigger, too."""
        self.synchronize = enabled(evaluation, "synchronize", False)
        self.orphan = enabled(evaluation, "orphanDownstreamOnPolicyDelete", False)
        if evaluation is not None:
            self.skip_background_requests = evaluation.take("skipBackgroundRequests", bool) is not False
            evaluation.done()
        policy.failure_policy = "Ignore"
        if webhook := fields.inner("webhookConfiguration"):
            policy.timeout = webhook.take("timeoutSeconds", int)
            webhook.done()
        fields.done()

    def silence(self, request: Request, answers: Answers) -> str | None:
        if not self.admission and not request.existing:
            return "its policy is about what lies in the cluster alone (evaluation.admission: false)"
        return super().silence(request, answers)

    def evaluate(self, given: Given) -> Spoken:
        changes: list[Change] = []

        def take(namespace: str, documents: list[dict[str, Any]]) -> None:
            for document in documents:
                items = document.get("items")
                for item in items if isinstance(items, list) else [document]:
                    if len(changes) >= MAX_GENERATED:
                        raise CelError(f"more than {MAX_GENERATED} objects are generated")
                    changes.append(self._change(given, item, namespace))

        with asking(given, self):
            try:
                if not hold(self._conditions, self.values(given)):
                    return Spoken([])
                values = self.values(given)
                for generation in self._generations:
                    generation(values, take, self._namespace)
                properties = annotated(self._annotations, values)
            except UnansweredError:
                raise
            except (CustodyError, LanguageError) as error:
                return Spoken([self.erred(given, error)])
        return Spoken([self.result(given, Outcome.PASS, "policy evaluated successfully", properties=properties)],
                      changes=changes)

    def result(self, given: Given, outcome: Outcome, message: str, *, properties: Mapping[str, str] = {}) -> RuleResult:
        return RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=self.name, outcome=outcome,
                          message=message, resource=given.resource, enforce=False, properties=dict(properties))

    def _change(self, given: Given, item: Any, namespace: str) -> Change:
        """Raises CelError for what may not be generated."""
        metadata = item.get("metadata") if isinstance(item, dict) else None
        if not isinstance(metadata, dict) or not isinstance(item.get("kind"), str) or not metadata.get("name"):
            raise CelError("got something without kind and metadata.name, expected an object")
        group, _, version = str(item.get("apiVersion")).rpartition("/")
        target = namespace
        if builtin().namespaced(Kind(item["kind"], version, group)) is False:
            if namespace and self._namespace:
                raise CelError(f'cross-scope generation denied: a policy scoped to namespace "{namespace}" cannot '
                               f'generate cluster-scoped resource {item.get("apiVersion")}/{item["kind"]}')
            target = ""
        stands = metadata.get("namespace") or ""
        kept = {name: value for name, value in metadata.items() if name not in (*_SERVERS, "namespace")
                and not (name == "ownerReferences" and stands and stands != target)}
        labels = dict(kept["labels"]) if isinstance(kept.get("labels"), dict) else {}
        cloned = metadata.get("resourceVersion")
        kept["labels"] = labels | self._labels(given) | (
            {f"{_LABEL}source-uid": str(metadata.get("uid") or "")} if cloned else {})
        if target:
            kept["namespace"] = target
        source = {"apiVersion": item.get("apiVersion"), "kind": item["kind"], "namespace": stands,
                  "name": metadata["name"]} if cloned else None
        return Change(policy=self.policy.name, rule=self.name, verb="apply", object={**item, "metadata": kept},
                      source=source, synchronize=self.synchronize, orphan=self.orphan, server_side=self.server_side)

    def _labels(self, given: Given) -> dict[str, str]:
        request = given.request
        metadata = (request.object or {}).get("metadata")
        trigger = metadata if isinstance(metadata, dict) else {}
        said = {"policy-name": self._plain, "trigger-name": request.name,
                "trigger-namespace": str(trigger.get("namespace") or ""), "trigger-uid": str(trigger.get("uid") or ""),
                "trigger-kind": request.kind.kind, "trigger-group": request.kind.group,
                "trigger-version": request.kind.version}
        return {MANAGED: "kyverno"} | {_LABEL + name: value for name, value in said.items()}


def printed(document: Mapping[str, Any]) -> dict[str, Any]:
    """A generated object as Kyverno's command line prints it: without annotations, and without Kyverno's labels."""
    metadata = {name: value for name, value in document["metadata"].items() if name != "annotations"}
    labels = {name: value for name, value in metadata.pop("labels", {}).items()
              if not name.startswith(_LABEL) and (name, value) != (MANAGED, "kyverno")}
    return {**document, "metadata": metadata | ({"labels": labels} if labels else {})}


class Generating(Changing):
    """The engine of both kinds."""

    evaluates = "policies.kyverno.io GeneratingPolicy"

    def compile(self, document: dict[str, Any]) -> Policy:
        header = Header(document, "GeneratingPolicy")
        if not header.spec.get("generate"):
            raise MalformedError("spec.generate", got="nothing", expected="at least one expression or template")
        policy = Policy(header.name, "kyverno-cel", kind=header.kind)
        policy.rules = [GeneratingRule(policy, header)]
        return policy
