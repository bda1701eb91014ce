"""One request, asked in every way that custody has; what differs, and what was seen."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from random import Random
from typing import Any

import msgspec

from custody.admission.answered import Answered
from custody.admission.webhook import Admission
from custody.errors import CustodyError
from custody.formats import jsonpatch
from custody.policy.load import PolicySet
from custody.policy.model import Decision, Outcome, Request, RuleResult, User, Verdict
from custody.policy.phases import Course
from custody.policy.record import replay
from custody.services.check import Checked, check, check_request, request_of
from tests.fuzz.verdicts import policies, requests
from tests.fuzz.verdicts.world import Cluster, Registry
from tests.policy.test_images import NOW


def _now() -> datetime:
    return NOW


def _against(result: RuleResult) -> bool:
    return result.outcome in (Outcome.FAIL, Outcome.ERROR)


class Comparison:
    """One policy set as the webhook, `check`, a replay and a background scan have it."""

    def __init__(self, documents: list[dict[str, Any]], seen: Counter[str]) -> None:
        self.policies = PolicySet(documents)
        self.seen = seen
        self._registry, self._cluster = Registry(), Cluster()
        self._answered: list[Answered] = []
        self._webhook = Admission(self.policies, self._registry.for_webhook, _now, lookup=self._cluster,
                                  observer=self._answered.append)
        self._phases = {(rule.policy.name, rule.name): rule.phase for rule in self.policies.rules}
        self._what = {(rule.policy.name, rule.name): type(rule).__name__ for rule in self.policies.rules}

    async def differences(self, asked: dict[str, Any], *, whole: bool) -> list[str]:
        """What is not the same. `whole`: whether the replay compiles its recorded policies again."""
        first, patched = await self._review(asked, mutate=True)
        if first is None:
            return await self._refused()
        second = None
        if first.allowed:
            second, _ = await self._review(asked | {"object": patched}, mutate=False)
        request = self._answered[0].review.request
        self._answered.clear()
        checked = await check_request(request, self.policies, self._registry, _now, lookup=self._cluster)
        differ = [*self._both(first, second, patched, request, checked.decision)]
        again = replay(checked.record, None if whole else self.policies)
        if again != checked.decision:
            differ.append(f"replay: {again} is not {checked.decision}")
        if request.operation == "CREATE" and not request.subresource and request.object is not None:
            differ += [text async for text in self._created(request, checked)]
        self._count(request, checked.decision)
        return differ

    async def _review(self, asked: dict[str, Any], *, mutate: bool) -> tuple[Decision | None, Any]:
        """The decision, None where none was made, and the object as the answer's patch leaves it."""
        body = msgspec.json.encode({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked})
        said = msgspec.json.decode(await self._webhook.review(body, mutate=mutate))["response"]
        decision = self._answered[-1].decision
        assert said["allowed"] == (decision is not None and decision.allowed)
        patch = msgspec.json.decode(base64.b64decode(said["patch"])) if "patch" in said else []
        return decision, jsonpatch.apply(asked["object"], patch) if patch else asked["object"]

    async def _refused(self) -> list[str]:
        """A request that tells too little is denied by the webhook, with what is wrong; check says the same."""
        answered = self._answered.pop()
        self.seen["a request that tells too little"] += 1
        try:
            checked = await check_request(answered.review.request, self.policies, self._registry, _now,
                                          lookup=self._cluster)
        except CustodyError as error:
            return [*_unequal("refused", [f"judging it failed with {error.message}"], [answered.reason])]
        return [f"refused by the webhook: {answered.reason}; check says {checked.decision.verdict}"]

    def _both(self, first: Decision, second: Decision | None, patched: Any, request: Request,
              decision: Decision) -> Iterator[str]:
        """Where check is not both webhooks in a row: a phase that comes again counts by what it has against it."""
        phase = self._phases
        if second is None:
            yield from _unequal("mutate", first.results, decision.results[:len(first.results)])
            yield from _unequal("mutate: verdict", [first.verdict], [decision.verdict])
            return
        self.seen["denied when it is asked again"] += first.allowed and any(
            result.denies and phase[result.policy, result.rule] in Course.MUTATING.phases for result in second.results)
        known = {(result.policy, result.rule, result.image) for result in first.results if _against(result)}
        later = [result for result in second.results if phase[result.policy, result.rule] not in Course.MUTATING.phases
                 or result.denies or (_against(result) and (result.policy, result.rule, result.image) not in known)]
        yield from _unequal("results", [*first.results, *later], decision.results)
        yield from _unequal("silent", [*first.silent, *(silent for silent in second.silent if phase[
            silent.policy, silent.rule] not in Course.MUTATING.phases)], decision.silent)
        verdicts = {first.verdict, second.verdict}
        verdict = next(verdict for verdict in (Verdict.DENIED, Verdict.ALLOWED, Verdict.NOT_JUDGED)
                       if verdict in verdicts)
        yield from _unequal("verdict", [verdict], [decision.verdict])
        if decision.allowed:
            changed = jsonpatch.apply(request.object, decision.patch) if decision.patch else request.object
            yield from _unequal("patch", [patched], [changed])

    async def _created(self, request: Request, checked: Checked) -> Any:
        """`check` of the object alone, and a scan that finds it in a cluster."""
        resource, namespace = request.object or {}, request.namespace
        made = request_of(resource, self.policies, namespace)
        alike = msgspec.structs.replace(request, user=User(), dry_run=False, resource=None, name=made.name)
        if made == alike and isinstance(metadata := resource.get("metadata"), dict):
            self.seen["check of the object alone"] += 1
            unfilled = {key: value for key, value in metadata.items() if key != "namespace"}
            alone = await check(resource | {"metadata": unfilled}, self.policies, self._registry, _now, namespace,
                                lookup=self._cluster)
            nobody = checked if request == msgspec.structs.replace(alike, resource=request.resource) else (
                await check_request(alike, self.policies, self._registry, _now, lookup=self._cluster))
            for text in _unequal("check of the object", alone.decision.results, nobody.decision.results):
                yield text
        # A rule that is exempt by who asks knows nobody in a scan.
        exempt = any(document["kind"] == "PodSecurityConfiguration" for document in self.policies.documents)
        created = msgspec.structs.replace(made, user=User() if exempt else request.user)
        created_decision = (await check_request(created, self.policies, self._registry, _now, Course.VALIDATING,
                                                self._cluster)).decision
        scanned = (await check(resource, self.policies, self._registry, _now, namespace, Course.BACKGROUND,
                               self._cluster)).decision
        for rule in self.policies.rules:
            if rule.phase not in Course.BACKGROUND.phases:
                continue
            named = rule.policy.name, rule.name
            self.seen["a rule in the background"] += 1
            reasons = [silent.reason for silent in scanned.silent if (silent.policy, silent.rule) == named]
            expected = [silent.reason for silent in created_decision.silent if (silent.policy, silent.rule) == named]
            if reasons and reasons != expected:
                self.seen[f"silent: {reasons[0].partition(' (')[0].partition(',')[0]}"] += 1
                if rule.policy.background and not rule.needs_request:
                    yield f"background: {named} is silent: {reasons[0]}; a create has {expected}"
                continue
            if not rule.policy.background and not reasons and _of(scanned, named):
                yield f"background: {named} speaks, and its policy says background: false"
            for text in _unequal(f"background: {named}", _of(created_decision, named), _of(scanned, named)):
                yield text

    def _count(self, request: Request, decision: Decision) -> None:
        seen = self.seen
        seen[f"verdict: {decision.verdict}"] += 1
        seen[f"request: {request.operation}{' subresource' if request.subresource else ''}"] += 1
        seen["patch applied"] += bool(decision.patch)
        seen["dry run"] += request.dry_run
        seen["looked up nothing, or could not"] += any("could not be had" in result.message
                                                       for result in decision.results)
        for result in decision.results:
            seen[f"{self._what[result.policy, result.rule]}: {result.outcome}"] += 1
            if not result.enforce and result.outcome in ("fail", "error"):
                seen["a failure that does not deny"] += 1
            if "does not fit" in result.message:
                seen["a patch that does not fit"] += 1
            seen["internal error"] += "internal error" in result.message
        for silent in decision.silent:
            seen[f"silent: {silent.reason}"] += 1


