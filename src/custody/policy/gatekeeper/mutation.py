"""All mutators together, applied until nothing changes (Gatekeeper pkg/mutation/system.go)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from custody.errors import MalformedError
from custody.formats import jsonpatch
from custody.policy.cel.mutations import difference
from custody.policy.gatekeeper.config import MUTATION, Config
from custody.policy.gatekeeper.conflicts import conflicting
from custody.policy.gatekeeper.mutators import External, Mutator
from custody.policy.gatekeeper.provider import NOBODY, Providers, UnknownProviderError
from custody.policy.given import Given
from custody.policy.kinds import Selector
from custody.policy.lookup import Answers, LookupFailedError, Together
from custody.policy.model import Outcome, Request, RuleResult
from custody.policy.phases import Phase
from custody.policy.rule import Policy, Rule, Spoken
from custody.policy.scope import Block, Filter, Scope
from policylang.errors import Shape

POLICY = "gatekeeper-mutators"
_WRITTEN = ("CREATE", "UPDATE")


class Mutation:
    """Mutators in Gatekeeper's order: by kind and name."""

    def __init__(self, mutators: Sequence[Mutator], providers: Providers = NOBODY) -> None:
        self._providers = providers
        self.mutators = sorted(mutators, key=lambda mutator: (mutator.kind, mutator.name))
        self.conflicts = conflicting(self.mutators)
        """Positions of those that are not applied, since they contradict another one."""

    def mutate(self, request: Request, answers: Answers) -> tuple[dict[str, Any] | None, list[Mutator]]:
        """(the object as it is then, those that wrote); None where none did.

        Raises MalformedError for an object of another shape, or one that never comes to rest; UnansweredError,
        LookupFailedError.
        """
        if request.object is None or not self.mutators:
            return None, []
        document = copy.deepcopy(request.object)
        wrote: dict[int, Mutator] = {}
        for _ in range(len(self.mutators) + 1):
            before, changed = copy.deepcopy(document), False
            for rank, mutator in enumerate(self.mutators):
                if rank in self.conflicts or not mutator.matches(_with(request, document), answers):
                    continue
                if mutator.write(document, request):
                    wrote[rank] = mutator
                    changed = True
            if not changed or jsonpatch.equal(document, before):
                if jsonpatch.equal(document, request.object):
                    return None, []
                settled = _settled(document, self._answered(document, answers))
                return settled, [mutator for rank, mutator in sorted(wrote.items())]
        raise MalformedError("mutators", got=f"an object that still changes after {len(self.mutators) + 1} rounds",
                             expected="mutators that come to rest")

    def _answered(self, document: dict[str, Any], answers: Answers) -> dict[External, str]:
        """What each provider says. Raises UnansweredError; MalformedError where one fails, and that is to fail."""
        asked: dict[str, list[External]] = {}
        for placeholder in _placeholders(document):
            asked.setdefault(placeholder.provider, []).append(placeholder)
        answered: dict[str, tuple[Mapping[str, Mapping[str, Any]], str]] = {}
        together = Together()
        for provider, placeholders in asked.items():
            with together:
                answered[provider] = self._items(
                    provider, tuple(sorted({placeholder.text for placeholder in placeholders})), answers)
        together.done()
        said: dict[External, str] = {}
        for provider, placeholders in asked.items():
            items, fault = answered[provider]
            for placeholder in placeholders:
                value, reason = items.get(placeholder.text), fault
                if not reason and value is None:
                    reason = "its answer lacks what was asked about"
                elif not reason and value is not None and value.get("error"):
                    reason = str(value["error"])
                elif not reason and value is not None and not isinstance(value.get("value"), str):
                    reason = f"got {Shape(value.get('value'))}, expected text"
                if not reason and value is not None:
                    said[placeholder] = value["value"]
                elif placeholder.failure == "Fail":
                    raise MalformedError(f"provider {provider}", got=reason, expected="an answer")
                else:
                    said[placeholder] = placeholder.default if placeholder.failure == "UseDefault" else placeholder.text
        return said

    def _items(self, provider: str, keys: tuple[str, ...],
               answers: Answers) -> tuple[Mapping[str, Mapping[str, Any]], str]:
        """(items by key, why there are none). Raises UnansweredError."""
        try:
            response = self._providers.answer(provider, keys, answers)
        except (LookupFailedError, UnknownProviderError) as error:
            return {}, error.message
        if str(response.get("systemError") or "").strip():
            return {}, str(response["systemError"])
        if response.get("idempotent") is not True:
            return {}, "its response is not idempotent"
        return {item["key"]: item for item in response.get("items") or []}, ""


class MutationRule(Rule):
    """One rule: what a mutator writes, another one may want to write over."""

    phase = Phase.MUTATE
    enforce = True
    name = ""

    def __init__(self, policy: Policy, mutation: Mutation, settings: Config | None = None) -> None:
        """`settings` leave namespaces out."""
        self.policy, self.mutation, self._settings = policy, mutation, settings
        self.scope = Scope(Block([_Named(mutation)]), judged=_WRITTEN)

    def silence(self, request: Request, answers: Answers) -> str | None:
        reason = super().silence(request, answers)
        if reason is not None or self._settings is None:
            return reason
        return self._settings.silence(request, MUTATION)

    def evaluate(self, given: Given) -> Spoken:
        document = given.request.object
        if document is None or given.request.operation not in _WRITTEN:
            return Spoken([])
        try:
            mutated, mutators = self.mutation.mutate(given.request, given.answers)
        except MalformedError as error:
            return Spoken([self.failed(given, error.message)])
        if mutated is None:
            return Spoken([])
        results = [RuleResult(policy=mutator.name, kind=mutator.kind, rule="", outcome=Outcome.PASS,
                              message="mutated", resource=given.resource) for mutator in mutators]
        return Spoken(results, difference(document, mutated))


class _Named(Filter):
    """The kinds that any of the mutators is about."""

    def __init__(self, mutation: Mutation) -> None:
        super().__init__(where="spec.applyTo")
        self._mutation = mutation
        self.selectors = [*dict.fromkeys(selector for mutator in mutation.mutators for selector in (
            mutator.match.selectors if mutator.kind == "AssignMetadata" else
            (Selector(group or "", version, kind, "") for entry in mutator.apply_to for group in entry.groups
             for version in entry.versions for kind in entry.kinds)))]
        self.empty = False
        self.chosen = ("applyTo",)
        self.matches = lambda request, _: not self.apart(request)

    def apart(self, request: Request) -> bool:
        return not any(mutator.kind == "AssignMetadata" or any(entry.names(request.kind) for entry in mutator.apply_to)
                       for mutator in self._mutation.mutators)


def _with(request: Request, document: dict[str, Any]) -> Request:
    """The request with the object as it is by now, and no other."""
    return msgspec.structs.replace(request, object=document, old_object=None)


# ── external data ───────────────────────────────────────────────────────────────────────────────────────────────────

def _placeholders(value: Any) -> Iterator[External]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, External):
            yield part
        elif isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _settled(value: Any, said: Mapping[External, str]) -> Any:
    if isinstance(value, External):
        return said[value]
    if isinstance(value, dict):
        return {name: _settled(part, said) for name, part in value.items()}
    return [_settled(part, said) for part in value] if isinstance(value, list) else value

