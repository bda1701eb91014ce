"""Requests of which more is known than what an API server asks."""

from __future__ import annotations

from typing import Any

from custody.policy.model import Request


class Reviewed(Request, frozen=True, kw_only=True):
    generated: bool = False
    """Nobody asked for the object: an ExpansionTemplate says that it will come of one that was asked for."""
    unnamed: bool = False
    """It lies in a namespace, and nobody says in which, as where objects are tried out that are not created yet."""
    review: dict[str, Any] | None = None
    """The AdmissionRequest as it was written, for `input.review`; None: made of the fields."""
