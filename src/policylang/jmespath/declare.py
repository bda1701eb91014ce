"""All functions: those of the standard, and Kyverno's, which take the place of those of the same name."""

from __future__ import annotations

from policylang.jmespath import arithmetic, moments, objects, standard, texts
from policylang.jmespath.entry import Function, invalid

KYVERNO: dict[str, Function] = {one.name: one for one in (
    *texts.FUNCTIONS, *arithmetic.FUNCTIONS, *moments.FUNCTIONS, *objects.FUNCTIONS)}
FUNCTIONS: dict[str, Function] = {one.name: one for one in standard.FUNCTIONS} | KYVERNO

__all__ = ["FUNCTIONS", "KYVERNO", "invalid"]