def _of(decision: Decision, named: tuple[str, str]) -> list[Any]:
    return [result for result in decision.results if (result.policy, result.rule) == named]


def _unequal(where: str, expected: Any, got: Any) -> Iterator[str]:
    if list(expected) == list(got):
        return
    first = next((pair for pair in zip(expected, got, strict=False) if pair[0] != pair[1]), (expected, got))
    yield (f"{where}: expected {len(expected)}, got {len(got)}; first difference:\n    expected {first[0]}\n"
           f"    got      {first[1]}")


async def run(count: int, seed: int, *, batch: int, show: int = 10) -> Counter[str]:
    """`count` requests, `batch` to one policy set. Prints the first differences."""
    seen: Counter[str] = Counter()
    made = 0
    while made < count:
        dice = Random(f"{seed}/{made}")
        documents = policies.policy_set(dice)
        comparison = Comparison(documents, seen)
        for at in range(min(batch, count - made)):
            asked = requests.request(dice)
            differ = await comparison.differences(asked, whole=at % 20 == 0)
            seen["requests"] += 1
            if differ:
                seen["differences"] += 1
                if seen["differences"] <= show:
                    print(f"--- seed {seed}/{made}, request {at}", msgspec.json.encode(documents).decode(),
                          msgspec.json.encode(asked).decode(), *differ, sep="\n")
        made += batch
    return seen


def ask(count: int, seed: int, *, batch: int = 100) -> Counter[str]:
    return asyncio.run(run(count, seed, batch=batch))


