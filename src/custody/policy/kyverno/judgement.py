"""What one rule says, and what its blocks are judged on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from custody.policy.given import Given
from custody.policy.model import Outcome


class Judgement(msgspec.Struct, frozen=True):
    """What one rule says of one request or image."""

    outcome: Outcome
    message: str
    remedy: str | None = None
    properties: Mapping[str, str] | None = None
    """Of its result: the exceptions because of which it says so."""


class Subject(NamedTuple):
    """What a block of a rule is asked about: the request, or one element of a list in it."""

    given: Given
    values: dict[str, Any]
    """Of the variables that its expressions may name."""
    element: Any = None
    """The map that patterns are of, in place of the object; None outside lists and for other elements."""
    counted: list[int] | None = None
    """How many elements of lists were judged so far; None outside lists."""

    @property
    def now(self) -> datetime:
        return self.given.context.now


Judge = Callable[[Subject], Judgement | None]
"""None where there is nothing to say, as of patterns on DELETE."""
