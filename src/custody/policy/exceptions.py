"""Exceptions from policies: one kind for all engines and gates, of Kyverno's two.

kyverno.io PolicyException (v2, v2beta1) names rules, policies.kyverno.io PolicyException (v1, v1beta1, v1alpha1) names
policies. Both hold for requests that they match, until they expire: judged by the decision's own time, so that an
exception ends at once for webhook, check, background scans and replays. `decide` asks them before the rule
(`excepting`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from custody.policy.model import Outcome

PODSECURITY, IMAGES, VALUES = "podSecurity", "images", "allowedValues"
"""What an exception may leave to the rule, instead of the whole rule (`Rule.partly`)."""


@dataclass(eq=False)
class PolicyException:
    """One compiled exception."""

    name: str
    """`namespace/name`."""
    covers: Callable[[Any], bool]
    """Whether it names a Rule."""
    holds: Callable[[Any], bool]
    """Whether it matches the request of a Given. Raises CustodyError, LanguageError."""
    expires: datetime | None = None
    """The last moment of which it is one."""
    strict: bool = False
    """Whether a rule under Fail fails where it cannot be told if the exception holds; else it does not hold."""
    background: bool = True
    outcome: Outcome = Outcome.SKIP
    """Skip or pass."""
    priority: int = 0
    images: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    controls: tuple[Any, ...] = ()
    """podSecurity entries, each a `kyverno.podsecurity.Exclusion`."""
    why: Mapping[str, str] = field(default_factory=dict)
    """Reason, ticket, approver and whatever else it says of itself."""
    namespace: str = ""
    at: int = -1
    """Its position among all documents that are loaded."""

    @property
    def parts(self) -> frozenset[str]:
        return frozenset(name for name, value in ((PODSECURITY, self.controls), (IMAGES, self.images),
                                                  (VALUES, self.values)) if value)

    def stands(self, now: datetime, *, existing: bool) -> bool:
        """Whether there is such an exception at the time of a decision about what is asked for, or lies there."""
        return (self.expires is None or now <= self.expires) and (self.background or not existing)
