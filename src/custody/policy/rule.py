"""What every engine compiles its documents to: policies of rules, each with a phase, a scope, needs and a judgement."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from custody.policy.given import Given
from custody.policy.lookup import Answers
from custody.policy.model import Change, Outcome, Request, RuleResult, Vouched
from custody.policy.phases import Phase
from custody.policy.scope import Scope
from custody.ports.lookup import Question

if TYPE_CHECKING:
    from custody.policy.areas import Areas
    from custody.policy.exceptions import PolicyException
    from custody.policy.reads import Reads


@dataclass(eq=False)
class Policy:
    """One compiled policy. What the API server is told of it, and what decides in which scans it speaks."""

    name: str
    """`namespace/name` for one that lies in a namespace."""
    engine: str
    failure_policy: str = "Fail"
    """Fail or Ignore: whether what cannot be evaluated, or asked, is denied."""
    timeout: int | None = None
    """Seconds that the API server waits, 1 to 30; None for its default."""
    background: bool = True
    """Whether it speaks of what lies in a cluster, too."""
    rules: list[Rule] = field(default_factory=list)
    parts: tuple[int, ...] = ()
    """Which of the loaded documents it was made of, by their position."""
    kind: str = ""
    """Of the document that it is named by: ClusterPolicy."""
    admission: bool = True
    """Whether it is asked about requests, and not only of what lies in a cluster."""
    warns: bool = True
    """Whether who asks is warned of what it has against the object and does not deny for."""
    excepted: tuple[int, ...] = ()
    """Positions of the exceptions that name any of its rules."""


class Needs(NamedTuple):
    """What a rule wants to know before it judges a request."""

    images: Mapping[str, frozenset[str]] = {}
    """Canonical names, with the predicate types that are of use."""
    questions: Sequence[Question] = ()


class Spoken(msgspec.Struct, frozen=True):
    """What a rule says of a request. Without results it had nothing to judge."""

    results: Sequence[RuleResult]
    patch: Sequence[dict[str, Any]] = ()
    """JSON Patch (RFC 6902) of the object."""
    changes: Sequence[Change] = ()
    """Of other objects; rules whose phase is GENERATE have them."""


class Rule(Protocol):
    """Engines inherit from it, and write `evaluate`."""

    policy: Policy
    name: str
    phase: Phase
    scope: Scope
    enforce: bool
    """Whether the rule itself, where it cannot be evaluated, denies."""
    keys: Sequence[bytes] = ()
    """PEM public keys with which evidence must be verified for it."""
    predicate_types: frozenset[str] = frozenset()
    """Of evidence that it can use."""
    reads_images: bool = True
    """Whether it may speak of the names of images, so of a pod that was made up around one."""
    reads_templates: bool = False
    """Whether it may look into the spec of a pod template, and not only at its labels."""
    skip_background_requests: bool = True
    """Whether what controllers of policies ask for is no trigger for it; of rules that change other objects."""
    needs_request: str = ""
    """What it reads of a request that no object in a cluster has, such as who asks; empty where it reads none."""

    silent_by_kind: bool = False
    """Whether a `silence` of its own looks, beside its scope, at nothing but a request's kind, operation and way."""

    exceptions: Sequence[PolicyException] = ()
    """Those that name it."""
    partly: frozenset[str] = frozenset()
    """What of an exception's it obeys itself, of `exceptions.PODSECURITY`, IMAGES and VALUES."""
    excepts_itself: bool = False
    """Whether `evaluate` asks its exceptions, because something comes before them; else `decide` does."""

    def silence(self, request: Request, answers: Answers) -> str | None:
        """Why the rule is not asked about a request; None where it is. Raises UnansweredError, LookupFailedError."""
        if not self.policy.admission and not request.existing:
            return "its policy is about what lies in a cluster alone (admission: false)"
        reason = self.scope.silence(request, answers)
        if reason is not None or not (request.existing or request.bare):
            return reason
        if request.bare and not self.reads_images:
            return "it speaks of the pod, and only an image was given"
        if request.existing:
            if not self.policy.background:
                return "its policy is about requests alone (background: false)"
            if self.needs_request:
                return f"it reads {self.needs_request}, and what lies in a cluster was asked for by nobody"
        return None

    def matches(self, request: Request) -> bool:
        return self.silence(request, Answers({})) is None

    @property
    def wants(self) -> bool:
        """Whether `needs` may be anything at all."""
        return type(self).needs is not Rule.needs

    def needs(self, given: Given) -> Needs:  # noqa: ARG002 - engines' do
        """Of a request that it is not silent about."""
        return Needs()

    def evaluate(self, given: Given) -> Spoken:
        """What it says of a request that it is asked about. CustodyError and LanguageError are errors of the rule."""
        ...

    def failed(self, given: Given, message: str) -> RuleResult:
        """The result where the rule itself could not be carried out."""
        return RuleResult(policy=self.policy.name, kind=self.policy.kind, rule=self.name, outcome=Outcome.ERROR,
                          message=message, resource=given.resource,
                          enforce=self.enforce and self.policy.failure_policy != "Ignore")

    def excepted(self, given: Given, holding: Sequence[PolicyException],  # noqa: ARG002 - engines' do
                 outcome: Outcome) -> RuleResult | None:  # noqa: ARG002
        """The result where exceptions leave the rule out: skip or pass; None for that of a kyverno.io rule."""
        return None

    def unexcepted(self, given: Given, message: str) -> RuleResult:
        """The result where it cannot be told whether an exception holds."""
        return self.failed(given, f"failed to load context: {message}")

    def areas(self) -> Areas | None:
        """What decides all that `evaluate` gives but the resource's name, where it asks nobody and does nothing beside;
        None where that is not known."""
        return None

    def note_reads(self, reads: Reads) -> bool:  # noqa: ARG002 - engines' do
        """Mark all that decides which outcome it has; whether that is known. Silence is a part of it."""
        return False

    def vouched(self, given: Given, results: Sequence[RuleResult]) -> Iterable[Vouched]:  # noqa: ARG002 - engines' do
        """What a summary may say of images that it judged; `results` are its policy's in an allowed decision.

        Of a rule that reads more than the evidence, such as who asks or what time it is, nothing.
        """
        return ()

    def sees(self, template: str, field: str) -> bool:  # noqa: ARG002 - engines' do
        """Whether it looks at a field of pods, below the pointer of a pod template (`podfields`), for `coverage`."""
        return False


def copied(policy: Policy) -> Policy:
    """The same policy with rules of its own, for another set: they share what is compiled, not what linking writes."""
    again = copy.copy(policy)
    again.rules = [copy.copy(rule) for rule in policy.rules]
    for rule in again.rules:
        rule.policy = again
    return again
