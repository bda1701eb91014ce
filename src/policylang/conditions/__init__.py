"""Kyverno's conditions, `{key, operator, value}` in `any` and `all` blocks, compiled."""

from __future__ import annotations

from policylang.conditions.compiler import Conditions, compile_conditions
from policylang.conditions.operators import OPERATORS

__all__ = ["OPERATORS", "Conditions", "compile_conditions"]
