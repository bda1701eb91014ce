"""A policy that is about to be applied: refused where it cannot be compiled or carried out, and tried on what is there.

An Enforce policy that is wrong locks out what runs: pods that are there are only admitted again when they move. So who
applies one is warned of what it would have denied. The trial is bounded, and never refuses anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from custody.admission.definitions import BY_KIND, CONSTRAINTS
from custody.admission.judging import Judging
from custody.admission.review import Review, answer, read
from custody.errors import CustodyError
from custody.policy.engines import Compiled
from custody.policy.kinds import Kinds
from custody.policy.load import PolicySet
from custody.policy.model import Kind, Outcome, Request, Resource
from custody.policy.phases import Course, Phase
from custody.policy.resources import ApiResource
from custody.policy.rule import Policy
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import ClusterObjects, Object
from custody.services.cluster.policies import EXPANSION, Collection, Place
from custody.services.cluster.refusals import refusal
from custody.services.cluster.rights import Rights
from custody.services.mirror import key_of

_LOG = logging.getLogger(__name__)
TRIED = 200
"""Objects of one kind that a policy is tried on."""
_KINDS = 8
_AT_ONCE = 16
_SHARE = 0.5
"""Of the API server's patience that the trial may take."""
_NAMED = 5


@dataclass
class _Trial:
    tried: int = 0
    denied: list[str] | None = None


