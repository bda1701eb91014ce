"""Which rules may speak of a request at all, found without asking each: by kind and operation, namespace and labels.

What a rule that is not asked would have said is known beforehand: a decision lists it as if it had been asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from custody.policy.lookup import Answers
from custody.policy.model import Request, Silent
from custody.policy.rule import Rule
from custody.policy.scope import handles_of

_KNOWN = 256  # kinds and operations, of which it is remembered which rules may speak of them
_NOWHERE = "\0"  # the name of no namespace, object or label


class Index:
    """The rules of one phase, in their order."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self._known: dict[Any, Selection] = {}

    def of(self, request: Request) -> Selection:
        """The rules for requests like this one: of its kind, operation and way."""
        like = (request.kind, request.operation, request.subresource, request.resource, request.parent,
                request.existing, request.bare)
        known = self._known.get(like)
        if known is None:
            if len(self._known) >= _KNOWN:  # whoever asks about ever other kinds pays for it
                self._known.clear()
            known = self._known[like] = Selection(self.rules, request)
        return known

    def asked(self, request: Request) -> list[Rule]:
        """The rules that are to be asked, in their order."""
        selection = self.of(request)
        return [self.rules[rank] for rank in selection.ranks(request)]


class Selection:
    """What is known of requests that are alike. A rank is a rule's place among those of its phase."""

    def __init__(self, rules: Sequence[Rule], request: Request) -> None:
        self._always: list[int] = []
        self._by_handle: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self.quiet: list[Silent] = []
        """What the rules that are not asked say, in their order."""
        self.settled: list[bool] = []
        """By rank: whether the rule is asked about each request of these, so that its scope need not be."""
        self.before: list[int] = []
        """By rank: how many of `quiet` stand before the rule; one more at the end."""
        strange = msgspec.structs.replace(request, namespace=_NOWHERE, name=_NOWHERE, old_object=None,
                                          object={"metadata": {"namespace": _NOWHERE, "name": _NOWHERE}})
        for rank, rule in enumerate(rules):
            self.before.append(len(self.quiet))
            self.settled.append(_settled(rule, request))
            reason, handles = _apart(rule, request, strange)
            if reason is None:
                self._always.append(rank)
                continue
            for handle in handles:
                self._by_handle[handle].append(rank)
            if reason:
                self.quiet.append(Silent(rule.policy.name, rule.name, reason))
        self.before.append(len(self.quiet))
        self._by_handle = dict(self._by_handle)

    @property
    def candidates(self) -> list[int]:
        """Ranks of the rules that are asked about any of these requests."""
        return sorted({rank for ranks in self._by_handle.values() for rank in ranks}.union(self._always))

    @property
    def by_content(self) -> bool:
        """Whether it depends on more of a request than what is alike, such as labels, which rules can change."""
        return bool(self._by_handle)

    def ranks(self, request: Request) -> list[int]:
        """Of the rules that are to be asked about a request of these, in their order."""
        if not self._by_handle:
            return self._always
        ranks = {rank for handle in handles_of(request) for rank in self._by_handle.get(handle, ())}
        return sorted(ranks.union(self._always)) if ranks else self._always


def _settled(rule: Rule, request: Request) -> bool:
    if not (type(rule).silence is Rule.silence or rule.silent_by_kind) or not rule.scope.by_kind:
        return False
    try:
        return rule.silence(request, Answers({})) is None
    except Exception:  # said when it is asked
        return False


def _apart(rule: Rule, request: Request, strange: Request) -> tuple[str | None, Sequence[tuple[str, ...]]]:
    """(reason, handles): what the rule says of a request without any of these handles; no reason where it may speak.

    It is asked about a request like the one that is given: its own reasons come first where it has any.
    """
    try:
        handles = () if rule.scope.apart(request) else rule.scope.handles
        if handles is None:
            return None, ()
        return rule.silence(strange, Answers({})), handles
    except Exception:  # said when it is asked
        return None, ()
