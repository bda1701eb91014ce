"""The order in which the Kyverno CLI asks policies about a resource, made once for all resources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from custody.policy.model import Request
from custody.policy.phases import Phase
from custody.policy.rule import Rule
from custody.services.simulation.policies import CEL, KYVERNO, Tried

KPOL = ("ClusterPolicy", "Policy")
DELETING = ("DeletingPolicy", "NamespacedDeletingPolicy", "CleanupPolicy", "ClusterCleanupPolicy")
IMAGES = ("ImageValidatingPolicy", "NamespacedImageValidatingPolicy")
_MUTATING = ("MutatingPolicy", "NamespacedMutatingPolicy")
_VALIDATING = ("ValidatingPolicy", "NamespacedValidatingPolicy")
_GENERATING = ("GeneratingPolicy", "NamespacedGeneratingPolicy")
_KINDS = 256  # of which it is remembered which rules may speak of them


class Step:
    """Some rules of one policy, of which there is one answer."""

    def __init__(self, tried: Tried, phases: tuple[Phase, ...], *, cascade: bool = False, empty: bool = True,
                 only: str = "") -> None:
        """`only`: which rules, of those that generate."""
        self.tried = tried
        self.cascade = cascade
        """Whether policies after it see the object as this one leaves it."""
        self.empty = empty
        """Whether there is an answer where no rule speaks."""
        self.group = KYVERNO if tried.group == KYVERNO else CEL
        """The engine whose answers its rules get."""
        self.alike = not (tried.of_json or tried.kind in DELETING)
        """Whether it is asked about the request that all of its group are, where no values are said of it alone."""
        self.judges = phases == (Phase.VALIDATE,) and tried.kind in KPOL
        """Whether it validates and does nothing else."""
        self._rules = tuple(_rules(tried, phases, only))
        self._by_kind: dict[str, tuple[tuple[Phase, Rule], ...]] = {}

    def asked(self, request: Request) -> tuple[tuple[Phase, Rule], ...]:
        """The rules but those that another form stands for where the request's kind is this one."""
        kind = (request.parent or request.kind).kind
        rules = self._by_kind.get(kind)
        if rules is None:
            rules = tuple((phase, rule) for phase, rule in self._rules
                          if not rule.scope.kinds or kind in rule.scope.kinds)
            if len(self._by_kind) < _KINDS:
                self._by_kind[kind] = rules
        return rules


class Plan(NamedTuple):
    first: Sequence[Step]
    together: Sequence[Step]
    """They answer together: each is told with the object as all of them leave it."""
    last: Sequence[Step]


def plan(policies: Sequence[Tried], *, default: bool, payload: bool) -> Plan:
    """`default`: whether policies that no request asks, which delete, speak too. `payload`: of JSON, no object of
    Kubernetes: only policies about such documents speak.
    """
    if payload:
        policies = [tried for tried in policies if tried.of_json or tried.kind in (*DELETING, *IMAGES)]

    def of(*kinds: str) -> list[Tried]:
        return [tried for tried in policies if tried.kind in kinds]

    def writing(field: str) -> list[Tried]:
        return [tried for tried in of(*KPOL) if tried.writes(field)]

    mutating = of(*_MUTATING)
    return Plan(
        first=[
            *(Step(tried, (Phase.MUTATE,), cascade=True) for tried in writing("mutate")),
            *(Step(tried, (Phase.VERIFY,), cascade=True) for tried in writing("verifyImages")),
            *(Step(tried, (Phase.VALIDATE,), cascade=True) for tried in writing("validate")),
            *(Step(tried, (Phase.MUTATE,), cascade=True, empty=False) for tried in of("MutatingAdmissionPolicy"))],
        together=[Step(tried, (Phase.MUTATE,), cascade=True, empty=not plain(tried)) for tried in mutating],
        last=[
            *(Step(tried, (Phase.GENERATE,), empty=False) for tried in mutating),
            *(Step(tried, (Phase.VALIDATE, Phase.AUDIT), empty=payload or not (plain(tried) or tried.of_json))
              for tried in of(*_VALIDATING)),
            *(Step(tried, (Phase.GENERATE,), empty=False) for tried in of(*_GENERATING)),
            *(Step(tried, (Phase.GENERATE,), empty=False, only="generate") for tried in writing("generate")),
            *(Step(tried, (Phase.VALIDATE, Phase.AUDIT)) for tried in of("ValidatingAdmissionPolicy")),
            *(Step(tried, (Phase.VERIFY, Phase.VALIDATE)) for tried in of(*IMAGES)),
            *(Step(tried, (Phase.GENERATE,), empty=False) for tried in of(*DELETING) if default)])


def _rules(tried: Tried, phases: tuple[Phase, ...], only: str) -> Iterator[tuple[Phase, Rule]]:
    existing = _existing(tried) if tried.kind in KPOL else frozenset()
    for phase in phases:
        for rule in tried.policy.rules:
            base = rule.name.removeprefix("autogen-cronjob-").removeprefix("autogen-")
            if rule.phase is Phase.GENERATE and tried.kind in KPOL:
                mutates = base in existing
                if (phase is Phase.MUTATE and mutates) or (phase is Phase.GENERATE and only and not mutates):
                    yield Phase.GENERATE, rule
            elif rule.phase is phase:
                yield phase, rule


def _existing(tried: Tried) -> frozenset[str]:
    """Names of the rules that change what is there."""
    rules = [rule for rule in tried.spec.get("rules") or () if isinstance(rule, dict)]
    return frozenset(str(rule.get("name")) for rule in rules
                     if isinstance(mutate := rule.get("mutate"), dict) and mutate.get("targets"))


def plain(tried: Tried) -> bool:
    """Whether a policy selects by one rule of resources and nothing else.

    The Kyverno CLI says nothing at all of such a policy where it does not match, and "excluded" of any other.
    """
    match = tried.spec.get("matchConstraints")
    if not isinstance(match, dict):
        return False
    for name in ("namespaceSelector", "objectSelector"):
        selector = match.get(name)
        if isinstance(selector, dict) and (selector.get("matchLabels") or selector.get("matchExpressions")):
            return False
    rules = match.get("resourceRules") or []
    return not match.get("excludeResourceRules") and len(rules) == 1 and not rules[0].get("resourceNames")
