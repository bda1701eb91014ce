"""The rules of Pod Security: three, one a mode, judge pods; a fourth judges the labels of namespaces.

Source: k8s.io/pod-security-admission v0.34 admission/admission.go: the order of its steps, its words, what it adds to
the audit log. Audit and warn judge also the templates of Kubernetes' own controllers, which enforce leaves to their
pods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from custody.errors import MalformedError
from custody.formats import jsonpatch
from custody.policy.given import Given
from custody.policy.lookup import LookupFailedError
from custody.policy.model import Outcome, RuleResult
from custody.policy.phases import Phase
from custody.policy.podfields import TEMPLATES
from custody.policy.podsecurity import existing, standard
from custody.policy.podsecurity.configuration import MODES, NOTHING, PREFIX, Configuration, Demand, aggregate
from custody.policy.rule import Needs, Policy, Rule, Spoken
from custody.policy.scope import Block, Filter, Named, Scope, namespace_labels_of
from custody.ports.lookup import NamespaceLabels, NamespacePods
from policylang.errors import Shape

_PODS = ("v1/Pod", "v1/Pod/resize")
_CONTROLLERS = ("v1/PodTemplate", "v1/ReplicationController", "apps/v1/ReplicaSet", "apps/v1/Deployment",
                "apps/v1/StatefulSet", "apps/v1/DaemonSet", "batch/v1/Job", "batch/v1/CronJob")
_EXEMPT = "exempt"
"""Of the audit annotations, as ERROR, ENFORCED and VIOLATIONS: names behind the API server's prefix."""
_ERROR, _ENFORCED, _VIOLATIONS = "error", "enforce-policy", "audit-violations"


class _SecurityRule(Rule):
    phase = Phase.VALIDATE

    def __init__(self, policy: Policy, name: str, configuration: Configuration, kinds: Sequence[str]) -> None:
        self.policy = policy
        self.name = name
        self.configuration = configuration
        self.enforce = name not in ("audit", "warn")
        self.scope = Scope(Block([Filter(kinds=[Named("kind", kind) for kind in kinds])]))

    def result(self, given: Given, outcome: Outcome, message: str, *, remedy: str | None = None, told: str = "",
               audit: Mapping[str, str] | None = None) -> Spoken:
        return Spoken([RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=self.name, outcome=outcome,
                                  message=message, resource=given.resource, remedy=remedy, enforce=self.enforce,
                                  told=told, audit=dict(audit or {}), warns=self.name != "audit")])


class ModeRule(_SecurityRule):
    """One mode: its name is the rule's."""

    reads_images = False

    def __init__(self, policy: Policy, mode: str, configuration: Configuration) -> None:
        super().__init__(policy, mode, configuration, _PODS if mode == "enforce" else (*_PODS, *_CONTROLLERS))
        self.reads_templates = mode != "enforce"

    def needs(self, given: Given) -> Needs:
        asks = given.request.namespace and not self._exempt(given)
        return Needs(questions=[NamespaceLabels(given.request.namespace)] if asks else [])

    def failed(self, given: Given, message: str) -> RuleResult:
        return msgspec.structs.replace(super().failed(given, message), audit={_ERROR: message})

    def evaluate(self, given: Given) -> Spoken:
        request = given.request
        kind = (request.parent or request.kind).kind
        pods = kind == "Pod"
        if request.operation not in ("CREATE", "UPDATE") or (request.subresource and not pods):
            return Spoken([])
        # 1. Who is exempt by where, or by who asks; then what the namespace demands.
        if exempt := self._exempt(given):
            return self.result(given, Outcome.SKIP, f"{exempt} is exempt", audit={_EXEMPT: exempt.partition(" ")[0]})
        demands, problems = self.configuration.demands(namespace_labels_of(request, given.answers))
        level, version = demands[self.name]
        unchecked = f"nothing is checked at {level}:{version}"
        if not problems and all(demands[mode].level == "privileged" for mode in MODES if pods or mode != "enforce"):
            return self.result(given, Outcome.SKIP, unchecked, audit={_ENFORCED: str(NOTHING)} if pods else None)
        # 2. The pod, or the pod of a template, where something of it is new.
        try:
            metadata, spec = _pod(given.object, TEMPLATES[kind])
        except MalformedError:
            return self.result(given, Outcome.SKIP, "it has no pod template")
        if pods and request.operation == "UPDATE" and not _significant(request.object, request.old_object):
            return self.result(given, Outcome.SKIP, "nothing changed that is checked")
        runtime_class = spec.get("runtimeClassName") if isinstance(spec, dict) else None
        if isinstance(runtime_class, str) and runtime_class in self.configuration.runtime_classes:
            return self.result(given, Outcome.SKIP, f"runtime class {runtime_class} is exempt",
                               audit={_EXEMPT: "runtimeClass"})
        # 3. What the audit log gets, of the rule that speaks first; it is the same of all.
        audit: dict[str, str] = {}
        if self.name == ("enforce" if pods else "audit"):
            audit = {**({_ERROR: f"Failed to parse policy: {aggregate(problems)}"} if problems else {}),
                     **({_ENFORCED: str(demands["enforce"])} if pods else {})}
        if level == "privileged":
            return self.result(given, Outcome.SKIP, unchecked, audit=audit)
        # 4. The standard; nobody is warned of what is denied anyway.
        if self.name == "warn" and pods and standard.evaluate(spec, metadata, *demands["enforce"]):
            return self.result(given, Outcome.SKIP, "enforce denies it")
        failures = standard.evaluate(spec, metadata, level, version)
        if not failures:
            return self.result(given, Outcome.PASS, f"it meets {level}:{version}", audit=audit)
        message = (f'{"violates" if self.name == "enforce" else "would violate"} PodSecurity "{level}:{version}": '
                   f"{standard.aggregate(failures)}")
        if self.name == "audit":
            audit[_VIOLATIONS] = message
        return self.result(given, Outcome.FAIL, message, remedy="; ".join(problems) or None, audit=audit,
                           told=f'pods "{request.name}" is forbidden: {message}' if self.enforce else message)

    def _exempt(self, given: Given) -> str:
        request = given.request
        if request.namespace in self.configuration.namespaces:
            return f"namespace {request.namespace}"
        if request.user.username in self.configuration.usernames:
            return f"user {request.user.username}"
        return ""