class Guard:
    """Answers the policies' webhook. `kinds` gives what is served now."""

    def __init__(self, cluster: ClusterObjects, collection: Collection, kinds: Callable[[], Kinds], judging: Judging,
                 snapshot: Callable[[PolicySet], Snapshot], exclude: frozenset[str],
                 rights: Rights | None = None) -> None:
        """`rights`: what a policy wants done to other objects is to be allowed; None where nobody does it."""
        self._cluster = cluster
        self._collection = collection
        self._kinds = kinds
        self._judging = judging
        self._snapshot = snapshot
        self._exclude = exclude
        self._rights = rights

    async def review(self, body: bytes, *, seconds: float) -> bytes:
        """The answer to an AdmissionReview about a policy. Raises MalformedError for what is none."""
        review = read(body)
        request = review.request
        asked = request.kind.group, request.kind.kind
        if request.object is None or request.subresource or (asked not in BY_KIND and asked[0] != CONSTRAINTS):
            return answer(review, allowed=True)
        begun = asyncio.get_running_loop().time()
        compiled: Compiled | None = None
        aside = ""
        try:
            fault = refusal(request.object, self._kinds())
            if not fault:
                fault, compiled = await asyncio.to_thread(self._collection.tried, request.object, self._kinds())
            if not fault and compiled is not None and asked[0] == EXPANSION:
                fault = await asyncio.to_thread(self._collection.closing, compiled, self._kinds())
            elif not fault and compiled is not None and request.operation == "UPDATE":
                fault = await asyncio.to_thread(self._collection.breaking, compiled, self._kinds())
            if not fault and not (request.object.get("metadata") or {}).get("deletionTimestamp"):
                fault, aside = await self._unallowed(request.object, begun + seconds * _SHARE / 2)
        except Exception:
            _LOG.exception("a policy could not be checked")
            fault = "checking it failed with an internal error"
        if fault:
            # Kyverno gives warnings of the same words for its newer kinds, and no reason.
            told = [fault] if request.kind.group == "policies.kyverno.io" else []
            return answer(review, allowed=False, message=fault, warnings=told, reason="")
        warnings = await self._warnings(review, compiled, begun + seconds * _SHARE) if compiled is not None else []
        warnings += [aside] if aside else []
        return answer(review, allowed=True, warnings=warnings)

    async def _unallowed(self, document: Object, deadline: float) -> tuple[str, str]:
        """Why it is refused, and what it is warned of, by what custody may do; each may be empty."""
        if self._rights is None:
            return "", ""
        try:
            async with asyncio.timeout_at(deadline):
                fault = await self._rights.refusal(document, self._kinds())
                return fault, "" if fault else await self._rights.warning(document, self._kinds())
        except CustodyError as error:
            return f"whether it may be carried out could not be asked: {error.message}"[:1024], ""
        except TimeoutError:
            return "whether it may be carried out could not be asked: the API server gave no answer in time", ""

    async def _warnings(self, review: Review, compiled: Compiled, deadline: float) -> list[str]:
        assert review.request.object is not None
        if uncounting := self._collection.uncounting(review.request.object):
            return [uncounting]
        try:
            policies = await asyncio.to_thread(self._with, compiled)
            name = key_of(review.request.object)
            full = f"{name[0]}/{name[1]}" if name[0] else name[1]
            snapshot = self._snapshot(policies.only(
                lambda policy: (policy.name, policy.kind) == (full, review.request.kind.kind)))
            enforced = [policy for policy in snapshot.policies.policies if _denies(policy)]
            trial = _Trial(denied=[])
            if enforced:
                try:
                    async with asyncio.timeout_at(deadline):
                        await self._try(snapshot, trial, deadline)
                except TimeoutError:
                    _LOG.info("the trial of policy %s ended after %d objects, for want of time", full, trial.tried)
        except CustodyError as error:
            return [f"it was not tried on what the cluster holds: {error.message}"[:200]]
        except Exception as error:  # the trial refuses nothing, whatever happens in it
            _LOG.exception("a policy could not be tried")
            return [f"it was not tried on what the cluster holds: an internal error ({type(error).__name__})"]
        if not trial.denied:
            return []
        rest = len(trial.denied) - _NAMED
        named = ", ".join(trial.denied[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
        return [f"this policy would have denied {len(trial.denied)} of {trial.tried} objects that are there: {named}"]

    def _with(self, compiled: Compiled) -> PolicySet:
        """The policies in force with this one in its place."""
        parts = [*self._collection.beside(_place(compiled.document)), compiled]
        return PolicySet.linking(parts, [""] * len(parts), self._kinds().unchecked())

    async def _try(self, snapshot: Snapshot, trial: _Trial, deadline: float) -> None:
        turns = asyncio.Semaphore(_AT_ONCE)
        for resource in [*_named(snapshot.policies)][:_KINDS]:
            listing = await self._cluster.list(resource, first=TRIED)
            for outcome in asyncio.as_completed([self._judge(snapshot, resource, document, turns, deadline)
                                                 for document in listing.items]):
                words = await outcome
                trial.tried += words is not None
                if words and trial.denied is not None:
                    trial.denied.append(words)

    async def _judge(self, snapshot: Snapshot, resource: ApiResource, document: Object, turns: asyncio.Semaphore,
                     deadline: float) -> str | None:
        """Its name where it would be denied; "" where not, None where no rule spoke of it."""
        namespace, name = key_of(document)
        if namespace in self._exclude:
            return None
        request = Request(operation="CREATE", kind=Kind(resource.kind, resource.version, resource.group),
                          namespace=namespace, name=name, object=document)
        async with turns:
            judged = await self._judging.judge(request, snapshot, Course.VALIDATING, deadline=deadline)
        spoken = [result for result in judged.decision.results if result.outcome is not Outcome.SKIP]
        if not spoken:
            return None
        denied = any(result.denies and result.outcome is Outcome.FAIL for result in spoken)
        return f"{resource.kind} {namespace + '/' if namespace else ''}{name}" if denied else ""


def _denies(policy: Policy) -> bool:
    return any(rule.enforce and rule.phase in (Phase.VERIFY, Phase.VALIDATE) for rule in policy.rules)


def _named(policies: PolicySet) -> Iterator[ApiResource]:
    """The resources whose objects its rules judge: each once, in the version that was named or is listed first."""
    seen: set[tuple[str, str]] = set()
    for part in (part for rule in policies.rules for part in rule.scope.match.filters):
        targets = [target.resource for selector in part.selectors for target in policies.kinds.find(selector)
                   if target.subresource is None]
        targets += [resource for resource in policies.kinds.resources for asked in part.resources
                    if asked.selects(Resource(resource.plural, resource.version, resource.group), "", "")]
        for resource in targets:
            if (resource.group, resource.kind) not in seen:
                seen.add((resource.group, resource.kind))
                yield resource


def _place(document: Object) -> Place:
    return str(document.get("apiVersion")).rpartition("/")[0], str(document.get("kind")), *key_of(document)
