"""What is known and verified about an image: `evidence("ghcr.io/org/app@sha256:…").findings`.

A function of whoever evaluates, not of Kubernetes or Kyverno: an API server has none of the name. A kind of evidence
that is not verified is not in the map, so that reading it is an error, and never an empty list.
"""

from __future__ import annotations

from typing import Any

from policylang.cel.cost.units import CONSTANT
from policylang.cel.libraries.kyverno.ports import AnswerError, Evidence
from policylang.cel.library import Library, Overload, function
from policylang.cel.types import DYN, STRING, map_of
from policylang.cel.values.errors import CelError

NAME = "evidence"


def library(port: Evidence) -> Library:
    def ask(image: str, who: Any = None) -> Any:
        try:
            return port.of(image, who)
        except AnswerError as no:
            raise CelError(f"{NAME}: {no}") from None

    known, signers = map_of(STRING, DYN), map_of(STRING, DYN)
    return Library("custody.evidence", source=(__name__, "library", (port,)), functions=(function(
        NAME, Overload("evidence_string", (STRING,), known, ask, CONSTANT),
        Overload("evidence_string_map", (STRING, signers), known, ask, CONSTANT)),))
