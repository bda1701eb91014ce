"""How rules of each form and documents of each kind are migrated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from custody.policy.kinds import Kinds
from custody.policy.kyverno.autogen import Generated
from custody.policy.kyverno.cleanup import KINDS
from custody.policy.migrate import cleaning, generating, mutated, validated, verified
from custody.policy.migrate.outcome import Migrated

Rule = Callable[[dict[str, Any], int, Sequence[Generated], Kinds, Sequence[dict[str, Any]], int], Migrated]
"""`(document, at, made, kinds, given, count)`: `made` are the rules that Kyverno makes of others; `given` are objects
that both are asked about, beside `count` generated ones of each kind."""
Document = Callable[[dict[str, Any], Kinds, Sequence[dict[str, Any]], int], list[Migrated]]

RULES: Mapping[str, Rule] = {"validate": validated.rule, "mutate": mutated.rule, "generate": generating.rule,
                             "verifyImages": verified.rule}
"""By the field of a rule that says what it does."""
DOCUMENTS: Mapping[str, Document] = dict.fromkeys(KINDS, cleaning.document)
"""Kinds of kyverno.io whose documents have no rules."""
