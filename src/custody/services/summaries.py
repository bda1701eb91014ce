"""Verification summaries, written by who decided: an image was allowed by these policies, signed, beside the image.

Who cannot have the evidence later may go by them (`policy.summaries`). A summary says what the evidence itself showed:
none is made of a decision that rests on older evidence, on another summary, or on an exception.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from custody import __version__
from custody.admission.answered import Answered
from custody.admission.judging import Judged
from custody.errors import CustodyError, MalformedError
from custody.formats import intoto, vsa
from custody.formats.reference import Reference
from custody.kit.clock import Clock
from custody.policy.given import Given
from custody.policy.images import image as named
from custody.policy.lookup import Answers
from custody.policy.model import RuleResult, Verdict, Vouched
from custody.policy.summaries import resource
from custody.ports.lookup import Answered as Known
from custody.ports.lookup import ImageEvidence
from custody.registry.client import RegistryClient
from custody.sign.referrers import push_bundle
from custody.sign.signer import Signer

_LOG = logging.getLogger(__name__)
_WAITING = 256
_KNOWN = 4096
_TRIES = (0.0, 5.0, 60.0)  # seconds before each
_SECONDS = 30.0  # for one try


class Draft(NamedTuple):
    """A summary that is still to be signed."""

    ref: Reference
    """With the digest."""
    summary: vsa.Summary


def drafts(judged: Judged, verifier: str) -> Iterator[Draft]:
    """One for each image of an allowed decision that its rules were met by, on evidence that was had."""
    decision, policies = judged.decision, judged.snapshot.policies
    if decision.verdict is not Verdict.ALLOWED or _stale(judged):
        return
    given = Given(judged.request, judged.context, judged.evidence, Answers(judged.answers), changes=True)
    results: dict[tuple[str, str], list[RuleResult]] = {}
    for result in decision.results:
        results.setdefault((result.kind, result.policy), []).append(result)
    by_image: dict[tuple[str, str], list[Vouched]] = {}
    for rule in policies.rules:
        own = results.get((rule.policy.kind, rule.policy.name))
        for vouched in rule.vouched(given, own) if own else ():
            by_image.setdefault((vouched.image, vouched.digest), []).append(vouched)
    for (written, digest), said in by_image.items():
        ref = named(written).ref
        inputs = dict.fromkeys(evidence for vouched in said for evidence in vouched.evidence)
        yield Draft(ref.at(digest), vsa.Summary(
            verifier=verifier, version={"custody": __version__}, verified=judged.context.now,
            resource=resource(ref, digest), policy_uri="urn:custody:policies",
            policy_digest={"sha256": policies.meaning.removeprefix("sha256:")}, result=vsa.PASSED,
            levels=tuple(dict.fromkeys(vouched.level for vouched in said)),
            inputs=tuple(vsa.Input(digest={"sha256": evidence.removeprefix("sha256:")}) for evidence in inputs)))


def _stale(judged: Judged) -> bool:
    """Whether any of it rests on evidence that was gathered before: its age would begin anew with a summary."""
    asked = [answer.value for question, answer in judged.answers.items()
             if isinstance(question, ImageEvidence) and isinstance(answer, Known)]
    return (any(about.stale_since is not None for about in judged.evidence.values())
            or any(isinstance(about, dict) and about.get("stale_since") is not None for about in asked))


async def write(draft: Draft, signer: Signer, client: RegistryClient, clock: Clock) -> str:
    """Sign one and store it beside its image; its digest. Raises CustodyError."""
    descriptor = await client.resolve(draft.ref)
    statement = intoto.statement(descriptor.digest, vsa.PREDICATE_TYPE, draft.summary.to_json(), name=draft.ref.name)
    data, _ = await signer.sign(statement, descriptor.digest)
    return (await push_bundle(client, draft.ref, descriptor, data, vsa.PREDICATE_TYPE, clock())).digest


class Summarizing:
    """An Observer that writes summaries in the background: once for a digest and the rules of its policies, and anew
    after `again`. What it has no room for, and what fails three times, is counted."""

    def __init__(self, signer: Signer, client: RegistryClient, clock: Clock, verifier: str, again: timedelta) -> None:
        self._signer, self._client, self._clock = signer, client, clock
        self._verifier, self._again = verifier, again
        self._known: OrderedDict[tuple[str, str, tuple[str, ...]], datetime] = OrderedDict()
        self._queue: asyncio.Queue[Draft] = asyncio.Queue(_WAITING)
        self.written = 0
        self.failed = 0

    def __call__(self, answered: Answered) -> None:
        if answered.judged is None or answered.judged.request.dry_run:
            return
        try:
            for draft in drafts(answered.judged, self._verifier):
                self._take(draft)
        except (CustodyError, MalformedError) as error:
            _LOG.warning("no summary: %s", error.message)

    def _take(self, draft: Draft) -> None:
        key = (str(draft.ref), draft.summary.policy_digest["sha256"], draft.summary.levels)
        before = self._known.get(key)
        if before is not None and draft.summary.verified - before < self._again:
            return
        try:
            self._queue.put_nowait(draft)
        except asyncio.QueueFull:
            self.failed += 1
            return
        self._known[key] = draft.summary.verified
        self._known.move_to_end(key)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            draft = await self._queue.get()
            for wait in _TRIES:
                await asyncio.sleep(wait)
                try:
                    async with asyncio.timeout(_SECONDS):
                        await write(draft, self._signer, self._client, self._clock)
                    self.written += 1
                    break
                except (CustodyError, TimeoutError) as error:
                    _LOG.warning("the summary of %s is not written: %s", draft.ref, error)
            else:
                self.failed += 1
