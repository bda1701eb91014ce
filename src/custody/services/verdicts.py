"""Verdicts on kept decisions that differ from one that was made again only in what no rule reads.

Pods of one workload have other names, hashes and times, and the same answer. What rules read is known from how they
are written (`policy.reads`); it is compared as it was kept, so that an object is not even decoded. Only the verdict is
known then: who wants the words decides again. Policies of which it is not known what they read are asked each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Raw

from custody.policy.load import PolicySet
from custody.policy.model import Decision, Kind, Outcome, Request, Resource, Verdict
from custody.policy.phases import Course
from custody.policy.reads import Projection, Reads
from custody.policy.record import VERSION
from custody.policy.rule import Policy, Rule
from policylang.conditions.reads import UnboundedError

_MOST = 200_000  # verdicts that are known at once, of some 200 bytes each
_KINDS = 1024  # of requests
_TRIED, _SELDOM = 2000, 20  # requests of a kind after which less than the twentieth part is too few to go on
_FIRST = (Verdict.DENIED, Verdict.ALLOWED, Verdict.NOT_JUDGED)
"""Which of two verdicts on parts of the policies is that on all."""
_APART = (Course.VALIDATING, Course.BACKGROUND)
"""Where no rule changes the object that the others see."""
_NOTHING = Raw(b"null")


class _Request(msgspec.Struct, frozen=True):
    """`policy.model.Request`, of which what may not be read is not decoded."""

    operation: str
    kind: Kind
    namespace: str = ""
    name: str = ""
    object: Raw = _NOTHING
    old_object: Raw = _NOTHING
    user: Raw = _NOTHING
    dry_run: bool = False
    subresource: str = ""
    resource: Resource | None = None
    parent: Kind | None = None
    bare: bool = False
    existing: bool = False


class _Context(msgspec.Struct, frozen=True):
    simulated: Any = None


class _Kept(msgspec.Struct, frozen=True):
    """`policy.kept`'s record of a decision."""

    version: str
    request: _Request
    answers: Raw
    context: _Context
    at: Course
    withheld: bool = False


_KEPT = msgspec.json.Decoder(_Kept)
_Like = tuple[Any, ...]


class Read:
    """What those policies read whose rules are asked about requests of one kind, as far as that is known."""

    def __init__(self, policies: PolicySet, rules: Sequence[Rule], at: Course) -> None:
        """Raises UnboundedError where it is known of none."""
        self.reads = Reads()
        by_policy: dict[Policy, list[Rule]] = {}
        for rule in rules:
            by_policy.setdefault(rule.policy, []).append(rule)
        left_out = {policy for policy, asked in by_policy.items() if not _bounded(asked)}
        if left_out and (len(left_out) == len(by_policy) or at not in _APART):
            raise UnboundedError
        for rule in rules:
            if rule.policy not in left_out:
                rule.note_reads(self.reads)
        self.project = Projection(self.reads.object)
        self.rest = policies.only(left_out.__contains__) if left_out else None
        """The other policies, which are asked each time."""
        self._about = {(policy.kind, policy.name) for policy in by_policy.keys() - left_out}
        self.asked = self.answered = 0

    @property
    def useful(self) -> bool:
        """Whether it is worth its time: not where hardly any request has something in common with one before."""
        return self.asked < _TRIED or self.answered * _SELDOM > self.asked

    def verdict(self, decision: Decision) -> Verdict | None:
        """What its policies say in a decision; None where that depends on more than they read."""
        results = [result for result in decision.results if (result.kind, result.policy) in self._about]
        if decision.asks or any((result.kind, result.policy, result.rule) in self.reads.wordy for result in results
                                if result.outcome not in (Outcome.PASS, Outcome.SKIP)):
            return None
        if any(result.denies for result in results):
            return Verdict.DENIED
        spoke = any(result.outcome is not Outcome.SKIP for result in results)
        return Verdict.ALLOWED if spoke else Verdict.NOT_JUDGED


def _bounded(rules: Sequence[Rule]) -> bool:
    reads = Reads()
    try:
        if not all(rule.note_reads(reads) for rule in rules):
            return False
        Projection(reads.object)
    except UnboundedError:
        return False
    return True


class Likeness(msgspec.Struct, frozen=True):
    """What a request has in common with all about which the policies of `read` say the same."""

    digest: bytes
    read: Read


class Verdicts:
    """Of one set of policies."""

    def __init__(self, policies: PolicySet) -> None:
        self._policies = policies
        self._read: dict[_Like, Read | None] = {}
        self._known: dict[bytes, Verdict] = {}

    def likeness(self, body: bytes) -> Likeness | None:
        """Of a kept decision's request; None where it cannot be told."""
        try:
            kept = _KEPT.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None  # said by who decides
        if kept.version != VERSION or kept.withheld or kept.context.simulated is not None:
            return None
        asked = kept.request
        like = (asked.kind, asked.operation, asked.subresource, asked.resource, asked.parent, asked.existing,
                asked.bare, kept.at)
        if like not in self._read:
            if len(self._read) >= _KINDS:
                self._read.clear()
            self._read[like] = self._of(asked, kept.at)
        read = self._read[like]
        if read is None or not read.useful:
            return None
        now, before = read.project(asked.object), read.project(asked.old_object)
        if now is None or before is None:
            return None
        reads = read.reads
        named = reads.name or asked.kind.kind == "Namespace"  # which lies in itself
        parts = (repr((like, asked.namespace, asked.dry_run, asked.name if named else "")).encode(), now, before,
                 bytes(kept.answers), bytes(asked.user) if reads.user else b"")
        digest = sha256()
        for part in parts:
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
        return Likeness(digest.digest(), read)

    def _of(self, asked: _Request, at: Course) -> Read | None:
        request = Request(operation=asked.operation, kind=asked.kind, subresource=asked.subresource,
                          resource=asked.resource, parent=asked.parent, bare=asked.bare, existing=asked.existing)
        indices = [self._policies.index(phase) for phase in at.phases]
        rules = [index.rules[rank] for index in indices for rank in index.of(request).candidates]
        try:
            return Read(self._policies, rules, at)
        except UnboundedError:
            return None

    def known(self, like: Likeness, rest: Callable[[PolicySet], Decision]) -> Verdict | None:
        """The verdict on a request of this likeness, where it is known; `rest` asks the other policies."""
        like.read.asked += 1
        verdict = self._known.get(like.digest)
        if verdict is None:
            return None
        like.read.answered += 1
        if like.read.rest is None:
            return verdict
        decision = rest(like.read.rest)
        return None if decision.asks else min(verdict, decision.verdict, key=_FIRST.index)

    def learn(self, like: Likeness, decision: Decision) -> None:
        """What all policies decided on a request of this likeness."""
        verdict = like.read.verdict(decision)
        if verdict is None:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[like.digest] = verdict
