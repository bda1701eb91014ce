"""Pod Security as the API server's own admission plugin judges it (k8s.io/pod-security-admission, `admission`).

A PodSecurityConfiguration has the defaults and exemptions; the labels of the namespace say the rest. Three rules, one a
mode, judge pods; audit and warn also the templates of Kubernetes' own controllers, which enforce leaves to their pods.
A fourth judges the labels of namespaces. What is not done: warnings about the pods that run in a namespace already when
its labels change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.formats import jsonpatch
from custody.policy.engine import Finding, Unit
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kinds import Kinds
from custody.policy.model import Outcome, RuleResult
from custody.policy.phases import Phase
from custody.policy.podfields import TEMPLATES
from custody.policy.podsecurity import standard
from custody.policy.rule import Needs, Policy, Rule, Spoken
from custody.policy.scope import Block, Filter, Named, Scope, namespace_labels_of
from custody.ports.lookup import NamespaceLabels
from policylang.errors import Shape

VERSION = "pod-security.admission.config.k8s.io/v1"
PREFIX = "pod-security.kubernetes.io/"
MODES = ("enforce", "audit", "warn")
_PODS = ("v1/Pod", "v1/Pod/resize")
_CONTROLLERS = ("v1/PodTemplate", "v1/ReplicationController", "apps/v1/ReplicaSet", "apps/v1/Deployment",
                "apps/v1/StatefulSet", "apps/v1/DaemonSet", "batch/v1/Job", "batch/v1/CronJob")


class Demand(NamedTuple):
    """A level of the standard in one of its versions: `restricted:v1.30`."""

    level: str
    version: str

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"

    def same(self, other: Demand) -> bool:
        """Whether both demand the same: privileged is nothing in each version."""
        return self == other or self.level == other.level == "privileged"


class Configuration(NamedTuple):
    """A PodSecurityConfiguration."""

    defaults: dict[str, Demand]
    """By mode."""
    usernames: frozenset[str]
    namespaces: frozenset[str]
    runtime_classes: frozenset[str]

    def demands(self, labels: dict[str, str]) -> tuple[dict[str, Demand], list[str]]:
        """What is demanded in a namespace with these labels, by mode, and what is wrong with them.

        A level that is none is read as restricted to enforce, and as privileged to audit and warn. Where a label
        enforces more than is warned about, and no label says what to warn about, it is warned about too.
        """
        demands: dict[str, Demand] = {}
        problems: list[str] = []
        for mode in MODES:
            level, version = self.defaults[mode]
            level_label, version_label = f"{PREFIX}{mode}", f"{PREFIX}{mode}-version"
            if (text := labels.get(level_label)) is not None:
                level = text
                if text not in standard.LEVELS:
                    level = "restricted" if mode == "enforce" else "privileged"
                    problems.append(_invalid(level_label, text, f"must be one of {', '.join(standard.LEVELS)}"))
            if (text := labels.get(version_label)) is not None:
                version = text
                try:
                    standard.parse_version(text)
                except MalformedError:
                    version = "latest"
                    problems.append(_invalid(version_label, text, 'must be "latest" or "v1.x"'))
            demands[mode] = Demand(level, version)
        enforce, warn = demands["enforce"], demands["warn"]
        if (f"{PREFIX}warn" not in labels and labels.get(f"{PREFIX}enforce") in standard.LEVELS
                and standard.LEVELS.index(enforce.level) > standard.LEVELS.index(warn.level)):
            demands["warn"] = warn._replace(level=enforce.level) if f"{PREFIX}warn-version" in labels else enforce
        return demands, problems


class _SecurityRule(Rule):
    phase = Phase.VALIDATE

    def __init__(self, policy: Policy, name: str, configuration: Configuration, kinds: Sequence[str]) -> None:
        self.policy = policy
        self.name = name
        self.configuration = configuration
        self.enforce = name not in ("audit", "warn")
        self.scope = Scope(Block([Filter(kinds=[Named("kind", kind) for kind in kinds])]))

    def result(self, given: Given, outcome: Outcome, message: str, remedy: str | None = None) -> Spoken:
        return Spoken([RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=self.name, outcome=outcome,
                                  message=message, resource=given.resource, remedy=remedy, enforce=self.enforce)])


class ModeRule(_SecurityRule):
    """One mode: its name is the rule's."""

    reads_images = False

    def __init__(self, policy: Policy, mode: str, configuration: Configuration) -> None:
        super().__init__(policy, mode, configuration, _PODS if mode == "enforce" else (*_PODS, *_CONTROLLERS))
        self.reads_templates = mode != "enforce"

    def needs(self, given: Given) -> Needs:
        asks = given.request.namespace and not self._exempt(given)
        return Needs(questions=[NamespaceLabels(given.request.namespace)] if asks else [])

    def evaluate(self, given: Given) -> Spoken:
        request = given.request
        if request.operation not in ("CREATE", "UPDATE"):
            return Spoken([])
        # 1. Who is exempt by where, or by who asks; then what the namespace demands.
        if exempt := self._exempt(given):
            return self.result(given, Outcome.SKIP, exempt)
        demands, problems = self.configuration.demands(namespace_labels_of(request, given.answers))
        level, version = demands[self.name]
        if level == "privileged":
            return self.result(given, Outcome.SKIP, f"nothing is checked at {level}:{version}")
        # 2. The pod, or the pod of a template, where something of it is new.
        kind = (request.parent or request.kind).kind
        if kind != "Pod" and request.subresource:
            return Spoken([])
        try:
            metadata, spec = _pod(given.object, TEMPLATES[kind])
        except MalformedError:
            return self.result(given, Outcome.SKIP, "it has no pod template")
        if kind == "Pod" and request.operation == "UPDATE" and not _significant(request.object, request.old_object):
            return self.result(given, Outcome.SKIP, "nothing changed that is checked")
        if isinstance(spec, dict) and spec.get("runtimeClassName") in self.configuration.runtime_classes:
            return self.result(given, Outcome.SKIP, f"runtime class {spec['runtimeClassName']} is exempt")
        # 3. The standard; nobody is warned of what is denied anyway.
        if self.name == "warn" and kind == "Pod" and standard.evaluate(spec, metadata, *demands["enforce"]):
            return self.result(given, Outcome.SKIP, "enforce denies it")
        failures = standard.evaluate(spec, metadata, level, version)
        if not failures:
            return self.result(given, Outcome.PASS, f"it meets {level}:{version}")
        violates = "violates" if self.name == "enforce" else "would violate"
        return self.result(given, Outcome.FAIL, f'{violates} PodSecurity "{level}:{version}": '
                           f"{standard.aggregate(failures)}", "; ".join(problems) or None)

    def _exempt(self, given: Given) -> str:
        request = given.request
        if request.namespace in self.configuration.namespaces:
            return f"namespace {request.namespace} is exempt"
        if request.user.username in self.configuration.usernames:
            return f"user {request.user.username} is exempt"
        return ""


