"""What rules said of requests that differ from this one only in what they do not read.

Pods of one workload have other names, hashes and times, and get the same answer. Whether a rule is asked, and what it
is excepted from, is found out each time; what it says then is remembered by the areas that it reads.
"""

from __future__ import annotations

import threading
from hashlib import blake2b
from typing import Any

import msgspec

from custody.policy.areas import Areas
from custody.policy.given import Given
from custody.policy.model import Outcome, Request
from custody.policy.rule import Rule, Spoken

_MOST = 8192
"""Requests by their areas, of some 1.5 KB each where twenty rules have nothing against them."""
_RESULTS, _CHARACTERS = 16, 4096
"""Of what a rule says that is worth remembering."""
_HEAVIEST = 16 * 1024 * 1024
"""Characters of all that is remembered: who asks about ever other bad pods fills no memory."""
_OVERHEAD = 500
"""Characters that a result counts as beside its own."""
_SHARED = 60
"""Characters that a rule counts as which said what it always says."""
_ENCODER = msgspec.msgpack.Encoder()  # it tells apart what is no number from null, which JSON would not
_FIELDS = ("message", "told", "remedy")
_ANSWERS = (Outcome.PASS, Outcome.FAIL, Outcome.SKIP)


class _Said(dict[Rule, Spoken]):
    """What rules of the same areas said of one request."""

    __slots__ = ("gone", "weight")

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.gone = 0, False


class Recall:
    """Of one set of policies, whose rules stay as they are. Several threads may decide at once."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._known: dict[bytes, _Said] = {}
        self._weight = 0
        self._passed: dict[Rule, Spoken] = {}
        """What rules say that have nothing against an object, held once for all of them."""

    def evaluate(self, rule: Rule, given: Given) -> Spoken:
        """What the rule says of a request that it is asked about, as `rule.evaluate`."""
        areas = rule.areas()
        # A request with a review of its own is tried out.
        if areas is None or given.exceptions or type(given.request) is not Request:
            return rule.evaluate(given)
        likeness: _Likeness | None = given.memo.get(Recall)
        if likeness is None:
            likeness = given.memo[Recall] = _Likeness(given)
        try:
            known = likeness.known[areas]
        except KeyError:
            known = likeness.known[areas] = self._of(likeness, areas)
        if known is None:
            return rule.evaluate(given)
        said = known.get(rule)
        if said is not None:
            return _placed(said, given.resource)
        consulted = given.answers.consulted
        said = rule.evaluate(given)
        if given.answers.consulted == consulted and _settles(said):
            self._hold(known, rule, said)
        return said

    def _of(self, likeness: _Likeness, areas: Areas) -> _Said | None:
        digest = likeness.digest(areas)
        if digest is None:
            return None
        known = self._known.get(digest)
        if known is None:
            with self._changing:
                if len(self._known) >= _MOST:
                    self._let_go()
                known = self._known.setdefault(digest, _Said())
        return known

    def _let_go(self) -> None:
        """Of what was remembered first."""
        oldest = self._known.pop(next(iter(self._known)))
        oldest.gone = True
        self._weight -= oldest.weight

    def _hold(self, known: _Said, rule: Rule, said: Spoken) -> None:
        weight = _weight(said) + _OVERHEAD * len(said.results)
        if all(result.outcome is Outcome.PASS for result in said.results):
            passed = self._passed.setdefault(rule, said)
            if _placed(passed, said.results[0].resource) == said:
                said, weight = passed, _SHARED
        with self._changing:
            if known.gone or rule in known:
                return
            known[rule] = said
            known.weight += weight
            self._weight += weight
            while self._weight > _HEAVIEST:
                self._let_go()

    def __reduce__(self) -> tuple[type[Recall], tuple[()]]:
        return Recall, ()  # another process remembers for itself


class _Likeness:
    """What of a request decides what rules say of it."""

    def __init__(self, given: Given) -> None:
        self.known: dict[Areas, _Said | None] = {}
        self._request = request = given.request
        self._parts: dict[tuple[str, ...], bytes | None] = {}
        self._same: bytes | None = None
        context = given.context
        if context.simulated is None and context.summaries is None:  # else it is tried out, and nothing is like it
            self._same = _encoded((
                request.operation, request.kind, request.namespace, request.dry_run, request.subresource,
                request.resource, request.parent, request.bare, request.existing, context.point,
                request.object is None, request.old_object is None))

    def digest(self, areas: Areas) -> bytes | None:
        """None where that cannot be told."""
        if self._same is None:
            return None
        paths = sorted(areas.paths)
        parts = [self._same, _encoded((paths, self._request.name if areas.name else None,
                                       self._request.user if areas.user else None)), *map(self._part, paths)]
        return None if None in parts else _digest(*(part for part in parts if part is not None))

    def _part(self, path: tuple[str, ...]) -> bytes | None:
        if path not in self._parts:
            parts = [_encoded(_at(document, path)) for document in (self._request.object, self._request.old_object)]
            self._parts[path] = None if None in parts else _digest(*(part for part in parts if part is not None))
        return self._parts[path]


def _at(document: dict[str, Any] | None, path: tuple[str, ...]) -> tuple[int, bool, Any]:
    """(how deep, whether it is there, what stands there): the value, or what has no such field."""
    value: Any = document
    for depth, field in enumerate(path):
        if type(value) is not dict:
            return depth, True, value
        if field not in value:
            return depth, False, None
        value = value[field]
    return len(path), True, value


def _encoded(value: Any) -> bytes | None:
    """None for what has no such form: a text that is no Unicode, a number of more than 64 bits."""
    try:
        return _ENCODER.encode(value)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return None


def _digest(*parts: bytes) -> bytes:
    digest = blake2b(digest_size=20)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def _settles(said: Spoken) -> bool:
    """Whether it is an answer, and short enough to be kept. What could not be evaluated is tried again."""
    results = said.results
    return 0 < len(results) <= _RESULTS and not said.patch and not said.changes and all(
        result.outcome in _ANSWERS and not result.evidence and result.image is None
        for result in results) and _weight(said) <= _CHARACTERS


def _weight(said: Spoken) -> int:
    """Characters of what is said."""
    return sum(len(getattr(result, field) or "") for result in said.results for field in _FIELDS) + sum(
        len(text) for result in said.results for text in result.properties.values())


def _placed(said: Spoken, resource: str) -> Spoken:
    if said.results[0].resource == resource:
        return said
    return Spoken([msgspec.structs.replace(result, resource=resource) for result in said.results])
