"""A document that is the whole truth of a part of a publisher's: what it does not say is not so any more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from custody.formats.osv import Advisory


class Snapshot(NamedTuple):
    source: str
    part: str
    """`v3.19/main`; empty where all of the publisher's is one document."""
    advisories: Iterable[Advisory]
    """Without a `modified`: nobody says when each of them was changed."""
