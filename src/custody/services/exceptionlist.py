"""Exceptions as who answers for them looks at them: from what, until when, by whom, and whether anybody needs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from custody.policy.counting import Counting, is_exception
from custody.policy.exempting import compile_exception
from custody.policy.kept import decision_of
from custody.policy.load import PolicySet
from custody.ports.decisions import KeptDecision

Use = tuple[str, str]
"""(policy, exception), both without a namespace."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One exception."""

    name: str
    """`namespace/name`."""
    state: str
    """stands, expired, names nothing, or why it does not count."""
    rules: list[str]
    """`policy/rule` of what is loaded; `policy` where a policy is one rule."""
    expires: datetime | None
    why: Mapping[str, str]
    """reason, ticket, approver and its properties."""
    used: int | None
    """Decisions in which it left a rule out; None where none are kept."""


def listed(policies: PolicySet, counting: Counting, now: datetime,
           uses: Mapping[Use, int] | None = None) -> Iterator[Listed]:
    """Of the policies' documents, those that do not count included."""
    for document in policies.documents:
        if not is_exception(document):
            continue
        exception = compile_exception(document)
        covered = [rule for rule in policies.rules if exception.covers(rule)]
        state = counting.fault(document) or ("expired" if exception.expires is not None
                                                     and now > exception.expires else
                                                     "stands" if covered else "names nothing")
        base = exception.name.rpartition("/")[2]
        used = None if uses is None else sum(uses.get((name, base), 0) for name in {
            rule.policy.name.rpartition("/")[2] for rule in covered})
        yield Listed(name=exception.name, state=state, expires=exception.expires, why=exception.why, used=used,
                     rules=list(dict.fromkeys(f"{rule.policy.name}/{rule.name}".rstrip("/") for rule in covered)))


def used_in(decisions: Iterable[KeptDecision]) -> Counter[Use]:
    """How many decisions each exception had a part in. Raises MalformedError."""
    uses: Counter[Use] = Counter()
    for kept in decisions:
        _, decision = decision_of(kept.body)
        uses.update({(result.policy.rpartition("/")[2], name) for result in decision.results
                     for name in result.properties.get("exceptions", "").split(",") if name})
    return uses
