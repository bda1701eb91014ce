"""All functions: those of the standard, and Kyverno's, which take the place of those of the same name."""

from __future__ import annotations

from policylang.jmespath.builtins import arithmetic, objects, standard, strings, times
from policylang.jmespath.builtins.function import Function

KYVERNO: dict[str, Function] = {function.name: function for function in (
    *strings.FUNCTIONS, *arithmetic.FUNCTIONS, *times.FUNCTIONS, *objects.FUNCTIONS)}
FUNCTIONS: dict[str, Function] = {function.name: function for function in standard.FUNCTIONS} | KYVERNO

__all__ = ["FUNCTIONS", "KYVERNO", "Function"]