class LabelsRule(_SecurityRule):
    """Namespaces whose labels demand what does not exist, or more than the pods that run there already meet.

    Labels that were as wrong before are kept. The pods are warned of, and deny nothing: also where they cannot be had.
    """

    def __init__(self, policy: Policy, configuration: Configuration) -> None:
        super().__init__(policy, "labels", configuration, ["v1/Namespace"])

    def needs(self, given: Given) -> Needs:
        return Needs(questions=[NamespacePods(given.request.name)] if self._asks(given) else [])

    def _asks(self, given: Given) -> bool:
        """Whether the pods that run in the namespace are looked at."""
        request = given.request
        if request.operation != "UPDATE" or request.subresource or request.name in self.configuration.namespaces:
            return False
        return _stricter(self.configuration.demands(_labels(request.object))[0],
                         self.configuration.demands(_labels(request.old_object))[0])

    def evaluate(self, given: Given) -> Spoken:
        request = given.request
        if request.operation not in ("CREATE", "UPDATE") or request.subresource:
            return Spoken([])
        labels, update = _labels(request.object), request.operation == "UPDATE"
        demands, problems = self.configuration.demands(labels)
        before, before_problems = self.configuration.demands(_labels(request.old_object))
        if problems and not (update and problems == before_problems):
            return self.result(given, Outcome.FAIL, "; ".join(problems),
                               told=f'Namespace "{request.name}" is invalid: {aggregate(problems)}')
        if problems:
            spoken = self.result(given, Outcome.SKIP, f"it had these labels before: {'; '.join(problems)}")
        else:
            spoken = self.result(given, Outcome.PASS, "its Pod Security labels are valid")
        if update and not _stricter(demands, before):
            return spoken
        if request.name in self.configuration.namespaces:
            warnings = self._ignored(request.name, labels, demands)
        else:
            warnings = self._running(given, demands["enforce"]) if self._asks(given) else []
        return Spoken([*spoken.results, *(result for warning in warnings for result in self.result(
            given, Outcome.WARN, warning, told=warning).results)])

    def _running(self, given: Given, demand: Demand) -> list[str]:
        """What is warned of pods that are there. Raises UnansweredError."""
        name = given.request.name
        try:
            answer = given.answers.value(NamespacePods(name))
        except LookupFailedError:  # silence would be taken for a namespace whose pods all meet it
            return [existing.UNLISTED]
        if answer is None:
            return [existing.UNLISTED]
        return existing.warnings(name, demand, answer, self.configuration.runtime_classes)

    def _ignored(self, name: str, labels: dict[str, str], demands: dict[str, Demand]) -> list[str]:
        """That the labels of an exempt namespace demand something for nothing; nothing where they demand nothing."""
        if all(demand.same(self.configuration.defaults[mode]) for mode, demand in demands.items()) or all(
                demand.level == "privileged" for demand in demands.values()):
            return []
        ignored = ", ".join(f"{mode}={demand}" for mode, demand in demands.items() if demand.level != "privileged"
                            and (f"{PREFIX}{mode}" in labels or f"{PREFIX}{mode}-version" in labels))
        return [f'namespace "{name}" is exempt from Pod Security, and the policy ({ignored}) will be ignored']


def _labels(namespace: Any) -> dict[str, str]:
    return _map(_map(_map(namespace).get("metadata")).get("labels"))


def _stricter(new: dict[str, Demand], old: dict[str, Demand]) -> bool:
    """Whether what is enforced changed to what pods of before may not meet."""
    enforce, before = new["enforce"], old["enforce"]
    if enforce == before or enforce.level == "privileged":
        return False
    return enforce.version != before.version or (
        standard.LEVELS.index(enforce.level) > standard.LEVELS.index(before.level))


def _pod(document: Any, pointer: str) -> tuple[Any, Any]:
    """(metadata, spec) of a pod, or of the pod template whose spec is at a pointer. Raises MalformedError for none."""
    holder = jsonpatch.resolve(document, pointer.removesuffix("/spec"))
    if not isinstance(holder, dict):
        raise MalformedError(pointer, got=Shape(holder), expected="a pod template")
    return holder.get("metadata"), holder.get("spec")


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _significant(new: Any, old: Any) -> bool:
    """Whether an update of a pod changes what can be changed and is checked: the images of its containers."""
    for kind in ("containers", "initContainers"):
        before, after = _containers(old, kind), _containers(new, kind)
        if [container.get("image") for container in before] != [container.get("image") for container in after]:
            return True
    known = {container.get("name"): container for container in reversed(_containers(old, "ephemeralContainers"))}
    return any(container.get("name") not in known or container.get("image") != known[container.get("name")].get("image")
               for container in _containers(new, "ephemeralContainers"))


def _containers(pod: Any, kind: str) -> list[dict[str, Any]]:
    containers = _map(_map(pod).get("spec")).get(kind)
    return [_map(container) for container in containers] if isinstance(containers, list) else []
