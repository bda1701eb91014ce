"""All that a review is judged by, of one moment: it is swapped whole, and nothing keeps a part of an older one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from custody.policy.load import PolicySet
from custody.policy.rule import Policy
from custody.trust.roots import TrustedRoot


@dataclass(frozen=True)
class Snapshot:
    """Policies, with the exceptions that are linked into them, the keys and types that they name, and the trust root.

    A review takes one when it begins and uses no other. To change anything, make a new one.
    """

    policies: PolicySet
    root: TrustedRoot | None = None
    """None: the gatherer's own."""
    keys: tuple[bytes, ...] = field(init=False)
    predicate_types: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple(self.policies.public_keys()))
        object.__setattr__(self, "predicate_types", self.policies.predicate_types())

    @property
    def digest(self) -> str:
        """Of the policies' documents."""
        return self.policies.digest

    def only(self, selects: Callable[[Policy], bool]) -> Snapshot:
        """With those policies that are selected, and the same root."""
        return Snapshot(self.policies.only(selects), self.root)