class LabelsRule(_SecurityRule):
    """Namespaces whose labels demand what does not exist; those that had them before keep them."""

    def __init__(self, policy: Policy, configuration: Configuration) -> None:
        super().__init__(policy, "labels", configuration, ["v1/Namespace"])

    def evaluate(self, given: Given) -> Spoken:
        request = given.request
        if request.operation not in ("CREATE", "UPDATE") or request.subresource:
            return Spoken([])
        labels, update = _labels(request.object), request.operation == "UPDATE"
        demands, problems = self.configuration.demands(labels)
        before, before_problems = self.configuration.demands(_labels(request.old_object))
        if problems and not (update and problems == before_problems):
            return self.result(given, Outcome.FAIL, "; ".join(problems))
        if problems:
            spoken = self.result(given, Outcome.SKIP, f"it had these labels before: {'; '.join(problems)}")
        else:
            spoken = self.result(given, Outcome.PASS, "its Pod Security labels are valid")
        if request.name not in self.configuration.namespaces or (update and not _stricter(demands, before)):
            return spoken
        warning = self._ignored(request.name, labels, demands)
        return Spoken([*spoken.results, *self.result(given, Outcome.WARN, warning).results]) if warning else spoken

    def _ignored(self, name: str, labels: dict[str, str], demands: dict[str, Demand]) -> str:
        """That the labels of an exempt namespace demand something for nothing; "" where they demand nothing."""
        if all(demand.same(self.configuration.defaults[mode]) for mode, demand in demands.items()) or all(
                demand.level == "privileged" for demand in demands.values()):
            return ""
        ignored = ", ".join(f"{mode}={demand}" for mode, demand in demands.items() if demand.level != "privileged"
                            and (f"{PREFIX}{mode}" in labels or f"{PREFIX}{mode}-version" in labels))
        return f'namespace "{name}" is exempt from Pod Security, and the policy ({ignored}) will be ignored'


