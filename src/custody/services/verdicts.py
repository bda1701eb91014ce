"""Verdicts on kept decisions that differ from one that was made again only in what no rule reads.

Pods of one workload have other names, hashes and times, and the same answer. What rules read is known from how they
are written (`policy.reads`); it is compared as it was kept, so that an object is not even decoded. Only the verdict is
known then: who wants the words decides again.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Raw

from custody.policy.load import PolicySet
from custody.policy.model import Decision, Kind, Outcome, Request, Resource, Verdict
from custody.policy.phases import Course
from custody.policy.reads import Projection, Reads
from custody.policy.record import VERSION
from custody.policy.rule import Rule
from policylang.conditions.reads import UnboundedError

_MOST = 200_000  # verdicts that are known at once, of about 100 bytes each
_KINDS = 1024  # of requests
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


class _Read:
    """What the rules read that are asked about requests of one kind."""

    def __init__(self, rules: list[Rule]) -> None:
        """Raises UnboundedError."""
        self.reads = Reads()
        for rule in rules:
            if not rule.note_reads(self.reads):
                raise UnboundedError
        self.project = Projection(self.reads.object)


class Verdicts:
    """Of one set of policies."""

    def __init__(self, policies: PolicySet) -> None:
        self._policies = policies
        self._read: dict[_Like, _Read | None] = {}
        self._known: dict[bytes, Verdict] = {}

    def likeness(self, body: bytes) -> Likeness | None:
        """What a kept decision has in common with all that get the same verdict; None where that cannot be told."""
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
        if read is None:
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
        return Likeness(digest.digest(), reads)

    def _of(self, asked: _Request, at: Course) -> _Read | None:
        request = Request(operation=asked.operation, kind=asked.kind, subresource=asked.subresource,
                          resource=asked.resource, parent=asked.parent, bare=asked.bare, existing=asked.existing)
        indices = [self._policies.index(phase) for phase in at.phases]
        try:
            return _Read([index.rules[rank] for index in indices for rank in index.of(request).candidates])
        except UnboundedError:
            return None

    def known(self, like: Likeness) -> Verdict | None:
        return self._known.get(like.digest)

    def learn(self, like: Likeness, decision: Decision) -> None:
        """What was decided on a request of this likeness, unless it depends on more."""
        if decision.asks or any((result.kind, result.policy, result.rule) in like.reads.wordy
                                for result in decision.results
                                if result.outcome not in (Outcome.PASS, Outcome.SKIP)):
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[like.digest] = decision.verdict


class Likeness(msgspec.Struct, frozen=True):
    digest: bytes
    reads: Reads
