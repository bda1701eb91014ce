"""Who looks at events beside the rules, and what is known of the place of an alert.

Both are asked in the loop that reads events: they answer from what they know already, and never wait. What has to be
asked of somebody is asked by a task of their own, and told with a later event or as an alert of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from custody.runtime.event import Place, RuntimeEvent
from policylang.falco import Alert


class Detector(Protocol):
    """Something that no rule can say: an executable that is in no layer, a connection outside of a baseline."""

    @property
    def types(self) -> frozenset[str]:
        """Of the syscall source: the event types that it looks at; others are not shown to it."""

    def __call__(self, event: RuntimeEvent) -> Iterable[Alert]:
        """Alerts with source `custody`, in Falco's form."""


class Suppressor(Protocol):
    """Alerts that somebody has explained: they are counted, and told to nobody unless they are asked for."""

    def __call__(self, alert: Alert, place: Place) -> str | None:
        """The name of the suppression that the alert falls under; None where it is told. Asked after all enrichers."""


class Responder(Protocol):
    """Who does something about an alert that is told. It is called when the alert is durable, in a task of its own."""

    async def __call__(self, alert: Alert, place: Place) -> Iterable[Alert]:
        """What it did and what it did not, as alerts with source `custody`; nobody responds to those again."""


class Enricher(Protocol):
    """What an alert is told with: who built what runs there, who signed it, how old it is."""

    def __call__(self, place: Place) -> Mapping[str, Any]:
        """Fields `custody.…` for `output_fields`; an unknown place has none, and says so in `custody.evidence`."""