class PodSecurity:
    """One PodSecurityConfiguration is one policy, called pod-security."""

    evaluates = f"{VERSION} PodSecurityConfiguration"

    def compile(self, document: dict[str, Any]) -> Configuration:
        top = Fields(document, "")
        kind, version = top.need("kind", str), top.need("apiVersion", str)
        if version != VERSION:
            raise UnsupportedError("kind", f"{version} {kind} is not evaluated by custody yet",
                                   hint=f"{self.evaluates} is")
        defaults = top.inner("defaults") or Fields({}, "defaults")
        demands = {mode: _default(defaults, mode) for mode in MODES}
        defaults.done()
        exemptions = top.inner("exemptions") or Fields({}, "exemptions")
        exempt = [_names(exemptions, field) for field in ("usernames", "namespaces", "runtimeClasses")]
        exemptions.done()
        top.done()
        return Configuration(demands, *exempt)

    def again(self, compiled: Any) -> Any:
        return compiled  # a link makes policies of it, and leaves it as it is

    def link(self, units: Sequence[Unit]) -> Iterator[Policy]:
        for unit in units:
            policy = Policy("pod-security", "podsecurity", parts=(unit.at,), kind="PodSecurityConfiguration")
            policy.rules = [*(ModeRule(policy, mode, unit.compiled) for mode in MODES),
                            LabelsRule(policy, unit.compiled)]
            yield policy

    def findings(self, units: Sequence[Unit], policy: Policy, kinds: Kinds) -> Iterator[Finding]:  # noqa: ARG002
        """Nothing that it says is easily meant otherwise, but that it says nothing."""
        if all(demand.level == "privileged" for demand in units[0].compiled.defaults.values()):
            yield ("defaults", "says-nothing", "note", "namespaces without labels of their own may run "
                   "anything", "defaults:\n  enforce: baseline\n")


def _labels(namespace: Any) -> dict[str, str]:
    return _map(_map(_map(namespace).get("metadata")).get("labels"))


def _stricter(new: dict[str, Demand], old: dict[str, Demand]) -> bool:
    """Whether what is enforced changed to what pods of before may not meet."""
    enforce, before = new["enforce"], old["enforce"]
    if enforce == before or enforce.level == "privileged":
        return False
    return enforce.version != before.version or (
        standard.LEVELS.index(enforce.level) > standard.LEVELS.index(before.level))


def _default(fields: Fields, mode: str) -> Demand:
    level, version = fields.take(mode, str) or "privileged", fields.take(f"{mode}-version", str) or "latest"
    if level not in standard.LEVELS:
        raise MalformedError(fields.path(mode), got=level, expected=" or ".join(standard.LEVELS))
    standard.parse_version(version, fields.path(f"{mode}-version"))
    return Demand(level, version)


def _names(fields: Fields, name: str) -> frozenset[str]:
    texts = fields.texts(name)
    if "" in texts or len(set(texts)) != len(texts):
        raise MalformedError(fields.path(name), got=", ".join(texts), expected="names, each once")
    return frozenset(texts)


def _invalid(label: str, text: str, problem: str) -> str:
    """As apimachinery's field.Invalid says it."""
    return f'metadata.labels[{label}]: Invalid value: "{text}": {problem}'


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
