"""Where what is wrong with components is kept, and every change of it, with its cause.

Numbers of components are those of `ports.inventory`; what is kept of a component goes with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

import msgspec

Change = Literal["appeared", "changed", "disappeared"]
Cause = Literal["package", "advisory", "vex", "policy", "cataloger", "matching"]
"""Why: an image came or was replaced, an advisory came, changed or went, a statement on exploitability, a rule;
or custody itself, since it was updated, reads the same image otherwise, or matches the same package otherwise."""


class KeptFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A vulnerability of a component, or that nobody can say whether it has it."""

    vulnerability: str
    """The CVE where there is one, else the record's own identifier."""
    record: str
    """The advisory that speaks."""
    severity: str
    matched: str
    fixed: tuple[str, ...] = ()
    exploited: bool = False
    decided: bool = True


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """Why a finding of an image does not count."""

    status: str
    """`not_affected` or `fixed` (VEX), `ignored` (an ignore file); empty for an option."""
    reason: str
    by: str = ""
    source: str = ""
    until: str = ""
    """When that stops counting, RFC 3339; empty: never."""

    @property
    def cause(self) -> Cause:
        return "vex" if self.status in ("not_affected", "fixed") else "policy"


Aside = Mapping[tuple[str, str], Word]
"""By package URL and vulnerability, the findings of an image that do not count."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """That a finding appeared, changed or disappeared."""

    change: Change
    cause: Cause
    at: datetime
    purl: str
    finding: KeptFinding
    """As it is now; of one that disappeared, as it was."""
    before: KeptFinding | None = None
    """Of one that changed."""
    images: tuple[str, ...] = ()
    """Digests of those that have the package: the first 100."""
    affected: int = 0
    """How many they are in all."""
    word: Word | None = None
    """For the causes vex and policy: what counts now, or counted until now."""


class NumberedEvent(NamedTuple):
    number: int
    event: Event


class Findings(Protocol):
    """All of it is synchronous. Raises StorageError."""

    def findings(self, components: Collection[int]) -> Mapping[int, Sequence[KeptFinding]]:
        """By component; those that have none are not in it."""
        ...

    def having(self, vulnerability: str) -> Sequence[int]:
        """The components with this vulnerability, by the name in `KeptFinding.vulnerability`."""
        ...

    def replace(self, findings: Mapping[int, Sequence[KeptFinding]], events: Sequence[Event],
                cursors: Mapping[str, str], *, turn: int | None = None, told: Collection[str] = (),
                aside: Mapping[str, Aside] = MappingProxyType({})) -> bool:
        """What is wrong with these components now, what changed by it, and how far its author came: together or not
        at all. Components that are gone meanwhile are passed over; of the images `told`, `former` is let go. `aside`
        is all that does not count of these images.

        With a turn it is a judgement of what was there at that turn: False, and nothing happened, where another judged
        since.
        """
        ...

    def turn(self) -> int:
        """How many judgements there were."""
        ...

    def former(self, image: str) -> Sequence[tuple[str, KeptFinding]] | None:
        """What was wrong with an image, by package URL, before it was read otherwise; None where nobody has to be told
        of it."""
        ...

    def aside(self, images: Collection[str] | None = None) -> Mapping[str, Aside]:
        """What does not count, by image, of these or of all; images of which everything counts are not in it."""
        ...

    def cursor(self, name: str) -> str:
        """What `replace` was given; '' where nothing was."""
        ...

    def events(self, after: int, most: int) -> Sequence[NumberedEvent]:
        """In the order in which they were kept."""
        ...

    def prune(self, before: datetime) -> int:
        """Let go of older events, and once a day of what no image names any more; the number of events."""
        ...
